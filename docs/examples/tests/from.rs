//! The pages for users of other libraries.
#![allow(clippy::unwrap_used, clippy::unused_async)]

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

// ANCHOR: init
use cachify_core::{Cachify, CachifyBuilder, Error, cached, key, locked, once, pooled};

fn builder(url: &str) -> CachifyBuilder {
    Cachify::builder()
        .url(url)
        .prefix("shop")
        .default_ttl(Duration::from_mins(5))
        .lock_ttl(Duration::from_secs(30))
}

async fn start(url: &str) -> Result<(), Error> {
    cachify_core::init(builder(url).connect().await?)
}
// ANCHOR_END: init

// ANCHOR: cached
#[cached(key = "sum-{a}-{b}", ttl = 300)]
async fn sum(a: i64, b: i64) -> i64 {
    a + b
}

async fn use_sum() -> Result<i64, Error> {
    let total = sum(1, 2).await;
    sum::reset(&1, &2).await?;
    Ok(total)
}
// ANCHOR_END: cached

// ANCHOR: lock
async fn with_lock(cachify: &Cachify, order_id: i64) -> Result<(), Error> {
    cachify
        .lock(&key!("charge-{order_id}"))
        .wait(Duration::from_secs(2)) // nowait=False, timeout=2
        .ttl(Duration::from_secs(10)) // exp=10, but renewed while it is held
        .run(async { /* .. */ })
        .await
}

#[locked(key = "charge-{order_id}", wait = "2s")]
async fn charge(order_id: i64) -> Result<i64, Error> {
    Ok(order_id)
}

async fn look() -> Result<(), Error> {
    charge::is_locked(&7).await?;
    charge::force_release(&7).await?;
    Ok(())
}
// ANCHOR_END: lock

// ANCHOR: once
#[once(key = "report-{day}", on_locked = Ok(None))]
async fn report(day: u32) -> Result<Option<u32>, Error> {
    Ok(Some(day))
}

/// Without `on_locked`, the error is `AlreadyRunning`: `raise_on_locked=True`.
#[once(key = "report-{day}")]
async fn report_or_error(day: u32) -> Result<u32, Error> {
    Ok(day)
}
// ANCHOR_END: once

// ANCHOR: pool
#[pooled(key = "vendor-{tenant}", max = 10, on_full = Ok(format!("{tenant} is busy")))]
async fn ask_vendor(tenant: &str) -> Result<String, Error> {
    Ok(tenant.to_owned())
}

async fn busy() -> Result<usize, Error> {
    ask_vendor::in_use("acme").await
}
// ANCHOR_END: pool

// ANCHOR: stacked
#[cached(key = "short-{id}", ttl = 5)]
#[cached(key = "long-{id}", ttl = 3600)]
async fn stacked(runs: &AtomicUsize, id: i64) -> i64 {
    runs.fetch_add(1, Ordering::SeqCst);
    id
}
// ANCHOR_END: stacked

#[tokio::test]
async fn each_feature_works() {
    let cachify = builder("memory://").connect().await.unwrap();
    let runs = AtomicUsize::new(0);
    let test = async {
        assert_eq!(use_sum().await.unwrap(), 3);
        assert_eq!(sum::get(&1, &2).await.unwrap(), None);
        with_lock(&cachify, 7).await.unwrap();
        assert_eq!(charge(7).await.unwrap(), 7);
        look().await.unwrap();
        assert_eq!(report(1).await.unwrap(), Some(1));
        let _running = cachify.lock(&key!("report-1")).acquire().await.unwrap();
        assert_eq!(report(1).await.unwrap(), None);
        report_or_error(1).await.unwrap_err();
        assert_eq!(ask_vendor("acme").await.unwrap(), "acme");
        assert_eq!(busy().await.unwrap(), 0);
        stacked(&runs, 1).await;
        stacked::reset(&1).await.unwrap();
        stacked(&runs, 1).await;
        assert_eq!(runs.load(Ordering::SeqCst), 2);
    };
    cachify.scope(test).await;
}

#[tokio::test]
async fn init_is_called_once() {
    start("memory://").await.unwrap();
    start("memory://").await.unwrap_err();
}

//! Stacked attributes: one set of companions, in which each layer does its own part.
#![deny(warnings, missing_docs, unreachable_pub, clippy::pedantic)]
#![allow(clippy::expect_used, clippy::unwrap_used)]

use std::fmt::{self, Display};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use cachify_core::clock::Clock;
use cachify_core::{Cacheable, Cachify, Error, ErrorKind, cached, key, locked, once, pooled};
use futures_util::FutureExt as _;

static OUTER: std::sync::LazyLock<Cachify> = std::sync::LazyLock::new(Cachify::memory);
static INNER: std::sync::LazyLock<Cachify> = std::sync::LazyLock::new(Cachify::memory);

#[cached(key = "outer-{id}", with = *OUTER)]
#[cached(key = "inner-{tenant}-{id}", with = *INNER)]
async fn two_tiers(
    runs: &AtomicUsize,
    tenant: &str,
    id: impl Display + Sync,
) -> Result<String, Error> {
    runs.fetch_add(1, Ordering::SeqCst);
    Ok(format!("{tenant}-{id}"))
}

#[tokio::test]
async fn one_reset_clears_every_layer() {
    let runs = AtomicUsize::new(0);
    let call = || two_tiers(&runs, "acme", 1);
    assert_eq!(call().await.unwrap(), "acme-1");
    assert_eq!(call().await.unwrap(), "acme-1");
    assert_eq!(runs.load(Ordering::SeqCst), 1);

    OUTER.reset(&key!("outer-1")).await.unwrap();
    assert_eq!(
        two_tiers::get("acme", &1).await.unwrap().as_deref(),
        Some("acme-1")
    );
    call().await.unwrap();
    assert_eq!(runs.load(Ordering::SeqCst), 1);

    two_tiers::reset("acme", &1).await.unwrap();
    assert_eq!(two_tiers::get("acme", &1).await.unwrap(), None);
    call().await.unwrap();
    assert_eq!(runs.load(Ordering::SeqCst), 2);

    two_tiers::set("acme", &1, "set".to_owned()).await.unwrap();
    assert_eq!(call().await.unwrap(), "set");
    OUTER.reset(&key!("outer-1")).await.unwrap();
    assert_eq!(call().await.unwrap(), "set");
}

/// Records the stored layers whenever it is rendered into a key.
struct Spy(Mutex<Vec<(bool, bool)>>);

impl Display for Spy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stored = |cachify: &Cachify, key| {
            let stored = cachify.cached(&key).get::<String>().now_or_never();
            stored.unwrap().unwrap().is_some()
        };
        let outer = stored(&OUTER, key!("outer-spy"));
        let inner = stored(&INNER, key!("inner-acme-spy"));
        self.0.lock().unwrap().push((outer, inner));
        f.write_str("spy")
    }
}

#[tokio::test]
async fn c4_py11_reset_clears_the_inner_layer_before_the_outer_one() {
    let spy = Spy(Mutex::default());
    two_tiers::set("acme", &spy, "old".to_owned())
        .await
        .unwrap();
    spy.0.lock().unwrap().clear();
    two_tiers::reset("acme", &spy).await.unwrap();
    // When the first key is made, both are stored; when the second is, the inner one is gone.
    assert_eq!(*spy.0.lock().unwrap(), [(true, true), (true, false)]);
}

#[cached(key = "user-{id}", ttl = "1m", with = cachify)]
#[allow(clippy::unused_async)]
#[cachify_core::locked(key = "read-user-{id}-{shard}", with = cachify)]
async fn read_user(cachify: &Cachify, shard: u8, id: i64) -> Result<i64, Error> {
    assert!(
        cachify
            .lock(&key!("read-user-{id}-{shard}"))
            .is_locked()
            .await?
    );
    Ok(id)
}

#[tokio::test]
async fn l1_py05_release_does_not_touch_the_cache() {
    let cachify = Cachify::memory();
    assert_eq!(read_user(&cachify, 0, 7).await.unwrap(), 7);
    let guard = cachify
        .lock(&key!("read-user-7-0"))
        .acquire()
        .await
        .unwrap();
    // A hit needs no lock.
    assert_eq!(read_user(&cachify, 0, 7).await.unwrap(), 7);
    assert_eq!(read_user(&cachify, 0, 8).await.unwrap(), 8);

    assert!(read_user::is_locked(&cachify, &0, &7).await.unwrap());
    assert!(read_user::force_release(&cachify, &0, &7).await.unwrap());
    assert!(!read_user::is_locked(&cachify, &0, &7).await.unwrap());
    assert_eq!(read_user::get(&cachify, &7).await.unwrap(), Some(7));

    // Nor does a reset touch the lock.
    drop(guard);
    let _guard = cachify
        .lock(&key!("read-user-7-0"))
        .acquire()
        .await
        .unwrap();
    read_user::reset(&cachify, &7).await.unwrap();
    assert!(read_user::is_locked(&cachify, &0, &7).await.unwrap());
    assert_eq!(
        read_user(&cachify, 0, 7).await.unwrap_err().kind(),
        ErrorKind::Held
    );
}

#[locked(key = "below-{id}", with = cachify)]
#[cached(key = "below-{id}", cache_if = |value| *value != 0, with = cachify)]
async fn cached_below_a_lock<T: Cacheable + PartialEq<i32>>(
    cachify: &Cachify,
    id: &str,
    value: T,
) -> Result<T, Error> {
    let _ = (cachify, id);
    Ok(value)
}

#[tokio::test]
async fn a_cache_below_a_lock_is_asked_under_it() {
    let cachify = Cachify::memory();
    assert_eq!(cached_below_a_lock(&cachify, "x", 1).await.unwrap(), 1);
    assert_eq!(cached_below_a_lock(&cachify, "x", 2).await.unwrap(), 1);
    let _guard = cachify.lock(&key!("below-x")).acquire().await.unwrap();
    assert!(cached_below_a_lock(&cachify, "x", 3).await.is_err());
    assert_eq!(
        cached_below_a_lock::get::<i32>(&cachify, "x")
            .await
            .unwrap(),
        Some(1)
    );
}

#[once(key = "crowd-{id}", on_locked = "locked", on_error = |_| "away", with = cachify)]
#[pooled(key = "crowd", max = 1, on_full = "full", on_error = |_| "away", with = cachify)]
async fn crowd(cachify: &Cachify, id: u8) -> &'static str {
    let _ = id;
    assert_eq!(crowd::in_use(cachify).await.unwrap(), 1);
    assert!(crowd::is_locked(cachify, &id).await.unwrap());
    "ran"
}

#[locked(key = "one", on_error = |error| error.template() == Some("one"), with = cachify)]
#[locked(key = "two", on_error = |error| error.template() == Some("one"), with = cachify)]
async fn both(cachify: &Cachify) -> bool {
    both::force_release(cachify).await.unwrap()
}

#[tokio::test]
async fn each_layer_answers_for_itself() {
    let cachify = Cachify::memory();
    assert_eq!(crowd(&cachify, 1).await, "ran");
    let permit = cachify.pool(&key!("crowd"), 1).acquire().await.unwrap();
    assert_eq!(crowd(&cachify, 1).await, "full");
    let _guard = cachify.lock(&key!("crowd-1")).acquire().await.unwrap();
    assert_eq!(crowd(&cachify, 1).await, "locked");
    permit.release().await.unwrap();
    assert_eq!(crowd(&cachify, 2).await, "ran");

    assert!(!both::is_locked(&cachify).await.unwrap());
    assert!(both(&cachify).await);
    let one = cachify.lock(&key!("one")).acquire().await.unwrap();
    assert!(both(&cachify).await);
    one.release().await.unwrap();
    let two = cachify.lock(&key!("two")).acquire().await.unwrap();
    assert!(both::is_locked(&cachify).await.unwrap());
    assert!(!both(&cachify).await);
    drop(two);
}

#[cached(key = "slow-{id}", ttl = 1, with = cachify)]
#[cached(key = "fast-{id}", ttl = 10, with = cachify)]
async fn ttls(cachify: &Cachify, runs: &AtomicUsize, id: u8) -> usize {
    let _ = (cachify, id);
    runs.fetch_add(1, Ordering::SeqCst)
}

#[tokio::test(start_paused = true)]
async fn c1_each_layer_has_its_own_ttl() {
    let cachify = Cachify::builder()
        .memory()
        .clock(Clock::test())
        .connect_lazy()
        .unwrap();
    let runs = AtomicUsize::new(0);
    assert_eq!(ttls(&cachify, &runs, 1).await, 0);
    tokio::time::advance(Duration::from_secs(9)).await;
    assert_eq!(ttls(&cachify, &runs, 1).await, 0);
    tokio::time::advance(Duration::from_secs(1)).await;
    assert_eq!(ttls(&cachify, &runs, 1).await, 1);
}

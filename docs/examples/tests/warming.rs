//! The page on warming.
#![allow(
    clippy::unwrap_used,
    clippy::unused_async,
    clippy::unused_self,
    clippy::print_stderr
)]

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cachify_core::backend::memory::Memory;
use cachify_core::{Cachify, cached, once};
use futures_util::{StreamExt as _, stream};

type DbError = std::io::Error;

#[derive(Clone)]
struct App {
    cachify: Cachify,
    db: Db,
}

// ANCHOR: warm
#[cached(key = "product-{id}", ttl = "10m", jitter = 0.2, with = app.cachify)]
async fn product(app: &App, id: u64) -> Result<String, DbError> {
    app.db.find(id).await
}

/// Reads the best-selling products, eight at a time.
async fn warm(app: &App) {
    stream::iter(app.db.best_sellers())
        .for_each_concurrent(8, |id| async move {
            if let Err(error) = product(app, id).await {
                eprintln!("product {id} is not warm: {error}");
            }
        })
        .await;
}
// ANCHOR_END: warm

// ANCHOR: start
/// Runs before the server listens, or before it reports that it is ready.
async fn prepare(app: &App) {
    if tokio::time::timeout(Duration::from_secs(10), warm(app))
        .await
        .is_err()
    {
        eprintln!("serving although the cache is not warm");
    }
}
// ANCHOR_END: start

// ANCHOR: refresh
/// Renews the best sellers, unless another replica is doing so. Each replica calls it on a timer.
#[once(
    key = "refresh-products",
    on_locked = (),
    on_error = |error| eprintln!("not refreshed: {error}"),
    with = app.cachify,
)]
async fn refresh(app: &App) {
    for id in app.db.best_sellers() {
        // Readers that come in between wait for the one read of `product`.
        if product::reset(&app.cachify, &id).await.is_ok() {
            let _ = product(app, id).await;
        }
    }
}
// ANCHOR_END: refresh

/// Counts the reads of each product. Product 3 cannot be read.
#[derive(Clone, Default)]
struct Db(Arc<Mutex<HashMap<u64, usize>>>);

impl Db {
    async fn find(&self, id: u64) -> Result<String, DbError> {
        *self.0.lock().unwrap().entry(id).or_default() += 1;
        tokio::time::sleep(Duration::from_millis(10)).await;
        match id {
            3 => Err(DbError::other("no such product")),
            _ => Ok(format!("product {id}")),
        }
    }

    fn best_sellers(&self) -> Vec<u64> {
        (0..20).collect()
    }

    fn reads(&self, id: u64) -> usize {
        self.0.lock().unwrap()[&id]
    }
}

/// Two processes over one backend.
fn replicas() -> [App; 2] {
    let (backend, db) = (Arc::new(Memory::default()), Db::default());
    [(); 2].map(|()| App {
        cachify: Cachify::builder()
            .backend(backend.clone())
            .connect_lazy()
            .unwrap(),
        db: db.clone(),
    })
}

#[tokio::test(start_paused = true)]
async fn replicas_that_start_together_read_each_product_once() {
    let [one, two] = replicas();
    tokio::join!(prepare(&one), prepare(&two));
    for id in (0..20).filter(|id| *id != 3) {
        assert_eq!(one.db.reads(id), 1, "{id}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_refresh_reads_each_product_again_once() {
    let [one, two] = replicas();
    prepare(&one).await;
    tokio::join!(refresh(&one), refresh(&two));
    for id in (0..20).filter(|id| *id != 3) {
        assert_eq!(one.db.reads(id), 2, "{id}");
    }
}

/// Shows why the page warms by calls rather than by `set`.
#[tokio::test(start_paused = true)]
async fn set_stores_a_row_that_was_read_before_an_update() {
    let [app, _] = replicas();
    let read_early = app.db.find(1).await.unwrap();
    product::reset(&app.cachify, &1).await.unwrap(); // by an update
    product::set(&app.cachify, &1, read_early).await.unwrap();
    assert!(product::get(&app.cachify, &1).await.unwrap().is_some());
}

//! Attributes that serve stale values, limit computations and store errors.
#![cfg(feature = "macros")]
#![allow(clippy::unwrap_used)]

use std::rc::Rc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use cachify_core::{Cachify, Error, ErrorKind, cached, locked};
use serde::{Deserialize, Serialize};

static RUNS: AtomicU32 = AtomicU32::new(0);

fn run() -> u32 {
    RUNS.fetch_add(1, Ordering::SeqCst)
}

#[cached(key = "owned-{id}", stale = "1h")]
async fn owned(id: u32, mut more: Vec<u32>) -> u32 {
    more.push(inner(id).await);
    tokio::task::yield_now().await;
    more.iter().sum()
}

/// Called in the background, where it finds the handle of the scope.
#[cached(key = "inner-{id}")]
async fn inner(id: u32) -> u32 {
    id
}

#[cached(key = "borrowed-{id}", stale = "1h")]
async fn borrowed(id: &u32, value: &u32) -> u32 {
    tokio::task::yield_now().await;
    id + value
}

#[cached(key = "local-{id}", stale = "1h")]
async fn not_send(id: u32, value: u32) -> u32 {
    let value = Rc::new(value);
    tokio::task::yield_now().await;
    id + *value
}

#[cached(key = "stacked-{id}", stale = "1h", refresh_early = 1.0)]
#[locked(key = "stacked-{id}", wait = "1s")]
async fn stacked(id: u32, value: u32) -> Result<u32, Error> {
    Ok(id + value)
}

#[cached(
    key = "limited-{hangs}",
    stale = "1h",
    hard_limit = "20ms",
    soft_limit = "1h"
)]
async fn limited(hangs: bool, value: u32) -> Result<u32, Error> {
    if hangs {
        std::future::pending::<()>().await;
    }
    Ok(value)
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Absent(u32);

#[cached(key = "absent-{id}", stale = "1h", cache_err = |error| (error.0 == 0).then_some("1h"))]
async fn absent(id: u32) -> Result<u32, Absent> {
    run();
    Err(Absent(id))
}

#[cached(key = "borrowed-absent-{id}", cache_err = |error| (error.0 == 0).then_some("1h"))]
async fn borrowed_absent(id: &u32) -> Result<u32, Absent> {
    run();
    Err(Absent(*id))
}

#[cached(key = "none-{id}", ttl = "1h", none_ttl = 0)]
async fn none(id: u32) -> Result<Option<u32>, Absent> {
    Ok((id == 0).then(run))
}

struct Repository(u32);

impl Repository {
    #[cached(key = "find-{id}", stale = "1h", with = cachify)]
    async fn find(&self, cachify: &Cachify, id: u32) -> u32 {
        let _ = cachify;
        self.0 + id
    }
}

async fn becomes(value: u32, mut read: impl AsyncFnMut() -> u32) {
    let changed = async {
        while read().await != value {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), changed)
        .await
        .unwrap();
}

#[tokio::test]
async fn c9_what_is_owned_is_refreshed_in_the_background() {
    let test = async {
        assert_eq!(owned(1, vec![1]).await, 2);
        owned::expire(&1).await.unwrap();
        assert_eq!(owned(1, vec![2]).await, 2, "at once");
        becomes(3, async || owned(1, vec![9]).await).await;

        assert_eq!(stacked(1, 1).await.unwrap(), 2);
        stacked::expire(&1).await.unwrap();
        assert_eq!(stacked(1, 2).await.unwrap(), 2, "at once");
        becomes(3, async || stacked(1, 9).await.unwrap()).await;
    };
    Cachify::memory().scope(test).await;
}

#[tokio::test]
async fn c9_what_is_borrowed_or_not_send_is_refreshed_by_its_caller() {
    let test = async {
        assert_eq!(borrowed(&1, &1).await, 2);
        borrowed::expire(&1).await.unwrap();
        assert_eq!(borrowed(&1, &2).await, 3);
        assert_eq!(not_send(1, 1).await, 2);
        not_send::expire(&1).await.unwrap();
        assert_eq!(not_send(1, 2).await, 3);

        let cachify = Cachify::memory();
        assert_eq!(Repository(1).find(&cachify, 1).await, 2);
        Repository(1).find_expire(&cachify, &1).await.unwrap();
        assert_eq!(Repository(2).find(&cachify, 1).await, 3);
    };
    Cachify::memory().scope(test).await;
}

#[tokio::test]
async fn c9_a_limit_ends_a_computation_and_the_old_value_is_served() {
    let test = async {
        let error = limited(true, 1).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Timeout);
        assert_eq!(limited(false, 1).await.unwrap(), 1);
        limited::set(&true, 1).await.unwrap();
        limited::expire(&true).await.unwrap();
        assert_eq!(limited(true, 2).await.unwrap(), 1);
    };
    Cachify::memory().scope(test).await;
}

#[tokio::test]
async fn c5_an_error_is_stored_for_as_long_as_the_closure_says() {
    let test = async {
        for (id, runs) in [(0, 1), (1, 2)] {
            let before = RUNS.load(Ordering::SeqCst);
            for _ in 0..2 {
                assert_eq!(absent(id).await, Err(Absent(id)));
            }
            assert_eq!(RUNS.load(Ordering::SeqCst), before + runs);
            for _ in 0..2 {
                assert_eq!(borrowed_absent(&id).await, Err(Absent(id)));
            }
            assert_eq!(RUNS.load(Ordering::SeqCst), before + 2 * runs);
        }
        assert_eq!(none(1).await, Ok(None));
        assert_eq!(none::get(&1).await.unwrap(), None, "not stored");
        assert_eq!(none(0).await, none(0).await);
    };
    Cachify::memory().scope(test).await;
}

//! Defects of py-cachify 3.1 that no promise's own test covers. cachify must not have them.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use cachify_core::testing::{Fault, Faulty};
use cachify_core::{Cachify, cached, key};
use futures_util::future::{join, join_all};
use tokio::sync::Notify;

/// In py-cachify, the old value overwrites the reset, and every miss of a stampede computes.
#[tokio::test]
async fn c4_py10_a_reset_during_a_computation_is_not_overwritten() {
    let cachify = Cachify::memory();
    let cached = cachify.cached(&key!("row"));
    let (read, go_on) = (Notify::new(), Notify::new());
    let runs = AtomicUsize::new(0);
    let stampede = join_all((0..50).map(|_| {
        cached.get_or_compute(async || {
            runs.fetch_add(1, Ordering::SeqCst);
            read.notify_one();
            go_on.notified().await;
            "old".to_owned()
        })
    }));
    let reset = async {
        read.notified().await;
        assert_eq!(runs.load(Ordering::SeqCst), 1, "one computes, 49 wait");
        cached.reset().await.unwrap();
        go_on.notify_one();
        // Callers that joined the overtaken computation start again, and one of them computes.
        read.notified().await;
        go_on.notify_one();
    };
    let (values, ()) = join(stampede, reset).await;
    assert_eq!(values.len(), 50);
    assert!(runs.load(Ordering::SeqCst) <= 2);
}

/// In py-cachify, an error of the cache becomes an error of the call, and a value that can't be
/// stored is lost.
#[tokio::test(start_paused = true)]
async fn c7_py14_an_error_of_the_cache_is_none_of_the_call() {
    for fault in [Fault::Refuse, Fault::Reject, Fault::Hang] {
        let (cachify, backend) = Faulty::wrap(&Cachify::memory());
        backend.fail_all(fault);
        let cached = cachify.cached(&key!("row"));
        assert_eq!(cached.get_or_compute(async || 7).await, 7);
    }
}

#[cached(key = "py15-{id}", ttl = "1m")]
fn read_blocking(id: u32, runs: &AtomicUsize) -> usize {
    let _ = id;
    runs.fetch_add(1, Ordering::SeqCst)
}

#[cached(key = "py15-{id}", ttl = "1m")]
async fn read(id: u32, runs: &AtomicUsize) -> usize {
    let _ = id;
    runs.fetch_add(1, Ordering::SeqCst)
}

/// In py-cachify, if only one of two clients is set up, the other kind of function silently uses
/// its own memory.
#[tokio::test(flavor = "multi_thread")]
async fn c1_py15_functions_of_both_kinds_use_one_handle() {
    let runs = Arc::new(AtomicUsize::new(0));
    let cachify = Cachify::memory();
    assert_eq!(cachify.scope(read(1, &runs)).await, 0);
    let (blocking, same) = (cachify.clone(), Arc::clone(&runs));
    let value =
        tokio::task::spawn_blocking(move || blocking.sync_scope(|| read_blocking(1, &same)));
    assert_eq!(value.await.unwrap(), 0, "a hit");
    let nowhere = tokio::spawn(async move { read(1, &runs).await });
    assert!(
        nowhere.await.is_err(),
        "without a handle it does not make one up"
    );
}

/// In py-cachify, the pool is one value. It is read, changed and written back under a lock that can
/// expire.
#[tokio::test(start_paused = true)]
async fn p1_py16_no_permit_is_lost_to_another_one_s_update() {
    let cachify = Cachify::memory();
    let pool = cachify.pool(&key!("py16"), 500);
    let permits = join_all((0..600).map(|_| pool.acquire())).await;
    let held: Vec<_> = permits.into_iter().filter_map(Result::ok).collect();
    assert_eq!(held.len(), 500);
    assert_eq!(pool.status().await.unwrap().in_use, 500);
    join_all(held.into_iter().map(cachify_core::Permit::release)).await;
    assert_eq!(pool.status().await.unwrap().in_use, 0);
}

/// In py-cachify, a time to live of zero means forever.
#[tokio::test(start_paused = true)]
async fn c1_py21_zero_is_not_for_ever() {
    let cachify = Cachify::memory();
    let cached = cachify.cached(&key!("row")).ttl(Duration::ZERO);
    cached.set(1).await.unwrap();
    assert_eq!(cached.get::<i32>().await.unwrap(), None);
}

/// In py-cachify, an unreadable entry raises, and reading an entry runs its author's code.
#[cfg(feature = "redis")]
#[tokio::test]
async fn c6_py13_what_cannot_be_read_is_replaced() {
    let server = redis_fixture::Server::start();
    let cachify = Cachify::builder()
        .redis(server.url())
        .backend_timeout(Duration::from_secs(2))
        .connect()
        .await
        .unwrap();
    // Python's pickle would turn this into a call of `os.system`.
    let pickle = "cposix\nsystem\n(S'touch /tmp/never'\ntR.";
    server.command(&["SET", "cachify:cached:{row}", pickle]);
    let cached = cachify.cached(&key!("row"));
    assert_eq!(cached.get_or_compute(async || 1).await, 1);
    assert_eq!(cached.get::<i32>().await.unwrap(), Some(1), "replaced");
}

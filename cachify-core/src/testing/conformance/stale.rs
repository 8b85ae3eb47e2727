//! Values that are served past their time to live: C9.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;
use tokio::task::JoinHandle;

use super::*;
use crate::backend::{Found, Life, Stored};
use crate::{Cached, Ttl, codec};

const MINUTE: Duration = Duration::from_mins(1);
const NO: Result<i32, &str> = Err("no");

/// Stores a value and makes it stale.
async fn stale(cachify: &Cachify, key: &Key, value: i32) {
    let cached = cachify.cached(key).stale(MINUTE);
    cached.set(value).await.unwrap();
    cached.expire().await.unwrap();
}

/// Reads with a window of a minute.
async fn read(cachify: &Cachify, key: &Key, result: Result<i32, &'static str>) -> i32 {
    let cached = cachify.cached(key).stale(MINUTE);
    let value = soon("a read", cached.get_or_try_compute(async || result)).await;
    value.unwrap()
}

async fn get(cachify: &Cachify, key: &Key) -> Option<i32> {
    cachify.cached(key).get().await.unwrap()
}

/// Returns the entry, which may have been stale for up to `window`.
async fn peek(cachify: &Cachify, key: &Key, window: Duration) -> Option<i32> {
    cachify.cached(key).stale(window).get().await.unwrap()
}

/// A read whose computation waits until the test lets it continue.
struct Slow {
    go_on: Arc<Notify>,
    read: JoinHandle<Result<i32, &'static str>>,
}

impl Slow {
    /// Starts a read; returns once its computation runs.
    async fn start(cached: Cached, result: Result<i32, &'static str>) -> Self {
        let (started, go_on) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let (starts, goes_on) = (Arc::clone(&started), Arc::clone(&go_on));
        let read = tokio::spawn(async move {
            let compute = async || {
                starts.notify_one();
                goes_on.notified().await;
                result
            };
            cached.get_or_try_compute(compute).await
        });
        soon("the computation starts", started.notified()).await;
        Self { go_on, read }
    }

    async fn refresh(cachify: &Cachify, key: &Key, result: Result<i32, &'static str>) -> Self {
        Self::start(cachify.cached(key).stale(MINUTE), result).await
    }

    async fn finish(self) -> Result<i32, &'static str> {
        self.go_on.notify_one();
        soon("the read ends", self.read).await.unwrap()
    }
}

async fn life(cachify: &Cachify, key: &Key) -> Life {
    let backend = &cachify.inner.engine.backend;
    let found = backend.get(&cachify.own(key)).await.unwrap();
    match found.unwrap() {
        Found {
            value: Stored::Bytes(bytes),
            ..
        } => codec::life(&bytes).unwrap(),
        found => found.life.unwrap(),
    }
}

pub async fn c9_of_two_processes_one_refreshes_and_all_others_are_served(stage: &Stage) {
    let (a, b) = (stage.handle(), stage.handle());
    let key = stage.key("row");
    stale(&a, &key, 1).await;
    let refresh = Slow::refresh(&a, &key, Ok(2)).await;
    for _ in 0..10 {
        assert_eq!(read(&a, &key, NO).await, 1);
        assert_eq!(read(&b, &key, NO).await, 1);
    }
    assert_eq!(refresh.finish().await, Ok(2));
    for handle in [&a, &b] {
        assert_eq!(read(handle, &key, NO).await, 2);
        assert_eq!(get(handle, &key).await, Some(2), "it is fresh");
    }
}

pub async fn c9_a_caller_without_a_window_gets_no_stale_value(stage: &Stage) {
    let (a, b) = (stage.handle(), stage.handle());
    let key = stage.key("row");
    stale(&a, &key, 1).await;
    assert_eq!(get(&a, &key).await, None);
    assert_eq!(peek(&b, &key, MINUTE).await, Some(1));
    let refresh = Slow::refresh(&a, &key, Ok(2)).await;
    for handle in [&a, &b] {
        let cached = handle.cached(&key);
        let waits = tokio::spawn(async move { cached.get_or_compute(async || 3).await });
        sleep(20 * MILLI).await;
        assert!(!waits.is_finished());
        waits.abort();
    }
    let cached = a.cached(&key);
    let waits = tokio::spawn(async move { cached.get_or_compute(async || 3).await });
    until("it waits", async || {
        a.inner.entries.flights.waiting(&a.own(&key)) > 0
    })
    .await;
    assert_eq!(refresh.finish().await, Ok(2));
    assert_eq!(soon("it gets the new value", waits).await.unwrap(), 2);
}

pub async fn c9_a_stale_value_is_served_if_its_refresh_fails(stage: &Stage) {
    let (a, b) = (stage.handle(), stage.handle());
    let key = stage.key("row");
    stale(&a, &key, 1).await;
    assert_eq!(Slow::refresh(&a, &key, NO).await.finish().await, Ok(1));
    assert_eq!(read(&b, &key, NO).await, 1);
    let strict = a.cached(&key);
    let strict = strict.get_or_try_compute(async || NO);
    assert_eq!(soon("without a window", strict).await, NO);
    // A newer value is as good.
    a.expire(&key).await.unwrap();
    let refresh = Slow::refresh(&a, &key, NO).await;
    b.cached(&key).set(2).await.unwrap();
    assert_eq!(refresh.finish().await, Ok(2));
}

pub async fn c9_s9_after_a_reset_an_error_is_an_error(stage: &Stage) {
    let (a, b) = (stage.handle(), stage.handle());
    let key = stage.key("row");
    stale(&a, &key, 1).await;
    let refresh = Slow::refresh(&a, &key, NO).await;
    b.reset(&key).await.unwrap();
    assert_eq!(refresh.finish().await, NO);
    // The same while the reset is queued and not confirmed.
    stale(&a, &key, 1).await;
    let (c, backend) = stage.faulty();
    let refresh = Slow::refresh(&c, &key, NO).await;
    backend.fail(Op::Reset, Fault::Refuse);
    c.reset(&key).await.unwrap_err();
    assert_eq!(refresh.finish().await, NO);
    backend.heal();
}

pub async fn c9_a_reset_beats_a_refresh(stage: &Stage) {
    let (a, b) = (stage.handle(), stage.handle());
    let key = stage.key("row");
    stale(&a, &key, 1).await;
    let refresh = Slow::refresh(&a, &key, Ok(2)).await;
    b.reset(&key).await.unwrap();
    assert_eq!(refresh.finish().await, Ok(2), "its own read is older");
    for handle in [&a, &b] {
        assert_eq!(peek(handle, &key, MINUTE).await, None);
    }
}

pub async fn c9_no_value_is_served_past_its_window(stage: &Stage) {
    let (a, b) = (stage.handle(), stage.handle());
    let key = stage.key("row");
    let wide = a.cached(&key).ttl(200 * MILLI).stale(SECOND);
    wide.set(1).await.unwrap();
    sleep(250 * MILLI).await;
    let narrow = b.cached(&key).stale(20 * MILLI);
    let over = narrow.get_or_try_compute(async || NO);
    assert_eq!(soon("its own window is over", over).await, NO);
    let refresh = Slow::start(b.cached(&key).stale(MINUTE), NO).await;
    assert_eq!(wide.get::<i32>().await.unwrap(), Some(1));
    sleep(1300 * MILLI).await;
    assert_eq!(wide.get::<i32>().await.unwrap(), None);
    assert_eq!(refresh.finish().await, NO, "the entry has ended meanwhile");
}

pub async fn c9_a_refresh_that_fails_is_tried_again_after_growing_pauses(stage: &Stage) {
    let (a, b) = (stage.handle(), stage.handle());
    let key = stage.key("row");
    stale(&a, &key, 1).await;
    let runs = AtomicUsize::new(0);
    let cached = a.cached(&key).stale(MINUTE);
    let start = Instant::now();
    until("three pauses", async || {
        let failing = async || {
            runs.fetch_add(1, Ordering::SeqCst);
            NO
        };
        assert_eq!(cached.get_or_try_compute(failing).await, Ok(1));
        runs.load(Ordering::SeqCst) == 4
    })
    .await;
    assert!(start.elapsed() >= 700 * MILLI, "{:?}", start.elapsed());
    assert_eq!(read(&a, &key, Ok(2)).await, 1, "it pauses");
    assert_eq!(read(&b, &key, Ok(2)).await, 2, "another process does not");
    // A change ends the pause.
    a.expire(&key).await.unwrap();
    assert_eq!(read(&a, &key, Ok(3)).await, 3);
}

pub async fn c9_an_expired_entry_keeps_its_end(stage: &Stage) {
    let (a, b) = (stage.handle(), stage.handle());
    let keys = [stage.key("row"), stage.key("row")];
    for key in &keys {
        let cached = a.cached(key).ttl(MINUTE).stale(MINUTE);
        cached.set(1).await.unwrap();
    }
    let before = life(&a, &keys[0]).await;
    b.expire(&keys).await.unwrap();
    for key in &keys {
        assert_eq!(get(&a, key).await, None);
        let value = peek(&a, key, SECOND).await;
        assert_eq!(value, Some(1), "its time as a stale one starts");
    }
    let after = life(&a, &keys[0]).await;
    assert_eq!(after.until, before.until);
    assert!(after.fresh_until < before.fresh_until);
    sleep(20 * MILLI).await;
    a.expire(&keys[0]).await.unwrap();
    assert_eq!(life(&a, &keys[0]).await, after, "and does not start again");

    let forever = a.cached(&keys[1]).ttl(Ttl::NEVER).stale(MINUTE);
    forever.set(1).await.unwrap();
    forever.expire().await.unwrap();
    assert_eq!(get(&b, &keys[1]).await, None);
    assert_eq!(forever.get::<i32>().await.unwrap(), Some(1));
}

pub async fn c9_an_expire_beats_a_computation(stage: &Stage) {
    let (a, b) = (stage.handle(), stage.handle());
    let key = stage.key("row");
    stale(&a, &key, 1).await;
    let refresh = Slow::refresh(&a, &key, Ok(2)).await;
    b.expire(&key).await.unwrap();
    assert_eq!(refresh.finish().await, Ok(2));
    assert_eq!(get(&b, &key).await, None);
    assert_eq!(peek(&b, &key, MINUTE).await, Some(1));
}

pub async fn c9_c8_an_expire_that_is_not_confirmed_becomes_a_reset(stage: &Stage) {
    let (a, backend) = stage.faulty();
    let b = stage.handle();
    let key = stage.key("row");
    let cached = b.cached(&key).stale(MINUTE);
    cached.set(1).await.unwrap();
    backend.fail(Op::Reset, Fault::Refuse);
    assert_eq!(
        kind(a.expire(&key).await),
        Some(ErrorKind::Unconfirmed),
        "it is queued"
    );
    let value = peek(&a, &key, MINUTE).await;
    assert_eq!(value, None, "and not trusted until then");
    backend.heal();
    until("it is reset", async || {
        cached.get::<i32>().await.unwrap().is_none()
    })
    .await;
}

/// Sets a flag when it is dropped.
struct Ends(Arc<Notify>);

impl Drop for Ends {
    fn drop(&mut self) {
        self.0.notify_one();
    }
}

pub async fn c9_a_refresh_in_the_background_outlives_its_caller(stage: &Stage) {
    let (a, b) = (stage.handle(), stage.handle());
    let key = stage.key("row");
    stale(&a, &key, 1).await;
    let go_on = Arc::new(Notify::new());
    let (cached, goes_on) = (a.cached(&key).stale(MINUTE), Arc::clone(&go_on));
    let caller = tokio::spawn(async move {
        let compute = async move || {
            goes_on.notified().await;
            2
        };
        cached.get_or_spawn(compute).await
    });
    assert_eq!(
        soon("a caller that does not wait", caller).await.unwrap(),
        1
    );
    assert_eq!(read(&b, &key, NO).await, 1, "others do not compute either");
    go_on.notify_one();
    until("it is refreshed", async || get(&b, &key).await == Some(2)).await;
    a.reset(&key).await.unwrap();
    let cached = a.cached(&key).stale(MINUTE);
    assert_eq!(cached.get_or_spawn(async || 3).await, 3, "a miss computes");
}

pub async fn c9_a_refresh_in_the_background_ends_with_the_handle(stage: &Stage) {
    for close in [true, false] {
        let (a, b) = (stage.handle(), stage.handle());
        let key = stage.key("row");
        stale(&a, &key, 1).await;
        let (started, ended) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let (starts, ends) = (Arc::clone(&started), Ends(Arc::clone(&ended)));
        let cached = a.cached(&key).stale(MINUTE);
        let compute = async move || {
            let _ends = ends;
            starts.notify_one();
            std::future::pending::<i32>().await
        };
        assert_eq!(cached.get_or_spawn(compute).await, 1);
        soon("the refresh starts", started.notified()).await;
        if close {
            let built = Cachify {
                prefix: None,
                ..a.clone()
            };
            built.close(10 * SECOND).await.unwrap();
        }
        drop((a, cached));
        soon("the refresh ends", ended.notified()).await;
        // Its lease was given back.
        let start = Instant::now();
        let strict = b.cached(&key);
        assert_eq!(soon("b", strict.get_or_compute(async || 2)).await, 2);
        assert!(start.elapsed() < 2 * SECOND, "{:?}", start.elapsed());
    }
}

pub async fn c9_a_refresh_in_the_background_that_panics_or_fails_is_contained(stage: &Stage) {
    for panics in [true, false] {
        let a = stage.handle();
        let key = stage.key("row");
        stale(&a, &key, 1).await;
        let runs = Arc::new(AtomicUsize::new(0));
        let cached = a.cached(&key).stale(MINUTE);
        let start = Instant::now();
        until("two pauses", async || {
            let ran = Arc::clone(&runs);
            let failing = async move || {
                ran.fetch_add(1, Ordering::SeqCst);
                assert!(!panics, "on purpose");
                NO
            };
            assert_eq!(cached.get_or_try_spawn(failing).await, Ok(1));
            runs.load(Ordering::SeqCst) == 3
        })
        .await;
        assert!(start.elapsed() >= 300 * MILLI, "{:?}", start.elapsed());
    }
}

pub async fn c9_a_reset_beats_a_refresh_in_the_background(stage: &Stage) {
    let (a, b) = (stage.handle(), stage.handle());
    let key = stage.key("row");
    stale(&a, &key, 1).await;
    let (started, go_on) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (starts, goes_on) = (Arc::clone(&started), Arc::clone(&go_on));
    let ended = Arc::new(Notify::new());
    let ends = Ends(Arc::clone(&ended));
    let compute = async move || {
        starts.notify_one();
        goes_on.notified().await;
        drop(ends);
        2
    };
    assert_eq!(a.cached(&key).stale(MINUTE).get_or_spawn(compute).await, 1);
    soon("it runs", started.notified()).await;
    b.reset(&key).await.unwrap();
    go_on.notify_one();
    soon("it ends", ended.notified()).await;
    assert_eq!(read(&b, &key, Ok(3)).await, 3);
    assert_eq!(read(&a, &key, NO).await, 3);
}

pub async fn c9_one_caller_refreshes_early_and_all_others_are_served(stage: &Stage) {
    let (a, b) = (stage.handle(), stage.handle());
    let key = stage.key("row");
    // The memory of a tier serves its copies until they expire.
    let remote = |cachify: &Cachify| cachify.cached(&key).ttl(MINUTE).local(false);
    let stored = async |cachify: &Cachify| remote(cachify).get::<i32>().await.unwrap();
    // So early that each read is due.
    let early = |cachify: &Cachify| remote(cachify).refresh_early(1e9);
    let costly = async || {
        sleep(20 * MILLI).await;
        1
    };
    assert_eq!(early(&a).get_or_compute(costly).await, 1);
    let refresh = Slow::start(early(&a), Ok(2)).await;
    for handle in [&a, &b] {
        let cached = early(handle);
        let read = cached.get_or_try_compute(async || NO);
        assert_eq!(soon("the value that is there", read).await, Ok(1));
        assert_eq!(stored(handle).await, Some(1), "it is fresh");
    }
    sleep(20 * MILLI).await;
    assert_eq!(refresh.finish().await, Ok(2));
    assert_eq!(stored(&b).await, Some(2));
    // One that fails costs nothing.
    let failing = Slow::start(early(&b), NO).await;
    assert_eq!(failing.finish().await, Ok(2));
}

pub async fn c9_a_slow_refresh_costs_its_soft_limit(stage: &Stage) {
    let (a, b) = (stage.handle(), stage.handle());
    let key = stage.key("row");
    let limited = |cachify: &Cachify| cachify.cached(&key).stale(MINUTE).soft_limit(50 * MILLI);
    stale(&a, &key, 1).await;
    // A caller that computes itself gives up.
    let start = Instant::now();
    let cached = limited(&a);
    let slow = cached.get_or_compute(std::future::pending::<i32>);
    assert_eq!(soon("it is served", slow).await, 1);
    assert!(start.elapsed() >= 50 * MILLI);
    assert_eq!(read(&a, &key, Ok(2)).await, 1, "it pauses");
    // In the background it goes on.
    let go_on = Arc::new(Notify::new());
    let goes_on = Arc::clone(&go_on);
    let compute = async move || {
        goes_on.notified().await;
        3
    };
    let cached = limited(&b);
    let read = cached.get_or_spawn(compute);
    assert_eq!(soon("it is served", read).await, 1);
    go_on.notify_one();
    until("it is refreshed", async || get(&a, &key).await == Some(3)).await;
    b.expire(&key).await.unwrap();
    let read = cached.get_or_spawn(async || 4);
    assert_eq!(soon("a fast one", read).await, 4, "is waited for");
    // After a reset there is nothing to serve.
    b.expire(&key).await.unwrap();
    let slow = Slow::start(limited(&b), Ok(5)).await;
    a.reset(&key).await.unwrap();
    sleep(100 * MILLI).await;
    assert_eq!(slow.finish().await, Ok(5));
}

pub async fn c9_a_computation_ends_at_its_hard_limit(stage: &Stage) {
    let a = stage.handle();
    let key = stage.key("row");
    let limited = a.cached(&key).stale(MINUTE).hard_limit(50 * MILLI);
    let hangs = || std::future::pending::<Result<i32, Error>>();
    let error = soon("a miss", limited.get_or_try_compute(hangs)).await;
    let error = error.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert_eq!(error.template(), Some(key.template()));
    let value = limited.get_or_try_compute(async || Ok::<_, Error>(1));
    assert_eq!(soon("a fast one", value).await.unwrap(), 1);
    limited.expire().await.unwrap();
    let value = soon("a refresh", limited.get_or_try_compute(hangs)).await;
    assert_eq!(value.unwrap(), 1);
    let value = soon("in the background", limited.get_or_try_spawn(hangs)).await;
    assert_eq!(value.unwrap(), 1);
    until("the pause ends", async || {
        let again = limited.get_or_try_spawn(async || Ok::<_, Error>(2));
        again.await.unwrap() == 2
    })
    .await;
}

pub async fn c5_chosen_errors_are_cached(stage: &Stage) {
    let (a, b) = (stage.handle(), stage.handle());
    let key = stage.key("row");
    let chosen = |cachify: &Cachify| {
        let cached = cachify.cached(&key).stale(MINUTE);
        cached.cache_err(|error: &String| (error == "absent").then_some(MINUTE))
    };
    let fail = async |cachify: &Cachify, error: &str| {
        let cached = chosen(cachify);
        let read = cached.get_or_try_compute(async || Err::<i32, _>(error.to_owned()));
        soon("a read", read).await.unwrap_err()
    };
    assert_eq!(fail(&a, "down").await, "down", "not stored");
    assert_eq!(fail(&a, "absent").await, "absent");
    for handle in [&a, &b] {
        assert_eq!(fail(handle, "down").await, "absent", "stored");
        let cached = chosen(handle);
        let read = cached.get_or_try_spawn(async || Ok::<_, String>(1));
        assert_eq!(read.await.unwrap_err(), "absent");
    }
    // Never served stale.
    b.expire(&key).await.unwrap();
    assert_eq!(fail(&a, "down").await, "down");
    let cached = chosen(&a);
    let ok = cached.get_or_try_compute(async || Ok::<_, String>(1));
    assert_eq!(ok.await, Ok(1));
    assert_eq!(get(&b, &key).await, Some(1), "stored as any other value");
    // It replaces a stale value, which other errors do not.
    b.expire(&key).await.unwrap();
    let value = cached.get_or_try_compute(async || Err("down".to_owned()));
    assert_eq!(value.await, Ok(1));
    let peek = peek(&b, &key, MINUTE).await;
    assert_eq!(peek, Some(1));
    assert_eq!(fail(&b, "absent").await, "absent");
    b.reset(&key).await.unwrap();
    assert_eq!(fail(&a, "down").await, "down");
}

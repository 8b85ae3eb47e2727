//! The handle's own reaction to a failing backend, beyond the promises that every backend must
//! keep.
#![allow(clippy::unwrap_used)]

#[path = "common/log.rs"]
mod log;

use std::time::Duration;

use cachify_core::backend::Backend;
use cachify_core::testing::{Fault, Faulty, Op};
use cachify_core::{Cached, Cachify, ErrorKind, Fixed, Key, KeyTemplate, ShareErrors};
use log::Log;
use tokio::runtime::{Builder, Runtime};

fn key(text: &str) -> Key {
    KeyTemplate::parse(text).unwrap().render(&[])
}

fn runtime() -> Runtime {
    let mut builder = Builder::new_current_thread();
    builder.enable_all().start_paused(true).build().unwrap()
}

#[test]
fn c7_a_probe_that_ended_with_its_runtime_is_followed_by_another() {
    let (cachify, backend) = Faulty::wrap(&Cachify::memory());
    let key = key("row");
    let first = runtime();
    first.block_on(async {
        backend.fail_all(Fault::Refuse);
        for _ in 0..3 {
            cachify.cached(&key).get_or_compute(async || 1).await;
        }
    });
    drop(first);
    backend.heal();
    runtime().block_on(async {
        for _ in 0..10 {
            cachify.cached(&key).get_or_compute(async || 2).await;
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        assert_eq!(cachify.cached(&key).get().await.unwrap(), Some(2));
    });
}

#[test]
fn c8_a_replay_that_ended_with_its_runtime_is_followed_by_another() {
    let (cachify, backend) = Faulty::wrap(&Cachify::memory());
    let (row, other) = (key("row"), key("other"));
    let first = runtime();
    first.block_on(async {
        cachify.cached(&row).set(1).await.unwrap();
        backend.fail(Op::Reset, Fault::Refuse);
        let error = cachify.reset(&row).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unconfirmed);
    });
    drop(first);
    backend.heal();
    runtime().block_on(async {
        let resets = backend.calls(Op::Reset);
        // Nothing fails any more, and no caller asks for that key.
        cachify.cached(&other).get_or_compute(async || 1).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert!(backend.calls(Op::Reset) > resets, "it is repeated");
        cachify.cached(&row).get_or_compute(async || 2).await;
        assert_eq!(cachify.cached(&row).get().await.unwrap(), Some(2));
    });
}

#[tokio::test(start_paused = true)]
async fn c3_waiting_for_another_process_costs_no_budget() {
    let memory = std::sync::Arc::new(cachify_core::backend::memory::Memory::default());
    let process = || {
        let builder = Cachify::builder().backend(memory.clone());
        Faulty::wrap(&builder.connect_lazy().unwrap())
    };
    let ((here, backend), (there, _)) = (process(), process());
    let row = key("row");
    let (go, goes) = (
        std::sync::Arc::new(tokio::sync::Notify::new()),
        there.cached(&row),
    );
    let going = go.clone();
    let elsewhere = tokio::spawn(async move {
        goes.get_or_compute(async || {
            going.notified().await;
            1
        })
        .await
    });
    tokio::task::yield_now().await;
    let cached = here.cached(&row);
    let waits = tokio::spawn(async move { cached.get_or_compute(async || 2).await });
    // A remote backend, and a computation that takes many polls.
    for _ in 0..10 {
        let gate = backend.before(Op::Begin);
        memory.signals().wake(row.as_str());
        gate.reached().await;
        tokio::time::sleep(Duration::from_millis(100)).await;
        gate.open();
        tokio::task::yield_now().await;
    }
    go.notify_one();
    assert_eq!(elsewhere.await.unwrap(), 1);
    assert_eq!(waits.await.unwrap(), 1, "it did not compute");
}

#[tokio::test(start_paused = true)]
async fn c7_what_was_never_asked_for_is_not_given_back() {
    let (cachify, backend) = Faulty::wrap(&Cachify::memory());
    backend.fail_all(Fault::Refuse);
    let read = async || cachify.cached(&key("row")).get_or_compute(async || 1).await;
    while cachify
        .cached(&key("row"))
        .get::<i32>()
        .await
        .unwrap_err()
        .kind()
        != ErrorKind::Unavailable
        || backend.calls(Op::Get) < 3
    {}
    let (begins, releases) = (backend.calls(Op::Begin), backend.calls(Op::ReleaseLease));
    for _ in 0..100 {
        assert_eq!(read().await, 1);
        tokio::task::yield_now().await;
    }
    assert_eq!(backend.calls(Op::Begin), begins, "it is left alone");
    assert_eq!(backend.calls(Op::ReleaseLease), releases);
}

#[tokio::test(start_paused = true)]
async fn the_longest_and_shortest_times_are_just_times() {
    let longest = Cachify::builder()
        .backend_timeout(Duration::MAX)
        .compute_wait(Duration::MAX)
        .lock_ttl(Duration::MAX);
    let shortest = Cachify::builder()
        .backend_timeout(Duration::ZERO)
        .compute_wait(Duration::ZERO);
    for builder in [longest, shortest] {
        let (cachify, backend) = Faulty::wrap(&builder.connect_lazy().unwrap());
        let key = key("row");
        let cached = cachify.cached(&key).ttl(Duration::MAX);
        assert_eq!(cached.get_or_compute(async || 1).await, 1);
        assert_eq!(cached.get().await.unwrap(), Some(1));
        let lock = cachify.lock(&key).wait(Duration::MAX);
        let guard = lock.max_hold(Duration::MAX).acquire().await.unwrap();
        let pool = cachify.pool(&key, 1).ttl(Duration::from_secs(30));
        let permit = pool.acquire().await.unwrap();
        backend.fail(Op::Extend, Fault::Refuse);
        tokio::time::sleep(Duration::from_secs(12)).await;
        let calls = backend.calls(Op::Extend);
        assert!(
            (1..=10_000).contains(&calls),
            "it rests in between: {calls}"
        );
        backend.heal();
        tokio::time::sleep(Duration::from_mins(1)).await;
        assert!(!permit.is_lost(), "renewals went on");
        guard.release().await.unwrap();
        permit.release().await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn l7_a_waiter_whose_backend_hangs_halfway_is_told_within_a_budget() {
    let (cachify, backend) = Faulty::wrap(&Cachify::memory());
    let key = key("row");
    let _guard = cachify.lock(&key).acquire().await.unwrap();
    let start = tokio::time::Instant::now();
    let wait = Duration::from_millis(500);
    let lock = cachify.lock(&key).wait(wait);
    let waiter = tokio::spawn(async move { lock.acquire().await.unwrap_err() });
    while backend.calls(Op::Acquire) < 2 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    backend.fail_all(Fault::Hang);
    let error = waiter.await.unwrap();
    assert!(error.is_unavailable(), "{error}");
    let took = start.elapsed();
    assert!(took <= wait + Duration::from_millis(300), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn c7_a_shared_error_costs_no_second_budget() {
    let (cachify, backend) = Faulty::wrap(&Cachify::memory());
    let cached = cachify.cached(&key("row")).share_errors();
    let gate = backend.before(Op::Begin);
    backend.fail(Op::ReleaseLease, Fault::Hang);
    let start = tokio::time::Instant::now();
    let read = |cached: Cached<ShareErrors<Fixed>>| {
        tokio::spawn(async move {
            cached
                .get_or_try_compute(async || Err::<i32, _>("no"))
                .await
        })
    };
    let leader = read(cached.clone());
    gate.reached().await;
    let waiter = read(cached);
    tokio::time::sleep(Duration::from_millis(200)).await;
    gate.open();
    assert_eq!(leader.await.unwrap(), Err("no"));
    let lost = start.elapsed();
    assert!(lost < Duration::from_millis(300), "{lost:?}");
    assert_eq!(waiter.await.unwrap(), Err("no"));
}

#[tokio::test]
async fn s4_a_closed_handle_does_not_promise_to_repeat_a_reset() {
    let cachify = Cachify::memory();
    let key = key("row");
    cachify.cached(&key).set(1).await.unwrap();
    cachify.close(Duration::from_secs(1)).await.unwrap();
    let error = cachify.reset(&key).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotQueued, "{error}");
    assert_eq!(cachify.cached(&key).get_or_compute(async || 2).await, 2);
}

/// A release outlives the handle, because its lock would stay taken. A queued reset does not, and
/// the log says so.
#[tokio::test(start_paused = true)]
async fn s4_the_last_handle_tells_which_resets_end_with_it() {
    let log = Log::start();
    let memory = Cachify::memory();
    for with_release in [false, true] {
        let (cachify, backend) = Faulty::wrap(&memory);
        let guard = cachify.lock(&key("door")).acquire().await.unwrap();
        backend.fail(Op::Reset, Fault::Refuse);
        if with_release {
            backend.fail(Op::Release, Fault::Hang);
        }
        cachify.reset(&key("row")).await.unwrap_err();
        // The first repetition has failed, too.
        tokio::time::sleep(Duration::from_millis(10)).await;
        drop((guard, cachify));
        let told = log.take_warnings();
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(told[0].contains("`close` the handle first"), "{told:?}");
        assert!(told[0].contains("resets=1"), "{told:?}");
        let calls = backend.calls(Op::Reset);
        backend.heal();
        tokio::time::sleep(Duration::from_secs(5)).await;
        assert!(!memory.lock(&key("door")).is_locked().await.unwrap());
        assert_eq!(backend.calls(Op::Reset), calls);
    }
    let (cachify, backend) = Faulty::wrap(&memory);
    cachify.reset(&key("row")).await.unwrap();
    backend.fail(Op::Reset, Fault::Refuse);
    cachify.reset(&key("row")).await.unwrap_err();
    cachify.close(Duration::from_secs(1)).await.unwrap_err();
    drop(cachify);
    assert_eq!(log.warnings(), [""; 0], "the error of `close` told it");
}

#[test]
fn s4_a_guard_may_outlive_its_runtime() {
    let (cachify, backend) = Faulty::wrap(&Cachify::memory());
    let first = runtime();
    let guard = first.block_on(cachify.lock(&key("row")).acquire()).unwrap();
    let permit = first
        .block_on(cachify.pool(&key("row"), 1).acquire())
        .unwrap();
    backend.fail_all(Fault::Hang);
    let handle = first.handle().clone();
    drop(first);
    // As on a thread for blocking work, which continues while its runtime shuts down.
    let _entered = handle.enter();
    drop(permit);
    let panicked = std::thread::scope(|scope| {
        let work = scope.spawn(|| {
            let _entered = handle.enter();
            let _guard = guard;
            panic!("on purpose");
        });
        work.join()
    });
    assert!(panicked.is_err(), "and does not abort");
}

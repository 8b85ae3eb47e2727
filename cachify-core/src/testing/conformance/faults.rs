//! Behaviour while the backend fails: C7, C8, L7, S4 and S6.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;

/// The time that a loaded machine may add to a bounded duration.
const SLACK: Duration = Duration::from_millis(400);

async fn read(cachify: &Cachify, key: &Key, value: i32) -> i32 {
    cachify.cached(key).get_or_compute(async || value).await
}

pub async fn c7_a_backend_that_fails_costs_a_budget_at_most(stage: &Stage) {
    for fault in [Fault::Refuse, Fault::Hang, Fault::LoseAnswer, Fault::Reject] {
        let (cachify, backend) = stage.faulty();
        backend.fail_all(fault);
        for round in 0..5 {
            let key = stage.key("away");
            let start = Instant::now();
            assert_eq!(read(&cachify, &key, round).await, round);
            let lost = start.elapsed();
            assert!(
                lost <= backend_timeout(&cachify) + SLACK,
                "{fault:?}: {lost:?}"
            );
        }
    }
}

pub async fn c7_after_a_few_failures_a_backend_costs_nothing_until_it_is_back(stage: &Stage) {
    let (cachify, backend) = stage.faulty();
    let key = stage.key("away");
    backend.fail_all(Fault::Hang);
    for _ in 0..3 {
        read(&cachify, &key, 1).await;
    }
    let calls = backend.calls(Op::Get);
    for _ in 0..100 {
        assert_eq!(read(&cachify, &key, 1).await, 1);
    }
    assert_eq!(backend.calls(Op::Get), calls, "it is left alone");
    backend.heal();
    until("it is trusted again", async || {
        read(&cachify, &key, 2).await;
        cachify.cached(&key).get::<i32>().await.ok().flatten() == Some(2)
    })
    .await;
}

pub async fn c7_a_failed_store_does_not_lose_the_value(stage: &Stage) {
    for fault in [Fault::Refuse, Fault::Hang, Fault::Reject] {
        let (cachify, backend) = stage.faulty();
        let key = stage.key("full");
        backend.fail(Op::Fill, fault);
        backend.fail(Op::ReleaseLease, fault);
        let runs = AtomicUsize::new(0);
        let cached = cachify.cached(&key);
        let value = cached.get_or_compute(async || runs.fetch_add(1, Ordering::SeqCst) + 10);
        assert_eq!(value.await, 10);
        assert_eq!(runs.load(Ordering::SeqCst), 1);
    }
}

pub async fn c8_s7_a_reset_without_an_answer_is_repeated(stage: &Stage) {
    for fault in [Fault::Refuse, Fault::Hang, Fault::LoseAnswer] {
        let (cachify, backend) = stage.faulty();
        let other = stage.handle();
        let key = stage.key("row");
        other.cached(&key).set(1).await.unwrap();
        backend.fail(Op::Reset, fault);
        let reset = cachify.reset(&key).await;
        assert_eq!(kind(reset), Some(ErrorKind::Unconfirmed), "{fault:?}");
        // Meanwhile, the backend's copy is not trusted.
        assert_eq!(read(&cachify, &key, 2).await, 2);
        backend.heal();
        until("the reset is repeated", async || {
            cachify.inner.engine.resets.is_empty()
        })
        .await;
        assert_eq!(other.cached(&key).get::<i32>().await.unwrap(), None);
        assert_eq!(read(&cachify, &key, 3).await, 3);
        assert_eq!(
            read(&other, &key, 4).await,
            3,
            "and then it is trusted again"
        );
    }
}

pub async fn c8_a_failed_set_becomes_a_reset(stage: &Stage) {
    for op in [Op::Begin, Op::Fill] {
        for fault in [Fault::Refuse, Fault::LoseAnswer, Fault::Reject] {
            let (cachify, backend) = stage.faulty();
            let other = stage.handle();
            let key = stage.key("row");
            other.cached(&key).set(1).await.unwrap();
            backend.fail(op, fault);
            let set = cachify.cached(&key).set(2).await;
            assert_eq!(kind(set), Some(ErrorKind::Unconfirmed));
            until("the old value is gone", async || {
                other.cached(&key).get::<i32>().await.unwrap().is_none()
            })
            .await;
        }
    }
}

pub async fn c8_resets_that_cannot_be_queued_say_so(stage: &Stage) {
    let (cachify, backend) = stage.faulty();
    backend.fail_all(Fault::Refuse);
    let mut kinds = Vec::new();
    for _ in 0..10_001 {
        kinds.push(kind(cachify.reset(&stage.key("row")).await));
    }
    assert_eq!(kinds.pop().flatten(), Some(ErrorKind::NotQueued));
    assert!(
        kinds
            .iter()
            .all(|kind| *kind == Some(ErrorKind::Unconfirmed))
    );
}

pub async fn l7_s33_without_a_backend_nobody_is_locked_out_or_let_in(stage: &Stage) {
    for fault in [Fault::Refuse, Fault::Hang, Fault::LoseAnswer, Fault::Reject] {
        let (cachify, backend) = stage.faulty();
        backend.fail_all(fault);
        for _ in 0..5 {
            let key = stage.key("away");
            let ran = AtomicUsize::new(0);
            let start = Instant::now();
            let once = cachify.once(&key);
            let once = once.run(async {
                ran.fetch_add(1, Ordering::SeqCst);
            });
            let error = once.await.expect_err("neither run nor locked out");
            assert!(!error.is_contended(), "{error}");
            let waiting = cachify.lock(&key).wait(30 * SECOND);
            let error = waiting.acquire().await.expect_err("not acquired");
            assert!(!error.is_contended(), "{error}");
            let error = cachify
                .pool(&key, 1)
                .acquire()
                .await
                .expect_err("no permit");
            assert!(!error.is_contended(), "{error}");
            assert!(start.elapsed() <= 3 * (backend_timeout(&cachify) + SLACK));
            assert_eq!(ran.load(Ordering::SeqCst), 0);
        }
    }
}

pub async fn s4_dropping_the_last_handle_ends_its_tasks(stage: &Stage) {
    let tasks = || {
        tokio::runtime::Handle::current()
            .metrics()
            .num_alive_tasks()
    };
    // Anything that belongs to the backend itself, not to a handle, exists beforehand.
    let other = stage.handle();
    let first = other.lock(&stage.key("first")).wait(SECOND).acquire().await;
    first.unwrap().release().await.unwrap();
    read(&other, &stage.key("row"), 1).await;
    sleep(200 * MILLI).await;
    let before = tasks();
    let (cachify, backend) = stage.faulty();
    let key = stage.key("everything");
    // Releases are retried until the time to live has passed.
    let lock = cachify.lock(&key).ttl(SECOND);
    let guard = lock.acquire().await.unwrap();
    let waiting = lock.clone().wait(10 * MILLI).acquire().await;
    assert_eq!(kind(waiting), Some(ErrorKind::Held));
    // A probe and a replay that never finish by themselves.
    backend.fail_all(Fault::Refuse);
    for _ in 0..5 {
        let _ = cachify.reset(&stage.key("row")).await;
    }
    assert!(tasks() > before);
    drop((guard, lock, cachify, backend));
    until("all tasks end", async || tasks() <= before).await;
}

pub async fn s4_close_waits_for_releases_and_resets(stage: &Stage) {
    let (cachify, backend) = stage.faulty();
    let other = stage.handle();
    let (lock, row) = (stage.key("lock"), stage.key("row"));
    other.cached(&row).set(1).await.unwrap();
    let guard = cachify.lock(&lock).acquire().await.unwrap();
    backend.fail_all(Fault::Refuse);
    let _ = cachify.reset(&row).await;
    drop(guard);
    let early = cachify.close(20 * MILLI).await;
    assert_eq!(kind(early), Some(ErrorKind::Timeout), "there is work left");
    backend.heal();
    soon("releases and resets", async {
        while other.lock(&lock).is_locked().await.unwrap() {
            sleep(5 * MILLI).await;
        }
    })
    .await;

    let (cachify, _) = stage.faulty();
    drop(cachify.lock(&lock).acquire().await.unwrap());
    cachify.close(10 * SECOND).await.unwrap();
    assert!(!other.lock(&lock).is_locked().await.unwrap());
}

pub async fn s4_a_closed_handle_refuses_locks_and_computes_reads(stage: &Stage) {
    // The handle as it was built, which `close` closes.
    let cachify = Cachify {
        prefix: None,
        ..stage.handle()
    };
    let key = stage.key("closed");
    cachify.close(SECOND).await.unwrap();
    let lock = cachify.lock(&key).acquire().await;
    assert_eq!(kind(lock), Some(ErrorKind::Unavailable));
    assert_eq!(read(&cachify, &key, 1).await, 1);
    assert_eq!(read(&cachify, &key, 2).await, 2);
}

pub async fn s6_different_troubles_are_different_kinds(stage: &Stage) {
    let (cachify, backend) = stage.faulty();
    let key = stage.key("kinds");
    let guard = cachify.lock(&key).acquire().await.unwrap();
    let permit = cachify.pool(&key, 1).acquire().await.unwrap();
    let held = cachify.lock(&key).acquire().await.unwrap_err();
    assert_eq!(held.kind(), ErrorKind::Held);
    assert_eq!(held.template(), Some(key.template()));
    assert!(
        held.retry_after()
            .is_some_and(|after| after > Duration::ZERO)
    );
    let full = cachify.pool(&key, 1).acquire().await;
    assert_eq!(kind(full), Some(ErrorKind::Full));
    cachify.lock(&key).force_release().await.unwrap();
    assert_eq!(kind(guard.release().await), Some(ErrorKind::Lost));
    permit.release().await.unwrap();

    backend.fail(Op::Acquire, Fault::Refuse);
    let refused = cachify.lock(&key).acquire().await;
    assert_eq!(kind(refused), Some(ErrorKind::Unavailable));
    backend.fail(Op::Acquire, Fault::Hang);
    let hung = cachify.lock(&key).acquire().await;
    assert_eq!(kind(hung), Some(ErrorKind::Timeout));
    backend.fail(Op::Reset, Fault::Refuse);
    assert_eq!(
        kind(cachify.reset(&key).await),
        Some(ErrorKind::Unconfirmed)
    );
}

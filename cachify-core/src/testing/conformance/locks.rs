//! Locks and run-once: L and O.

use std::future::{pending, poll_fn};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use futures_util::future::{Either, join_all, select};

use super::*;
use crate::backend::Shard;

async fn is_free(cachify: &Cachify, key: &Key) -> bool {
    !cachify.lock(key).is_locked().await.unwrap()
        && waiting(cachify, SlotKind::Lock, key).await == 0
}

pub async fn l1_one_holder_at_a_time(stage: &Stage) {
    let handles = [stage.handle(), stage.handle()];
    let key = stage.key("counter");
    let (inside, runs) = (AtomicBool::new(false), AtomicUsize::new(0));
    let tasks = (0..20).map(|n| {
        let lock = handles[n % 2].lock(&key).wait(30 * SECOND);
        let (inside, runs) = (&inside, &runs);
        async move {
            for _ in 0..3 {
                let guard = lock.acquire().await.unwrap();
                assert!(!inside.swap(true, Ordering::SeqCst), "two at once");
                tokio::task::yield_now().await;
                runs.fetch_add(1, Ordering::SeqCst);
                inside.store(false, Ordering::SeqCst);
                guard.release().await.unwrap();
            }
        }
    });
    soon("all turns", join_all(tasks)).await;
    assert_eq!(runs.load(Ordering::SeqCst), 60);
    assert!(is_free(&handles[0], &key).await);
}

pub async fn l1_py02_only_the_owner_releases(stage: &Stage) {
    let (a, backend) = stage.faulty();
    let b = stage.handle();
    let key = stage.key("expired");
    backend.fail(Op::Extend, Fault::Refuse);
    let expired = a.lock(&key).ttl(SECOND).acquire().await.unwrap();
    let next = b.lock(&key).wait(5 * SECOND).acquire().await.unwrap();
    assert!(expired.is_lost());
    assert_eq!(kind(expired.release().await), Some(ErrorKind::Lost));
    assert!(a.lock(&key).is_locked().await.unwrap(), "the next owner's");
    assert!(!next.is_lost());
    next.release().await.unwrap();
}

pub async fn l1_py07_a_key_is_one_lock_however_it_is_taken(stage: &Stage) {
    let (a, b) = (stage.handle(), stage.handle());
    let key = stage.key("x");
    let guard = a.once(&key).acquire().await.unwrap();
    assert_eq!(kind(b.lock(&key).acquire().await), Some(ErrorKind::Held));
    // A pool and an entry with the same key are separate.
    b.pool(&key, 1)
        .acquire()
        .await
        .unwrap()
        .release()
        .await
        .unwrap();
    assert_eq!(b.cached(&key).get_or_compute(async || 1).await, 1);
    guard.release().await.unwrap();
    assert_eq!(b.once(&key).run(async { 5 }).await.unwrap(), Some(5));
}

pub async fn l2_zero_wait_fails_at_once(stage: &Stage) {
    let (a, b) = (stage.handle(), stage.handle());
    let key = stage.key("busy");
    let guard = a.lock(&key).acquire().await.unwrap();
    let start = Instant::now();
    let error = b.lock(&key).acquire().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Held);
    assert!(start.elapsed() < backend_timeout(&b));
    assert!(error.retry_after().unwrap() <= 30 * SECOND);
    drop(guard);
    // At once for the next caller in the same process, and soon for all others.
    a.lock(&key)
        .acquire()
        .await
        .unwrap()
        .release()
        .await
        .unwrap();
    until("dropping releases", async || is_free(&b, &key).await).await;
}

pub async fn l2_first_come_first_served(stage: &Stage) {
    let handles = [stage.handle(), stage.handle()];
    let key = stage.key("queue");
    let guard = handles[0].lock(&key).acquire().await.unwrap();
    let order = Arc::new(Mutex::new(Vec::new()));
    let mut waiters = Vec::new();
    for n in 0..8 {
        let (lock, order) = (handles[n % 2].lock(&key), Arc::clone(&order));
        waiters.push(tokio::spawn(async move {
            let guard = lock.wait(30 * SECOND).acquire().await.unwrap();
            order.lock().unwrap().push(n);
            guard.release().await.unwrap();
        }));
        queue_grows_to(&handles[0], SlotKind::Lock, &key, n + 1).await;
    }
    let start = Instant::now();
    guard.release().await.unwrap();
    soon("everybody", join_all(waiters)).await;
    assert_eq!(*order.lock().unwrap(), [0, 1, 2, 3, 4, 5, 6, 7]);
    // By message: polling would take a second each.
    assert!(start.elapsed() < 4 * SECOND, "{:?}", start.elapsed());
}

pub async fn l2_py06_waiting_ends_in_time(stage: &Stage) {
    let (a, b) = (stage.handle(), stage.handle());
    let key = stage.key("waits-long");
    let _guard = a.lock(&key).acquire().await.unwrap();
    for wait in [10 * MILLI, 100 * MILLI, 1200 * MILLI] {
        let start = Instant::now();
        let error = b.lock(&key).wait(wait).acquire().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Held);
        let took = start.elapsed();
        assert!(
            took >= wait && took < wait + backend_timeout(&b),
            "{took:?}"
        );
        until("it leaves the queue", async || {
            waiting(&a, SlotKind::Lock, &key).await == 0
        })
        .await;
    }
}

pub async fn l2_s15_nobody_overtakes_a_live_waiter(stage: &Stage) {
    let (a, b, c) = (stage.handle(), stage.handle(), stage.handle());
    let key = stage.key("head");
    let guard = a.lock(&key).acquire().await.unwrap();
    let lock = b.lock(&key).wait(30 * SECOND);
    let waiter = tokio::spawn(async move { lock.acquire().await.unwrap() });
    queue_grows_to(&a, SlotKind::Lock, &key, 1).await;
    guard.release().await.unwrap();
    // The lock is on its way to the waiter or has arrived; either way it is not free.
    assert_eq!(kind(c.lock(&key).acquire().await), Some(ErrorKind::Held));
    soon("the waiter", waiter)
        .await
        .unwrap()
        .release()
        .await
        .unwrap();
    c.lock(&key)
        .acquire()
        .await
        .unwrap()
        .release()
        .await
        .unwrap();
}

pub async fn l2_s15_dead_waiters_are_no_reason_to_refuse(stage: &Stage) {
    let (a, b) = (stage.handle(), stage.handle());
    let (dead, backend) = stage.faulty();
    let key = stage.key("dead");
    let guard = a.lock(&key).acquire().await.unwrap();
    // A waiter that is in the queue and disappears without a release.
    backend.fail(Op::Release, Fault::Hang);
    let lock = dead.lock(&key).wait(30 * SECOND);
    let waiter = tokio::spawn(async move { lock.acquire().await });
    queue_grows_to(&a, SlotKind::Lock, &key, 1).await;
    waiter.abort();
    let _ = waiter.await;
    guard.release().await.unwrap();
    // Its process lives and reports that it has no such waiter, or the claim window ends.
    let start = Instant::now();
    until("the newcomer gets it", async || {
        b.lock(&key).acquire().await.is_ok()
    })
    .await;
    assert!(start.elapsed() < 2 * SECOND, "{:?}", start.elapsed());
}

pub async fn l2_s12_a_dead_holder_is_followed_by_exactly_one(stage: &Stage) {
    let (a, backend) = stage.faulty();
    let b = stage.handle();
    let key = stage.key("dead");
    // As if the process had been killed: it neither renews nor releases.
    backend.fail(Op::Extend, Fault::Hang);
    backend.fail(Op::Release, Fault::Hang);
    let dead = a.lock(&key).ttl(SECOND).acquire().await.unwrap();
    let order = Arc::new(Mutex::new(Vec::new()));
    let inside = Arc::new(AtomicBool::new(false));
    let mut waiters = Vec::new();
    for n in 0..4 {
        let (lock, order, inside) = (b.lock(&key), Arc::clone(&order), Arc::clone(&inside));
        waiters.push(tokio::spawn(async move {
            let guard = lock.wait(30 * SECOND).acquire().await.unwrap();
            assert!(!inside.swap(true, Ordering::SeqCst), "two at once");
            order.lock().unwrap().push(n);
            tokio::task::yield_now().await;
            inside.store(false, Ordering::SeqCst);
            guard.release().await.unwrap();
        }));
        queue_grows_to(&b, SlotKind::Lock, &key, n + 1).await;
    }
    let start = Instant::now();
    for waiter in waiters {
        soon("the waiters", waiter).await.unwrap();
    }
    assert_eq!(*order.lock().unwrap(), [0, 1, 2, 3]);
    assert!(start.elapsed() < 4 * SECOND, "{:?}", start.elapsed());
    assert!(dead.is_lost());
}

pub async fn l2_s13_a_deadline_that_meets_a_hand_off_leaks_nothing(stage: &Stage) {
    let (a, b) = (stage.handle(), stage.handle());
    let key = stage.key("meet");
    let mut outcomes = [0; 2];
    for round in 0..200_u32 {
        let guard = a.lock(&key).acquire().await.unwrap();
        let lock = b.lock(&key).wait(5 * MILLI);
        let waiter = tokio::spawn(async move { lock.acquire().await.map(drop) });
        sleep(MILLI * (4 + round % 3)).await;
        let _ = guard.release().await;
        let outcome = soon("the waiter", waiter).await.unwrap();
        outcomes[usize::from(outcome.is_ok())] += 1;
        until("free again", async || is_free(&a, &key).await).await;
    }
    assert!(!outcomes.contains(&0), "they never met: {outcomes:?}");
}

pub async fn l2_one_waiter_asks_for_all(stage: &Stage) {
    const WAITERS: usize = 100;
    let (a, backend) = stage.faulty();
    let b = stage.handle();
    let key = stage.key("crowd");
    let guard = b.lock(&key).acquire().await.unwrap();
    let order = Arc::new(Mutex::new(Vec::new()));
    let mut waiters = Vec::new();
    for n in 0..WAITERS {
        let (lock, order) = (a.lock(&key), Arc::clone(&order));
        waiters.push(tokio::spawn(async move {
            let guard = lock.wait(60 * SECOND).acquire().await.unwrap();
            order.lock().unwrap().push(n);
            guard.release().await.unwrap();
        }));
        queue_grows_to(&b, SlotKind::Lock, &key, n + 1).await;
    }
    let asked = backend.calls(Op::Acquire);
    sleep(3 * SECOND).await;
    let looks = backend.calls(Op::Acquire) - asked;
    assert!((2..=6).contains(&looks), "{looks} in 3 s");
    let asked = backend.calls(Op::Acquire);
    guard.release().await.unwrap();
    soon("everybody", join_all(waiters)).await;
    assert!(order.lock().unwrap().is_sorted());
    let claims = backend.calls(Op::Acquire) - asked;
    assert!((WAITERS..=WAITERS + 10).contains(&claims), "{claims}");
}

pub async fn l2_a_waiter_that_is_not_polled_is_not_in_the_way(stage: &Stage) {
    let (a, backend) = stage.faulty();
    let b = stage.handle();
    let key = stage.key("asleep");
    // As if the process had been killed.
    backend.fail(Op::Extend, Fault::Hang);
    backend.fail(Op::Release, Fault::Hang);
    let _dead = a.lock(&key).ttl(SECOND).acquire().await.unwrap();
    let lock = b.lock(&key).wait(30 * SECOND);
    let mut asleep = pin!(lock.acquire());
    until("it waits", async || {
        assert!(poll_once(asleep.as_mut()).is_pending());
        waiting(&a, SlotKind::Lock, &key).await == 1
    })
    .await;
    let _ = poll_once(asleep.as_mut());
    let start = Instant::now();
    let next = b.lock(&key).wait(30 * SECOND).acquire().await.unwrap();
    // The holder's TTL, a claim, and the delay before other waiters poll in its place.
    assert!(start.elapsed() < 4 * SECOND, "{:?}", start.elapsed());
    next.release().await.unwrap();
    let woken = soon("it wakes up", asleep).await.unwrap();
    woken.release().await.unwrap();
}

pub async fn l2_many_waiters_that_are_not_polled_are_not_in_the_way(stage: &Stage) {
    const ASLEEP: usize = 12;
    let (a, backend) = stage.faulty();
    let b = stage.handle();
    let key = stage.key("dormitory");
    // As if the process had been killed.
    backend.fail(Op::Extend, Fault::Hang);
    backend.fail(Op::Release, Fault::Hang);
    let mut dead = Vec::new();
    for _ in 0..ASLEEP {
        let pool = a.pool(&key, 12).ttl(SECOND);
        dead.push(pool.acquire().await.unwrap());
    }
    let pool = b.pool(&key, 12).wait(60 * SECOND);
    let mut asleep = Vec::new();
    for n in 0..ASLEEP {
        let mut waiter = Box::pin(pool.acquire());
        until("it waits", async || {
            assert!(poll_once(waiter.as_mut()).is_pending());
            waiting(&a, SlotKind::Pool, &key).await == n + 1
        })
        .await;
        let _ = poll_once(waiter.as_mut());
        asleep.push(waiter);
    }
    let start = Instant::now();
    let next = b.pool(&key, 12).wait(60 * SECOND).acquire().await.unwrap();
    // The holders' TTL, the time that each waiter leaves to those before it, and a claim.
    assert!(start.elapsed() < 10 * SECOND, "{:?}", start.elapsed());
    next.release().await.unwrap();
    for woken in soon("they wake up", join_all(asleep)).await {
        woken.unwrap().release().await.unwrap();
    }
}

pub async fn l3_a_live_guard_is_renewed(stage: &Stage) {
    let (a, b) = (stage.handle(), stage.handle());
    let key = stage.key("long");
    let guard = a.lock(&key).ttl(SECOND).acquire().await.unwrap();
    for _ in 0..5 {
        sleep(500 * MILLI).await;
        assert_eq!(kind(b.lock(&key).acquire().await), Some(ErrorKind::Held));
    }
    assert!(!guard.is_lost());
    guard.release().await.unwrap();
    b.lock(&key)
        .acquire()
        .await
        .unwrap()
        .release()
        .await
        .unwrap();
}

pub async fn l3_a_failed_renewal_is_tried_again(stage: &Stage) {
    let (a, backend) = stage.faulty();
    let key = stage.key("hiccup");
    let guard = a.lock(&key).ttl(3 * SECOND).acquire().await.unwrap();
    backend.fail(Op::Extend, Fault::Refuse);
    until("a renewal fails", async || backend.calls(Op::Extend) > 0).await;
    backend.heal();
    sleep(3 * SECOND).await;
    assert!(!guard.is_lost());
    guard.release().await.unwrap();
    let renewals = backend.calls(Op::Extend);
    sleep(2 * SECOND).await;
    assert_eq!(backend.calls(Op::Extend), renewals, "never after release");
}

pub async fn l3_max_hold_ends_it(stage: &Stage) {
    let (a, b) = (stage.handle(), stage.handle());
    let key = stage.key("bounded");
    let start = Instant::now();
    let lock = a.lock(&key).ttl(SECOND).max_hold(2 * SECOND);
    let error = soon("it ends", lock.run(pending::<()>()))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Lost);
    let took = start.elapsed();
    assert!(took > 1500 * MILLI && took < 2500 * MILLI, "{took:?}");
    let next = b.lock(&key).wait(SECOND).acquire().await;
    next.unwrap().release().await.unwrap();
}

pub async fn l3_a_ttl_under_a_second_is_refused(stage: &Stage) {
    let cachify = stage.handle();
    let key = stage.key("short");
    for lock in [
        cachify.lock(&key).ttl(999 * MILLI),
        cachify.lock(&key).max_hold(999 * MILLI),
    ] {
        assert_eq!(kind(lock.acquire().await), Some(ErrorKind::Configuration));
    }
    let none = cachify.pool(&key, 0).acquire().await;
    assert_eq!(kind(none), Some(ErrorKind::Configuration));
}

pub async fn l4_forced_release_cancels_the_work(stage: &Stage) {
    let (a, b) = (stage.handle(), stage.handle());
    let key = stage.key("forced");
    let guard = a.lock(&key).ttl(SECOND).acquire().await.unwrap();
    let (started, dropped) = (&AtomicBool::new(false), Arc::new(()));
    let witness = Arc::clone(&dropped);
    let mut work = Box::pin(guard.run(async move {
        started.store(true, Ordering::SeqCst);
        pending::<()>().await;
        drop(witness);
    }));
    assert!(poll_once(work.as_mut()).is_pending());
    assert!(started.load(Ordering::SeqCst));
    assert!(b.lock(&key).force_release().await.unwrap());
    let error = soon("the work ends", &mut work).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Lost);
    drop(work);
    assert_eq!(Arc::strong_count(&dropped), 1, "the work was dropped");
    soon("told", guard.lost()).await;
    assert_eq!(kind(guard.run(async {}).await), Some(ErrorKind::Lost));
}

pub async fn l4_a_guard_that_cannot_renew_knows_before_the_next_holder(stage: &Stage) {
    let (a, backend) = stage.faulty();
    let b = stage.handle();
    let key = stage.key("cut-off");
    backend.fail(Op::Extend, Fault::Hang);
    let guard = a.lock(&key).ttl(SECOND).acquire().await.unwrap();
    let lost = async {
        guard.lost().await;
        Instant::now()
    };
    let next = async {
        let guard = b.lock(&key).wait(10 * SECOND).acquire().await.unwrap();
        let at = Instant::now();
        guard.release().await.unwrap();
        at
    };
    let (lost, next) = soon("both", futures_util::future::join(lost, next)).await;
    assert!(lost <= next, "{:?} late", lost - next);
}

pub async fn l5_fencing_tokens_increase(stage: &Stage) {
    let (a, backend) = stage.faulty();
    let b = stage.handle();
    let key = stage.key("fenced");
    let mut tokens = Vec::new();
    for cachify in [&a, &b, &a] {
        let guard = cachify.lock(&key).acquire().await.unwrap();
        tokens.push(guard.fencing_token());
        guard.release().await.unwrap();
    }
    backend.fail(Op::Extend, Fault::Refuse);
    let expiring = a.lock(&key).ttl(SECOND).acquire().await.unwrap();
    tokens.push(expiring.fencing_token());
    let next = b.lock(&key).wait(5 * SECOND).acquire().await.unwrap();
    tokens.push(next.fencing_token());
    a.lock(&key).force_release().await.unwrap();
    let last = a.lock(&key).acquire().await.unwrap();
    tokens.push(last.fencing_token());
    assert!(tokens.is_sorted_by(|a, b| a < b), "{tokens:?}");
}

pub async fn l6_s14_an_acquire_cancelled_anywhere_leaves_nothing(stage: &Stage) {
    let (a, backend) = stage.faulty();
    let b = stage.handle();
    let key = stage.key("cancelled");
    for held in [false, true] {
        let holder = if held {
            Some(b.lock(&key).acquire().await.unwrap())
        } else {
            None
        };
        // Before the request, after it but before its answer, and while waiting.
        for stop in 0..3 {
            let gate = match stop {
                0 => Some(backend.before(Op::Acquire)),
                1 => Some(backend.after(Op::Acquire)),
                _ => None,
            };
            let lock = a.lock(&key).wait(30 * SECOND);
            let acquire = tokio::spawn(async move { lock.acquire().await.map(drop) });
            match gate {
                Some(gate) => soon("at the gate", gate.reached()).await,
                None if held => queue_grows_to(&b, SlotKind::Lock, &key, 1).await,
                None => tokio::task::yield_now().await,
            }
            acquire.abort();
            let _ = acquire.await;
            until("the queue is empty", async || {
                waiting(&b, SlotKind::Lock, &key).await == 0
            })
            .await;
            if !held {
                until("the lock is free", async || is_free(&b, &key).await).await;
            }
        }
        if let Some(holder) = holder {
            assert!(!holder.is_lost());
            holder.release().await.unwrap();
            assert!(is_free(&b, &key).await);
        }
    }
}

pub async fn l6_s14_cancelled_at_any_poll_nothing_is_left(stage: &Stage) {
    let (a, b) = (stage.handle(), stage.handle());
    let key = stage.key("cancelled");
    // A lock that is held and released in between, and one that is free.
    for held in [true, false] {
        for step in 2.. {
            let (polls, answered) = (step / 2, step % 2 == 1);
            let mut holder = None;
            if held {
                holder = Some(b.lock(&key).acquire().await.unwrap());
            }
            let let_go = Box::pin(async {
                if let Some(holder) = holder {
                    queue_grows_to(&b, SlotKind::Lock, &key, 1).await;
                    holder.release().await.unwrap();
                }
            });
            let cycle = Box::pin(at_most_polls(polls, answered, async {
                let guard = a.lock(&key).wait(10 * SECOND).acquire().await?;
                guard.run(tokio::task::yield_now()).await?;
                guard.release().await
            }));
            let outcome = match select(cycle, let_go).await {
                Either::Left((outcome, _)) => outcome,
                Either::Right(((), cycle)) => cycle.await,
            };
            // Before an unused claim would have expired.
            let start = Instant::now();
            until("it is free", async || is_free(&b, &key).await).await;
            assert!(start.elapsed() < 800 * MILLI, "{:?}", start.elapsed());
            if let Some(outcome) = outcome {
                outcome.unwrap();
                break;
            }
            assert!(step < 200, "it never ends");
        }
    }
}

/// Returns `None` if `future` was not ready after this many polls. It is then dropped in the middle
/// of whatever it awaits; if `answered`, after the answer has had time to arrive, unseen.
async fn at_most_polls<F: Future>(polls: u32, answered: bool, future: F) -> Option<F::Output> {
    let mut future = Box::pin(future);
    let mut left = polls;
    let output = poll_fn(|cx| {
        left -= 1;
        match future.as_mut().poll(cx) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending if left == 0 => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    });
    let output = output.await;
    if output.is_none() && answered {
        sleep(3 * MILLI).await;
    }
    output
}

pub async fn l6_s6_an_acquire_that_timed_out_leaves_nothing(stage: &Stage) {
    for fault in [Fault::Hang, Fault::LoseAnswer] {
        let (a, backend) = stage.faulty();
        let b = stage.handle();
        let key = stage.key("timed-out");
        backend.fail(Op::Acquire, fault);
        let error = a.lock(&key).acquire().await;
        assert_eq!(kind(error), Some(ErrorKind::Timeout));
        until("the lock is free", async || is_free(&b, &key).await).await;
        b.lock(&key)
            .acquire()
            .await
            .unwrap()
            .release()
            .await
            .unwrap();
    }
}

pub async fn l6_py08_a_cancelled_release_leaves_nothing(stage: &Stage) {
    let (a, backend) = stage.faulty();
    let b = stage.handle();
    for gate in [true, false] {
        let key = stage.key("cancelled");
        let guard = a.lock(&key).acquire().await.unwrap();
        let gate = if gate {
            backend.before(Op::Release)
        } else {
            backend.after(Op::Release)
        };
        let release = tokio::spawn(guard.release());
        soon("at the gate", gate.reached()).await;
        release.abort();
        let _ = release.await;
        until("the lock is free", async || is_free(&b, &key).await).await;

        // A release that was never polled.
        let guard = a.lock(&key).acquire().await.unwrap();
        drop(guard.release());
        until("the lock is free", async || is_free(&b, &key).await).await;
    }
}

pub async fn l6_s32_release_and_renewal_are_tried_while_the_backend_fails(stage: &Stage) {
    let (a, backend) = stage.faulty();
    let b = stage.handle();
    let key = stage.key("through");
    let guard = a.lock(&key).ttl(3 * SECOND).acquire().await.unwrap();
    // Reads open the breaker; existing holds are not given up because of it.
    for op in [Op::Get, Op::Begin, Op::ReleaseLease, Op::Acquire, Op::Check] {
        backend.fail(op, Fault::Refuse);
    }
    for _ in 0..5 {
        a.cached(&key).get_or_compute(async || 1).await;
        let _ = a.lock(&stage.key("other")).acquire().await;
    }
    assert!(a.inner.engine.breakers.of(Shard::default()).is_open());
    until("renewed", async || backend.calls(Op::Extend) > 0).await;
    sleep(2500 * MILLI).await;
    assert!(!guard.is_lost());
    guard.release().await.unwrap();
    assert!(is_free(&b, &key).await);
}

pub async fn l7_all_waiters_hear_that_the_backend_is_away(stage: &Stage) {
    for fault in [Fault::Refuse, Fault::Hang] {
        let (a, backend) = stage.faulty();
        let b = stage.handle();
        let key = stage.key("away");
        let _guard = b.lock(&key).acquire().await.unwrap();
        let waiters = (0..50).map(|_| {
            let lock = a.lock(&key).wait(60 * SECOND);
            tokio::spawn(async move { kind(lock.acquire().await) })
        });
        let waiters: Vec<_> = waiters.collect();
        queue_grows_to(&b, SlotKind::Lock, &key, 50).await;
        backend.fail_all(fault);
        let start = Instant::now();
        for waiter in soon("all are told", join_all(waiters)).await {
            let kind = waiter.unwrap();
            assert!(
                matches!(kind, Some(ErrorKind::Unavailable | ErrorKind::Timeout)),
                "{kind:?}"
            );
        }
        assert!(start.elapsed() < 4 * SECOND, "{:?}", start.elapsed());
        backend.heal();
    }
}

pub async fn l8_a_lock_can_be_looked_at_and_forced(stage: &Stage) {
    let (a, b) = (stage.handle(), stage.handle());
    let key = stage.key("looked-at");
    let lock = b.lock(&key);
    assert!(!lock.is_locked().await.unwrap());
    let status = lock.status().await.unwrap();
    assert_eq!((status.holder, status.waiters), (None, 0));
    assert!(!lock.force_release().await.unwrap(), "nobody held it");

    let guard = a.lock(&key).ttl(20 * SECOND).acquire().await.unwrap();
    assert!(lock.is_locked().await.unwrap());
    let holder = lock.status().await.unwrap().holder.unwrap();
    assert_eq!(holder.owner, a.inner.engine.node.as_str());
    let left = holder.ttl_left;
    assert!(left > 15 * SECOND && left <= 20 * SECOND, "{left:?}");

    let waiter = b.lock(&key).wait(30 * SECOND);
    let waiter = tokio::spawn(async move { waiter.acquire().await.unwrap() });
    queue_grows_to(&a, SlotKind::Lock, &key, 1).await;
    assert_eq!(lock.status().await.unwrap().waiters, 1);
    assert!(lock.force_release().await.unwrap());
    let next = soon("the first waiter", waiter).await.unwrap();
    assert!(next.fencing_token() > guard.fencing_token());
    assert_eq!(kind(guard.release().await), Some(ErrorKind::Lost));
    assert!(!next.is_lost());
    next.release().await.unwrap();
}

pub async fn o1_py04_one_run_at_a_time_and_the_bodys_errors_are_its_own(stage: &Stage) {
    let (a, b) = (stage.handle(), stage.handle());
    let (key, other) = (stage.key("report"), stage.key("other"));
    let taken = a.lock(&other).acquire().await.unwrap();
    let once = a.once(&key);
    let outer = once.run(async {
        let loser = b.once(&key);
        let loser = loser.run(async { unreachable!("two at once") });
        assert_eq!(loser.await.unwrap(), None);
        // Held, but not for the key of `once`, so this is not the loser's result.
        b.lock(&other).acquire().await.map(drop)
    });
    let body = outer.await.unwrap().expect("it ran");
    assert_eq!(kind(body), Some(ErrorKind::Held));
    assert!(!once.is_locked().await.unwrap());
    taken.release().await.unwrap();

    // A cancelled run lets the next one start.
    {
        let mut run = pin!(once.run(pending::<()>()));
        until("it runs", async || {
            let _ = poll_once(run.as_mut());
            b.once(&key).is_locked().await.unwrap()
        })
        .await;
    }
    until("the next one runs", async || {
        b.once(&key).run(async {}).await.unwrap().is_some()
    })
    .await;
}

pub async fn o2_py03_a_long_run_keeps_its_lock(stage: &Stage) {
    let (a, b) = (stage.handle(), stage.handle());
    let key = stage.key("long");
    let once = a.once(&key).ttl(SECOND);
    let run = once.run(async {
        for _ in 0..5 {
            sleep(500 * MILLI).await;
            let second = b.once(&key).run(async {}).await.unwrap();
            assert_eq!(second, None, "run twice");
        }
        7
    });
    assert_eq!(run.await.unwrap(), Some(7));
}

//! Locks under clocks and deadlines that a real server cannot produce.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Waker};
use std::time::Duration;

use cachify_core::backend::memory::Memory;
use cachify_core::backend::{Backend, Slot};
use cachify_core::clock::Clock;
use cachify_core::testing::{Fault, Faulty, Op};
use cachify_core::{Cachify, ErrorKind, Key, KeyTemplate};
use tokio::sync::oneshot;

fn key(text: &str) -> Key {
    KeyTemplate::parse(text).unwrap().render(&[])
}

/// Returns a process whose clock can be put forward, as a suspended machine's is, and another one
/// that shares its memory.
fn two_processes() -> (Cachify, Cachify, Clock) {
    let (clock, ours) = (Clock::test(), Clock::test());
    let memory = Arc::new(Memory::builder().clock(clock.clone()).build());
    let handle = |clock: &Clock| {
        Cachify::builder()
            .backend(memory.clone())
            .clock(clock.clone())
            .connect_lazy()
            .unwrap()
    };
    (handle(&ours), handle(&clock), ours)
}

#[tokio::test(start_paused = true)]
async fn l4_s24_after_a_suspend_the_guard_is_lost_before_the_work_goes_on() {
    let (cachify, _, clock) = two_processes();
    let guard = cachify.lock(&key("night")).acquire().await.unwrap();
    let polls = AtomicUsize::new(0);
    let (answer, answered) = oneshot::channel();
    let mut work = Box::pin(guard.run(async {
        polls.fetch_add(1, Ordering::SeqCst);
        let _ = answered.await;
        polls.fetch_add(1, Ordering::SeqCst);
    }));
    let mut nobody = Context::from_waker(Waker::noop());
    assert!(work.as_mut().poll(&mut nobody).is_pending());
    // The machine is suspended. When it resumes, the awaited result is there, and no timer has
    // fired yet.
    clock.advance(Duration::from_mins(1));
    answer.send(()).unwrap();
    assert_eq!(work.await.unwrap_err().kind(), ErrorKind::Lost);
    assert_eq!(polls.load(Ordering::SeqCst), 1);
    assert!(guard.is_lost());
}

#[tokio::test(start_paused = true)]
async fn l4_a_guard_is_told_in_the_last_part_of_its_max_hold_too() {
    let clock = Clock::test();
    let memory = Arc::new(Memory::builder().clock(clock.clone()).build());
    let builder = Cachify::builder().backend(memory.clone()).clock(clock);
    let cachify = builder.connect_lazy().unwrap();
    let lock = cachify.lock(&key("bounded")).ttl(Duration::from_secs(30));
    let guard = lock.max_hold(Duration::from_secs(35));
    let guard = guard.acquire().await.unwrap();
    // Renewed after 10 s, for the remaining 25 s.
    tokio::time::sleep(Duration::from_secs(12)).await;
    assert!(!guard.is_lost());
    let slot = Slot::lock(key("bounded"));
    assert!(memory.evict(&slot).await.unwrap());
    memory.signals().disturb();
    let told = tokio::time::timeout(Duration::from_secs(1), guard.lost()).await;
    assert!(told.is_ok(), "it learns at the end of its time only");
}

#[tokio::test(start_paused = true)]
async fn l4_the_deadline_counts_from_before_the_request_with_a_margin() {
    let (cachify, _, clock) = two_processes();
    let lock = cachify.lock(&key("margin")).ttl(Duration::from_secs(10));
    let guard = lock.acquire().await.unwrap();
    clock.advance(Duration::from_millis(9_897));
    assert!(!guard.is_lost());
    clock.advance(Duration::from_millis(1));
    assert!(guard.is_lost(), "a hundredth and 2 ms early");
    // A lost hold stays lost, even if a late renewal succeeds.
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert!(guard.is_lost());
}

#[tokio::test(start_paused = true)]
async fn l2_s13_ten_thousand_deadlines_meet_a_hand_off() {
    let (a, b, _) = two_processes();
    let key = key("meet");
    let mut outcomes = [0; 2];
    for round in 0..10_000_u64 {
        let guard = a.lock(&key).acquire().await.unwrap();
        let waiter = b.lock(&key).wait(Duration::from_millis(5));
        let waiter = tokio::spawn(async move { waiter.acquire().await.map(drop) });
        tokio::time::sleep(Duration::from_millis(4 + round % 3)).await;
        guard.release().await.unwrap();
        let outcome = waiter.await.unwrap();
        outcomes[usize::from(outcome.is_ok())] += 1;
        tokio::time::timeout(Duration::from_millis(500), async {
            while a.lock(&key).is_locked().await.unwrap() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        })
        .await
        .unwrap_or_else(|_| panic!("leaked in round {round}"));
    }
    assert!(!outcomes.contains(&0), "they never met: {outcomes:?}");
}

#[tokio::test(start_paused = true)]
async fn l3_many_holds_are_renewed_some_at_a_time() {
    let clock = Clock::test();
    let memory = Arc::new(Memory::builder().clock(clock.clone()).build());
    let cachify = Cachify::builder()
        .backend(memory)
        .clock(clock)
        .connect_lazy()
        .unwrap();
    let (cachify, backend) = Faulty::wrap(&cachify);
    let pool = cachify.pool(&key("desk"), 1000).ttl(Duration::from_secs(9));
    let mut permits = Vec::new();
    for _ in 0..1000 {
        permits.push(pool.acquire().await.unwrap());
    }
    // All are due at once. None is lost, and none loses its time limit to the others.
    tokio::time::sleep(Duration::from_secs(8)).await;
    assert!(backend.calls(Op::Extend) >= 2000);
    backend.fail(Op::Extend, Fault::Hang);
    let before = backend.calls(Op::Extend);
    tokio::time::sleep(Duration::from_millis(1100)).await;
    let tried = backend.calls(Op::Extend) - before;
    assert!((100..=500).contains(&tried), "{tried} in 1.1 s");
    backend.heal();
    tokio::time::sleep(Duration::from_secs(20)).await;
    assert!(permits.iter().all(|permit| !permit.is_lost()));
}

#[tokio::test(start_paused = true)]
async fn l3_a_disturbed_backend_has_all_holds_renewed_some_at_a_time() {
    let clock = Clock::test();
    let memory = Arc::new(Memory::builder().clock(clock.clone()).build());
    let cachify = Cachify::builder()
        .backend(memory.clone())
        .clock(clock)
        .connect_lazy()
        .unwrap();
    let (cachify, backend) = Faulty::wrap(&cachify);
    let pool = cachify.pool(&key("desk"), 1000);
    let mut permits = Vec::new();
    for _ in 0..1000 {
        permits.push(pool.acquire().await.unwrap());
    }
    let (before, after) = (backend.before(Op::Extend), backend.after(Op::Extend));
    backend.signals().disturb();
    before.reached().await;
    // Renewals that came after the one at the gate are done: it does not hold them up.
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(backend.calls(Op::Extend), 1000);
    // A hold that was disturbed during its renewal is renewed again.
    before.open();
    after.reached().await;
    backend.signals().disturb();
    after.open();
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(backend.calls(Op::Extend) >= 2000);
    // A thousand refusals do not keep others from the backend, and every permit learns of its loss.
    memory.evict(&desk()).await.unwrap();
    backend.signals().disturb();
    for permit in &permits {
        permit.lost().await;
    }
    let guard = cachify.lock(&key("door")).acquire().await.unwrap();
    guard.release().await.unwrap();
}

fn desk() -> Slot {
    Slot::pool(key("desk"), 1000)
}

#[tokio::test(start_paused = true)]
async fn l3_a_hold_that_was_asked_for_before_a_disturbance_is_renewed_at_once() {
    let (cachify, backend) = Faulty::wrap(&Cachify::memory());
    let answered = backend.after(Op::Acquire);
    let lock = cachify.lock(&key("door"));
    let acquire = tokio::spawn(async move { lock.acquire().await });
    answered.reached().await;
    backend.signals().disturb();
    answered.open();
    let guard = acquire.await.unwrap().unwrap();
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(backend.calls(Op::Extend), 1);
    drop(guard);
}

/// The renewal task lives on the runtime that took the first lock.
#[test]
fn l3_a_lock_outlives_the_runtime_that_renewed_it() {
    let runtime = || {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap()
    };
    let cachify = Cachify::memory();
    let (first, second) = (runtime(), runtime());
    let lock = |name| cachify.lock(&key(name)).ttl(Duration::from_secs(1));
    let taken = first.block_on(lock("first").acquire()).unwrap();
    let guard = second.block_on(lock("second").acquire()).unwrap();
    drop(first);
    let work = guard.run(async { tokio::time::sleep(Duration::from_millis(2500)).await });
    second.block_on(work).unwrap();
    drop(taken);
    second.block_on(guard.release()).unwrap();
}

#[tokio::test]
async fn l6_a_guard_dropped_outside_a_runtime_is_released_by_the_one_it_was_made_in() {
    let memory = Arc::new(Memory::builder().build());
    let handle = || Cachify::builder().backend(memory.clone()).connect_lazy();
    let (cachify, other) = (handle().unwrap(), handle().unwrap());
    let key = key("outside");
    let guard = cachify.lock(&key).acquire().await.unwrap();
    std::thread::spawn(move || drop(guard)).join().unwrap();
    cachify.close(Duration::from_secs(5)).await.unwrap();
    assert!(!other.lock(&key).is_locked().await.unwrap());
}

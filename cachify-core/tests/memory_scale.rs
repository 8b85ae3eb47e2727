//! Large amounts in memory keep no thread busy for long. Times are processor times, so a busy
//! machine does not count. The bounds leave room for unoptimized builds; `benches/scale.rs` has the
//! real ones.
#![cfg(unix)]
#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Duration;

use cachify_core::backend::memory::Memory;
use cachify_core::backend::{Acquire, Acquired, Backend, Listener, Node, Slot, Token};
use cachify_core::clock::Clock;
use cachify_core::{Cachify, key};
use rustix::time::{ClockId, clock_gettime};
use tokio::time::Instant;

const MILLI: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

fn memory() -> (Memory, Cachify) {
    at(&Clock::test())
}

fn at(clock: &Clock) -> (Memory, Cachify) {
    let memory = Memory::builder()
        .capacity(1_000_000)
        .capacity_bytes(1 << 30)
        .clock(clock.clone())
        .build();
    let builder = Cachify::builder().backend(Arc::new(memory.clone()));
    let cachify = builder.clock(clock.clone()).connect_lazy().unwrap();
    (memory, cachify)
}

fn thread_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(
        time.tv_sec.try_into().unwrap(),
        time.tv_nsec.try_into().unwrap(),
    )
}

/// Makes the background work due: first its task starts, then its time comes.
async fn sweep_is_due() -> Duration {
    tokio::task::yield_now().await;
    let before = thread_time();
    tokio::time::advance(2 * SECOND).await;
    thread_time().saturating_sub(before)
}

/// Returns the longest time that another task kept this thread before `over` held.
async fn longest_poll(mut over: impl FnMut() -> bool) -> Duration {
    let mut longest = Duration::ZERO;
    while !over() {
        let before = thread_time();
        // Advance the time, or the background work could wait for its next pass forever.
        tokio::time::advance(MILLI).await;
        longest = longest.max(thread_time().saturating_sub(before));
    }
    longest
}

#[tokio::test(start_paused = true)]
async fn c11_entries_that_expire_together_do_not_stall_the_thread() {
    let (memory, cachify) = memory();
    for id in 0..100_000 {
        let cached = cachify.cached(&key!("row-{id}")).ttl(SECOND);
        cached.set(id).await.unwrap();
    }
    assert_eq!(memory.len(), 100_000);
    let first = sweep_is_due().await;
    let longest = longest_poll(|| memory.is_empty()).await.max(first);
    assert!(longest < 5 * MILLI, "{longest:?}");
}

#[tokio::test(start_paused = true)]
async fn c11_overwriting_does_not_stall_the_thread() {
    let (memory, cachify) = memory();
    for n in 0..300_000 {
        let cached = cachify.cached(&key!("row-{id}", id = n % 60_000));
        cached.set(n).await.unwrap();
    }
    let first = sweep_is_due().await;
    let mut polls = 0;
    let longest = longest_poll(|| {
        polls += 1;
        polls > 100
    });
    let longest = longest.await.max(first);
    assert!(longest < 5 * MILLI, "{longest:?}");
    assert_eq!(memory.len(), 60_000);
}

#[tokio::test(start_paused = true)]
async fn l2_many_held_locks_do_not_stall_another() {
    let (_, cachify) = memory();
    let mut guards = Vec::new();
    for id in 0..50_000 {
        let lock = cachify.lock(&key!("lock-{id}")).ttl(3600 * SECOND);
        guards.push(lock.acquire().await.unwrap());
    }
    let first = sweep_is_due().await;
    let mut polls = 0;
    let longest = longest_poll(|| {
        polls += 1;
        polls > 100
    });
    let longest = longest.await.max(first);
    assert!(longest < 5 * MILLI, "{longest:?}");
}

/// Returns the longest time that a first poll of one of these futures kept the thread. None of them
/// completes, and all stay alive until the last one has been polled.
fn longest_start<F: Future>(futures: impl Iterator<Item = F>) -> Duration {
    let mut cx = Context::from_waker(Waker::noop());
    let (mut all, mut longest) = (Vec::new(), Duration::ZERO);
    for future in futures {
        let mut future = Box::pin(future);
        let before = thread_time();
        assert!(future.as_mut().poll(&mut cx).is_pending());
        longest = longest.max(thread_time().saturating_sub(before));
        all.push(future);
    }
    longest
}

#[tokio::test(start_paused = true)]
async fn l2_many_locks_that_are_waited_for_do_not_stall_another() {
    let (_, cachify) = memory();
    let mut guards = Vec::new();
    for id in 0..60_000 {
        let lock = cachify.lock(&key!("lock-{id}")).ttl(3600 * SECOND);
        guards.push(lock.acquire().await.unwrap());
    }
    let waiters = guards.iter().map(|guard| {
        let lock = cachify.lock(guard.key()).wait(3600 * SECOND);
        async move { lock.acquire().await }
    });
    let longest = longest_start(waiters);
    assert!(longest < 5 * MILLI, "{longest:?}");
}

#[tokio::test(start_paused = true)]
async fn c2_many_computations_at_once_do_not_stall_another() {
    let (_, cachify) = memory();
    let computations = (0..60_000).map(|id| {
        let cached = cachify.cached(&key!("row-{id}"));
        async move { cached.get_or_compute(std::future::pending::<u64>).await }
    });
    let longest = longest_start(computations);
    assert!(longest < 5 * MILLI, "{longest:?}");
}

struct Waiter {
    token: Token,
    listener: Option<Listener>,
}

fn lock(max: u32) -> Slot {
    match max {
        1 => Slot::lock(key!("slot")),
        _ => Slot::pool(key!("slot"), max),
    }
}

async fn acquire(memory: &Memory, slot: &Slot, token: &Token, ttl: Duration) -> Acquired {
    let acquire = Acquire::new(token, ttl, SECOND).wait(Some(SECOND));
    memory.acquire(slot, acquire).await.unwrap()
}

async fn queue(memory: &Memory, slot: &Slot, node: &Node, listens: bool) -> Waiter {
    let token = node.token();
    let listener = listens.then(|| memory.signals().listen(token.as_str()));
    let queued = acquire(memory, slot, &token, 30 * SECOND).await;
    assert!(matches!(queued, Acquired::Queued { .. }), "{queued:?}");
    Waiter { token, listener }
}

fn is_granted(acquired: Acquired) -> bool {
    matches!(acquired, Acquired::Granted { .. })
}

#[tokio::test(start_paused = true)]
async fn l2_a_long_queue_is_left_and_served_in_little_time() {
    let (memory, _) = memory();
    let (slot, node) = (lock(1), Node::new("test"));
    let holder = node.token();
    assert!(is_granted(
        acquire(&memory, &slot, &holder, 3600 * SECOND).await
    ));
    let before = thread_time();
    let mut waiters = Vec::new();
    for _ in 0..40_000 {
        waiters.push(queue(&memory, &slot, &node, true).await);
    }
    // From the back of the queue, asking again first.
    for waiter in waiters.drain(20_000..).rev() {
        acquire(&memory, &slot, &waiter.token, SECOND).await;
        assert!(memory.release(&slot, &waiter.token).await.unwrap());
    }
    let mut turn = holder;
    for waiter in waiters {
        assert!(memory.release(&slot, &turn).await.unwrap());
        waiter.listener.unwrap().signalled().await;
        assert!(is_granted(
            acquire(&memory, &slot, &waiter.token, SECOND).await
        ));
        turn = waiter.token;
    }
    let took = thread_time().saturating_sub(before);
    assert!(took < 8 * SECOND, "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn l2_what_a_dead_holder_had_is_handed_over_when_its_time_ends() {
    let (memory, _) = memory();
    let (slot, node) = (lock(1), Node::new("test"));
    for ttl in [1300, 1700, 2100] {
        let ttl = ttl * MILLI;
        let start = Instant::now();
        let holder = node.token();
        assert!(is_granted(acquire(&memory, &slot, &holder, ttl).await));
        let first = queue(&memory, &slot, &node, true).await;
        first.listener.unwrap().signalled().await;
        let late = start.elapsed().checked_sub(ttl).unwrap();
        assert!(late < 5 * MILLI, "{late:?}");
        assert!(memory.release(&slot, &first.token).await.unwrap());
    }
}

#[tokio::test(start_paused = true)]
async fn l2_s15_thousands_of_dead_waiters_are_passed_over_at_once() {
    let (memory, _) = memory();
    let (slot, node) = (lock(1), Node::new("test"));
    let holder = node.token();
    acquire(&memory, &slot, &holder, 30 * SECOND).await;
    for _ in 0..5000 {
        queue(&memory, &slot, &node, false).await;
    }
    let alive = queue(&memory, &slot, &node, true).await;
    let start = Instant::now();
    assert!(memory.release(&slot, &holder).await.unwrap());
    alive.listener.unwrap().signalled().await;
    assert!(start.elapsed() < 100 * MILLI, "{:?}", start.elapsed());
    assert!(is_granted(
        acquire(&memory, &slot, &alive.token, SECOND).await
    ));
}

#[tokio::test(start_paused = true)]
async fn p2_thousands_of_dead_permits_come_back_at_once() {
    let clock = Clock::test();
    let (memory, _) = at(&clock);
    let (slot, node) = (lock(5000), Node::new("test"));
    let mut holders = Vec::new();
    for _ in 0..5000 {
        holders.push(node.token());
        let last = holders.last().unwrap();
        assert!(is_granted(acquire(&memory, &slot, last, SECOND).await));
    }
    let waiter = queue(&memory, &slot, &node, true).await;
    // Before the sweep: only live entries are counted, and an expired one cannot be extended.
    clock.advance(SECOND);
    assert_eq!(memory.inspect(&slot).await.unwrap().holders, 0);
    for holder in holders.iter().rev().take(10) {
        assert!(!memory.extend(&slot, holder, SECOND).await.unwrap());
    }
    waiter.listener.unwrap().signalled().await;
    assert_eq!(memory.inspect(&slot).await.unwrap().holders, 1);
}

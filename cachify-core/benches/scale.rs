//! Measures the cost of many entries, locks and waiters in memory:
//! `cargo bench -p cachify-core --bench scale`.
//!
//! A stall is the longest time that one call, or one poll of a background task, keeps a thread
//! busy. It is measured in processor time, so other programs on the machine do not count. No
//! internal lock is held for longer than that.
//!
//! The time includes the kernel, which maps pages on first use, and the allocator: glibc keeps
//! small freed blocks aside and merges them within a later `malloc`. To tell the allocator's share
//! apart, also run it with `GLIBC_TUNABLES=glibc.malloc.mxfast=0`. Overwriting is repeated, and the
//! shortest of the longest calls counts: a stall caused by our code shows up every time, one caused
//! by the machine does not.
#![allow(clippy::unwrap_used, clippy::print_stdout, missing_docs)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use cachify_core::backend::memory::Memory;
use cachify_core::{Cachify, Key, key};
use tokio::runtime::Runtime;
use tokio::sync::Semaphore;

const MILLION: usize = 1_000_000;
const WAITERS: usize = 100_000;
const MILLI: Duration = Duration::from_millis(1);
const HOUR: Duration = Duration::from_hours(1);

fn main() {
    println!("{:<58} {:>11} {:>11}", "", "measured", "budget");
    noise();
    // First, because it measures the memory of the whole process.
    large();
    entries();
    locks();
    waiters();
}

fn memory() -> (Memory, Cachify) {
    // The allocator merges what the last section freed at the next large allocation. Force that
    // here, outside of the measured calls.
    drop(std::hint::black_box(Vec::<u8>::with_capacity(4096)));
    let memory = Memory::builder()
        .capacity(2 * MILLION)
        .capacity_bytes(4 << 30)
        .build();
    let builder = Cachify::builder().backend(Arc::new(memory.clone()));
    (memory, builder.connect_lazy().unwrap())
}

fn noise() {
    runtime().block_on(async {
        let mut worst = Duration::ZERO;
        for _ in 0..4 * MILLION {
            worst = worst.max(busy(async {}).await.0);
        }
        stall("nothing at all: what the machine itself adds", worst);
    });
}

fn entries() {
    let (memory, cachify) = memory();
    let runtime = runtime();
    runtime.block_on(async {
        // All of them expire within the same 100 ms.
        let (start, mut worst) = (Instant::now(), Duration::ZERO);
        let ttl = |start: Instant| Duration::from_secs(12).saturating_sub(start.elapsed());
        for id in 0..MILLION {
            let cached = cachify.cached(&key!("row-{id}")).ttl(ttl(start));
            worst = worst.max(busy(cached.set(id)).await.0);
            if id % 1000 == 0 {
                tokio::task::yield_now().await;
            }
        }
        stall("storing 1 000 000 new entries: longest call", worst);
        let mut worst = Duration::ZERO;
        while start.elapsed() < Duration::from_mins(1) && !memory.is_empty() {
            worst = worst.max(pulse().await);
        }
        assert!(memory.is_empty(), "{} are left", memory.len());
        stall(
            "1 000 000 entries that expire together: longest poll",
            worst,
        );

        let (again, _) = set_all(&cachify).await;
        stall("storing them again: longest call", again);
        let (mut call, mut poll) = (Duration::MAX, Duration::MAX);
        for _ in 0..3 {
            let longest = set_all(&cachify).await;
            call = call.min(longest.0);
            poll = poll.min(longest.1);
        }
        stall("overwriting at 1 000 000 live entries: longest call", call);
        stall("the same: longest poll of the background", poll);
    });
}

/// Sets a million entries in a mixed order. Returns the longest call and the longest poll of the
/// background task.
async fn set_all(cachify: &Cachify) -> (Duration, Duration) {
    let (mut call, mut poll) = (Duration::ZERO, Duration::ZERO);
    for n in 0..MILLION {
        let id = n * 618_033 % MILLION;
        let cached = cachify.cached(&key!("row-{id}")).ttl(HOUR);
        call = call.max(busy(cached.set(n)).await.0);
        if n % 100 == 0 {
            poll = poll.max(pulse().await);
        }
    }
    (call, poll)
}

fn locks() {
    let (_, cachify) = memory();
    runtime().block_on(async {
        let mut guards = Vec::with_capacity(MILLION);
        let mut worst = Duration::ZERO;
        for id in 0..MILLION {
            let lock = cachify.lock(&key!("lock-{id}")).ttl(HOUR);
            let (took, guard) = busy(lock.acquire()).await;
            worst = worst.max(took);
            guards.push(guard.unwrap());
        }
        stall("taking 1 000 000 locks: longest call", worst);
        let (mut call, mut poll) = (Duration::ZERO, Duration::ZERO);
        let (start, other) = (Instant::now(), cachify.lock(&key!("other")));
        while start.elapsed() < Duration::from_secs(3) {
            let (took, guard) = busy(other.acquire()).await;
            call = call.max(took);
            guard.unwrap().release().await.unwrap();
            let took = pulse().await;
            poll = poll.max(took);
        }
        stall("another lock beside 1 000 000 held: longest call", call);
        stall("the same: longest poll of the background", poll);
        std::mem::forget(guards);
    });
}

fn waiters() {
    let runtime = runtime();
    let floor = served(&runtime, |order| {
        let semaphore = Arc::new(Semaphore::new(0));
        for n in 0..WAITERS {
            let (semaphore, order) = (Arc::clone(&semaphore), order.clone());
            tokio::spawn(async move {
                let permit = semaphore.acquire().await.unwrap();
                order.send(n).unwrap();
                drop(permit);
            });
        }
        async move { semaphore.add_permits(1) }
    });
    let (_, cachify) = memory();
    let key = key!("queue");
    let ours = served(&runtime, |order| {
        let first = cachify.lock(&key);
        let waiters: Vec<_> = (0..WAITERS).map(|n| (n, wait(&cachify, &key))).collect();
        let (ready, held) = tokio::sync::oneshot::channel();
        tokio::spawn(async move {
            ready.send(first.acquire().await.unwrap()).unwrap();
            for (n, acquire) in waiters {
                let order = order.clone();
                tokio::spawn(async move {
                    let guard = acquire.await;
                    order.send(n).unwrap();
                    guard.release().await.unwrap();
                });
            }
        });
        async move { held.await.unwrap().release().await.unwrap() }
    });
    line(
        "100 000 waiters on one lock: served in order, after tokio's",
        ours.saturating_sub(floor),
        Duration::from_secs(1),
    );
    runtime.block_on(async {
        let guard = cachify.lock(&key).acquire().await.unwrap();
        let waiting: Vec<_> = (0..WAITERS)
            .map(|_| tokio::spawn(wait(&cachify, &key)))
            .collect();
        settle().await;
        let (start, before) = (Instant::now(), process_time());
        tokio::time::sleep(Duration::from_secs(10)).await;
        let idle =
            process_time().saturating_sub(before).as_secs_f64() / start.elapsed().as_secs_f64();
        println!(
            "{:<58} {:>10.1}% {:>10.1}%  {}",
            "100 000 waiters that just wait: of one processor",
            idle * 100.0,
            5.0,
            if idle <= 0.05 { "within" } else { "OVER" }
        );
        let before = process_time();
        waiting.iter().for_each(tokio::task::JoinHandle::abort);
        for waiter in waiting {
            let _ = waiter.await;
        }
        settle().await;
        line(
            "cancelling them",
            process_time().saturating_sub(before),
            Duration::from_secs(1),
        );
        assert!(cachify.lock(&key).is_locked().await.unwrap());
        guard.release().await.unwrap();
    });
}

fn wait(cachify: &Cachify, key: &Key) -> impl Future<Output = cachify_core::Guard> + use<> {
    let lock = cachify.lock(key).wait(HOUR);
    async move { lock.acquire().await.unwrap() }
}

/// Returns the time from the start signal until all have been served in order.
fn served<W: Future<Output = ()>>(
    runtime: &Runtime,
    queue: impl FnOnce(tokio::sync::mpsc::UnboundedSender<usize>) -> W,
) -> Duration {
    runtime.block_on(async {
        let (order, mut served) = tokio::sync::mpsc::unbounded_channel();
        let begin = queue(order);
        settle().await;
        let start = Instant::now();
        begin.await;
        for n in 0..WAITERS {
            assert_eq!(served.recv().await, Some(n));
        }
        start.elapsed()
    })
}

/// Waits until this process is idle for a moment.
async fn settle() {
    loop {
        let before = process_time();
        tokio::time::sleep(Duration::from_millis(200)).await;
        if process_time().saturating_sub(before) < Duration::from_millis(60) {
            return;
        }
    }
}

fn large() {
    let (keys, size) = (MILLION, 100_000);
    let cachify = Cachify::memory();
    runtime().block_on(async {
        let mut most = 0;
        let before = resident();
        for id in 0..keys {
            let cached = cachify.cached(&key!("page-{id}"));
            cached.set(vec![1_u8; size]).await.unwrap();
            if id % 1000 == 0 {
                most = most.max(resident().saturating_sub(before));
                if most > 2 << 30 {
                    break;
                }
            }
        }
        let budget = 400 << 20;
        println!(
            "{:<58} {:>7} MiB {:>7} MiB  {}",
            "1 000 000 keys of 100 kB each, by default",
            most >> 20,
            budget >> 20,
            if most <= budget { "within" } else { "OVER" }
        );
    });
}

fn runtime() -> Runtime {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_all().build().unwrap()
}

/// Returns the longest time that anything else on this thread ran while this task yielded.
async fn pulse() -> Duration {
    let before = thread_time();
    tokio::task::yield_now().await;
    thread_time().saturating_sub(before)
}

async fn busy<F: Future>(work: F) -> (Duration, F::Output) {
    let before = thread_time();
    let output = work.await;
    (thread_time().saturating_sub(before), output)
}

fn stall(name: &str, measured: Duration) {
    line(name, measured, MILLI);
}

fn line(name: &str, measured: Duration, budget: Duration) {
    println!(
        "{name:<58} {:>11} {:>11}  {}",
        format!("{measured:.2?}"),
        format!("{budget:.2?}"),
        if measured <= budget { "within" } else { "OVER" }
    );
}

fn thread_time() -> Duration {
    time(rustix::time::ClockId::ThreadCPUTime)
}

fn process_time() -> Duration {
    time(rustix::time::ClockId::ProcessCPUTime)
}

fn time(clock: rustix::time::ClockId) -> Duration {
    let time = rustix::time::clock_gettime(clock);
    Duration::new(
        time.tv_sec.try_into().unwrap(),
        time.tv_nsec.try_into().unwrap(),
    )
}

/// Returns the resident memory of this process, in bytes.
fn resident() -> u64 {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: u64 = pages.split(' ').nth(1).unwrap().parse().unwrap();
    pages * 4096
}

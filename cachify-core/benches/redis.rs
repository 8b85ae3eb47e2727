//! Compares Redis through cachify with the same commands by hand:
//! `cargo bench -p cachify-core --bench redis`.
#![allow(clippy::unwrap_used, clippy::print_stdout, missing_docs)]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use cachify_core::{Cachify, KeyTemplate, key};
use futures_util::future::join_all;
use redis::AsyncCommands;
use redis::aio::MultiplexedConnection;
use tokio::runtime::Runtime;
use tokio::sync::Mutex;

mod ratio;
use ratio::{Comparison, heading};

const TASKS: u64 = 64;
const GETS: u64 = 500;
const KEYS: u64 = 1000;
const HITS: u32 = 200_000;
const CYCLES: u32 = 2000;
const HOLD: Duration = Duration::from_millis(5);

const RELEASE: &str =
    "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0";

fn value(id: u64) -> String {
    format!("{id:>256}")
}

/// Runs `TASKS` concurrent tasks of `GETS` calls each.
fn in_tasks<F: Future<Output = ()> + Send + 'static>(runtime: &Runtime, task: impl Fn(u64) -> F) {
    runtime.block_on(async {
        let tasks: Vec<_> = (0..TASKS).map(|n| tokio::spawn(task(n))).collect();
        for task in tasks {
            task.await.unwrap();
        }
    });
}

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let server = redis_fixture::Server::start();
    let url = server.url();
    let (cachify, raw) = runtime.block_on(async {
        let cachify = Cachify::builder()
            .redis(&url)
            .backend_timeout(Duration::from_secs(5))
            .connect()
            .await
            .unwrap();
        // The client's default: like ours, it waits for each answer for a limited time.
        let raw = redis::Client::open(url.as_str())
            .unwrap()
            .get_multiplexed_async_connection()
            .await
            .unwrap();
        (cachify, raw)
    });
    heading();
    hits(&runtime, &cachify, &raw);
    tiered(&runtime, &url);
    if std::env::var_os("HITS_ONLY").is_some() {
        return;
    }
    lock_cycle(&runtime, &cachify, &raw);
    contention(&runtime, &cachify);
    pool(&runtime, &cachify);
}

/// Compares hits in the memory in front of Redis with hits in memory alone.
fn tiered(runtime: &Runtime, url: &str) {
    let computed = AtomicUsize::new(0);
    let tier = runtime.block_on(Cachify::builder().tiered(url).connect());
    let (memory, tier) = (Cachify::memory(), tier.unwrap());
    let read = |cachify: &Cachify| {
        runtime.block_on(async {
            for id in (0..u64::from(HITS)).map(|n| n % KEYS) {
                let key = key!("tiered-{id}");
                let cached = cachify.cached(&key).ttl("1h");
                let value = cached.get_or_compute(async || {
                    computed.fetch_add(1, Ordering::Relaxed);
                    value(id)
                });
                assert_eq!(value.await.len(), 256);
            }
        });
    };
    for cachify in [&memory, &tier] {
        read(cachify);
    }
    computed.store(0, Ordering::Relaxed);
    Comparison::new("hit in a tier, over a hit in memory", 1.1, HITS)
        .run(|| read(&memory), || read(&tier))
        .print();
    assert_eq!(computed.load(Ordering::Relaxed), 0, "every hit was a hit");
}

fn hits(runtime: &Runtime, cachify: &Cachify, raw: &MultiplexedConnection) {
    let computed = Arc::new(AtomicUsize::new(0));
    let template = Arc::new(KeyTemplate::parse("bench-{id}").unwrap());
    runtime.block_on(async {
        for id in 0..KEYS {
            let mut raw = raw.clone();
            let bytes = rmp_serde::to_vec_named(&value(id)).unwrap();
            let _: () = raw.set(format!("bench-{id}"), bytes).await.unwrap();
            cachify
                .cached(&key!("bench-{id}"))
                .set(value(id))
                .await
                .unwrap();
        }
    });
    let floor = || {
        in_tasks(runtime, |n| {
            let mut raw = raw.clone();
            async move {
                for id in (0..GETS).map(|i| (n * GETS + i) % KEYS) {
                    let bytes: Vec<u8> = raw.get(format!("bench-{id}")).await.unwrap();
                    let value: String = rmp_serde::from_slice(&bytes).unwrap();
                    assert_eq!(value.len(), 256);
                }
            }
        });
    };
    let ours = || {
        in_tasks(runtime, |n| {
            let (cachify, computed, template) = (
                cachify.clone(),
                Arc::clone(&computed),
                Arc::clone(&template),
            );
            async move {
                for id in (0..GETS).map(|i| (n * GETS + i) % KEYS) {
                    let cached = cachify.cached(&template.render(&[&id]));
                    let value = cached.get_or_compute(async || {
                        computed.fetch_add(1, Ordering::Relaxed);
                        value(id)
                    });
                    assert_eq!(value.await.len(), 256);
                }
            }
        });
    };
    #[allow(clippy::cast_possible_truncation)]
    Comparison::new(
        "Redis hit, 64 tasks (throughput)",
        1.0 / 0.95,
        (TASKS * GETS) as u32,
    )
    .run(floor, ours)
    .print();
    assert_eq!(computed.load(Ordering::Relaxed), 0, "every hit was a hit");
}

fn lock_cycle(runtime: &Runtime, cachify: &Cachify, raw: &MultiplexedConnection) {
    let script = redis::Script::new(RELEASE);
    let lock = cachify.lock(&key!("bench-cycle"));
    let floor = || {
        runtime.block_on(async {
            let mut raw = raw.clone();
            for n in 0..CYCLES {
                let taken: Option<String> = redis::cmd("SET")
                    .arg(("bench-by-hand", n, "NX", "PX", 30_000))
                    .query_async(&mut raw)
                    .await
                    .unwrap();
                assert!(taken.is_some());
                let released: u8 = script
                    .key("bench-by-hand")
                    .arg(n)
                    .invoke_async(&mut raw)
                    .await
                    .unwrap();
                assert_eq!(released, 1);
            }
        });
    };
    let ours = || {
        runtime.block_on(async {
            for _ in 0..CYCLES {
                lock.acquire().await.unwrap().release().await.unwrap();
            }
        });
    };
    Comparison::new("lock + release, uncontended", 1.1, CYCLES)
        .run(floor, ours)
        .print();
}

fn contention(runtime: &Runtime, cachify: &Cachify) {
    const WAITERS: u32 = 32;
    const HOLDS: u32 = 5;

    let local = Mutex::new(());
    let lock = cachify
        .lock(&key!("bench-contended"))
        .wait(Duration::from_mins(1));
    let waits = std::sync::Mutex::new(Vec::new());
    let floor = || {
        runtime.block_on(join_all((0..WAITERS).map(|_| async {
            for _ in 0..HOLDS {
                let guard = local.lock().await;
                tokio::time::sleep(HOLD).await;
                drop(guard);
            }
        })));
    };
    let ours = || {
        runtime.block_on(join_all((0..WAITERS).map(|_| async {
            for _ in 0..HOLDS {
                let start = Instant::now();
                let guard = lock.acquire().await.unwrap();
                waits.lock().unwrap().push(start.elapsed());
                tokio::time::sleep(HOLD).await;
                guard.release().await.unwrap();
            }
        })));
    };
    Comparison::new(
        "32 waiters x 5 holds of 5 ms, tokio's Mutex",
        1.1,
        WAITERS * HOLDS,
    )
    .run(floor, ours)
    .print();
    let mut waits = waits.into_inner().unwrap();
    waits.sort_unstable();
    let (median, longest) = (waits[waits.len() / 2], waits[waits.len() - 1]);
    println!(
        "  longest wait {longest:.2?}, median {median:.2?}: {:.2} times, budget 1.30",
        longest.as_secs_f64() / median.as_secs_f64()
    );
}

fn pool(runtime: &Runtime, cachify: &Cachify) {
    let (small, large) = (key!("bench-small"), key!("bench-large"));
    let hold = |key, permits| {
        let pool = cachify.pool(key, 100_000);
        runtime.block_on(async move {
            let mut held = Vec::new();
            for _ in 0..permits {
                held.push(pool.acquire().await.unwrap());
            }
            held
        })
    };
    let _held = (hold(&small, 10), hold(&large, 10_000));
    let cycle = |key| {
        let pool = cachify.pool(key, 100_000);
        runtime.block_on(async {
            for _ in 0..CYCLES {
                pool.acquire().await.unwrap().release().await.unwrap();
            }
        });
    };
    Comparison::new("pool, 10 000 live permits, over 10", 2.0, CYCLES)
        .run(|| cycle(&small), || cycle(&large))
        .print();
}

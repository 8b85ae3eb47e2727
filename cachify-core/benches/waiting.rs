//! Measures the cost of waiting for a lock: `cargo bench -p cachify-core --bench waiting`.
#![allow(clippy::unwrap_used, clippy::print_stdout, missing_docs)]

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use cachify_core::{Cachify, key};
use rustix::time::{ClockId, clock_gettime};
use tokio::runtime::Runtime;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

const IDLE: Duration = Duration::from_secs(5);
const WAIT: Duration = Duration::from_mins(10);

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    println!("{:<56} {:>10} {:>10}", "", "measured", "budget");
    memory(&runtime);
    redis(&runtime);
}

fn memory(runtime: &Runtime) {
    const WAITERS: usize = 100_000;
    let cachify = Cachify::memory();
    let crowd = runtime.block_on(Crowd::new(&cachify, WAITERS));
    percent(
        "memory: 100 000 waiters, idle, of one processor",
        process_cpu,
        runtime,
    );
    let floor = runtime.block_on(semaphore(WAITERS));
    let served = runtime.block_on(crowd.served());
    time(
        "memory: 100 000 served in order, over tokio's Semaphore",
        served.saturating_sub(floor),
        Duration::from_secs(1),
    );
    let crowd = runtime.block_on(Crowd::new(&cachify, 20_000));
    time(
        "memory: 20 000 waiters cancelled",
        runtime.block_on(crowd.cancelled()),
        Duration::from_secs(1),
    );
}

fn redis(runtime: &Runtime) {
    const WAITERS: usize = 10_000;
    let server = redis_fixture::Server::start();
    let cachify = runtime.block_on(connect(&server));
    let crowd = runtime.block_on(Crowd::new(&cachify, WAITERS));
    let scripts = || info(&server, "commandstats", "cmdstat_evalsha:calls=");
    let before = scripts();
    percent(
        "Redis: 10 000 waiters, idle, client and server",
        || process_cpu() + server_cpu(&server),
        runtime,
    );
    row(
        "Redis: 10 000 waiters, idle, scripts a second",
        (scripts() - before) / IDLE.as_secs_f64(),
        5.0,
        "",
    );
    let served = runtime.block_on(crowd.served());
    time(
        "Redis: 10 000 served in order, each",
        served / 10_000,
        Duration::from_millis(1),
    );
    let crowd = runtime.block_on(Crowd::new(&cachify, WAITERS));
    time(
        "Redis: 10 000 waiters cancelled",
        runtime.block_on(crowd.cancelled()),
        Duration::from_secs(5),
    );
}

async fn connect(server: &redis_fixture::Server) -> Cachify {
    Cachify::builder()
        .redis(server.url())
        .backend_timeout(Duration::from_secs(5))
        .connect()
        .await
        .unwrap()
}

/// Waiters behind a holder, in a known order.
struct Crowd {
    holder: cachify_core::Guard,
    waiters: Vec<JoinHandle<()>>,
    order: Arc<Mutex<Vec<usize>>>,
}

impl Crowd {
    async fn new(cachify: &Cachify, count: usize) -> Self {
        let key = key!("door");
        let holder = cachify.lock(&key).acquire().await.unwrap();
        let order = Arc::new(Mutex::new(Vec::with_capacity(count)));
        let arrived = Arc::new(AtomicUsize::new(0));
        let waiters = (0..count).map(|_| {
            let (lock, order) = (cachify.lock(&key).wait(WAIT), Arc::clone(&order));
            let arrived = Arc::clone(&arrived);
            tokio::spawn(async move {
                let n = arrived.fetch_add(1, Ordering::Relaxed);
                let guard = lock.acquire().await.unwrap();
                order.lock().unwrap().push(n);
                guard.release().await.unwrap();
            })
        });
        let waiters = waiters.collect();
        // Until all of them are in the queue.
        for _ in 0..4 {
            tokio::time::sleep(Duration::from_millis(500)).await;
            cachify.lock(&key).is_locked().await.unwrap();
        }
        Self {
            holder,
            waiters,
            order,
        }
    }

    /// Returns the time until all of them have had their turn.
    async fn served(self) -> Duration {
        let start = Instant::now();
        self.holder.release().await.unwrap();
        for waiter in self.waiters {
            waiter.await.unwrap();
        }
        let served = start.elapsed();
        let order = self.order.lock().unwrap();
        // A thread may have been preempted between counting and asking.
        let late = (order.iter().enumerate()).filter(|(at, n)| n.abs_diff(*at) > 1000);
        assert!(late.count() <= order.len() / 100, "out of order");
        served
    }

    /// Returns the time until all of them are cancelled and out of the queue.
    async fn cancelled(self) -> Duration {
        let start = Instant::now();
        for waiter in &self.waiters {
            waiter.abort();
        }
        for waiter in self.waiters {
            assert!(waiter.await.is_err());
        }
        // Queued behind all of the releases.
        self.holder.release().await.unwrap();
        start.elapsed()
    }
}

async fn semaphore(count: usize) -> Duration {
    let semaphore = Arc::new(Semaphore::new(0));
    let waiters: Vec<_> = (0..count)
        .map(|_| {
            let semaphore = Arc::clone(&semaphore);
            tokio::spawn(async move { drop(semaphore.acquire().await.unwrap()) })
        })
        .collect();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let start = Instant::now();
    semaphore.add_permits(1);
    for waiter in waiters {
        waiter.await.unwrap();
    }
    start.elapsed()
}

fn percent(name: &str, cpu: impl Fn() -> Duration, runtime: &Runtime) {
    let before = cpu();
    runtime.block_on(async { tokio::time::sleep(IDLE).await });
    let used = cpu().saturating_sub(before).as_secs_f64() / IDLE.as_secs_f64();
    row(name, used * 100.0, 5.0, " %");
}

fn time(name: &str, measured: Duration, budget: Duration) {
    let millis = |time: Duration| time.as_secs_f64() * 1000.0;
    row(name, millis(measured), millis(budget), " ms");
}

fn row(name: &str, measured: f64, budget: f64, unit: &str) {
    let verdict = if measured <= budget { "within" } else { "OVER" };
    println!("{name:<56} {measured:>8.2}{unit:<3} {budget:>7.2}{unit:<3} {verdict}");
}

fn process_cpu() -> Duration {
    let used = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(
        used.tv_sec.try_into().unwrap(),
        used.tv_nsec.try_into().unwrap(),
    )
}

fn server_cpu(server: &redis_fixture::Server) -> Duration {
    let seconds = ["used_cpu_user:", "used_cpu_sys:"].map(|field| info(server, "cpu", field));
    Duration::from_secs_f64(seconds.iter().sum())
}

fn info(server: &redis_fixture::Server, section: &str, field: &str) -> f64 {
    let text = server.command(&["INFO", section]).text();
    let value = text.lines().find_map(|line| line.strip_prefix(field));
    let value = value.and_then(|value| value.split(',').next());
    value.unwrap_or("0").trim().parse().unwrap()
}

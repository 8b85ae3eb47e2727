//! Measures a hit in Redis, from 64 concurrent tasks, through cachify and through other libraries:
//! `cargo bench --bench redis`.
#![allow(missing_docs)]

use std::sync::OnceLock;
use std::time::Duration;

use cached::{AsyncRedisCache, RedisCacheError};
use cachify_core::Cachify;
use hitbox_fn::Cache;
use hitbox_fn::prelude::PolicyConfig;
use hitbox_redis::{ConnectionMode, RedisBackend};
use tokio::runtime::{Builder, Runtime};

mod common;
use common::{Comparison, compute, computed, heading};

const TASKS: u64 = 64;
const GETS: u64 = 500;
const KEYS: u64 = 1000;
const HOUR: Duration = Duration::from_hours(1);

static URL: OnceLock<String> = OnceLock::new();
static HITBOX: OnceLock<Cache<RedisBackend>> = OnceLock::new();

fn value(id: u64) -> String {
    compute();
    format!("{id:>256}")
}

/// Costs one `GET`.
#[cachify_core::cached(key = "row-{id}", ttl = "1h")]
async fn ours(id: u64) -> String {
    value(id)
}

/// Costs one `GET`. Less work than cachify: no coalescing.
#[cached::concurrent_cached(
    ty = "AsyncRedisCache<u64, String>",
    create = {
        let cache = AsyncRedisCache::builder("peers").ttl(HOUR);
        let cache = cache.connection_string(URL.get().unwrap());
        cache.build().await.unwrap()
    }
)]
async fn through_cached(id: u64) -> Result<String, RedisCacheError> {
    Ok(value(id))
}

/// Costs `HMGET` and `PTTL` in one pipeline. As configured here, it does not coalesce.
#[hitbox_fn::cached]
async fn through_hitbox(id: u64) -> String {
    value(id)
}

fn main() {
    let mut runtime = Builder::new_multi_thread();
    let runtime = runtime.worker_threads(2).enable_all().build().unwrap();
    let server = redis_fixture::Server::start();
    let url = URL.get_or_init(|| server.url());
    // On a busy machine, a late hit must still count as a hit.
    let cachify = Cachify::builder()
        .redis(url)
        .backend_timeout(Duration::from_secs(5));
    cachify_core::init(runtime.block_on(cachify.connect()).unwrap()).unwrap();
    let mode = ConnectionMode::single(url);
    let backend = RedisBackend::builder().connection(mode).build().unwrap();
    let policy = PolicyConfig::builder().ttl(HOUR).build();
    let cache = Cache::builder().backend(backend).policy(policy).build();
    let hitbox = HITBOX.get_or_init(|| cache);

    heading();
    compare("cached AsyncRedisCache", &runtime, move |id| async move {
        through_cached(id).await.unwrap()
    });
    compare("hitbox-redis, bincode", &runtime, move |id| async move {
        through_hitbox(id).cache(hitbox).await
    });
}

fn compare<F: Future<Output = String> + Send + 'static>(
    name: &'static str,
    runtime: &Runtime,
    theirs: impl Fn(u64) -> F + Copy + Send + 'static,
) {
    runtime.block_on(async {
        for id in 0..KEYS {
            assert_eq!(theirs(id).await, ours(id).await);
        }
    });
    computed();
    let operations = u32::try_from(TASKS * GETS).unwrap();
    let comparison = Comparison::new(name, 1.0, operations)
        .run(|| in_tasks(runtime, theirs), || in_tasks(runtime, ours));
    assert_eq!(computed(), 0, "{name}: every hit was a hit");
    comparison.print();
}

/// Runs `TASKS` concurrent tasks of `GETS` hits each.
fn in_tasks<F: Future<Output = String> + Send + 'static>(
    runtime: &Runtime,
    call: impl Fn(u64) -> F + Copy + Send + 'static,
) {
    runtime.block_on(async {
        let task = |n| async move {
            for id in (0..GETS).map(|i| (n * GETS + i) % KEYS) {
                assert_eq!(call(id).await.len(), 256);
            }
        };
        let tasks: Vec<_> = (0..TASKS).map(|n| tokio::spawn(task(n))).collect();
        for task in tasks {
            task.await.unwrap();
        }
    });
}

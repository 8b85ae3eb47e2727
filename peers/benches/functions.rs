//! Measures a hit in memory of an async function, through cachify and through other libraries:
//! `cargo bench --bench functions`.
#![allow(missing_docs)]

use std::convert::Infallible;
use std::hint::black_box;
use std::time::Duration;

use cachify_core::Cachify;
use hitbox_backend::format::BincodeFormat;
use hitbox_fn::Cache;
use hitbox_fn::prelude::PolicyConfig;
use hitbox_moka::MokaBackend;
use moka::future::Cache as Moka;
use tokio::runtime::{Builder, Runtime};

mod common;
use common::{Comparison, compute, computed, heading};

const KEYS: u64 = 1000;
const HITS: u32 = 100_000;
/// The default capacity of cachify.
const CAPACITY: u64 = 100_000;
const HOUR: Duration = Duration::from_hours(1);

fn value(id: u64) -> String {
    compute();
    format!("{id:>256}")
}

#[cachify_core::cached(key = "row-{id}", ttl = "1h")]
async fn ours(id: u64) -> String {
    value(id)
}

/// Less work than cachify: no coalescing, no expiry, no bound, no rendered key.
#[cached::concurrent_cached]
async fn sharded(id: u64) -> String {
    value(id)
}

/// Less work than cachify: no coalescing, no rendered key.
#[cached::concurrent_cached(max_size = 100_000, ttl_secs = 3600)]
async fn sharded_bounded(id: u64) -> String {
    value(id)
}

/// The fastest way of `cached` to coalesce. Less work than cachify: no expiry, no bound, no
/// rendered key.
#[cached::cached(sync_writes = "by_key", unsync_reads = true)]
async fn by_key(id: u64) -> String {
    value(id)
}

/// Less work than cachify: no bound, no rendered key.
#[cached::cached(sync_writes = "by_key", ttl_secs = 3600)]
async fn by_key_expiring(id: u64) -> String {
    value(id)
}

/// As configured below, it does not coalesce. It decodes the value on every hit.
#[hitbox_fn::cached]
async fn through_hitbox(id: u64) -> String {
    value(id)
}

fn main() {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    cachify_core::init(Cachify::memory()).unwrap();
    let strings = Moka::builder().max_capacity(CAPACITY).time_to_live(HOUR);
    let strings: Moka<String, String> = strings.build();
    let numbers = Moka::builder().max_capacity(CAPACITY).time_to_live(HOUR);
    let numbers: Moka<u64, String> = numbers.build();
    let backend = MokaBackend::builder()
        .max_entries(CAPACITY)
        .value_format(BincodeFormat)
        .build();
    let hitbox = Cache::builder()
        .backend(backend)
        .policy(PolicyConfig::builder().ttl(HOUR).build())
        .build();

    heading();
    let line = |name, budget| Line(name, budget, &runtime);
    line("cached concurrent_cached, unbounded, no expiry", 1.0).against(sharded);
    line("cached concurrent_cached, max_size, ttl", 1.0).against(sharded_bounded);
    line("cached by_key, unsync_reads, no expiry", 0.5).against(by_key);
    line("cached by_key, ttl", 0.5).against(by_key_expiring);
    // Coalesces and expires like cachify. The second one renders no key, which is less work.
    line("moka try_get_with, rendered keys", 0.5).against(async |id| {
        let init = async { Ok::<_, Infallible>(value(id)) };
        strings
            .try_get_with(format!("row-{id}"), init)
            .await
            .unwrap()
    });
    line("moka try_get_with, u64 keys", 0.5).against(async |id| {
        let init = async { Ok::<_, Infallible>(value(id)) };
        numbers.try_get_with(id, init).await.unwrap()
    });
    line("hitbox, moka, bincode", 0.2).against(async |id| through_hitbox(id).cache(&hitbox).await);
}

/// A name, a budget, and the function to run.
struct Line<'a>(&'static str, f64, &'a Runtime);

impl Line<'_> {
    fn against(self, theirs: impl AsyncFn(u64) -> String) {
        let Self(name, budget, runtime) = self;
        runtime.block_on(async {
            for id in 0..KEYS {
                assert_eq!(theirs(id).await, ours(id).await);
            }
        });
        computed();
        let comparison = Comparison::new(name, budget, HITS).run(
            || runtime.block_on(hits(&theirs)),
            || runtime.block_on(hits(&ours)),
        );
        assert_eq!(computed(), 0, "{name}: every hit was a hit");
        comparison.print();
    }
}

async fn hits(call: &impl AsyncFn(u64) -> String) {
    for n in 0..u64::from(HITS) {
        black_box(call(n % KEYS).await);
    }
}

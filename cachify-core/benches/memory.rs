//! Compares hits in memory with the same work by hand:
//! `cargo bench -p cachify-core --bench memory`.
#![allow(clippy::unwrap_used, clippy::print_stdout, missing_docs)]

use std::any::Any;
use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use cachify_core::{Cachify, cached, init, key};
use quick_cache::UnitWeighter;
use quick_cache::sync::{Cache, DefaultLifecycle};

mod ratio;
use ratio::{Comparison, heading};

const HITS: u32 = 200_000;
const VALUE: usize = 256;

static COMPUTED: AtomicUsize = AtomicUsize::new(0);

#[cached(key = "bench-{id}", ttl = "1h")]
async fn row(id: u64) -> String {
    COMPUTED.fetch_add(1, Ordering::Relaxed);
    value(id)
}

fn value(id: u64) -> String {
    format!("{id:>VALUE$}")
}

/// The cache a user might write by hand: a rendered key, an erased value, a deadline.
struct ByHand(Cache<String, Row, UnitWeighter, foldhash::fast::RandomState>);

type Row = (Arc<dyn Any + Send + Sync>, Instant);

impl ByHand {
    fn new(capacity: usize) -> Self {
        Self(Cache::with(
            capacity,
            capacity as u64,
            UnitWeighter,
            foldhash::fast::RandomState::default(),
            DefaultLifecycle::default(),
        ))
    }

    fn get(&self, id: u64) -> Option<String> {
        let (value, until) = self.0.get(format!("bench-{id}").as_str())?;
        (Instant::now() < until)
            .then(|| value.downcast_ref::<String>().cloned())
            .flatten()
    }

    fn put(&self, id: u64) {
        let until = Instant::now() + Duration::from_hours(1);
        self.0
            .insert(format!("bench-{id}"), (Arc::new(value(id)), until));
    }
}

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let builder = || {
        let builder = Cachify::builder().memory();
        builder.capacity(4_000_000).capacity_bytes(4 << 30)
    };
    let cachify = Cachify::memory();
    init(cachify.clone()).unwrap();
    let by_hand = ByHand::new(4_000_000);
    heading();

    let keys = 1000;
    runtime.block_on(async {
        for id in 0..keys {
            by_hand.put(id);
            row(id).await;
        }
    });
    let floor = || {
        for n in 0..u64::from(HITS) {
            black_box(by_hand.get(n % keys).unwrap());
        }
    };
    Comparison::new("memory hit, #[cached], 1000 keys", 1.2, HITS)
        .run(floor, || {
            runtime.block_on(async {
                for n in 0..u64::from(HITS) {
                    black_box(row(n % keys).await);
                }
            });
        })
        .print();
    Comparison::new("memory hit, builder, 1000 keys", 2.0, HITS)
        .run(floor, || {
            runtime.block_on(async {
                for n in 0..u64::from(HITS) {
                    let id = n % keys;
                    let key = key!("bench-{id}");
                    let cached = cachify.cached(&key);
                    black_box(cached.get_or_compute(async || unreachable_value(id)).await);
                }
            });
        })
        .print();

    let large = builder().connect_lazy().unwrap();
    runtime.block_on(large.scope(async {
        for id in 0..keys {
            row(id).await;
        }
    }));
    Comparison::new("the same where there is room for 4 000 000", 2.0, HITS)
        .run(floor, || {
            runtime.block_on(large.scope(async {
                for n in 0..u64::from(HITS) {
                    black_box(row(n % keys).await);
                }
            }));
        })
        .print();

    let (hot, all) = (1_000, 1_000_000);
    runtime.block_on(large.scope(async {
        for id in 0..all {
            row(id).await;
            by_hand.put(id);
        }
    }));
    COMPUTED.store(0, Ordering::Relaxed);
    let hits = |cachify: &Cachify, keys: u64| {
        runtime.block_on(cachify.scope(async {
            for id in scattered(keys) {
                black_box(row(id).await);
            }
        }));
    };
    Comparison::new("1000 keys among 1 000 000, over 1000 alone", 2.0, HITS)
        .run(|| hits(&cachify, hot), || hits(&large, hot))
        .print();
    let by_hand = || {
        for id in scattered(all) {
            black_box(by_hand.get(id).unwrap());
        }
    };
    Comparison::new("all of 1 000 000 at random, by hand", 1.2, HITS)
        .run(by_hand, || hits(&large, all))
        .print();
    assert_eq!(COMPUTED.load(Ordering::Relaxed), 0, "every hit was a hit");
}

/// Visits all keys in an order that the processor can't predict.
fn scattered(keys: u64) -> impl Iterator<Item = u64> {
    let mut id = 0;
    (0..HITS).map(move |_| {
        id = (id + 618_033) % keys;
        id
    })
}

fn unreachable_value(id: u64) -> String {
    unreachable!("{id} is cached")
}

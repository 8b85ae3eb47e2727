//! The page on testing.
#![allow(clippy::unwrap_used, clippy::unused_async, clippy::option_option)]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use cachify_core::backend::memory::Memory;
use cachify_core::clock::Clock;
use cachify_core::testing::{Fault, Faulty, Op, assert_round_trips};
use cachify_core::{Cachify, ErrorKind, cached, key};
use serde::{Deserialize, Serialize};

#[derive(Default)]
struct Db {
    reads: AtomicUsize,
}

impl Db {
    fn reads(&self) -> usize {
        self.reads.load(Ordering::SeqCst)
    }
}

#[cached(key = "total-{year}", ttl = "5m")]
async fn total(db: &Db, year: u32) -> u32 {
    db.reads.fetch_add(1, Ordering::SeqCst);
    year * 2
}

// ANCHOR: scope
#[tokio::test]
async fn a_total_is_computed_once() {
    let db = Db::default();
    let test = async {
        assert_eq!(total(&db, 2026).await, 4052);
        assert_eq!(total(&db, 2026).await, 4052);
        assert_eq!(db.reads(), 1);
    };
    Cachify::memory().scope(test).await;
}
// ANCHOR_END: scope

// ANCHOR: given
#[tokio::test]
async fn a_total_that_is_cached_is_not_computed() {
    let db = Db::default();
    let test = async {
        total::set(&2026, 1).await.unwrap();
        assert_eq!(total(&db, 2026).await, 1);
        assert_eq!(db.reads(), 0);
    };
    Cachify::memory().scope(test).await;
}
// ANCHOR_END: given

// ANCHOR: round_trip
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Customer {
    name: String,
    vat_id: Option<Option<String>>,
}

#[test]
fn a_customer_is_the_same_from_redis() {
    assert_round_trips(&Customer {
        name: "Ann".into(),
        vat_id: Some(None),
    });
}
// ANCHOR_END: round_trip

// ANCHOR: clock
#[tokio::test(start_paused = true)]
async fn a_total_lives_for_five_minutes() {
    let cachify = Cachify::builder()
        .memory()
        .clock(Clock::test())
        .connect_lazy()
        .unwrap();
    let db = Db::default();
    let test = async {
        total(&db, 2026).await;
        tokio::time::advance(Duration::from_secs(299)).await;
        total(&db, 2026).await;
        assert_eq!(db.reads(), 1);
        tokio::time::advance(Duration::from_secs(1)).await;
        total(&db, 2026).await;
        assert_eq!(db.reads(), 2);
    };
    cachify.scope(test).await;
}
// ANCHOR_END: clock

// ANCHOR: processes
#[tokio::test]
async fn two_processes_exclude_each_other() {
    let store = Arc::new(Memory::default());
    let process = || Cachify::builder().backend(store.clone()).connect_lazy();
    let (one, another) = (process().unwrap(), process().unwrap());
    let guard = one.lock(&key!("import")).acquire().await.unwrap();
    let second = another.once(&key!("import")).run(async {}).await.unwrap();
    assert_eq!(second, None);
    guard.release().await.unwrap();
}
// ANCHOR_END: processes

// ANCHOR: faults
#[tokio::test(start_paused = true)]
async fn without_its_backend_it_still_answers() {
    let (cachify, backend) = Faulty::wrap(&Cachify::memory());
    backend.fail_all(Fault::Hang);
    let db = Db::default();
    let test = async {
        assert_eq!(total(&db, 2026).await, 4052);
        let error = total::reset(&2026).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unconfirmed);
    };
    cachify.scope(test).await;
}
// ANCHOR_END: faults

// ANCHOR: gates
#[tokio::test]
async fn a_reset_while_the_value_is_on_its_way_wins() {
    let (cachify, backend) = Faulty::wrap(&Cachify::memory());
    let (db, key) = (Db::default(), key!("total-2026"));
    let fill = backend.before(Op::Fill); // the next store stops here

    let read = cachify.scope(total(&db, 2026));
    let reset = async {
        fill.reached().await;
        cachify.reset(&key).await.unwrap();
        fill.open();
    };
    tokio::join!(read, reset);

    assert_eq!(cachify.cached(&key).get::<u32>().await.unwrap(), None);
}
// ANCHOR_END: gates

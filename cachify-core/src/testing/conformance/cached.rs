//! Entries: C1 to C6, C12 and C13.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::future::join_all;
use std::pin::pin;
use tokio::sync::Notify;

use super::*;
use crate::backend::{Begin, Begun, Claim, NewEntry, Typed};
use crate::{Cacheable, Ttl};

async fn get<T: Cacheable>(cachify: &Cachify, key: &Key) -> Option<T> {
    cachify.cached(key).get().await.unwrap()
}

async fn read<T: Cacheable>(cachify: &Cachify, key: &Key, value: T) -> T {
    cachify.cached(key).get_or_compute(async || value).await
}

/// A read whose computation waits until the test lets it continue.
struct Slow {
    started: Arc<Notify>,
    go_on: Arc<Notify>,
    result: tokio::task::JoinHandle<i32>,
}

impl Slow {
    /// Reads `key`, computing `value`; returns once the computation runs.
    async fn start(cachify: &Cachify, key: &Key, value: i32) -> Self {
        let slow = Self::spawn(cachify, key, value);
        soon("the computation starts", slow.started.notified()).await;
        slow
    }

    fn spawn(cachify: &Cachify, key: &Key, value: i32) -> Self {
        let (started, go_on) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let (starts, goes_on) = (Arc::clone(&started), Arc::clone(&go_on));
        let cached = cachify.cached(key);
        let result = tokio::spawn(async move {
            cached
                .get_or_compute(async || {
                    starts.notify_one();
                    goes_on.notified().await;
                    value
                })
                .await
        });
        Self {
            started,
            go_on,
            result,
        }
    }

    async fn finish(self) -> i32 {
        self.go_on.notify_one();
        soon("the read ends", self.result).await.unwrap()
    }
}

pub async fn c1_a_value_lives_for_its_ttl(stage: &Stage) {
    let (writer, reader) = (stage.handle(), stage.handle());
    let key = stage.key("short");
    writer.cached(&key).ttl(500 * MILLI).set(1).await.unwrap();
    assert_eq!(get(&reader, &key).await, Some(1));
    sleep(550 * MILLI).await;
    assert_eq!(get::<i32>(&reader, &key).await, None);
    assert_eq!(read(&reader, &key, 2).await, 2);
}

pub async fn c1_some_none_and_ok_are_values(stage: &Stage) {
    let (a, b) = (stage.handle(), stage.handle());
    let key = stage.key("absent");
    assert_eq!(read(&a, &key, None::<String>).await, None);
    assert_eq!(read(&b, &key, Some("late".to_owned())).await, None);
    let failing = stage.key("failing");
    let cached = a.cached(&failing);
    let failed = cached.get_or_try_compute(async || Err::<i32, _>("no"));
    assert_eq!(failed.await, Err("no"));
    let succeeded = cached.get_or_try_compute(async || Ok::<_, &str>(1));
    assert_eq!(succeeded.await, Ok(1));
    assert_eq!(get(&b, &failing).await, Some(1));
}

pub async fn c3_a_cold_key_is_computed_once_by_two_processes(stage: &Stage) {
    let handles = [stage.handle(), stage.handle()];
    let key = stage.key("cold");
    let runs = AtomicUsize::new(0);
    let reads = (0..100).map(|n| {
        let (cached, runs) = (handles[n % 2].cached(&key), &runs);
        async move {
            cached
                .get_or_compute(async || {
                    runs.fetch_add(1, Ordering::SeqCst);
                    sleep(50 * MILLI).await;
                    7
                })
                .await
        }
    });
    let values = soon("all reads", join_all(reads)).await;
    assert_eq!(values, [7; 100]);
    assert_eq!(runs.load(Ordering::SeqCst), 1);
}

pub async fn c3_s2_a_miss_that_was_overtaken_by_a_fill_is_a_hit(stage: &Stage) {
    let a = stage.handle();
    let (b, backend) = stage.faulty();
    let key = stage.key("overtaken");
    let gate = backend.before(Op::Begin);
    let cached = b.cached(&key);
    let miss = tokio::spawn(async move { cached.get_or_compute(async || 2).await });
    soon("b missed", gate.reached()).await;
    assert_eq!(read(&a, &key, 1).await, 1);
    gate.open();
    assert_eq!(soon("b", miss).await.unwrap(), 1, "b did not compute");
}

pub async fn c3_s3_who_lost_the_lease_cannot_store(stage: &Stage) {
    let (a, backend) = stage.faulty();
    let b = stage.handle();
    let key = stage.key("stopped");
    // Simulates a stopped process, which does not renew its leases.
    backend.fail(Op::ExtendLease, Fault::Refuse);
    let old = Slow::start(&a, &key, 1).await;
    let start = Instant::now();
    assert_eq!(soon("b takes over", read(&b, &key, 2)).await, 2);
    assert!(start.elapsed() < 5 * SECOND, "the lease is short");
    assert_eq!(old.finish().await, 1);
    assert_eq!(get(&b, &key).await, Some(2));
}

pub async fn c3_a_leader_that_fails_is_followed_at_once_elsewhere(stage: &Stage) {
    let (a, b) = (stage.handle(), stage.handle());
    let key = stage.key("cancelled");
    let leader = Slow::start(&a, &key, 1).await;
    let cached = b.cached(&key);
    let follower = tokio::spawn(async move { cached.get_or_compute(async || 2).await });
    sleep(50 * MILLI).await;
    let start = Instant::now();
    leader.result.abort();
    assert_eq!(soon("b follows", follower).await.unwrap(), 2);
    // A message ends the wait, not the end of the lease; a lost message would cost a second.
    assert!(start.elapsed() < 2 * SECOND, "{:?}", start.elapsed());
}

pub async fn c4_s1_no_joiner_gets_what_began_before_a_reset(stage: &Stage) {
    let (a, b) = (stage.handle(), stage.handle());
    let key = stage.key("row");
    let old = Slow::start(&a, &key, 1).await;
    b.reset(&key).await.unwrap();
    let joiner = Slow::spawn(&a, &key, 2);
    let joined = joiner.result;
    joiner.go_on.notify_one();
    // It joins the flight, or computes already if the flight has learned of the reset.
    until("it joins", async || {
        a.inner.entries.flights.waiting(&a.own(&key)) == 1 || joined.is_finished()
    })
    .await;
    assert_eq!(old.finish().await, 1, "the leader's read is older");
    assert_eq!(soon("the joiner", joined).await.unwrap(), 2);
    assert_eq!(get(&b, &key).await, Some(2));
}

pub async fn c4_s4_what_a_reset_overtook_is_not_stored(stage: &Stage) {
    let (a, b) = (stage.handle(), stage.handle());
    let key = stage.key("row");
    let old = Slow::start(&a, &key, 1).await;
    b.reset(&key).await.unwrap();
    assert_eq!(old.finish().await, 1);
    assert_eq!(get::<i32>(&a, &key).await, None);
    assert_eq!(get::<i32>(&b, &key).await, None);
}

pub async fn c4_s5_a_set_overtakes_what_is_being_computed(stage: &Stage) {
    let (a, b) = (stage.handle(), stage.handle());
    let key = stage.key("row");
    let old = Slow::start(&a, &key, 1).await;
    b.cached(&key).set(2).await.unwrap();
    assert_eq!(old.finish().await, 1);
    assert_eq!(get(&a, &key).await, Some(2));
    assert_eq!(get(&b, &key).await, Some(2));
}

pub async fn c4_no_ended_lease_is_revived_for_an_older_leader(stage: &Stage) {
    let (a, backend) = stage.faulty();
    let b = stage.handle();
    let key = stage.key("row");
    let cached = a.cached(&key);
    // Two failures in a row, so the next two waiters lead in turn while the others wait.
    let (fail, entered) = (Arc::new(Notify::new()), Arc::new(AtomicUsize::new(0)));
    let gates: Vec<_> = (0..3).map(|_| Arc::new(Notify::new())).collect();
    let entered_so_far = Arc::clone(&entered);
    let mut reads = Vec::new();
    for n in 0..5 {
        let (cached, fail, entered) = (cached.clone(), Arc::clone(&fail), Arc::clone(&entered));
        let gates = gates.clone();
        reads.push(tokio::spawn(async move {
            let compute = async || {
                if entered.fetch_add(1, Ordering::SeqCst) < 2 {
                    fail.notified().await;
                    return Err("no");
                }
                gates[n - 2].notified().await;
                Ok(n)
            };
            cached.get_or_try_compute(compute).await
        }));
        // One after the other, so that they queue in this order.
        until("it leads or waits", async || {
            entered_so_far.load(Ordering::SeqCst) == 1
                && a.inner.entries.flights.waiting(&a.own(&key)) == n
        })
        .await;
    }
    let entered_are = async |count| {
        until("they compute", async || {
            entered.load(Ordering::SeqCst) == count
        })
        .await;
    };
    fail.notify_one();
    entered_are(2).await;
    fail.notify_one();
    entered_are(4).await;

    b.reset(&key).await.unwrap();
    let renewals = backend.calls(Op::ExtendLease);
    until("the flight knows that its lease ended", async || {
        backend.calls(Op::ExtendLease) > renewals
    })
    .await;
    // After one of the two, a new caller asks for the lease.
    reads[3].abort();
    entered_are(5).await;
    gates[0].notify_one();
    assert_eq!(soon("the older", &mut reads[2]).await.unwrap(), Ok(2));
    assert_eq!(
        get::<usize>(&b, &key).await,
        None,
        "it began before the reset"
    );
    gates[2].notify_one();
    assert_eq!(soon("the newer", &mut reads[4]).await.unwrap(), Ok(4));
}

pub async fn c3_a_lease_that_was_asked_for_again_is_kept_alive(stage: &Stage) {
    let (a, backend) = stage.faulty();
    let b = stage.handle();
    let key = stage.key("row");
    let leader = Slow::start(&a, &key, 1).await;
    let follower = Slow::spawn(&a, &key, 2);
    until("it waits", async || {
        a.inner.entries.flights.waiting(&a.own(&key)) == 1
    })
    .await;
    b.reset(&key).await.unwrap();
    // The flight learns that its lease has ended.
    let renewal = backend.after(Op::ExtendLease);
    soon("a renewal", renewal.reached()).await;
    renewal.open();
    sleep(20 * MILLI).await;
    leader.result.abort();
    soon("the follower computes", follower.started.notified()).await;
    sleep(4 * SECOND).await;
    assert_eq!(follower.finish().await, 2);
    assert_eq!(get(&b, &key).await, Some(2), "it was stored");
}

pub async fn c6_a_value_of_another_type_is_replaced(stage: &Stage) {
    let (a, b) = (stage.handle(), stage.handle());
    let key = stage.key("typed");
    assert_eq!(read(&a, &key, 1_i32).await, 1);
    assert_eq!(get::<String>(&b, &key).await, None);
    assert_eq!(read(&b, &key, "text".to_owned()).await, "text");
    assert_eq!(read(&a, &key, "other".to_owned()).await, "text");
}

pub async fn c12_s8_a_reset_that_was_polled_once_happens(stage: &Stage) {
    let (a, b) = (stage.handle(), stage.handle());
    let key = stage.key("row");
    a.cached(&key).set(1).await.unwrap();
    {
        let mut reset = pin!(a.reset(&key));
        let _ = poll_once(reset.as_mut());
    }
    until("the entry is gone", async || {
        get::<i32>(&b, &key).await.is_none()
    })
    .await;
}

pub async fn c12_s35_an_update_that_is_cancelled_resets(stage: &Stage) {
    let (a, b) = (stage.handle(), stage.handle());
    let key = stage.key("row");
    a.cached(&key).set(1).await.unwrap();
    {
        let mut update = pin!(a.update(&key, std::future::pending::<()>()));
        assert!(poll_once(update.as_mut()).is_pending());
    }
    until("the entry is gone", async || {
        get::<i32>(&b, &key).await.is_none()
    })
    .await;
    assert_eq!(
        a.update(&key, async { Err::<(), _>("no") }).await,
        Err("no")
    );
}

/// A hit is equal over backends that encode too: `nil` for `Some(None)` would be decoded as `None`.
pub async fn c13_a_hit_equals_what_was_stored(stage: &Stage) {
    async fn check<T: Cacheable + PartialEq + std::fmt::Debug>(stage: &Stage, value: T) {
        let (a, b) = (stage.handle(), stage.handle());
        let (computed, set) = (stage.key("computed"), stage.key("set"));
        assert_eq!(read(&a, &computed, value.clone()).await, value);
        a.cached(&set).set(value.clone()).await.unwrap();
        assert_eq!(get(&b, &computed).await, Some(value.clone()));
        assert_eq!(get(&b, &set).await, Some(value));
    }

    check(stage, None::<Option<i32>>).await;
    check(stage, Some(None::<i32>)).await;
    check(stage, Some(Some(1))).await;
    check(stage, Some(())).await;
    check(stage, Some(Some(None::<()>))).await;
    check(stage, vec![Some(Some("a".to_owned())), Some(None), None]).await;
    check(stage, Some(vec![(Some(()), 'x'), (None, 'y')])).await;
    check(stage, (u128::MAX, i64::MIN, f64::INFINITY, -0.5_f32, ())).await;
}

pub async fn c9_an_expired_entry_is_kept_stale_and_its_lease_ends(stage: &Stage) {
    let (a, b) = (stage.handle(), stage.handle());
    let key = stage.key("row");
    let (engine, own) = (&a.inner.engine, &a.own(&key));
    let backend = &engine.backend;
    backend.expire(own).await.unwrap();
    assert!(backend.get(own).await.unwrap().is_none());
    a.cached(&key).set(1).await.unwrap();
    let found = backend.get(own).await.unwrap().unwrap();
    let token = engine.node.token();
    let begin = Begin::new(&token, Duration::from_secs(3), Claim::Wait).replaces(Some(&found));
    assert!(matches!(
        backend.begin(own, begin).await.unwrap(),
        Begun::Granted
    ));

    b.inner.engine.backend.expire(own).await.unwrap();
    let value: Typed = Arc::new(());
    let entry = NewEntry::new(&value, &|_| Ok(Vec::new()), &|| 0, Ttl::NEVER);
    assert!(!backend.fill(own, &token, entry).await.unwrap());
    assert!(backend.get(own).await.unwrap().is_some());
    assert_eq!(a.cached(&key).get::<i32>().await.unwrap(), None);
    for handle in [&a, &b] {
        let value = handle.cached(&key).get_or_compute(async || 2).await;
        assert_eq!(value, 2);
    }
    assert_eq!(b.cached(&key).get::<i32>().await.unwrap(), Some(2));
}

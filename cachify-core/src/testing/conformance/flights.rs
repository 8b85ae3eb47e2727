//! Callers that miss together: C2, C4 and C5, with each operation of the backend under way.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use futures_util::future::join_all;
use tokio::sync::Semaphore;
use tokio::task::{JoinHandle, yield_now};

use super::*;

/// Counts computations, and holds them until the test releases them.
#[derive(Clone)]
struct Work {
    runs: Arc<AtomicUsize>,
    /// Holds the runs until it is closed.
    hold: Arc<Semaphore>,
}

impl Work {
    fn held() -> Self {
        Self {
            runs: Arc::default(),
            hold: Arc::new(Semaphore::new(0)),
        }
    }

    fn let_go(&self) {
        self.hold.close();
    }

    /// Returns the number of this run once it is released.
    async fn run(&self) -> usize {
        let run = self.runs.fetch_add(1, Ordering::SeqCst) + 1;
        let _ = self.hold.acquire().await;
        run
    }

    fn runs(&self) -> usize {
        self.runs.load(Ordering::SeqCst)
    }

    fn read(&self, cachify: &Cachify, key: &Key) -> JoinHandle<usize> {
        let (cached, work) = (cachify.cached(key), self.clone());
        tokio::spawn(async move { cached.get_or_compute(async || work.run().await).await })
    }

    async fn runs_are(&self, runs: usize) {
        until("they compute", async || self.runs() == runs).await;
    }
}

async fn waiting_are(cachify: &Cachify, key: &Key, count: usize) {
    until("they wait", async || {
        cachify.inner.entries.flights.waiting(&cachify.own(key)) == count
    })
    .await;
}

pub async fn c2_s34_a_leader_cancelled_at_any_operation_is_replaced_at_once(stage: &Stage) {
    for op in [Op::Get, Op::Begin, Op::Fill] {
        for before in [true, false] {
            let case = format!("{op:?}, before: {before}");
            let (a, backend) = stage.faulty();
            let b = stage.handle();
            let (key, work) = (stage.key("relay"), Work::held());
            let gate = if before {
                backend.before(op)
            } else {
                backend.after(op)
            };
            let leader = work.read(&a, &key);
            if op == Op::Fill {
                work.runs_are(1).await;
            } else {
                soon(&case, gate.reached()).await;
            }
            let waiters: Vec<_> = (0..8).map(|_| work.read(&a, &key)).collect();
            if op != Op::Get {
                waiting_are(&a, &key, 8).await;
            }
            work.let_go();
            if op == Op::Fill {
                soon(&case, gate.reached()).await;
            }
            let start = Instant::now();
            leader.abort();
            let mut values = Vec::new();
            for waiter in waiters {
                values.push(soon(&case, waiter).await.unwrap());
            }
            assert!(start.elapsed() < SECOND, "{case}: {:?}", start.elapsed());
            assert!(work.runs() <= 2, "{case}: {} runs", work.runs());
            assert!(values.iter().all(|value| *value == values[0]), "{case}");
            // And no lease is left that would keep other callers waiting.
            assert_eq!(soon(&case, work.read(&b, &key)).await.unwrap(), values[0]);
            assert!(start.elapsed() < 2 * SECOND, "{case}");
        }
    }
}

pub async fn c2_an_error_is_shared_with_those_who_waited(stage: &Stage) {
    let a = stage.handle();
    let (key, work) = (stage.key("failing"), Work::held());
    let reads: Vec<_> = (0..8)
        .map(|_| {
            let (cached, work) = (a.cached(&key).share_errors(), work.clone());
            tokio::spawn(async move {
                cached
                    .get_or_try_compute(async || Err::<i32, _>(work.run().await))
                    .await
            })
        })
        .collect();
    waiting_are(&a, &key, 7).await;
    work.let_go();
    for read in reads {
        assert_eq!(soon("the error", read).await.unwrap(), Err(1));
    }
    assert_eq!(work.runs(), 1);
    assert_eq!(work.read(&stage.handle(), &key).await.unwrap(), 2);
}

pub async fn c2_a_panicking_leader_is_replaced_at_once(stage: &Stage) {
    let (a, b) = (stage.handle(), stage.handle());
    let (key, work) = (stage.key("panics"), Work::held());
    let (cached, leads) = (a.cached(&key), work.clone());
    let leader = tokio::spawn(async move {
        let compute = async || -> usize { panic!("on purpose, in run {}", leads.run().await) };
        cached.get_or_compute(compute).await
    });
    work.runs_are(1).await;
    let (here, there) = (work.read(&a, &key), work.read(&b, &key));
    waiting_are(&a, &key, 1).await;
    let start = Instant::now();
    work.let_go();
    assert_eq!(soon("the waiter here", here).await.unwrap(), 2);
    assert_eq!(soon("the waiter elsewhere", there).await.unwrap(), 2);
    assert!(start.elapsed() < 2 * SECOND, "{:?}", start.elapsed());
    assert!(leader.await.unwrap_err().is_panic());
}

pub async fn c5_what_is_not_cacheable_is_neither_stored_nor_handed_on(stage: &Stage) {
    let (a, b) = (stage.handle(), stage.handle());
    let (key, work) = (stage.key("cookie"), Work::held());
    let reads: Vec<_> = (0..8)
        .map(|_| {
            let cached = a.cached(&key).cache_if(|_: &usize| false);
            let work = work.clone();
            tokio::spawn(async move { cached.get_or_compute(async || work.run().await).await })
        })
        .collect();
    waiting_are(&a, &key, 7).await;
    work.let_go();
    let mut values = Vec::new();
    for read in reads {
        values.push(soon("each its own", read).await.unwrap());
    }
    values.sort_unstable();
    assert_eq!(values, [1, 2, 3, 4, 5, 6, 7, 8]);
    assert_eq!(b.cached(&key).get::<usize>().await.unwrap(), None);
}

pub async fn c4_while_nothing_can_be_confirmed_joiners_get_what_began_after_they_came(
    stage: &Stage,
) {
    let (a, backend) = stage.faulty();
    let (key, old, new) = (stage.key("away"), Work::held(), Work::held());
    backend.fail_all(Fault::Refuse);
    let leader = old.read(&a, &key);
    old.runs_are(1).await;
    let joiners: Vec<_> = (0..8).map(|_| new.read(&a, &key)).collect();
    waiting_are(&a, &key, 8).await;
    old.let_go();
    assert_eq!(soon("the leader", leader).await.unwrap(), 1);
    // One of them computes again, for all of them.
    new.runs_are(1).await;
    waiting_are(&a, &key, 7).await;
    new.let_go();
    for joiner in joiners {
        assert_eq!(soon("a joiner", joiner).await.unwrap(), 1);
    }
    assert_eq!((old.runs(), new.runs()), (1, 1));
}

/// Builds a separate handle whose callers wait only this long for others.
fn impatient(stage: &Stage) -> Cachify {
    let Cachify { inner, prefix } = stage.handle();
    let engine = &inner.engine;
    let mut settings = engine.settings.clone();
    settings.compute_wait = SECOND;
    let over = Cachify::over(
        Arc::clone(&engine.backend),
        settings,
        engine.node.clone(),
        engine.clock.clone(),
    );
    Cachify { prefix, ..over }
}

pub async fn c3_a_computation_that_hangs_elsewhere_is_taken_over(stage: &Stage) {
    let (a, b) = (stage.handle(), impatient(stage));
    let (key, hung) = (stage.key("hung"), Work::held());
    let hanging = hung.read(&a, &key);
    hung.runs_are(1).await;
    let start = Instant::now();
    let reads = (0..10).map(|_| b.cached(&key));
    let reads = reads.map(|cached| async move { cached.get_or_compute(async || 2_usize).await });
    let values = soon("they compute beside it", join_all(reads)).await;
    assert_eq!(values, [2; 10]);
    assert!(start.elapsed() >= 900 * MILLI);
    assert!(start.elapsed() < 3 * SECOND, "{:?}", start.elapsed());
    assert_eq!(a.cached(&key).get::<usize>().await.unwrap(), Some(2));
    // The computation that hung may not store any more, and keeps no lease alive.
    a.reset(&key).await.unwrap();
    let start = Instant::now();
    assert_eq!(b.cached(&key).get_or_compute(async || 3_usize).await, 3);
    assert!(start.elapsed() < SECOND, "{:?}", start.elapsed());
    hung.let_go();
    assert_eq!(soon("it goes on", hanging).await.unwrap(), 1);
    assert_eq!(b.cached(&key).get::<usize>().await.unwrap(), Some(3));
}

pub async fn c3_the_first_of_those_that_compute_is_stored(stage: &Stage) {
    let (a, b) = (stage.handle(), impatient(stage));
    let key = stage.key("slow");
    let (slow, hung) = (Work::held(), Work::held());
    let first = slow.read(&a, &key);
    slow.runs_are(1).await;
    let second = hung.read(&b, &key);
    hung.runs_are(1).await;
    // The wait was too short: the first computation is as good as the second one.
    slow.let_go();
    assert_eq!(soon("the first", first).await.unwrap(), 1);
    assert_eq!(b.cached(&key).get::<usize>().await.unwrap(), Some(1));
    b.reset(&key).await.unwrap();
    hung.let_go();
    assert_eq!(soon("the second", second).await.unwrap(), 1);
    assert_eq!(b.cached(&key).get::<usize>().await.unwrap(), None);
}

pub async fn c3_a_slow_computation_is_no_stampede_among_processes(stage: &Stage) {
    let handles: Vec<_> = (0..8).map(|_| impatient(stage)).collect();
    let (key, work) = (stage.key("slow"), Work::held());
    let first = work.read(&handles[0], &key);
    work.runs_are(1).await;
    let mut reads: Vec<_> = handles.iter().map(|b| work.read(b, &key)).collect();
    reads.push(first);
    let mut starts = Vec::new();
    for runs in [2, 3, 4] {
        until("they compute beside it", async || work.runs() >= runs).await;
        starts.push(Instant::now());
    }
    // One starts after a second, two more after the next.
    assert!(starts[1] - starts[0] >= 500 * MILLI, "{starts:?}");
    work.let_go();
    for read in reads {
        soon("a value", read).await.unwrap();
    }
    assert!(work.runs() <= 8, "{}", work.runs());
}

pub async fn c4_a_reset_elsewhere_frees_those_who_wait_for_a_hung_computation(stage: &Stage) {
    let (a, b) = (stage.handle(), stage.handle());
    let (key, hung, work) = (stage.key("hung"), Work::held(), Work::held());
    let hanging = hung.read(&a, &key);
    hung.runs_are(1).await;
    work.let_go();
    let waiter = work.read(&a, &key);
    waiting_are(&a, &key, 1).await;
    b.reset(&key).await.unwrap();
    // At the next renewal.
    assert_eq!(soon("the waiter", waiter).await.unwrap(), 1);
    assert_eq!(b.cached(&key).get::<usize>().await.unwrap(), Some(1));
    hanging.abort();
}

pub async fn c4_a_set_that_was_overtaken_is_never_seen_again(stage: &Stage) {
    for by_a_set in [false, true] {
        let (a, backend) = stage.faulty();
        let b = stage.handle();
        let key = stage.key("row");
        b.cached(&key).set(1).await.unwrap();
        let gate = backend.before(Op::Fill);
        let cached = a.cached(&key);
        let set = tokio::spawn(async move { cached.set(2).await });
        soon("it is under way", gate.reached()).await;
        let expected = by_a_set.then_some(3);
        match expected {
            Some(value) => b.cached(&key).set(value).await.unwrap(),
            None => b.reset(&key).await.unwrap(),
        }
        gate.open();
        soon("it ends", set).await.unwrap().unwrap();
        assert_eq!(b.cached(&key).get::<i32>().await.unwrap(), expected);
    }
}

pub async fn c4_a_read_during_a_set_waits_for_it(stage: &Stage) {
    let (a, backend) = stage.faulty();
    let b = stage.handle();
    let key = stage.key("row");
    b.cached(&key).set(1).await.unwrap();
    let gate = backend.before(Op::Fill);
    let cached = a.cached(&key);
    let set = tokio::spawn(async move { cached.set(2).await });
    soon("it is under way", gate.reached()).await;
    let cached = b.cached(&key);
    let read = tokio::spawn(async move { cached.get_or_compute(async || 3).await });
    sleep(20 * MILLI).await;
    gate.open();
    soon("it ends", set).await.unwrap().unwrap();
    assert_eq!(soon("the read", read).await.unwrap(), 2);
}

pub async fn c12_a_set_that_is_dropped_leaves_no_old_value(stage: &Stage) {
    for (op, before) in [
        (Op::Begin, true),
        (Op::Begin, false),
        (Op::Fill, true),
        (Op::Fill, false),
    ] {
        let (a, backend) = stage.faulty();
        let b = stage.handle();
        let key = stage.key("row");
        b.cached(&key).set(1).await.unwrap();
        let gate = if before {
            backend.before(op)
        } else {
            backend.after(op)
        };
        let cached = a.cached(&key);
        let set = tokio::spawn(async move { cached.set(2).await });
        soon("it is under way", gate.reached()).await;
        set.abort();
        until("the entry is gone", async || {
            b.cached(&key).get::<i32>().await.unwrap().is_none()
        })
        .await;
        assert!(set.await.unwrap_err().is_cancelled());
    }
}

/// A row with one writer and many readers in two processes, and the history of the values they saw.
pub async fn c4_no_read_is_older_than_a_reset_before_it(stage: &Stage) {
    const VERSIONS: u64 = 300;
    let handles = [stage.handle(), stage.handle()];
    let key = stage.key("row");
    let row = Arc::new(AtomicU64::new(0));
    // The oldest value that a reader starting now may see.
    let oldest = Arc::new(AtomicU64::new(0));
    let (reads, done) = (
        Arc::new(AtomicU64::new(0)),
        Arc::new(AtomicBool::new(false)),
    );
    let readers: Vec<_> = (0..8)
        .map(|n| {
            let cached = handles[n % 2].cached(&key);
            let (row, oldest, reads, done) =
                (row.clone(), oldest.clone(), reads.clone(), done.clone());
            tokio::spawn(async move {
                while !done.load(Ordering::SeqCst) {
                    let least = oldest.load(Ordering::SeqCst);
                    let compute = async || {
                        let version = row.load(Ordering::SeqCst);
                        for _ in 0..version % (n as u64 + 1) {
                            yield_now().await;
                        }
                        version
                    };
                    let version = cached.get_or_compute(compute).await;
                    assert!(version >= least, "read {version}, {least} was there before");
                    reads.fetch_add(1, Ordering::SeqCst);
                    yield_now().await;
                }
            })
        })
        .collect();
    for version in 1..=VERSIONS {
        row.store(version, Ordering::SeqCst);
        let handle = &handles[usize::from(version % 3 == 0)];
        let told = if version % 5 == 0 {
            handle.cached(&key).set(version).await
        } else {
            handle.reset(&key).await
        };
        if told.is_ok() {
            oldest.store(version, Ordering::SeqCst);
        }
        // As fast as the readers read.
        let before = reads.load(Ordering::SeqCst);
        while reads.load(Ordering::SeqCst) == before && !readers.iter().any(JoinHandle::is_finished)
        {
            yield_now().await;
        }
    }
    done.store(true, Ordering::SeqCst);
    for reader in readers {
        soon("a reader ends", reader).await.unwrap();
    }
}

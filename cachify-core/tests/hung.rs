//! Computations that hang, that are not polled, or that wait for themselves.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::future::{Future, pending};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use cachify_core::clock::Clock;
use cachify_core::{Cachify, Key, KeyTemplate};
use futures_util::future::join_all;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep};

/// The default.
const COMPUTE_WAIT: Duration = Duration::from_secs(30);

fn key(text: &str) -> Key {
    KeyTemplate::parse(text).unwrap().render(&[])
}

fn paused() -> Cachify {
    let builder = Cachify::builder().memory().clock(Clock::test());
    builder.connect_lazy().unwrap()
}

/// Polls `future` once and returns whether it is ready.
fn poll_once<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

#[tokio::test(start_paused = true)]
async fn c2_a_hung_computation_is_taken_over_and_its_successor_is_stored() {
    let cachify = paused();
    let cached = cachify.cached(&key("row"));
    let mut hung = pin!(cached.get_or_compute(pending::<usize>));
    assert!(poll_once(hung.as_mut()).is_pending());
    let (runs, start) = (AtomicUsize::new(0), Instant::now());
    let calls = (0..100).map(|_| {
        cached.get_or_compute(async || {
            sleep(Duration::from_millis(10)).await;
            runs.fetch_add(1, Ordering::SeqCst) + 1
        })
    });
    assert_eq!(join_all(calls).await, [1; 100]);
    assert!(start.elapsed() < COMPUTE_WAIT + Duration::from_secs(1));
    assert_eq!(
        cached.get_or_compute(async || 0_usize).await,
        1,
        "it was stored"
    );
}

#[tokio::test(start_paused = true)]
async fn c2_a_computation_longer_than_the_patience_is_no_stampede() {
    let cachify = paused();
    let cached = cachify.cached(&key("report"));
    let (starts, begin) = (AtomicUsize::new(0), Instant::now());
    let calls = (0..100).map(|_| {
        let (cached, starts) = (&cached, &starts);
        async move {
            let compute = async || {
                starts.fetch_add(1, Ordering::SeqCst);
                sleep(COMPUTE_WAIT * 5 / 2).await;
                7
            };
            let value = cached.get_or_compute(compute).await;
            (value, begin.elapsed())
        }
    });
    let answers = join_all(calls).await;
    assert!(answers.iter().all(|(value, _)| *value == 7));
    // The first, one after one `compute_wait`, two after the next.
    assert_eq!(starts.load(Ordering::SeqCst), 4);
    let waiters = answers
        .iter()
        .filter(|(_, took)| *took == COMPUTE_WAIT * 5 / 2);
    assert_eq!(waiters.count(), 97, "they get the first value");
    assert_eq!(cached.get().await.unwrap(), Some(7));
}

#[tokio::test(start_paused = true)]
async fn c2_if_all_computations_hang_everybody_gets_a_turn() {
    let cachify = paused();
    let cached = cachify.cached(&key("row"));
    let starts = Arc::new(AtomicUsize::new(0));
    let calls: Vec<_> = (0..40)
        .map(|_| {
            let (cached, starts) = (cached.clone(), Arc::clone(&starts));
            tokio::spawn(async move {
                let compute = async || {
                    starts.fetch_add(1, Ordering::SeqCst);
                    pending::<i32>().await
                };
                cached.get_or_compute(compute).await
            })
        })
        .collect();
    let mut counts = Vec::new();
    sleep(COMPUTE_WAIT / 2).await;
    for _ in 0..7 {
        counts.push(starts.load(Ordering::SeqCst));
        sleep(COMPUTE_WAIT).await;
    }
    assert_eq!(counts, [1, 2, 4, 8, 16, 32, 40]);
    calls.iter().for_each(tokio::task::JoinHandle::abort);
}

#[tokio::test(start_paused = true)]
async fn c4_a_reset_or_a_set_frees_those_who_wait_for_a_hung_computation() {
    for set in [false, true] {
        let cachify = paused();
        let cached = cachify.cached(&key("row"));
        let end = Notify::new();
        let mut hung = pin!(cached.get_or_compute(async || {
            end.notified().await;
            1
        }));
        assert!(poll_once(hung.as_mut()).is_pending());
        let mut waiter = pin!(cached.get_or_compute(async || 2));
        assert!(poll_once(waiter.as_mut()).is_pending());
        let start = Instant::now();
        let expected = if set {
            cached.set(3).await.unwrap();
            3
        } else {
            cached.reset().await.unwrap();
            2
        };
        assert_eq!(waiter.await, expected);
        assert_eq!(start.elapsed(), Duration::ZERO);
        end.notify_one();
        assert_eq!(hung.await, 1);
        assert_eq!(cached.get().await.unwrap(), Some(expected));
    }
}

#[tokio::test(start_paused = true)]
async fn c2_a_flight_without_patience_waits_for_nobody() {
    let builder = Cachify::builder().memory().clock(Clock::test());
    let cachify = builder.compute_wait(Duration::ZERO).connect_lazy().unwrap();
    let cached = cachify.cached(&key("row"));
    let mut hung = pin!(cached.get_or_compute(pending::<i32>));
    assert!(poll_once(hung.as_mut()).is_pending());
    let start = Instant::now();
    assert_eq!(cached.get_or_compute(async || 2).await, 2);
    assert_eq!(start.elapsed(), Duration::ZERO);
}

/// Asks for the same key from within its computation, this many times.
fn nested(cachify: &Cachify, depth: u32) -> Pin<Box<dyn Future<Output = u32> + Send + '_>> {
    Box::pin(async move {
        let cached = cachify.cached(&key("nested"));
        cached
            .get_or_compute(async || match depth {
                0 => 1,
                _ => nested(cachify, depth - 1).await + 1,
            })
            .await
    })
}

#[tokio::test(start_paused = true)]
async fn c2_a_task_that_asks_for_what_it_computes_does_not_wait_for_itself() {
    let cachify = paused();
    let start = Instant::now();
    assert_eq!(nested(&cachify, 5).await, 6);
    assert_eq!(start.elapsed(), Duration::ZERO);
    let stored = cachify.cached(&key("nested")).get::<u32>().await.unwrap();
    assert_eq!(stored, Some(6), "the outermost value");
}

#[tokio::test(start_paused = true)]
async fn c2_a_circle_through_other_keys_and_types_is_noticed() {
    let cachify = paused();
    let (a, b) = (cachify.cached(&key("a")), cachify.cached(&key("b")));
    let start = Instant::now();
    let value = a
        .get_or_compute(async || {
            let inner = b.get_or_compute(async || {
                // The same key with another type: they share the lease.
                let text = a.get_or_compute(async || "2".to_owned()).await;
                text.parse::<i32>().unwrap() + 1
            });
            inner.await + 1
        })
        .await;
    assert_eq!(value, 4);
    assert_eq!(start.elapsed(), Duration::ZERO);
    // Once the computation is over, a call is an ordinary call again.
    assert_eq!(a.get::<i32>().await.unwrap(), Some(4));
    assert_eq!(b.get::<i32>().await.unwrap(), Some(3));
}

#[tokio::test(start_paused = true)]
async fn c2_two_tasks_that_wait_for_each_other_end_after_their_patience() {
    let cachify = paused();
    let cross = |mine: &'static str, other: &'static str| {
        let cachify = cachify.clone();
        async move {
            let (mine, other) = (cachify.cached(&key(mine)), cachify.cached(&key(other)));
            mine.get_or_compute(async || {
                tokio::task::yield_now().await;
                other.get_or_compute(async || 1).await + 1
            })
            .await
        }
    };
    let (a, b) = (tokio::spawn(cross("a", "b")), tokio::spawn(cross("b", "a")));
    let start = Instant::now();
    let values = (a.await.unwrap(), b.await.unwrap());
    assert!(values.0 >= 2 && values.1 >= 2, "{values:?}");
    assert!(start.elapsed() <= COMPUTE_WAIT + Duration::from_secs(1));
}

//! Computations that hang, that nobody polls, or that wait for themselves.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fmt::{Debug, Write};
use std::future::{Future, pending};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use cachify_core::clock::Clock;
use cachify_core::{Cachify, Key, KeyTemplate};
use futures_util::future::join_all;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

/// The default.
const PATIENCE: Duration = Duration::from_secs(30);

fn key(text: &str) -> Key {
    KeyTemplate::parse(text).unwrap().render(&[])
}

fn paused() -> Cachify {
    let builder = Cachify::builder().memory().clock(Clock::test());
    builder.connect_lazy().unwrap()
}

/// Polls `future` once and says whether it is ready.
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
    assert!(start.elapsed() < PATIENCE + Duration::from_secs(1));
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
                sleep(PATIENCE * 5 / 2).await;
                7
            };
            let value = cached.get_or_compute(compute).await;
            (value, begin.elapsed())
        }
    });
    let answers = join_all(calls).await;
    assert!(answers.iter().all(|(value, _)| *value == 7));
    // The first, one after one patience, two after two.
    assert_eq!(starts.load(Ordering::SeqCst), 4);
    let waiters = answers.iter().filter(|(_, took)| *took == PATIENCE * 5 / 2);
    assert_eq!(waiters.count(), 97, "they get the first value");
    assert_eq!(cached.peek().await.unwrap(), Some(7));
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
    sleep(PATIENCE / 2).await;
    for _ in 0..7 {
        counts.push(starts.load(Ordering::SeqCst));
        sleep(PATIENCE).await;
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
        assert_eq!(cached.peek().await.unwrap(), Some(expected));
    }
}

#[tokio::test(start_paused = true)]
async fn c2_a_flight_without_patience_waits_for_nobody() {
    let builder = Cachify::builder().memory().clock(Clock::test());
    let cachify = builder.patience(Duration::ZERO).connect_lazy().unwrap();
    let cached = cachify.cached(&key("row"));
    let mut hung = pin!(cached.get_or_compute(pending::<i32>));
    assert!(poll_once(hung.as_mut()).is_pending());
    let start = Instant::now();
    assert_eq!(cached.get_or_compute(async || 2).await, 2);
    assert_eq!(start.elapsed(), Duration::ZERO);
}

/// The fields of all warnings.
#[derive(Clone, Default)]
struct Warnings(Arc<Mutex<String>>);

impl Visit for Warnings {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        writeln!(self.0.lock().unwrap(), "{field}={value:?}").unwrap();
    }
}

impl Subscriber for Warnings {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() == Level::WARN
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn event(&self, event: &Event<'_>) {
        event.record(&mut self.clone());
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

#[tokio::test(start_paused = true)]
async fn c2_warnings_name_the_template_and_the_time_waited() {
    let warnings = Warnings::default();
    let _default = tracing::subscriber::set_default(warnings.clone());
    let cachify = paused();
    let asleep = cachify.cached(&key("asleep"));
    let mut unpolled = pin!(asleep.get_or_compute(pending::<i32>));
    assert!(poll_once(unpolled.as_mut()).is_pending());
    assert_eq!(asleep.get_or_compute(async || 1).await, 1);
    let text = std::mem::take(&mut *warnings.0.lock().unwrap());
    assert!(text.contains("template=\"asleep\""), "{text}");
    assert!(text.contains("waited=30"), "{text}");
    assert!(text.contains("polled"), "{text}");
}

//! Background work: removing expired entries, and handing over slots whose holder is gone.
//!
//! It runs in slices. Between two slices the task yields, so the amount of work does not delay
//! other tasks.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use super::Store;
use super::slots::Slots;
use crate::backend::sharded::lock;
use crate::clock::Moment;

/// How often the sweep looks for expired entries and leases.
const EVERY: Duration = Duration::from_secs(1);

/// How long one slice keeps its thread.
const SLICE: Duration = Duration::from_micros(200);

/// When the sweep looks at locks and pools next.
#[derive(Default)]
pub(super) struct Alarm {
    /// In microseconds.
    at: AtomicU64,
    changed: Notify,
}

impl Alarm {
    /// Ensures that the sweep runs at `moment` or earlier.
    pub(super) fn rings_by(&self, moment: Moment) {
        let moment = moment.as_micros();
        if moment < self.at.load(Ordering::Relaxed) {
            self.at.fetch_min(moment, Ordering::Relaxed);
            self.changed.notify_one();
        }
    }

    /// Waits until it rings.
    async fn ring(&self, now: Moment) {
        let at = Moment::from_micros(self.at.load(Ordering::Relaxed));
        // A timer is accurate to a millisecond. Less, and one that fires early would make the sweep
        // turn in circles.
        let wait = at.since(now).max(Duration::from_millis(1));
        let _ = tokio::time::timeout(wait, self.changed.notified()).await;
    }
}

/// The task. Ends with the store, or with its runtime, whichever goes first.
pub(super) struct Sweep(Weak<Store>);

impl Sweep {
    pub(super) fn of(store: &Arc<Store>) -> Self {
        Self(Arc::downgrade(store))
    }

    pub(super) async fn run(self) {
        let mut next = Moment::from_micros(0);
        loop {
            let Some(store) = self.0.upgrade() else {
                return;
            };
            let now = store.clock.now();
            let mut pace = Pace(Instant::now());
            if now >= next {
                next = now + EVERY;
                store.sweep_entries(now, &mut pace).await;
                store.sweep_leases(now, &mut pace).await;
                store.tell(
                    store.entries.len(),
                    store.size.bytes.load(Ordering::Relaxed),
                );
            }
            store.sweep_slots(next, &mut pace).await;
            let (alarm, now) = (Arc::clone(&store.alarm), store.clock.now());
            drop(store);
            alarm.ring(now).await;
        }
    }
}

impl Drop for Sweep {
    fn drop(&mut self) {
        if let Some(store) = self.0.upgrade() {
            store.sweeping.store(false, Ordering::Release);
        }
    }
}

/// Ends a slice when its time is over.
struct Pace(Instant);

impl Pace {
    async fn breathe(&mut self) {
        if self.0.elapsed() >= SLICE {
            // glibc puts small blocks aside when they are freed, and merges all of them at the next
            // large allocation: 60 ms for a million. Let that be here, for one slice at a time.
            drop(std::hint::black_box(Vec::<u8>::with_capacity(4096)));
            tokio::task::yield_now().await;
            self.0 = Instant::now();
        }
    }
}

impl Store {
    async fn sweep_entries(&self, now: Moment, pace: &mut Pace) {
        for part in self.expiry.parts() {
            loop {
                // One at a time: if the task ends here, no other entry was taken off the list.
                let due = lock(part).pop_due(now);
                let Some((key, id)) = due else { break };
                drop(self.take(&key, id));
                pace.breathe().await;
            }
        }
    }

    async fn sweep_leases(&self, now: Moment, pace: &mut Pace) {
        for leases in self.leases.iter() {
            lock(leases).retain(|_, lease| lease.deadline > now);
            pace.breathe().await;
        }
    }

    /// Ends holds whose time is over, and sets the alarm: for the next one, and for `latest` at the
    /// latest.
    async fn sweep_slots(&self, latest: Moment, pace: &mut Pace) {
        // First, so that a slot that becomes due behind the loop rings the alarm.
        self.alarm.at.store(latest.as_micros(), Ordering::Relaxed);
        for part in self.slots.parts() {
            loop {
                let now = self.clock.now();
                let swept = Slots::sweep(part, now, &self.signals, &self.alarm);
                pace.breathe().await;
                match swept {
                    Ok(()) => {}
                    Err(Some(due)) => {
                        let due = due.as_micros();
                        self.alarm.at.fetch_min(due, Ordering::Relaxed);
                        break;
                    }
                    Err(None) => break,
                }
            }
        }
    }
}

//! The sweep: a background task that removes expired entries, and hands over slots whose holder is
//! gone.
//!
//! It runs in slices. Between two slices the task yields, so a large amount of work does not delay
//! other tasks.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use super::slots::Slots;
use super::store::Store;
use crate::backend::sharded::lock;
use crate::clock::Moment;

/// The time between two searches for expired entries and leases.
const EVERY: Duration = Duration::from_secs(1);

/// The time for which one slice keeps its thread.
const SLICE: Duration = Duration::from_micros(200);

/// The task of a store. It ends with the store or with its runtime, whichever ends first.
pub(super) struct Sweep(Weak<Store>);

impl Sweep {
    /// Starts the sweep of a store unless it runs, if there is a runtime.
    pub(super) fn ensure(store: &Arc<Store>) {
        if store.sweeping.load(Ordering::Acquire) || store.sweeping.swap(true, Ordering::AcqRel) {
            return;
        }
        let sweep = Self(Arc::downgrade(store));
        // Without a runtime, `sweep` is dropped here, and the next write tries again.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(sweep.run());
        }
    }

    async fn run(self) {
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

/// The start of a slice. Yields when the time of the slice is over.
struct Pace(Instant);

impl Pace {
    async fn breathe(&mut self) {
        if self.0.elapsed() >= SLICE {
            // glibc keeps small freed blocks aside, and merges all of them at the next large
            // allocation, which takes 60 ms for a million. This allocation makes it merge the
            // blocks of one slice only.
            drop(std::hint::black_box(Vec::<u8>::with_capacity(4096)));
            tokio::task::yield_now().await;
            self.0 = Instant::now();
        }
    }
}

impl Store {
    /// Removes all entries that expire some time.
    #[cfg(feature = "redis")]
    pub(super) async fn clear(&self) {
        let mut pace = Pace(Instant::now());
        self.sweep_entries(Moment::NEVER, &mut pace).await;
    }

    async fn sweep_entries(&self, now: Moment, pace: &mut Pace) {
        for part in self.expiry.parts() {
            loop {
                // Taken off the list one at a time, so that none is lost if the task ends here.
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

    /// Ends holds whose time is over. Sets the alarm to the end of the next hold, or to `latest` if
    /// that is earlier.
    async fn sweep_slots(&self, latest: Moment, pace: &mut Pace) {
        // Set first, so that a slot which becomes due behind the loop can still set the alarm.
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

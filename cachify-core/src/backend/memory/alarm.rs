//! The alarm that wakes the sweep when a slot is due.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::Notify;

use crate::clock::Moment;

/// The time at which the sweep next visits the locks and pools.
#[derive(Default)]
pub(super) struct Alarm {
    /// In microseconds.
    pub(super) at: AtomicU64,
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

    /// Waits until the alarm rings, or is set to an earlier time.
    pub(super) async fn ring(&self, now: Moment) {
        let at = Moment::from_micros(self.at.load(Ordering::Relaxed));
        // Timers are accurate to a millisecond. With a shorter wait, a timer that fires early would
        // make the sweep spin.
        let wait = at.since(now).max(Duration::from_millis(1));
        let _ = tokio::time::timeout(wait, self.changed.notified()).await;
    }
}

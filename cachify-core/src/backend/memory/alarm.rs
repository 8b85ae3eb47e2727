//! When the sweep must look at the slots.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::Notify;

use crate::clock::Moment;

/// When the sweep looks at locks and pools next.
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

    /// Waits until it rings.
    pub(super) async fn ring(&self, now: Moment) {
        let at = Moment::from_micros(self.at.load(Ordering::Relaxed));
        // A timer is accurate to a millisecond. Less, and one that fires early would make the sweep
        // turn in circles.
        let wait = at.since(now).max(Duration::from_millis(1));
        let _ = tokio::time::timeout(wait, self.changed.notified()).await;
    }
}

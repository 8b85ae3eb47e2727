//! The last reading of the server's eviction policy.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// The time for which a reading of the eviction policy is used.
const BELIEVED: Duration = Duration::from_secs(30);
/// The time for which a reading is used while locks are refused because of it.
const REFUSED: Duration = Duration::from_secs(1);

/// The eviction policy, which decides whether the server may evict locks.
#[derive(Default)]
pub(super) struct Policy {
    known: Mutex<Known>,
    /// Held by the only caller that asks the server.
    pub(super) looking: tokio::sync::Mutex<()>,
}

#[derive(Clone, Copy, Default)]
pub(super) struct Known {
    /// The connection that was asked, and the time.
    pub(super) asked: Option<(u64, Instant)>,
    /// Set if the server may evict locks.
    pub(super) evicts: bool,
    /// Set once the log says that the policy cannot be read.
    pub(super) unknown: bool,
}

/// The need for a new reading.
pub(super) enum Due {
    No,
    /// One caller asks the server, and the others do not wait for it.
    Soon,
    /// Callers wait for a new reading.
    Now,
}

impl Policy {
    pub(super) fn known(&self) -> Known {
        *self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn set(&self, known: Known) {
        *self.known.lock().unwrap_or_else(PoisonError::into_inner) = known;
    }
}

impl Known {
    pub(super) fn due(&self, connection: u64, allow: bool) -> Due {
        match self.asked {
            Some((asked, at)) if asked == connection => {
                let refused = self.evicts && !allow;
                let believed = if refused { REFUSED } else { BELIEVED };
                match at.elapsed() < believed {
                    true => Due::No,
                    false if refused => Due::Now,
                    false => Due::Soon,
                }
            }
            _ => Due::Now,
        }
    }
}

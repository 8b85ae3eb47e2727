//! What is known of the server's eviction policy.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// How long a reading of the eviction policy is used.
const BELIEVED: Duration = Duration::from_secs(30);
/// How long it is used while locks are refused because of it.
const REFUSED: Duration = Duration::from_secs(1);

/// Whether the server may evict locks, and when that was found out.
#[derive(Default)]
pub(super) struct Policy {
    known: Mutex<Known>,
    /// Held by the one caller that looks.
    pub(super) looking: tokio::sync::Mutex<()>,
}

#[derive(Clone, Copy, Default)]
pub(super) struct Known {
    /// The connection that was asked, and when.
    pub(super) asked: Option<(u64, Instant)>,
    pub(super) evicts: bool,
    /// That it cannot be known was logged.
    pub(super) unknown: bool,
}

pub(super) enum Due {
    No,
    /// One caller looks, and the others do not wait for it.
    Soon,
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

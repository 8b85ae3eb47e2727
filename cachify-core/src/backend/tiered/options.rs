//! The options of the memory in front.

use std::time::Duration;

use crate::{Error, ErrorKind};

/// Configures the memory in front of Redis.
#[derive(Debug, Clone, Copy)]
#[must_use = "options do nothing before `Tiered::lazy`"]
pub struct TierOptions {
    pub(super) staleness: Duration,
    pub(super) share: f64,
}

/// Below this, heartbeats would be the most of what a process sends.
const LEAST: Duration = Duration::from_millis(10);

impl Default for TierOptions {
    fn default() -> Self {
        Self {
            staleness: Duration::from_secs(1),
            share: 1.0,
        }
    }
}

impl TierOptions {
    /// Sets for how long after a reset elsewhere a value from memory may be old. Default: 1 s.
    pub fn staleness(mut self, bound: Duration) -> Self {
        self.staleness = bound;
        self
    }

    /// Sets how much of an entry's remaining life its copy may use. Default: 1.0.
    pub fn share(mut self, share: f64) -> Self {
        self.share = share;
        self
    }

    /// Refuses options that make no sense.
    pub(super) fn check(&self) -> Result<(), Error> {
        let wrong = |message| Err(Error::new(ErrorKind::Configuration, message));
        if self.staleness < LEAST {
            return wrong(
                "`tier_staleness` must be at least 10 ms; for values that are never old, use \
                 `redis://` without a tier",
            );
        }
        if !(self.share > 0.0 && self.share <= 1.0) {
            return wrong("`tier_share` must be more than 0 and at most 1");
        }
        Ok(())
    }
}

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

/// The least staleness. With less, most of the traffic would be heartbeats.
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
    /// Sets the time for which a value from memory may be old after a reset in another process.
    /// Default: 1 s.
    pub fn staleness(mut self, bound: Duration) -> Self {
        self.staleness = bound;
        self
    }

    /// Sets the part of an entry's remaining life for which its copy is used. Default: 1.0.
    pub fn share(mut self, share: f64) -> Self {
        self.share = share;
        self
    }

    /// Checks the options.
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

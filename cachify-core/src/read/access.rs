//! Access to one entry.

use std::sync::Arc;
use std::time::Duration;

use super::entries::Entries;
use super::policy::Policy;
use super::stale::Refresh;
use crate::codec::Times;
use crate::{Key, Ttl};

/// Access to one entry, with the options that decide which values are stored and for how long.
#[derive(Clone)]
pub(crate) struct Access<P> {
    pub(super) entries: Arc<Entries>,
    /// The key, with the prefix of the handle.
    pub(super) key: Key,
    pub(super) ttl: Ttl,
    pub(super) jitter: f64,
    pub(super) policy: P,
    /// Set if the caller does not wait: while another caller computes, this one computes too, and
    /// its value is not stored.
    pub(super) alone: bool,
    /// Set if the caller uses the memory in front of the backend, if there is one.
    pub(super) copies: bool,
    pub(super) refresh: Refresh,
}

impl<P> Access<P> {
    /// Replaces the policy.
    pub(super) fn map<Q>(self, policy: impl FnOnce(P) -> Q) -> Access<Q> {
        Access {
            entries: self.entries,
            key: self.key,
            ttl: self.ttl,
            jitter: self.jitter,
            policy: policy(self.policy),
            alone: self.alone,
            copies: self.copies,
            refresh: self.refresh,
        }
    }

    /// Returns the times of `value` as an entry, or `None` if it must not be stored.
    pub(super) fn lifetime<T>(&self, value: &T) -> Option<Times>
    where
        P: Policy<T>,
    {
        let ttl = self.policy.ttl(value, self.ttl)?.jittered(self.jitter);
        let window = self.policy.window(value, self.refresh.window);
        let stale = Ttl::new(window).jittered(self.jitter).as_duration();
        (!ttl.is_zero()).then_some(Times {
            ttl,
            stale: stale.unwrap_or(window),
            cost: Duration::ZERO,
        })
    }
}

//! The demands of a request's `Cache-Control`.

use std::time::Duration;

use http::HeaderMap;

use super::directives::cache_control;
use super::stored::Stored;
use crate::clock::Moment;

/// The demands of a request's `Cache-Control`, if the rules honor it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Wish {
    /// Demands a new response, which replaces the stored one.
    pub(super) fresh: bool,
    /// Accepts only a stored response.
    pub(super) only_stored: bool,
    /// The greatest age, in seconds.
    max_age: Option<u64>,
    /// The shortest remaining freshness, in seconds.
    min_fresh: Option<u64>,
    /// The longest time after the lifetime, in seconds.
    max_stale: Option<u64>,
}

impl Wish {
    /// Reads the demands of a request. Returns `None` if its response must not be stored.
    pub(super) fn of(headers: &HeaderMap) -> Option<Self> {
        // A field that cannot be parsed may forbid storing.
        let directives = cache_control(headers).ok()?.unwrap_or_default();
        if directives.no_store && !directives.only_if_cached {
            return None;
        }
        Some(Self {
            fresh: directives.no_cache || directives.max_age == Some(0),
            only_stored: directives.only_if_cached,
            max_age: directives.max_age,
            min_fresh: directives.min_fresh,
            max_stale: directives.max_stale,
        })
    }

    /// Returns whether some stored responses are acceptable and others are not.
    pub(super) fn is_choosy(self) -> bool {
        self.max_age.is_some() || self.min_fresh.is_some() || self.max_stale.is_some()
    }

    /// Returns whether a fresh response is acceptable.
    pub(super) fn accepts(self, stored: &Stored, now: impl FnOnce() -> Moment) -> bool {
        if self.fresh || !self.is_choosy() {
            return !self.fresh;
        }
        let (age, left) = stored.age(now());
        self.max_age.is_none_or(|most| age <= most)
            && self
                .min_fresh
                .is_none_or(|least| left.is_none_or(|left| left >= least))
    }

    /// Returns whether a response is acceptable that has been stale since `end`.
    pub(super) fn accepts_stale(self, stored: &Stored, end: Moment, now: Moment) -> bool {
        if self.fresh || self.min_fresh.is_some() {
            return false;
        }
        let over = now.since(end);
        let young = self.max_age.is_none_or(|most| stored.age(now).0 <= most);
        young
            && match self.max_stale {
                Some(most) => over <= Duration::from_secs(most),
                // `max-age` alone refuses what is stale (RFC 9111, 5.2.1.1).
                None => self.max_age.is_none() && over < stored.facts.stale.at_once,
            }
    }
}

//! The policy of cached routes: how long entries live, and which stale ones a request accepts.

use std::time::Duration;

use super::stale::Windows;
use super::stored::HttpEntry;
use crate::Ttl;
use crate::read::policy::sealed::{Allowed, Policy, Unstored};

/// The times of entries, and the stale entries that a request accepts.
#[derive(Debug, Clone, Copy)]
pub(super) struct HttpPolicy {
    /// Set if the request accepts only responses that are open to requests with `Authorization`.
    pub(super) authorized: bool,
    /// Set if the request accepts no stale response.
    pub(super) only_fresh: bool,
}

impl Policy<HttpEntry> for HttpPolicy {
    /// The time to live of rules is for indexes of variants.
    fn ttl(&self, entry: &HttpEntry, ttl: Ttl) -> Option<Ttl> {
        match entry {
            HttpEntry::Answer(stored) => Some(stored.facts.ttl),
            HttpEntry::Varies(varies) => Some(ttl.max(varies.life())),
            HttpEntry::Own(_) => None,
        }
    }

    fn weight(&self, entry: &HttpEntry) -> Option<usize> {
        match entry {
            HttpEntry::Answer(stored) => Some(stored.size()),
            HttpEntry::Varies(_) | HttpEntry::Own(_) => None,
        }
    }

    fn window(&self, entry: &HttpEntry, _: Duration) -> Duration {
        match entry {
            HttpEntry::Answer(stored) => stored.facts.stale.longest(),
            HttpEntry::Varies(_) | HttpEntry::Own(_) => Duration::ZERO,
        }
    }

    fn allowed(&self, entry: &HttpEntry, window: Duration) -> Allowed {
        let (at_once, on_error) = match entry {
            _ if self.only_fresh => (Duration::ZERO, Duration::ZERO),
            HttpEntry::Answer(stored) if stored.facts.open || !self.authorized => {
                let Windows { at_once, on_error } = stored.facts.stale;
                (at_once, on_error)
            }
            // It was expired, and so were its variants. It leads to them if the refresh fails: a
            // new one would be made with a response that replaces only one of them.
            HttpEntry::Varies(_) => (Duration::ZERO, window),
            HttpEntry::Answer(_) | HttpEntry::Own(_) => (Duration::ZERO, Duration::ZERO),
        };
        Allowed { at_once, on_error }
    }

    fn unstored(&self, entry: &HttpEntry) -> Unstored {
        match entry {
            HttpEntry::Own(unstored) => *unstored,
            HttpEntry::Answer(_) | HttpEntry::Varies(_) => Unstored::Keeps,
        }
    }
}

//! Which values are stored, and for how long.

use crate::{IntoTime, Ttl};

/// Decides whether a value is stored, and for how long.
///
/// [`Cached`](super::Cached) builds policies through `ttl`, `ttl_with` and `cache_if`; there is no
/// need to write one.
pub trait Policy<T> {
    /// Returns how long `value` lives; `None` does not store it.
    fn ttl(&self, value: &T) -> Option<Ttl>;

    /// Returns how many bytes `value` takes in memory; `None` estimates it.
    fn weight(&self, value: &T) -> Option<usize> {
        let _ = value;
        None
    }
}

/// Every value lives for the same time.
#[derive(Debug, Clone, Copy)]
pub struct Fixed {
    pub(super) ttl: Ttl,
}

impl<T> Policy<T> for Fixed {
    fn ttl(&self, _: &T) -> Option<Ttl> {
        Some(self.ttl)
    }
}

/// The time depends on the value. Made by [`Cached::ttl_with`](super::Cached::ttl_with).
#[derive(Debug, Clone, Copy)]
pub struct TtlWith<P, F> {
    pub(super) inner: P,
    pub(super) ttl: F,
}

impl<T, P: Policy<T>, F: Fn(&T) -> L, L: IntoTime<Ttl>> Policy<T> for TtlWith<P, F> {
    fn ttl(&self, value: &T) -> Option<Ttl> {
        self.inner.ttl(value).map(|_| (self.ttl)(value).time())
    }

    fn weight(&self, value: &T) -> Option<usize> {
        self.inner.weight(value)
    }
}

/// Only some values are stored. Made by [`Cached::cache_if`](super::Cached::cache_if).
#[derive(Debug, Clone, Copy)]
pub struct CacheIf<P, F> {
    pub(super) inner: P,
    pub(super) condition: F,
}

impl<T, P: Policy<T>, F: Fn(&T) -> bool> Policy<T> for CacheIf<P, F> {
    fn ttl(&self, value: &T) -> Option<Ttl> {
        (self.condition)(value)
            .then(|| self.inner.ttl(value))
            .flatten()
    }

    fn weight(&self, value: &T) -> Option<usize> {
        self.inner.weight(value)
    }
}

/// The caller knows what values take in memory. Made by [`Cached::weigh`](super::Cached::weigh).
#[derive(Debug, Clone, Copy)]
pub struct Weigh<P, F> {
    pub(super) inner: P,
    pub(super) weigh: F,
}

impl<T, P: Policy<T>, F: Fn(&T) -> usize> Policy<T> for Weigh<P, F> {
    fn ttl(&self, value: &T) -> Option<Ttl> {
        self.inner.ttl(value)
    }

    fn weight(&self, value: &T) -> Option<usize> {
        Some((self.weigh)(value))
    }
}

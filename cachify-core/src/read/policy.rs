//! Which values are stored, and for how long; which errors are shared.

use std::sync::Arc;

use crate::backend::Typed;
use crate::{IntoTime, Ttl};

/// The options of a [`Cached`](crate::Cached) that look at values of type `T`.
///
/// Its methods `ttl_with`, `cache_if` and `weigh` make policies; no other type can be one.
pub trait Policy<T>: sealed::Policy<T> {}

#[diagnostic::do_not_recommend]
impl<T, P: sealed::Policy<T>> Policy<T> for P {}

/// The options of a [`Cached`](crate::Cached) that look at errors of type `E`.
///
/// Its method `share_errors` needs errors that are `Clone + Send + Sync + 'static`.
#[diagnostic::on_unimplemented(
    message = "`{E}` cannot be shared",
    note = "errors that are shared are `Clone + Send + Sync + 'static`; put what cannot be cloned into an `Arc`, or leave `share_errors` out"
)]
pub trait ErrorPolicy<E>: sealed::ErrorPolicy<E> {}

#[diagnostic::do_not_recommend]
impl<E, P: sealed::ErrorPolicy<E>> ErrorPolicy<E> for P {}

#[allow(unnameable_types, reason = "sealed")]
pub(crate) mod sealed {
    use super::{Sharing, Ttl};

    pub trait Policy<T> {
        /// Returns how long `value` lives; `None` does not store it. `ttl` applies where the value
        /// does not decide.
        fn ttl(&self, value: &T, ttl: Ttl) -> Option<Ttl>;

        /// Returns how many bytes `value` takes in memory; `None` estimates it.
        fn weight(&self, value: &T) -> Option<usize> {
            let _ = value;
            None
        }
    }

    pub trait ErrorPolicy<E> {
        /// Returns how errors travel to the waiters; `None`: not at all.
        fn sharing(&self) -> Option<Sharing<E>>;
    }
}

/// How an error travels from the leader to its waiters.
#[allow(missing_debug_implementations, reason = "not public API")]
pub struct Sharing<E> {
    pub(super) erase: fn(&E) -> Typed,
    pub(super) restore: fn(&Typed) -> Option<E>,
}

impl<E> Clone for Sharing<E> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<E> Copy for Sharing<E> {}

impl<E: Clone + Send + Sync + 'static> Sharing<E> {
    pub(crate) fn new() -> Self {
        Self {
            erase: |error| Arc::new(error.clone()),
            restore: |error| error.downcast_ref::<E>().cloned(),
        }
    }
}

/// The policy of a [`Cached`](crate::Cached) without further options: every value lives for the
/// same time, and errors are not shared.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Fixed;

impl<T> sealed::Policy<T> for Fixed {
    fn ttl(&self, _: &T, ttl: Ttl) -> Option<Ttl> {
        Some(ttl)
    }
}

impl<E> sealed::ErrorPolicy<E> for Fixed {
    fn sharing(&self) -> Option<Sharing<E>> {
        None
    }
}

/// The time depends on the value. Made by [`Cached::ttl_with`](crate::Cached::ttl_with).
#[derive(Debug, Clone, Copy)]
pub struct TtlWith<P, F> {
    pub(super) inner: P,
    pub(super) ttl: F,
}

impl<T, P, F, L> sealed::Policy<T> for TtlWith<P, F>
where
    P: sealed::Policy<T>,
    F: Fn(&T) -> L,
    L: IntoTime<Ttl>,
{
    fn ttl(&self, value: &T, ttl: Ttl) -> Option<Ttl> {
        let stored = self.inner.ttl(value, ttl);
        stored.map(|_| (self.ttl)(value).time())
    }

    fn weight(&self, value: &T) -> Option<usize> {
        self.inner.weight(value)
    }
}

impl<E, P: sealed::ErrorPolicy<E>, F> sealed::ErrorPolicy<E> for TtlWith<P, F> {
    fn sharing(&self) -> Option<Sharing<E>> {
        self.inner.sharing()
    }
}

/// Only some values are stored. Made by [`Cached::cache_if`](crate::Cached::cache_if).
#[derive(Debug, Clone, Copy)]
pub struct CacheIf<P, F> {
    pub(super) inner: P,
    pub(super) condition: F,
}

impl<T, P, F> sealed::Policy<T> for CacheIf<P, F>
where
    P: sealed::Policy<T>,
    F: Fn(&T) -> bool,
{
    fn ttl(&self, value: &T, ttl: Ttl) -> Option<Ttl> {
        (self.condition)(value)
            .then(|| self.inner.ttl(value, ttl))
            .flatten()
    }

    fn weight(&self, value: &T) -> Option<usize> {
        self.inner.weight(value)
    }
}

impl<E, P: sealed::ErrorPolicy<E>, F> sealed::ErrorPolicy<E> for CacheIf<P, F> {
    fn sharing(&self) -> Option<Sharing<E>> {
        self.inner.sharing()
    }
}

/// The caller knows what values take in memory. Made by [`Cached::weigh`](crate::Cached::weigh).
#[derive(Debug, Clone, Copy)]
pub struct Weigh<P, F> {
    pub(super) inner: P,
    pub(super) weigh: F,
}

impl<T, P, F> sealed::Policy<T> for Weigh<P, F>
where
    P: sealed::Policy<T>,
    F: Fn(&T) -> usize,
{
    fn ttl(&self, value: &T, ttl: Ttl) -> Option<Ttl> {
        self.inner.ttl(value, ttl)
    }

    fn weight(&self, value: &T) -> Option<usize> {
        Some((self.weigh)(value))
    }
}

impl<E, P: sealed::ErrorPolicy<E>, F> sealed::ErrorPolicy<E> for Weigh<P, F> {
    fn sharing(&self) -> Option<Sharing<E>> {
        self.inner.sharing()
    }
}

/// Errors go to all who waited. Made by [`Cached::share_errors`](crate::Cached::share_errors).
#[derive(Debug, Clone, Copy)]
pub struct ShareErrors<P> {
    pub(super) inner: P,
}

impl<T, P: sealed::Policy<T>> sealed::Policy<T> for ShareErrors<P> {
    fn ttl(&self, value: &T, ttl: Ttl) -> Option<Ttl> {
        self.inner.ttl(value, ttl)
    }

    fn weight(&self, value: &T) -> Option<usize> {
        self.inner.weight(value)
    }
}

impl<E: Clone + Send + Sync + 'static, P> sealed::ErrorPolicy<E> for ShareErrors<P> {
    fn sharing(&self) -> Option<Sharing<E>> {
        Some(Sharing::new())
    }
}

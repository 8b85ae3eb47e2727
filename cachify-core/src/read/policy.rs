//! Policies, which decide what values are stored and for how long, and what errors are shared.

use std::sync::Arc;
use std::time::Duration;

use crate::backend::Typed;
use crate::{Error, IntoTime, Ttl};

/// The options of a [`Cached`](crate::Cached) that look at values of type `T`.
///
/// The methods of `Cached` create policies. Other types cannot be policies.
pub trait Policy<T>: sealed::Policy<T> {}

#[diagnostic::do_not_recommend]
impl<T, P: sealed::Policy<T>> Policy<T> for P {}

/// The options of a [`Cached`](crate::Cached) that look at errors of type `E`.
///
/// Its method `share_errors` requires errors that are `Clone + Send + Sync + 'static`, and its
/// method `hard_limit` requires errors that are `From<cachify::Error>`.
#[diagnostic::on_unimplemented(
    message = "the options of this cached read do not permit the error `{E}`",
    note = "`hard_limit` requires a computation that can fail, with an error that is \
            `From<cachify::Error>`",
    note = "a shared error is `Clone + Send + Sync + 'static`; put an error that cannot be cloned \
            into an `Arc`, or leave out `share_errors`"
)]
pub trait ErrorPolicy<E>: sealed::ErrorPolicy<E> {}

#[diagnostic::do_not_recommend]
impl<E, P: sealed::ErrorPolicy<E>> ErrorPolicy<E> for P {}

#[allow(unnameable_types, reason = "sealed")]
pub(crate) mod sealed {
    use super::{Duration, HardLimitOf, Sharing, Ttl};

    /// The times after its time to live for which a value may be served to a caller.
    #[derive(Debug, Clone, Copy)]
    pub struct Allowed {
        /// While it is being refreshed.
        pub(crate) at_once: Duration,
        /// Because its refresh failed.
        pub(crate) on_error: Duration,
    }

    /// The effect of a value that is not stored on the stale entry that it was to replace.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub enum Unstored {
        /// The entry stays.
        Keeps,
        /// The refresh failed: the entry is served instead of the value.
        Failed,
        /// The entry is removed.
        Removes,
    }

    pub trait Policy<T> {
        /// Returns the time to live of `value`, or `None` if it must not be stored. `ttl` is the
        /// time to live of values for which no policy decides.
        fn ttl(&self, value: &T, ttl: Ttl) -> Option<Ttl>;

        /// Returns the time after its time to live for which `value` may be served. `window` is the
        /// caller's option.
        fn window(&self, value: &T, window: Duration) -> Duration {
            let _ = value;
            window
        }

        /// Returns the times for which `value` may be served to this caller after its time to live.
        fn allowed(&self, value: &T, window: Duration) -> Allowed {
            let window = self.window(value, window);
            Allowed {
                at_once: window,
                on_error: window,
            }
        }

        /// Returns the effect of a value that is not stored.
        fn unstored(&self, value: &T) -> Unstored {
            let _ = value;
            Unstored::Keeps
        }

        /// Returns the number of bytes that `value` takes in memory, or `None` to estimate it.
        fn weight(&self, value: &T) -> Option<usize> {
            let _ = value;
            None
        }
    }

    pub trait ErrorPolicy<E> {
        /// Returns the conversion of errors for waiters, or `None` if errors are not shared.
        fn sharing(&self) -> Option<Sharing<E>>;

        /// Returns the limit of a computation, or `None` if there is none.
        fn hard_limit(&self) -> Option<HardLimitOf<E>> {
            None
        }
    }
}

/// The time that a computation may take, and the conversion of the error after that.
#[allow(
    missing_debug_implementations,
    unnameable_types,
    reason = "not public API"
)]
pub struct HardLimitOf<E> {
    pub(super) limit: Duration,
    pub(super) error: fn(Error) -> E,
}

/// The conversion of an error on its way from the leader to the waiters.
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

/// A policy in which the value decides on its time to live. Created by
/// [`Cached::ttl_with`](crate::Cached::ttl_with).
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

    fn hard_limit(&self) -> Option<HardLimitOf<E>> {
        self.inner.hard_limit()
    }
}

/// A policy that stores only some values. Created by [`Cached::cache_if`](crate::Cached::cache_if).
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

    fn hard_limit(&self) -> Option<HardLimitOf<E>> {
        self.inner.hard_limit()
    }
}

/// A policy that knows the size of values in memory. Created by
/// [`Cached::weigh`](crate::Cached::weigh).
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

    fn hard_limit(&self) -> Option<HardLimitOf<E>> {
        self.inner.hard_limit()
    }
}

/// A policy that gives errors to all waiters. Created by
/// [`Cached::share_errors`](crate::Cached::share_errors).
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

impl<E, P> sealed::ErrorPolicy<E> for ShareErrors<P>
where
    E: Clone + Send + Sync + 'static,
    P: sealed::ErrorPolicy<E>,
{
    fn sharing(&self) -> Option<Sharing<E>> {
        Some(Sharing::new())
    }

    fn hard_limit(&self) -> Option<HardLimitOf<E>> {
        self.inner.hard_limit()
    }
}

/// A policy that limits the time of a computation. Created by
/// [`Cached::hard_limit`](crate::Cached::hard_limit).
#[derive(Debug, Clone, Copy)]
pub struct HardLimit<P> {
    pub(super) inner: P,
    pub(super) limit: Duration,
}

impl<T, P: sealed::Policy<T>> sealed::Policy<T> for HardLimit<P> {
    fn ttl(&self, value: &T, ttl: Ttl) -> Option<Ttl> {
        self.inner.ttl(value, ttl)
    }

    fn weight(&self, value: &T) -> Option<usize> {
        self.inner.weight(value)
    }
}

impl<E: From<Error>, P: sealed::ErrorPolicy<E>> sealed::ErrorPolicy<E> for HardLimit<P> {
    fn sharing(&self) -> Option<Sharing<E>> {
        self.inner.sharing()
    }

    fn hard_limit(&self) -> Option<HardLimitOf<E>> {
        Some(HardLimitOf {
            limit: self.limit,
            error: E::from,
        })
    }
}

/// A policy with a time to live of its own for absent values. Created by
/// [`Cached::none_ttl`](crate::Cached::none_ttl).
#[derive(Debug, Clone, Copy)]
pub struct NoneTtl<P> {
    pub(super) inner: P,
    pub(super) ttl: Ttl,
}

impl<T, P: sealed::Policy<Option<T>>> sealed::Policy<Option<T>> for NoneTtl<P> {
    fn ttl(&self, value: &Option<T>, ttl: Ttl) -> Option<Ttl> {
        let stored = self.inner.ttl(value, ttl)?;
        Some(if value.is_some() { stored } else { self.ttl })
    }

    fn weight(&self, value: &Option<T>) -> Option<usize> {
        self.inner.weight(value)
    }
}

impl<E, P: sealed::ErrorPolicy<E>> sealed::ErrorPolicy<E> for NoneTtl<P> {
    fn sharing(&self) -> Option<Sharing<E>> {
        self.inner.sharing()
    }

    fn hard_limit(&self) -> Option<HardLimitOf<E>> {
        self.inner.hard_limit()
    }
}

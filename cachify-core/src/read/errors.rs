//! [`CacheErr`], a cached read that also stores some errors.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::access::Access;
use super::background::Run;
use super::limit::within;
use super::policy::{ErrorPolicy, Policy, Sharing, sealed};
use super::value::{Cacheable, Value};
use crate::backend::Typed;
use crate::clock::Moment;
use crate::codec::Times;
use crate::{Encoding, Error, IntoTime, Key, Ttl};

/// A cached read that also stores some errors. Created by
/// [`Cached::cache_err`](crate::Cached::cache_err).
#[must_use = "nothing is read before `get_or_try_compute`"]
#[derive(Clone)]
pub struct CacheErr<P, F> {
    access: Access<Chosen<P, F>>,
}

impl<P, F> CacheErr<P, F> {
    pub(super) fn new(access: Access<P>, choose: F) -> Self {
        Self {
            access: access.map(|inner| Chosen { inner, choose }),
        }
    }

    /// Returns the cached value or error, or computes it. See
    /// [`Cached::get_or_try_compute`](crate::Cached::get_or_try_compute).
    ///
    /// # Errors
    ///
    /// Only errors of `compute`: the caller's own, a cached error, or with
    /// [`share_errors`](crate::Cached::share_errors) the error of the caller that it waited for. An
    /// error that was chosen is shared like a value.
    ///
    /// # Cancel safety
    ///
    /// If this future is dropped, a waiting caller takes over and computes with its own closure.
    ///
    /// # Panics
    ///
    /// As [`Cached::get_or_try_compute`](crate::Cached::get_or_try_compute).
    ///
    /// # Examples
    ///
    /// See [`Cached::cache_err`](crate::Cached::cache_err).
    pub async fn get_or_try_compute<T, E, L, C, Fut>(&self, compute: C) -> Result<T, E>
    where
        T: Cacheable,
        E: Cacheable,
        P: Policy<T> + ErrorPolicy<E>,
        F: Fn(&E) -> Option<L>,
        L: IntoTime<Ttl>,
        C: FnOnce() -> Fut,
        Fut: Future<Output = Result<T, E>>,
    {
        self.read(compute, self.access.policy.inner.sharing()).await
    }

    /// Returns the cached value or error, or computes it. Does not wait for a refresh: see
    /// [`Cached::get_or_try_spawn`](crate::Cached::get_or_try_spawn).
    ///
    /// # Errors
    ///
    /// As [`get_or_try_compute`](Self::get_or_try_compute).
    ///
    /// # Cancel safety
    ///
    /// As [`Cached::get_or_spawn`](crate::Cached::get_or_spawn).
    ///
    /// # Panics
    ///
    /// As [`Cached::get_or_try_compute`](crate::Cached::get_or_try_compute).
    ///
    /// # Examples
    ///
    /// ```
    /// use cachify_core::{Cachify, key};
    ///
    /// async fn load() -> Result<i32, String> { Err("no such row".to_owned()) }
    ///
    /// #[tokio::main]
    /// async fn main() {
    ///     let cachify = Cachify::memory();
    ///     let row = cachify.cached(&key!("row")).cache_err(|_: &String| Some("5s"));
    ///     assert_eq!(row.get_or_try_spawn(load).await, Err("no such row".to_owned()));
    /// }
    /// ```
    pub async fn get_or_try_spawn<T, E, L, C, Fut>(&self, compute: C) -> Result<T, E>
    where
        T: Cacheable,
        E: Cacheable,
        P: Policy<T> + ErrorPolicy<E> + Clone + Send + Sync + 'static,
        F: Fn(&E) -> Option<L> + Clone + Send + Sync + 'static,
        L: IntoTime<Ttl>,
        C: FnOnce() -> Fut + Send + 'static,
        Fut: Future<Output = Result<T, E>> + Send + 'static,
    {
        let sharing = self.access.policy.inner.sharing();
        self.spawn(|_| compute(), sharing).await
    }

    pub(crate) async fn read<T, E, L, C, Fut>(
        &self,
        compute: C,
        sharing: Option<Sharing<E>>,
    ) -> Result<T, E>
    where
        T: Cacheable,
        E: Cacheable,
        P: Policy<T> + ErrorPolicy<E>,
        F: Fn(&E) -> Option<L>,
        L: IntoTime<Ttl>,
        C: FnOnce() -> Fut,
        Fut: Future<Output = Result<T, E>>,
    {
        let access = &self.access;
        let limit = access.policy.inner.hard_limit();
        let compute = async |_| {
            let computed = within(limit, &access.key, compute()).await;
            access.policy.choose(computed)
        };
        outcome(access.fetch(compute, sharing).await)
    }

    /// Refreshes in the background. `compute` learns whether it runs there.
    pub(crate) async fn spawn<T, E, L, C, Fut>(
        &self,
        compute: C,
        sharing: Option<Sharing<E>>,
    ) -> Result<T, E>
    where
        T: Cacheable,
        E: Cacheable,
        P: Policy<T> + ErrorPolicy<E> + Clone + Send + Sync + 'static,
        F: Fn(&E) -> Option<L> + Clone + Send + Sync + 'static,
        L: IntoTime<Ttl>,
        C: FnOnce(bool) -> Fut + Send + 'static,
        Fut: Future<Output = Result<T, E>> + Send + 'static,
    {
        let (key, policy) = (self.access.key.clone(), self.access.policy.clone());
        let limit = policy.inner.hard_limit();
        let compute = |run: Run| async move {
            let computed = within(limit, &key, compute(run.background)).await;
            policy.choose(computed)
        };
        outcome(self.access.fetch_or_spawn(|| true, compute, sharing).await)
    }
}

fn outcome<T, E, O>(fetched: Result<(Tried<T, E>, O), E>) -> Result<T, E> {
    fetched.and_then(|(Tried(result), _)| result)
}

impl<P, F> fmt::Debug for CacheErr<P, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CacheErr")
            .field("key", &self.access.key)
            .finish_non_exhaustive()
    }
}

/// The policy that decides which errors are stored, and for how long.
#[derive(Clone)]
struct Chosen<P, F> {
    inner: P,
    choose: F,
}

impl<P, F> Chosen<P, F> {
    /// Turns an error that must be stored into a value.
    fn choose<T, E, L>(&self, result: Result<T, E>) -> Result<Tried<T, E>, E>
    where
        F: Fn(&E) -> Option<L>,
        L: IntoTime<Ttl>,
    {
        match result {
            Err(error) if self.lifetime(&error).is_none() => Err(error),
            result => Ok(Tried(result)),
        }
    }

    fn lifetime<E, L>(&self, error: &E) -> Option<Ttl>
    where
        F: Fn(&E) -> Option<L>,
        L: IntoTime<Ttl>,
    {
        let ttl = (self.choose)(error)?.time();
        (!ttl.is_zero()).then_some(ttl)
    }
}

impl<T, E, P, F, L> sealed::Policy<Tried<T, E>> for Chosen<P, F>
where
    P: Policy<T>,
    F: Fn(&E) -> Option<L>,
    L: IntoTime<Ttl>,
{
    fn ttl(&self, value: &Tried<T, E>, ttl: Ttl) -> Option<Ttl> {
        match &value.0 {
            Ok(value) => self.inner.ttl(value, ttl),
            Err(error) => self.lifetime(error),
        }
    }

    fn window(&self, value: &Tried<T, E>, window: Duration) -> Duration {
        match &value.0 {
            Ok(value) => self.inner.window(value, window),
            // A stale error is no better than computing again.
            Err(_) => Duration::ZERO,
        }
    }

    fn weight(&self, value: &Tried<T, E>) -> Option<usize> {
        let value = value.0.as_ref().ok()?;
        self.inner.weight(value)
    }
}

/// A value, which is stored like any other, or an error, which is stored as a [`Failure`].
#[derive(Clone)]
struct Tried<T, E>(Result<T, E>);

/// A stored error. It has a type of its own, so that it is never read as a value of the error's
/// type.
#[derive(Clone, Serialize, Deserialize)]
struct Failure<E>(E);

impl<T: Cacheable, E: Cacheable> Value for Tried<T, E> {
    fn from_typed(value: &Typed) -> Option<Self> {
        let result = match T::from_typed(value) {
            Some(value) => Ok(value),
            None => Err(Failure::from_typed(value)?.0),
        };
        Some(Self(result))
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let result = match T::from_bytes(bytes) {
            Some(value) => Ok(value),
            None => Err(Failure::from_bytes(bytes)?.0),
        };
        Some(Self(result))
    }

    fn into_typed(self) -> Typed {
        match self.0 {
            Ok(value) => value.into_typed(),
            Err(error) => Arc::new(Failure(error)),
        }
    }

    fn encode(
        value: &Typed,
        encoding: Encoding,
        times: Times,
        now: Moment,
    ) -> Result<Vec<u8>, Error> {
        if value.is::<Failure<E>>() {
            Failure::<E>::encode(value, encoding, times, now)
        } else {
            T::encode(value, encoding, times, now)
        }
    }

    fn weigh(value: &Typed) -> usize {
        if value.is::<Failure<E>>() {
            Failure::<E>::weigh(value)
        } else {
            T::weigh(value)
        }
    }

    fn check_first(&self, key: &Key, encoding: Encoding) {
        match &self.0 {
            Ok(value) => value.check_first(key, encoding),
            Err(error) => Failure(error.clone()).check_first(key, encoding),
        }
    }
}

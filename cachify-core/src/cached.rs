//! The read path: memory, backend, flight, lease, compute, store.
//!
//! ```text
//! local? -- hit --> done
//!   | GET? -- hit --> done
//!   |   join the flight -- waiter --> value | error | look again | lead
//!   |     | leader: begin (lease, after looking again) -> compute -> close the flight -> fill -> deliver
//! ```
//!
//! What makes a reset win: the flight is closed before its value is sent to be stored, the store is refused if a reset ended the lease,
//! and a waiter gets the value only if it was stored, or if the computation began after the waiter came.

use std::fmt;
use std::future::Future;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::time::Instant;

use crate::backend::{Begin, Begun, Found, NewEntry, Typed};
use crate::cachify::Cachify;
use crate::codec;
use crate::flight::{Flights, Lead, Role, Word};
use crate::lease::{LEASE_TTL, Lease};
use crate::observe::{self, Outcome};
use crate::resilience::Budget;
use crate::{Error, Key, Ttl};

mod policy;

pub use policy::{CacheIf, Fixed, Policy, TtlWith};

/// What a value must be able to do to be cached: the same on every backend, so that moving from memory to Redis is a URL.
///
/// Implemented for all types that qualify.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be cached",
    note = "a cached value is `Clone + Serialize + DeserializeOwned + Send + Sync + 'static`; derive `Clone`, `serde::Serialize` and `serde::Deserialize`"
)]
pub trait Value: Clone + Serialize + DeserializeOwned + Send + Sync + 'static {}

impl<T: Clone + Serialize + DeserializeOwned + Send + Sync + 'static> Value for T {}

impl Cachify {
    /// Starts a cached read (or write) of `key`.
    ///
    /// # Examples
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
    /// use cachify_core::{Cachify, key};
    /// use std::time::Duration;
    ///
    /// let cachify = Cachify::memory();
    /// let id = 7;
    /// let cached = cachify.cached(&key!("square-{id}")).ttl(Duration::from_secs(300));
    /// assert_eq!(cached.get_or_compute(async || id * id).await, 49);
    /// assert_eq!(cached.peek::<i32>().await?, Some(49));
    /// # Ok::<(), cachify_core::Error>(()) }).unwrap();
    /// ```
    pub fn cached(&self, key: &Key) -> Cached {
        Cached {
            cachify: self.clone(),
            key: key.clone(),
            policy: Fixed {
                ttl: self.inner.settings.default_ttl,
            },
            jitter: 0.0,
            alone: false,
        }
    }

    /// The value, if it is at hand without waiting: what a hit in memory costs, and nothing more.
    #[inline]
    pub(crate) fn local<T: Value>(&self, key: &Key) -> Option<T> {
        if !self.inner.pending.is_empty() && self.inner.pending.contains(key) {
            return None;
        }
        self.inner.backend.local(key)?.downcast_ref::<T>().cloned()
    }
}

/// A cached read: which entry, for how long, what to store.
///
/// # Two callers at once
///
/// Of all callers in this process who miss the same key, one computes and the others get its value. If the one is cancelled, another one takes
/// over at once with its own closure. If it fails, the error goes to all of them after [`share_errors`](Self::share_errors); without it the
/// others try themselves, 1, 2, 4, ... at a time. A panic reaches only the one whose closure panicked. Over Redis, the same holds
/// among all processes by a lease. A caller waits for others for a bounded time (the handle's `patience`, 30 s by default) and then computes for itself.
///
/// # When the backend is away
///
/// The value is computed and returned. What a call loses to the backend is bounded by the handle's `budget`, 250 ms by default.
#[must_use = "nothing is read before `get_or_compute`, `get_or_try_compute` or `peek`"]
#[derive(Clone)]
pub struct Cached<P = Fixed> {
    cachify: Cachify,
    key: Key,
    policy: P,
    jitter: f64,
    alone: bool,
}

/// Whether and how an error travels from the leader to its waiters.
pub(crate) struct Sharing<E> {
    erase: fn(&E) -> Typed,
    restore: fn(&Typed) -> Option<E>,
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

impl Cached<Fixed> {
    /// How long a stored value lives. Default: the handle's default, 5 minutes if that was not changed. [`Ttl::NEVER`] keeps it until it is reset;
    /// zero stores nothing.
    pub fn ttl(mut self, ttl: impl Into<Ttl>) -> Self {
        self.policy.ttl = ttl.into();
        self
    }
}

impl<P> Cached<P> {
    /// Decides by the value how long it lives; [`Ttl::ZERO`] does not store it.
    pub fn ttl_with<T, F, L>(self, ttl: F) -> Cached<TtlWith<P, F>>
    where
        F: Fn(&T) -> L,
        L: Into<Ttl>,
    {
        let Self {
            cachify,
            key,
            policy,
            jitter,
            alone,
        } = self;
        Cached {
            cachify,
            key,
            policy: TtlWith { inner: policy, ttl },
            jitter,
            alone,
        }
    }

    /// Stores only values for which `condition` holds. The others are given to nobody but the caller who computed them.
    pub fn cache_if<T, F>(self, condition: F) -> Cached<CacheIf<P, F>>
    where
        F: Fn(&T) -> bool,
    {
        let Self {
            cachify,
            key,
            policy,
            jitter,
            alone,
        } = self;
        Cached {
            cachify,
            key,
            policy: CacheIf {
                inner: policy,
                condition,
            },
            jitter,
            alone,
        }
    }

    /// Shortens each entry's life by a random share of up to `share` (0 to 1, default 0), so that entries that were
    /// made together do not expire together.
    pub fn jitter(mut self, share: f64) -> Self {
        self.jitter = share;
        self
    }

    /// Waits for nobody: while another caller computes, this one computes too, and its value is not stored.
    #[cfg(feature = "http")]
    pub(crate) fn alone(mut self, alone: bool) -> Self {
        self.alone = alone;
        self
    }

    /// Decides by `policy` alone.
    #[cfg(feature = "http")]
    pub(crate) fn policy<Q>(self, policy: Q) -> Cached<Q> {
        Cached {
            cachify: self.cachify,
            key: self.key,
            policy,
            jitter: self.jitter,
            alone: self.alone,
        }
    }

    /// Gives the error of the one who computed to all who waited for it.
    pub fn share_errors(self) -> SharedErrors<P> {
        SharedErrors(self)
    }

    /// The value: cached, or else what `compute` returns, which is then stored.
    ///
    /// # Cancel safety
    ///
    /// If this future is dropped, a waiting caller takes the computation over, with its own closure.
    ///
    /// # Panics
    ///
    /// Only if `compute` does, or outside of a tokio runtime.
    pub async fn get_or_compute<T, F, Fut>(&self, compute: F) -> T
    where
        T: Value,
        P: Policy<T>,
        F: FnOnce() -> Fut,
        Fut: Future<Output = T>,
    {
        let compute = async || Ok::<T, std::convert::Infallible>(compute().await);
        match self.fetch(compute, None).await {
            Ok((value, _)) => value,
            Err(never) => match never {},
        }
    }

    /// The value: cached, or else what `compute` returns, which is then stored if it is `Ok`.
    ///
    /// # Errors
    ///
    /// Only those of `compute`; an error is never stored. A failing backend is no error: the value is computed.
    ///
    /// # Cancel safety
    ///
    /// If this future is dropped, a waiting caller takes the computation over, with its own closure.
    ///
    /// # Panics
    ///
    /// Only if `compute` does, or outside of a tokio runtime.
    pub async fn get_or_try_compute<T, E, F, Fut>(&self, compute: F) -> Result<T, E>
    where
        T: Value,
        P: Policy<T>,
        F: FnOnce() -> Fut,
        Fut: Future<Output = Result<T, E>>,
    {
        self.fetch(compute, None).await.map(|(value, _)| value)
    }

    /// The cached value, if there is one. Never computes, never waits for somebody who does.
    ///
    /// # Errors
    ///
    /// [`Unavailable`](crate::ErrorKind::Unavailable) or [`Timeout`](crate::ErrorKind::Timeout) if the backend is away.
    ///
    /// # Cancel safety
    ///
    /// Changes nothing.
    pub async fn peek<T: Value>(&self) -> Result<Option<T>, Error> {
        let inner = &self.cachify.inner;
        if inner.backend.is_local() {
            return Ok(self.cachify.local(&self.key));
        }
        if inner.pending.contains(&self.key) {
            return Ok(None);
        }
        let found = inner
            .attempt(inner.backend.get(&self.key))
            .await
            .map_err(|error| error.with_template(self.key.template()))?;
        Ok(found.and_then(|found| read(&found)))
    }

    /// Stores `value`, whatever was there. A computation that is under way cannot overwrite it.
    ///
    /// # Errors
    ///
    /// [`Codec`](crate::ErrorKind::Codec) if the value cannot be encoded: nothing changed.
    /// [`Unconfirmed`](crate::ErrorKind::Unconfirmed) if the backend did not acknowledge it: the entry may be the old or the new one, so it will be
    /// reset as soon as the backend answers. [`NotQueued`](crate::ErrorKind::NotQueued) if there is no room to remember that.
    ///
    /// # Cancel safety
    ///
    /// If this future is dropped after its first poll, the entry is the new one or none.
    pub async fn set<T>(&self, value: T) -> Result<(), Error>
    where
        T: Value,
        P: Policy<T>,
    {
        let Some(ttl) = self.lifetime(&value) else {
            return self.cachify.reset(&self.key).await;
        };
        let late = self.cachify.inner.late_reset(&self.key);
        let result = self.put(value, ttl).await;
        late.disarm();
        match result {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == crate::ErrorKind::Codec => {
                Err(error.with_template(self.key.template()))
            }
            Err(error) => Err(self.cachify.inner.unconfirmed(&self.key, error)),
        }
    }

    /// Stores `value` without making sure that a failure leaves no old value behind.
    pub(crate) async fn put<T: Value>(&self, value: T, ttl: Ttl) -> Result<(), Error> {
        let inner = &self.cachify.inner;
        let encoding = inner.settings.encoding;
        let typed: Typed = Arc::new(value);
        let encode = |now| match typed.downcast_ref::<T>() {
            Some(value) => codec::encode(encoding, value, ttl, now),
            None => unreachable!("made of a T above"),
        };
        let entry = NewEntry {
            value: &typed,
            encode: &encode,
            ttl,
        };
        inner
            .attempt(inner.backend.set(&self.key, entry, inner.settings.budget))
            .await
    }

    /// Removes the entry; see [`Cachify::reset`].
    ///
    /// # Errors
    ///
    /// As [`Cachify::reset`].
    pub async fn reset(&self) -> Result<(), Error> {
        self.cachify.reset(&self.key).await
    }

    /// How long `value` is to live; `None`: not at all.
    fn lifetime<T>(&self, value: &T) -> Option<Ttl>
    where
        P: Policy<T>,
    {
        let ttl = self.policy.ttl(value)?.jittered(self.jitter);
        (!ttl.is_zero()).then_some(ttl)
    }

    /// The read path, with how it went.
    pub(crate) async fn fetch<T, E, F, Fut>(
        &self,
        compute: F,
        sharing: Option<Sharing<E>>,
    ) -> Result<(T, Outcome), E>
    where
        T: Value,
        P: Policy<T>,
        F: FnOnce() -> Fut,
        Fut: Future<Output = Result<T, E>>,
    {
        if let Some(value) = self.cachify.local(&self.key) {
            observe::request(&self.key, Outcome::Hit);
            return Ok((value, Outcome::Hit));
        }
        // Boxed so that a hit in memory does not carry the state of a miss around.
        let result = Box::pin(self.miss(compute, sharing)).await;
        observe::request(
            &self.key,
            result
                .as_ref()
                .map_or(Outcome::Error, |(_, outcome)| *outcome),
        );
        result
    }

    /// Looks into the backend, then computes or waits for somebody who does.
    async fn miss<T, E, F, Fut>(
        &self,
        compute: F,
        sharing: Option<Sharing<E>>,
    ) -> Result<(T, Outcome), E>
    where
        T: Value,
        P: Policy<T>,
        F: FnOnce() -> Fut,
        Fut: Future<Output = Result<T, E>>,
    {
        let inner = &self.cachify.inner;
        let mut attempt = Attempt {
            arrival: inner.flights.tick(),
            budget: Budget::new(inner.settings.budget),
            patience: Instant::now() + inner.settings.patience,
            unreadable: None,
        };
        loop {
            if let Some(value) = self.look(&mut attempt).await {
                return Ok((value, Outcome::Hit));
            }
            let word = match Flights::join::<T>(inner, &self.key, attempt.arrival) {
                Role::Lead(lead) => return self.lead(lead, attempt, compute, sharing).await,
                Role::Wait(_) if self.alone => {
                    return compute().await.map(|value| (value, Outcome::Bypass));
                }
                Role::Wait(word) => tokio::time::timeout_at(attempt.patience, word).await,
            };
            match word {
                Ok(Ok(Word::Lead(lead))) => {
                    return self.lead(lead, attempt, compute, sharing).await;
                }
                Ok(Ok(Word::Value(value))) => {
                    if let Some(value) = value.downcast_ref::<T>() {
                        return Ok((value.clone(), Outcome::Collapsed));
                    }
                }
                Ok(Ok(Word::Error(error))) => {
                    // Two callers of one key may have different types of error.
                    return match sharing.and_then(|sharing| (sharing.restore)(&error)) {
                        Some(error) => Err(error),
                        None => compute().await.map(|value| (value, Outcome::Bypass)),
                    };
                }
                Ok(Ok(Word::Again) | Err(_)) => {}
                Ok(Ok(Word::Alone)) => {
                    return compute().await.map(|value| (value, Outcome::Bypass));
                }
                Err(_) => {
                    tracing::warn!(
                        template = self.key.template(),
                        "waited too long for another caller's computation"
                    );
                    return compute().await.map(|value| (value, Outcome::Bypass));
                }
            }
        }
    }

    /// The entry, if the backend has one that is readable.
    async fn look<T: Value>(&self, attempt: &mut Attempt) -> Option<T> {
        let inner = &self.cachify.inner;
        if inner.backend.is_local() {
            return self.cachify.local(&self.key);
        }
        if inner.pending.contains(&self.key) {
            return None;
        }
        let found = attempt
            .budget
            .spend(inner, inner.backend.get(&self.key))
            .await
            .ok()??;
        // A reset that failed while the answer was on its way.
        if inner.pending.contains(&self.key) {
            return None;
        }
        attempt.read(&self.key, found)
    }

    /// Computes for all who wait.
    async fn lead<T, E, F, Fut>(
        &self,
        mut lead: Lead,
        mut attempt: Attempt,
        compute: F,
        sharing: Option<Sharing<E>>,
    ) -> Result<(T, Outcome), E>
    where
        T: Value,
        P: Policy<T>,
        F: FnOnce() -> Fut,
        Fut: Future<Output = Result<T, E>>,
    {
        let inner = &self.cachify.inner;
        if let Some(value) = self.begin(&mut lead, &mut attempt).await {
            // A reset may have come since the backend read this: those who joined meanwhile look for themselves.
            lead.close().tell(|| Word::Again);
            return Ok((value, Outcome::Hit));
        }

        let started = inner.flights.tick();
        let stopwatch = Instant::now();
        let value = match compute().await {
            Ok(value) => value,
            Err(error) => {
                self.failed(lead, started, &error, sharing).await;
                return Err(error);
            }
        };
        observe::computed(&self.key, stopwatch.elapsed());

        let Some(ttl) = self.lifetime(&value) else {
            lead.close().tell(|| Word::Alone);
            return Ok((value, Outcome::Bypass));
        };
        let typed: Typed = Arc::new(value.clone());
        let waiters = lead.close();
        let stored = self.fill::<T>(&lead, &mut attempt, &typed, ttl).await;
        waiters.deliver(started, stored, || Word::Value(Arc::clone(&typed)));
        Ok((
            value,
            if stored {
                Outcome::Miss
            } else {
                Outcome::Unstored
            },
        ))
    }

    /// Obtains the lease for the flight, or an entry that somebody else made meanwhile. With neither, the backend is away or
    /// patience is over: the value will be computed and not stored.
    async fn begin<T: Value>(&self, lead: &mut Lead, attempt: &mut Attempt) -> Option<T> {
        let inner = &self.cachify.inner;
        if inner.pending.contains(&self.key) {
            lead.lease = None;
            return None;
        }
        let lease = Arc::clone(
            lead.lease
                .get_or_insert_with(|| Lease::new(inner, &self.key)),
        );
        if lease.is_granted() {
            return None;
        }
        let listener = inner.backend.signals().listen(self.key.as_str());
        let mut unreadable_again = 0;
        loop {
            let begin = Begin {
                token: &lease.token,
                ttl: LEASE_TTL,
                unreadable: attempt.unreadable.as_ref(),
            };
            lease.asking();
            match attempt
                .budget
                .spend(inner, inner.backend.begin(&self.key, begin))
                .await
            {
                Ok(Begun::Granted) => {
                    lease.granted(inner);
                    return None;
                }
                Ok(Begun::Found(found)) => {
                    lease.ended();
                    if let Some(value) = attempt.read(&self.key, found) {
                        return Some(value);
                    }
                    // Somebody keeps writing what we cannot read.
                    unreadable_again += 1;
                    if unreadable_again > 2 {
                        lead.lease = None;
                        return None;
                    }
                }
                Ok(Begun::Busy { recheck }) => {
                    lease.ended();
                    if self.alone {
                        lead.lease = None;
                        return None;
                    }
                    let until = (Instant::now() + recheck).min(attempt.patience);
                    let _ = tokio::time::timeout_at(until, listener.signalled()).await;
                    if Instant::now() >= attempt.patience {
                        lead.lease = None;
                        return None;
                    }
                }
                Err(_) => {
                    lead.lease = None;
                    return None;
                }
            }
        }
    }

    /// Stores the value under the flight's lease. `true`: the backend confirmed it, so no reset came since the computation began.
    async fn fill<T: Value>(
        &self,
        lead: &Lead,
        attempt: &mut Attempt,
        typed: &Typed,
        ttl: Ttl,
    ) -> bool {
        let inner = &self.cachify.inner;
        let Some(lease) = lead.lease.as_ref().filter(|lease| lease.is_granted()) else {
            return false;
        };
        if inner.pending.contains(&self.key) {
            return false;
        }
        let encoding = inner.settings.encoding;
        let encode = |now| match typed.downcast_ref::<T>() {
            Some(value) => codec::encode(encoding, value, ttl, now),
            None => unreachable!("made of a T by the caller"),
        };
        let entry = NewEntry {
            value: typed,
            encode: &encode,
            ttl,
        };
        match attempt
            .budget
            .spend(inner, inner.backend.fill(&self.key, &lease.token, entry))
            .await
        {
            Ok(stored) => {
                lease.ended();
                stored
            }
            Err(error) => {
                observe::not_stored(&self.key, &error);
                false
            }
        }
    }

    /// Passes a failed computation on: its error if it can be shared, else the duty.
    async fn failed<E>(
        &self,
        mut lead: Lead,
        started: u64,
        error: &E,
        sharing: Option<Sharing<E>>,
    ) {
        let Some(sharing) = sharing else {
            return lead.fail();
        };
        let shared = (sharing.erase)(error);
        let waiters = lead.close();
        if waiters.is_empty() {
            return;
        }
        let inner = &self.cachify.inner;
        let stood = match lead.lease.as_ref().filter(|lease| lease.is_granted()) {
            Some(lease) => {
                let stood = inner
                    .attempt(inner.backend.confirm(&self.key, &lease.token))
                    .await;
                if stood.is_ok() {
                    lease.ended();
                }
                stood.unwrap_or(false)
            }
            None => false,
        };
        waiters.deliver(started, stood, || Word::Error(Arc::clone(&shared)));
    }
}

impl<P> fmt::Debug for Cached<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cached")
            .field("key", &self.key)
            .finish_non_exhaustive()
    }
}

/// A cached read whose errors are shared: made by [`Cached::share_errors`].
#[must_use = "nothing is read before `get_or_try_compute`"]
#[derive(Debug, Clone)]
pub struct SharedErrors<P = Fixed>(Cached<P>);

impl<P> SharedErrors<P> {
    /// As [`Cached::get_or_try_compute`], and the error of the one who computed goes to all who waited for it.
    ///
    /// # Errors
    ///
    /// Only those of `compute`, the caller's own or the one that was waited for.
    pub async fn get_or_try_compute<T, E, F, Fut>(&self, compute: F) -> Result<T, E>
    where
        T: Value,
        E: Clone + Send + Sync + 'static,
        P: Policy<T>,
        F: FnOnce() -> Fut,
        Fut: Future<Output = Result<T, E>>,
    {
        self.0
            .fetch(compute, Some(Sharing::new()))
            .await
            .map(|(value, _)| value)
    }
}

/// What one call carries through its rounds.
struct Attempt {
    /// When the call came, in ticks.
    arrival: u64,
    budget: Budget,
    /// Until when it waits for others.
    patience: Instant,
    /// What was found and could not be read.
    unreadable: Option<Found>,
}

impl Attempt {
    fn read<T: Value>(&mut self, key: &Key, found: Found) -> Option<T> {
        let value = read(&found);
        if value.is_none() {
            observe::unreadable(key);
            self.unreadable = Some(found);
        }
        value
    }
}

fn read<T: Value>(found: &Found) -> Option<T> {
    match found {
        Found::Typed(value) => value.downcast_ref::<T>().cloned(),
        Found::Bytes(bytes) => codec::decode(bytes),
    }
}

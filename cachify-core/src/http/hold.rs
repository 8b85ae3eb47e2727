//! Routes that run under a lock, once, or in a pool.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use super::body::BodyRules;
use super::request_key::RequestKey;
use crate::backend::SlotKind;
use crate::slot::hold::Holding;
use crate::{Cachify, Error, Guard, Key, Permit};

/// The default time limit of a handler. Most proxies and clients give up on a response after a
/// minute.
const MAX_HOLD: Duration = Duration::from_mins(1);

/// The lock or permit that a route runs under, and the responses of requests that don't get it.
///
/// `R` is the framework's response. An adapter passes the inner service to [`run`](Self::run), and
/// an error to [`refuse`](Self::refuse).
///
/// See [`run`](Self::run) for an example.
pub struct HoldRules<R> {
    cachify: Cachify,
    terms: Terms,
    on_contended: Option<Arc<dyn Fn() -> R + Send + Sync>>,
    on_error: Option<Arc<dyn Fn(Error) -> R + Send + Sync>>,
}

#[derive(Debug, Clone, Copy)]
struct Terms {
    kind: SlotKind,
    max: u32,
    once: bool,
    ttl: Option<Duration>,
    wait: Duration,
    max_hold: Option<Duration>,
    /// Set if `run` has no time limit.
    endless: bool,
}

impl<R> HoldRules<R> {
    /// Builds rules for a lock: one request at a time runs for each key, and the others may wait.
    pub fn lock(cachify: &Cachify) -> Self {
        let terms = Terms {
            kind: SlotKind::Lock,
            max: 1,
            once: false,
            ttl: None,
            wait: Duration::ZERO,
            max_hold: None,
            endless: false,
        };
        Self {
            cachify: cachify.clone(),
            terms,
            on_contended: None,
            on_error: None,
        }
    }

    /// Builds rules for once: one request at a time runs for each key, and the others are refused,
    /// as by [`Cachify::once`].
    pub fn once(cachify: &Cachify) -> Self {
        let mut rules = Self::lock(cachify);
        rules.terms.once = true;
        rules
    }

    /// Builds rules for a pool: at most `max` requests at a time run for each key, and the others
    /// may wait.
    pub fn pool(cachify: &Cachify, max: u32) -> Self {
        let mut rules = Self::lock(cachify);
        (rules.terms.kind, rules.terms.max) = (SlotKind::Pool, max);
        rules
    }

    /// Sets the time after which a lock or permit is free again if its process died. Default: the
    /// handle's `lock_ttl`, 30 s. At least 1 s.
    pub fn ttl(&mut self, ttl: Duration) {
        self.terms.ttl = Some(ttl);
    }

    /// Sets the longest wait for a lock or permit. Default: none.
    pub fn wait(&mut self, wait: Duration) {
        self.terms.wait = wait;
    }

    /// Sets the longest time for which a lock or permit may be held; `None` means no limit. At
    /// least 1 s. Default: 1 minute in [`run`](Self::run), no limit in [`guard`](Self::guard) and
    /// [`permit`](Self::permit).
    pub fn max_hold(&mut self, max_hold: Option<Duration>) {
        (self.terms.max_hold, self.terms.endless) = (max_hold, max_hold.is_none());
    }

    /// Sets the response to a request that finds the lock or all permits taken.
    pub fn on_contended(&mut self, answer: impl Fn() -> R + Send + Sync + 'static) {
        self.on_contended = Some(Arc::new(answer));
    }

    /// Sets the response for all other errors.
    pub fn on_error(&mut self, answer: impl Fn(Error) -> R + Send + Sync + 'static) {
        self.on_error = Some(Arc::new(answer));
    }

    /// Returns the handle.
    pub fn cachify(&self) -> &Cachify {
        &self.cachify
    }

    /// Acquires the lock or permit, runs `work`, and releases the lock or permit. Until it is
    /// acquired, `work` is not polled.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`Lock::run`](crate::Lock::run) or [`Pool::run`](crate::Pool::run).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future drops `work`, and releases the lock or permit in the background.
    ///
    /// # Panics
    ///
    /// If `work` does, or if called outside a tokio runtime.
    ///
    /// # Examples
    ///
    /// ```
    /// use cachify_core::http::HoldRules;
    /// use cachify_core::{Cachify, key};
    ///
    /// #[tokio::main]
    /// async fn main() -> Result<(), cachify_core::Error> {
    ///     let mut rules = HoldRules::once(&Cachify::memory());
    ///     rules.on_contended(|| "in progress");
    ///
    ///     let key = key!("report-7");
    ///     let second = rules.run(&key, rules.run(&key, async { "made" })).await?;
    ///     let answer = rules.refuse(second.unwrap_err())?;
    ///     assert_eq!(answer(), "in progress");
    ///     Ok(())
    /// }
    /// ```
    pub async fn run<F: Future>(&self, key: &Key, work: F) -> Result<F::Output, Error> {
        let max_hold = self.terms.max_hold;
        let max_hold = max_hold.or((!self.terms.endless).then_some(MAX_HOLD));
        let (holding, _) = self.acquire(key, max_hold).await?;
        let output = holding.run(work).await?;
        holding.finish().await;
        Ok(output)
    }

    /// Acquires the key of a lock or of once, and leaves its release to the handler.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`Lock::acquire`](crate::Lock::acquire) or
    /// [`Once::acquire`](crate::Once::acquire).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves nothing held.
    ///
    /// # Panics
    ///
    /// If called outside a tokio runtime.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::sync::Arc;
    ///
    /// use cachify_core::http::HoldRules;
    /// use cachify_core::{Cachify, key};
    ///
    /// #[tokio::main]
    /// async fn main() -> Result<(), cachify_core::Error> {
    ///     let rules = Arc::new(HoldRules::<()>::lock(&Cachify::memory()));
    ///     let guard = rules.guard(key!("report-7")).await?;
    ///     assert!(!guard.is_lost());
    ///     Ok(())
    /// }
    /// ```
    pub async fn guard(self: Arc<Self>, key: Key) -> Result<Guard, Error> {
        let (holding, fence) = self.acquire(&key, self.terms.max_hold).await?;
        Ok(Guard { holding, fence })
    }

    /// Acquires a permit of a pool, and leaves its release to the handler.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`Pool::acquire`](crate::Pool::acquire).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves nothing held.
    ///
    /// # Panics
    ///
    /// If called outside a tokio runtime.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::sync::Arc;
    ///
    /// use cachify_core::http::HoldRules;
    /// use cachify_core::{Cachify, key};
    ///
    /// #[tokio::main]
    /// async fn main() -> Result<(), cachify_core::Error> {
    ///     let rules = Arc::new(HoldRules::<()>::pool(&Cachify::memory(), 10));
    ///     let permit = rules.permit(key!("report-7")).await?;
    ///     assert!(!permit.is_lost());
    ///     Ok(())
    /// }
    /// ```
    pub async fn permit(self: Arc<Self>, key: Key) -> Result<Permit, Error> {
        let (holding, _) = self.acquire(&key, self.terms.max_hold).await?;
        Ok(Permit { holding })
    }

    async fn acquire(
        &self,
        key: &Key,
        max_hold: Option<Duration>,
    ) -> Result<(Holding, u64), Error> {
        let terms = &self.terms;
        let mut request = self.cachify.request(terms.kind, key, terms.max);
        request.ttl = terms.ttl.unwrap_or(request.ttl);
        request.wait = terms.wait;
        request.max_hold = max_hold;
        let acquired = request.acquire().await;
        acquired.map_err(|error| if terms.once { error.of_once() } else { error })
    }

    /// Returns the configured response to an error.
    ///
    /// # Errors
    ///
    /// Returns the error itself if no response is configured for it.
    pub fn refuse(&self, error: Error) -> Result<Arc<dyn Fn() -> R + Send + Sync>, Error>
    where
        R: 'static,
    {
        match (&self.on_contended, &self.on_error) {
            (Some(answer), _) if error.is_contended() => Ok(Arc::clone(answer)),
            (_, Some(answer)) if !error.is_contended() => {
                let answer = Arc::clone(answer);
                Ok(Arc::new(move || answer(error.clone())))
            }
            _ => Err(error),
        }
    }
}

impl<R> Clone for HoldRules<R> {
    fn clone(&self) -> Self {
        Self {
            cachify: self.cachify.clone(),
            terms: self.terms,
            on_contended: self.on_contended.clone(),
            on_error: self.on_error.clone(),
        }
    }
}

impl<R> fmt::Debug for HoldRules<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rules = &mut f.debug_struct("HoldRules");
        rules.field("terms", &self.terms).finish_non_exhaustive()
    }
}

/// A route that runs under a lock or permit, and makes its key from the request.
///
/// An adapter renders the [`key`](RequestKey::require) of a request, [reads](BodyRules::read) its
/// body, and [runs](HoldRules::run) the inner service.
#[derive(Debug)]
#[non_exhaustive]
pub struct HeldRoute<R> {
    /// Makes the key of a request.
    pub key: RequestKey,
    /// Reads bodies before a lock or permit is taken.
    pub body: BodyRules,
    /// Runs the handler, or refuses the request.
    pub rules: HoldRules<R>,
}

impl<R> HeldRoute<R> {
    /// Builds a route that reads bodies with the default limits.
    pub fn new(key: RequestKey, rules: HoldRules<R>) -> Self {
        let body = BodyRules::default();
        Self { key, body, rules }
    }
}

impl<R> Clone for HeldRoute<R> {
    fn clone(&self) -> Self {
        Self {
            key: self.key.clone(),
            body: self.body,
            rules: self.rules.clone(),
        }
    }
}

//! Routes that run under a lock, once at a time, or a limited number at a time.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use super::body::BodyRules;
use super::request_key::RequestKey;
use crate::backend::SlotKind;
use crate::slot::hold::Holding;
use crate::{Cachify, Error, Guard, Key, Permit};

/// How long a handler may take by default. Most proxies and clients give up on a response after a
/// minute.
const MAX_HOLD: Duration = Duration::from_mins(1);

/// Configures under which lock or permit a route runs, and how a request is answered that does not
/// get it.
///
/// `R` is the response of the framework. An adapter has [`run`](Self::run) run the inner service,
/// and [refuses](Self::refuse) a request on an error.
///
/// An example is at [`run`](Self::run).
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
    /// `run` sets no time limit.
    endless: bool,
}

impl<R> HoldRules<R> {
    /// Runs one request at a time for each key; the others may wait.
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

    /// Runs one request at a time for each key; the others are refused, as with [`Cachify::once`].
    pub fn once(cachify: &Cachify) -> Self {
        let mut rules = Self::lock(cachify);
        rules.terms.once = true;
        rules
    }

    /// Runs at most `max` requests at a time for each key; the others may wait.
    pub fn pool(cachify: &Cachify, max: u32) -> Self {
        let mut rules = Self::lock(cachify);
        (rules.terms.kind, rules.terms.max) = (SlotKind::Pool, max);
        rules
    }

    /// Sets how long the hold of a request that died blocks the others. Default: the handle's
    /// `lock_ttl`, 30 s. At least 1 s.
    pub fn ttl(&mut self, ttl: Duration) {
        self.terms.ttl = Some(ttl);
    }

    /// Sets how long a request waits. Default: not at all.
    pub fn wait(&mut self, wait: Duration) {
        self.terms.wait = wait;
    }

    /// Sets how long a lock or permit may be held; `None` means no limit. At least 1 s. Default: 1
    /// minute in [`run`](Self::run), no limit for guards and permits.
    pub fn max_hold(&mut self, max_hold: Option<Duration>) {
        (self.terms.max_hold, self.terms.endless) = (max_hold, max_hold.is_none());
    }

    /// Sets the answer while other requests hold the lock or all permits.
    pub fn on_contended(&mut self, answer: impl Fn() -> R + Send + Sync + 'static) {
        self.on_contended = Some(Arc::new(answer));
    }

    /// Sets the answer to all other errors.
    pub fn on_error(&mut self, answer: impl Fn(Error) -> R + Send + Sync + 'static) {
        self.on_error = Some(Arc::new(answer));
    }

    /// Returns the handle.
    pub fn cachify(&self) -> &Cachify {
        &self.cachify
    }

    /// Acquires the key, runs `work`, which is not polled before, and releases the key.
    ///
    /// # Errors
    ///
    /// Those of [`Lock::run`](crate::Lock::run) or [`Pool::run`](crate::Pool::run).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future drops `work` and releases the key in the background.
    ///
    /// # Panics
    ///
    /// If `work` does; and outside a tokio runtime.
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

    /// Acquires the key of a lock or run-once, for a handler that releases it.
    ///
    /// # Errors
    ///
    /// Those of [`Lock::acquire`](crate::Lock::acquire) or [`Once::acquire`](crate::Once::acquire).
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, nothing stays held.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime.
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

    /// Acquires a permit of a pool, for a handler that releases it.
    ///
    /// # Errors
    ///
    /// Those of [`Pool::acquire`](crate::Pool::acquire).
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, nothing stays held.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime.
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

    /// Returns what the options say to answer in place of an error.
    ///
    /// # Errors
    ///
    /// The error itself, if they say nothing about it.
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

/// A route that runs under a lock or permit whose key the request makes.
///
/// An adapter renders the [`key`](RequestKey::require) of a request, [reads](BodyRules::read) its
/// body, and has the rules [run](HoldRules::run) the inner service.
#[derive(Debug)]
#[non_exhaustive]
pub struct HeldRoute<R> {
    /// Makes the key of a request.
    pub key: RequestKey,
    /// Reads bodies, before anything is held.
    pub body: BodyRules,
    /// Runs the handler, or refuses the request.
    pub rules: HoldRules<R>,
}

impl<R> HeldRoute<R> {
    /// Reads bodies with the default limits.
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

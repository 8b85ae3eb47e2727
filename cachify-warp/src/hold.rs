//! Routes that run under a lock, once at a time, or a limited number at a time.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use cachify_core::http::HoldRules;
use cachify_core::{Cachify, Error, Guard, IntoTime, Key, Permit};
use warp::Reply;
use warp::reply::Response;

use crate::Problem;
use crate::reject::Refusal;

/// The common part of the three.
#[derive(Clone)]
struct Terms {
    cachify: Cachify,
    max: u32,
    ttl: Option<Duration>,
    wait: Duration,
    max_hold: Option<Duration>,
    no_max_hold: bool,
    on_contended: Option<Arc<dyn Fn() -> Response + Send + Sync>>,
    on_error: Option<Arc<dyn Fn(Error) -> Response + Send + Sync>>,
}

impl Terms {
    fn new(cachify: &Cachify) -> Self {
        Self {
            cachify: cachify.clone(),
            max: 1,
            ttl: None,
            wait: Duration::ZERO,
            max_hold: None,
            no_max_hold: false,
            on_contended: None,
            on_error: None,
        }
    }

    fn refuse(&self, error: Error) -> warp::Rejection {
        match (&self.on_contended, &self.on_error) {
            (Some(answer), _) if error.is_contended() => {
                warp::reject::custom(Refusal(Arc::clone(answer)))
            }
            (_, Some(answer)) if !error.is_contended() => {
                let answer = Arc::clone(answer);
                let answer = move || answer(error.clone());
                warp::reject::custom(Refusal(Arc::new(answer)))
            }
            _ => warp::reject::custom(Problem(error)),
        }
    }
}

impl fmt::Debug for Terms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Terms")
            .field("ttl", &self.ttl)
            .field("wait", &self.wait)
            .field("max_hold", &self.max_hold)
            .finish_non_exhaustive()
    }
}

/// What a request needs hold of.
pub(crate) trait Take: Send + Sync + 'static {
    type Guard: Send + 'static;

    /// `max_hold`: the default.
    fn take(
        &self,
        key: Key,
        max_hold: Option<Duration>,
    ) -> impl Future<Output = Result<Self::Guard, warp::Rejection>> + Send;

    /// Runs `work`, in the scope of the handle, as long as it has hold, and lets go.
    fn run<F: Future<Output: Send> + Send>(
        &self,
        key: Key,
        work: F,
    ) -> impl Future<Output = Result<F::Output, warp::Rejection>> + Send;
}

macro_rules! hold {
    ($(#[$doc:meta])* $Type:ident, $Guard:ident, $hold:expr) => {
        $(#[$doc])*
        #[must_use = "it does nothing until it is given to a filter"]
        #[derive(Debug, Clone)]
        pub struct $Type(Terms);

        impl $Type {
            /// Sets how long a request that died blocks the others. Default: the handle's
            /// `lock_ttl`, 30 s. At least 1 s. A request that lives keeps its hold, however long it
            /// takes.
            ///
            /// # Panics
            ///
            /// If a text is not a time.
            #[track_caller]
            pub fn ttl(mut self, ttl: impl IntoTime<Duration>) -> Self {
                let ttl = ttl.time();
                self.0.ttl = Some(ttl);
                self
            }

            /// Sets how long a request may keep its hold; then it is lost, and the next one may
            /// start. At least 1 s. Default: 1 minute where the filter runs the handler, which it
            /// then stops, as in [`then_locked`](crate::FilterExt::then_locked). A guard that the
            /// handler gets is kept without end.
            ///
            /// # Panics
            ///
            /// If a text is not a time.
            #[track_caller]
            pub fn max_hold(mut self, max_hold: impl IntoTime<Duration>) -> Self {
                let max_hold = max_hold.time();
                self.0.max_hold = Some(max_hold);
                self
            }

            /// Lets the handler take as long as it likes: one that hangs then blocks the others
            /// without end.
            pub fn no_max_hold(mut self) -> Self {
                (self.0.max_hold, self.0.no_max_hold) = (None, true);
                self
            }

            /// Sets the answer of [`recover`](crate::recover) if it cannot be known who holds what,
            /// or what was held got lost. Default: 503 and a problem document.
            pub fn on_error<R: Reply>(
                mut self,
                answer: impl Fn(Error) -> R + Send + Sync + 'static,
            ) -> Self {
                self.0.on_error = Some(Arc::new(move |error| answer(error).into_response()));
                self
            }

            fn on_contended<R: Reply>(
                mut self,
                answer: impl Fn() -> R + Send + Sync + 'static,
            ) -> Self {
                self.0.on_contended = Some(Arc::new(move || answer().into_response()));
                self
            }
        }

        impl Take for $Type {
            type Guard = $Guard;

            async fn take(
                &self,
                key: Key,
                max_hold: Option<Duration>,
            ) -> Result<$Guard, warp::Rejection> {
                let make: fn(&Terms, &Key) -> _ = $hold;
                let mut hold = make(&self.0, &key);
                if let Some(ttl) = self.0.ttl {
                    hold = hold.ttl(ttl);
                }
                if let Some(max_hold) = self.0.max_hold.or(max_hold) {
                    hold = hold.max_hold(max_hold);
                }
                hold.acquire().await.map_err(|error| self.0.refuse(error))
            }

            async fn run<F: Future<Output: Send> + Send>(
                &self,
                key: Key,
                work: F,
            ) -> Result<F::Output, warp::Rejection> {
                let max_hold = (!self.0.no_max_hold).then_some(HoldRules::MAX_HOLD);
                let guard = self.take(key, max_hold).await?;
                let work = self.0.cachify.scope(work);
                let output = guard.run(work).await.map_err(|error| self.0.refuse(error))?;
                guard.finish().await;
                Ok(output)
            }
        }
    };
}

hold! {
    /// Configures how a route is locked; taken by [`then_locked`](crate::FilterExt::then_locked)
    /// and [`locked`](crate::FilterExt::locked). `&Cachify` is one with the defaults.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use cachify_warp::{Cachify, FilterExt, Guard, LockOptions, key};
    /// use warp::Filter;
    ///
    /// let cachify = Cachify::memory();
    /// let charge = warp::path!("orders" / u64 / "charge")
    ///     .and(warp::post())
    ///     .locked(LockOptions::new(&cachify).wait(Duration::from_secs(2)), |(order,)| key!("charge-{order}"))
    ///     .map(|order, guard: Guard| format!("order {order} with token {}", guard.fencing_token()));
    /// ```
    LockOptions, Guard, |hold, key| hold.cachify.lock(key).wait(hold.wait)
}

impl LockOptions {
    /// Makes a lock that does not wait.
    pub fn new(cachify: &Cachify) -> Self {
        Self(Terms::new(cachify))
    }

    /// Sets how long a request waits for the lock, first come, first served. Default: not at all.
    ///
    /// # Panics
    ///
    /// If a text is not a time.
    #[track_caller]
    pub fn wait(mut self, wait: impl IntoTime<Duration>) -> Self {
        let wait = wait.time();
        self.0.wait = wait;
        self
    }

    /// Sets the answer of [`recover`](crate::recover) while another request holds the lock.
    /// Default: 423 and a problem document.
    pub fn on_locked<R: Reply>(self, answer: impl Fn() -> R + Send + Sync + 'static) -> Self {
        self.on_contended(answer)
    }
}

impl From<&Cachify> for LockOptions {
    fn from(cachify: &Cachify) -> Self {
        Self::new(cachify)
    }
}

hold! {
    /// Configures a route that runs once at a time; taken by
    /// [`then_once`](crate::FilterExt::then_once) and [`once`](crate::FilterExt::once). `&Cachify`
    /// is one with the defaults.
    ///
    /// # Examples
    ///
    /// ```
    /// use cachify_warp::{Cachify, FilterExt, OnceOptions, key};
    /// use warp::{Filter, http::StatusCode, reply::with_status};
    ///
    /// let cachify = Cachify::memory();
    /// let once = OnceOptions::new(&cachify).on_locked(|| with_status("in progress", StatusCode::IM_USED));
    /// let report = warp::path!("reports" / String)
    ///     .and(warp::post())
    ///     .once(once, |(month,)| key!("report-{month}"))
    ///     .map(|month, _guard| format!("the report of {month}"))
    ///     .recover(cachify_warp::recover);
    /// ```
    OnceOptions, Guard, |hold, key| hold.cachify.once(key)
}

impl OnceOptions {
    /// Once at a time.
    pub fn new(cachify: &Cachify) -> Self {
        Self(Terms::new(cachify))
    }

    /// Sets the answer of [`recover`](crate::recover) while another request runs. Default: 409 and
    /// a problem document.
    pub fn on_locked<R: Reply>(self, answer: impl Fn() -> R + Send + Sync + 'static) -> Self {
        self.on_contended(answer)
    }
}

impl From<&Cachify> for OnceOptions {
    fn from(cachify: &Cachify) -> Self {
        Self::new(cachify)
    }
}

hold! {
    /// Configures how many requests a route runs at a time; taken by
    /// [`then_pooled`](crate::FilterExt::then_pooled) and [`pooled`](crate::FilterExt::pooled).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use cachify_warp::{Cachify, FilterExt, PoolOptions, key};
    /// use warp::Filter;
    ///
    /// let cachify = Cachify::memory();
    /// let vendor = warp::path!("vendors" / String)
    ///     .pooled(PoolOptions::new(&cachify, 10).wait(Duration::from_secs(1)), |(name,)| key!("vendor-{name}"))
    ///     .map(|name, _permit| format!("one of ten for {name}"));
    /// ```
    PoolOptions, Permit, |hold, key| hold.cachify.pool(key, hold.max).wait(hold.wait)
}

impl PoolOptions {
    /// At most `max` at a time, in all processes together.
    pub fn new(cachify: &Cachify, max: u32) -> Self {
        let hold = Terms::new(cachify);
        Self(Terms { max, ..hold })
    }

    /// Sets how long a request waits for a permit, first come, first served. Default: not at all.
    ///
    /// # Panics
    ///
    /// If a text is not a time.
    #[track_caller]
    pub fn wait(mut self, wait: impl IntoTime<Duration>) -> Self {
        let wait = wait.time();
        self.0.wait = wait;
        self
    }

    /// Sets the answer of [`recover`](crate::recover) while all permits are taken. Default: 429 and
    /// a problem document.
    pub fn on_full<R: Reply>(self, answer: impl Fn() -> R + Send + Sync + 'static) -> Self {
        self.on_contended(answer)
    }
}

//! [`Cached`], a cached read with its options.

use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use super::access::Access;
use super::background::Run;
use super::entries::Entries;
use super::errors::CacheErr;
use super::limit::within;
use super::policy::{
    CacheIf, ErrorPolicy, Fixed, HardLimit, NoneTtl, Policy, ShareErrors, Sharing, TtlWith, Weigh,
};
use super::stale::Refresh;
use super::value::Cacheable;
use crate::observe::ReadOutcome;
use crate::{Error, IntoTime, Key, Ttl};

/// A cached read of one entry, with options that decide which values are stored and for how long.
///
/// # Two callers at once
///
/// Of all callers in this process that miss the same key, one computes and the others get its
/// value. If the computing caller is cancelled, another caller takes over at once with its own
/// closure. If the computation fails, the others get its error if they use
/// [`share_errors`](Self::share_errors); otherwise they try themselves, 1, 2, 4, ... at a time. A
/// panic reaches only the caller whose closure panicked. Over Redis, a lease extends all this to
/// the callers in other processes.
///
/// A caller waits for the handle's [`compute_wait`](crate::CachifyBuilder::compute_wait), 30 s by
/// default, and then computes too. The first computation to finish is stored and goes to all
/// waiting callers. Not every caller repeats a slow computation: one starts after `compute_wait`,
/// two more after another `compute_wait`, then four, and so on, in all processes together. The
/// others go on waiting, but for at most 16 times `compute_wait`. A caller that waited that long
/// computes, and its value is not stored. A [reset](Self::reset) or [set](Self::set) ends the wait
/// at once in its own process, and within about a second in others.
///
/// A computation makes progress only while its caller is polled. In a `buffered` stream, or in a
/// branch of `select!` that is no longer polled, it keeps other callers waiting for `compute_wait`.
/// Then a warning names the template and the time waited. Run such a call in a task of its own
/// (`tokio::spawn`).
///
/// A computation that asks for its own key does not wait for itself: the inner call computes at
/// once and is not stored, and a warning names the template. This works within one task. A task
/// that the computation spawns is another caller: if it asks for the same key, it waits for
/// `compute_wait` (30 s by default) before it computes.
///
/// # When the backend is away
///
/// The value is computed and returned. A call loses at most the handle's `backend_timeout` to the
/// backend, 250 ms by default.
///
/// # Values that are not stored
///
/// Errors are not stored, nor are values that [`cache_if`](Self::cache_if) or
/// [`ttl_with`](Self::ttl_with) refuse, or that a [reset](Self::reset) or [set](Self::set) overtook.
/// Over Redis, a value may not be stored if its computation kept its thread busy for more than 3 s:
/// the lease is renewed every second by a task that needs a thread. Run such work with
/// `tokio::task::spawn_blocking`.
#[must_use = "nothing is read before `get_or_compute`, `get_or_try_compute` or `get`"]
#[derive(Clone)]
#[doc(alias("single flight", "singleflight", "stampede", "dogpile"))]
pub struct Cached<P = Fixed> {
    access: Access<P>,
}

impl Cached {
    pub(crate) fn new(entries: &Arc<Entries>, key: Key) -> Self {
        Self {
            access: Access {
                ttl: entries.engine.settings.default_ttl,
                entries: Arc::clone(entries),
                key,
                jitter: 0.0,
                policy: Fixed,
                alone: false,
                copies: true,
                refresh: Refresh::default(),
            },
        }
    }
}

impl<P> Cached<P> {
    /// Sets the time to live of stored values. Default: the handle's default, which is 5 minutes
    /// unless it was changed. [`Ttl::NEVER`] keeps a value until it is reset; zero stores nothing.
    ///
    /// The order of options does not matter: [`ttl_with`](Self::ttl_with) always overrides this.
    ///
    /// # Panics
    ///
    /// If the time is a string that cannot be parsed.
    #[track_caller]
    pub fn ttl(mut self, ttl: impl IntoTime<Ttl>) -> Self {
        self.access.ttl = ttl.time();
        self
    }

    /// Sets a function that returns the time to live of each value. A value with [`Ttl::ZERO`] is
    /// not stored.
    ///
    /// # Examples
    ///
    /// ```
    /// use cachify_core::{Cachify, key};
    ///
    /// #[tokio::main]
    /// async fn main() {
    ///     let cachify = Cachify::memory();
    ///     // An absent row is asked for again soon.
    ///     let cached = cachify
    ///         .cached(&key!("row"))
    ///         .ttl_with(|row: &Option<i32>| if row.is_some() { "5m" } else { "5s" });
    ///     assert_eq!(cached.get_or_compute(async || None).await, None);
    /// }
    /// ```
    pub fn ttl_with<T, F, L>(self, ttl: F) -> Cached<TtlWith<P, F>>
    where
        F: Fn(&T) -> L,
        L: IntoTime<Ttl>,
    {
        self.map(|inner| TtlWith { inner, ttl })
    }

    /// Stores only values for which `condition` holds. Other values go only to the caller that
    /// computed them. The waiters then compute at once, in parallel.
    ///
    /// # Examples
    ///
    /// ```
    /// use cachify_core::{Cachify, key};
    ///
    /// #[tokio::main]
    /// async fn main() {
    ///     let cachify = Cachify::memory();
    ///     let cached = cachify.cached(&key!("row")).cache_if(Option::is_some);
    ///     assert_eq!(cached.get_or_compute(async || None::<i32>).await, None);
    ///     assert_eq!(cached.get_or_compute(async || Some(1)).await, Some(1));
    ///     assert_eq!(cached.get_or_compute(async || Some(2)).await, Some(1));
    /// }
    /// ```
    pub fn cache_if<T, F>(self, condition: F) -> Cached<CacheIf<P, F>>
    where
        F: Fn(&T) -> bool,
    {
        self.map(|inner| CacheIf { inner, condition })
    }

    /// Sets a function that returns the size of each value in memory, in bytes.
    ///
    /// Use it if the memory backend's estimate does not fit. The estimate sees what `Serialize`
    /// reports, so it misses skipped fields, and counts shared data once for each entry.
    ///
    /// # Examples
    ///
    /// ```
    /// use cachify_core::{Cachify, key};
    ///
    /// #[tokio::main]
    /// async fn main() {
    ///     let cachify = Cachify::memory();
    ///     let cached = cachify.cached(&key!("logo")).weigh(|logo: &Vec<u8>| logo.capacity());
    ///     assert_eq!(cached.get_or_compute(async || vec![1, 2, 3]).await, [1, 2, 3]);
    /// }
    /// ```
    pub fn weigh<T, F>(self, weigh: F) -> Cached<Weigh<P, F>>
    where
        F: Fn(&T) -> usize,
    {
        self.map(|inner| Weigh { inner, weigh })
    }

    /// Shortens the life of each entry by a random part of up to `share`, from 0 to 1, so that
    /// entries that were stored together do not expire together. The time for which an entry may be
    /// served [stale](Self::stale) is shortened in the same way. Default: 0.
    pub fn jitter(mut self, share: f64) -> Self {
        self.access.jitter = share;
        self
    }

    /// Serves a value for up to `window` after its time to live, while it is being refreshed or if
    /// its refresh fails. Default: no value is served after its time to live.
    ///
    /// Of all callers in all processes that find such a *stale* value, one refreshes it: it
    /// computes, and returns the new value. The others are served the stale value at once. If the
    /// computation fails, its caller gets the stale value instead of the error, and this process
    /// pauses before it tries again: for 100 ms, then twice as long each time, up to 10 s.
    /// Meanwhile it serves the stale value.
    ///
    /// A stale value is never served after a [reset](Self::reset), and a refresh that a reset
    /// overtook is not stored. [`expire`](Self::expire) makes an entry stale before its time.
    ///
    /// A value is kept for its time to live and the `window` of the caller that stored it. A caller
    /// with a shorter `window`, or without one, computes as if there were no entry.
    /// [`jitter`](Self::jitter) shortens both times of a stored value.
    ///
    /// # Panics
    ///
    /// If the time is a string that cannot be parsed. `"never"` is not accepted, because a stale
    /// value must have an end.
    ///
    /// # Examples
    ///
    /// ```
    /// use cachify_core::{Cachify, key};
    ///
    /// #[tokio::main]
    /// async fn main() -> Result<(), cachify_core::Error> {
    ///     let cachify = Cachify::memory();
    ///     let rates = cachify.cached(&key!("rates")).ttl("1m").stale("1h");
    ///     let up = async || Ok::<_, &str>(7);
    ///     assert_eq!(rates.get_or_try_compute(up).await, Ok(7));
    ///
    ///     // Stale from now on, as after a minute.
    ///     rates.expire().await?;
    ///     let down = async || Err("the provider is away");
    ///     assert_eq!(rates.get_or_try_compute(down).await, Ok(7));
    ///
    ///     // A reset leaves nothing to serve.
    ///     rates.reset().await?;
    ///     assert_eq!(rates.get_or_try_compute(down).await, Err("the provider is away"));
    ///     Ok(())
    /// }
    /// ```
    #[doc(alias("stale_while_revalidate", "stale_if_error", "grace", "fail safe"))]
    #[track_caller]
    pub fn stale(mut self, window: impl IntoTime<Duration>) -> Self {
        self.access.refresh.window = window.time();
        self
    }

    /// Refreshes values before their time to live ends. The nearer the end of a value is, and the
    /// longer its computation took, the more likely a read refreshes it. Of all readers in all
    /// processes, one refreshes the value, and the others are served the present value. Default:
    /// zero, which refreshes no value early.
    ///
    /// With a `beta` of 1, the first refresh comes about as long before the end as the computation
    /// takes (`XFetch`). A larger number refreshes earlier. Callers of
    /// [`get_or_spawn`](Self::get_or_spawn) do not wait for the refresh.
    ///
    /// With this option, a read of an entry in this process's memory costs more, because it checks
    /// the times of the entry. A value that was [set](Self::set) took no time to compute and is not
    /// refreshed early. On a [tiered](crate::CachifyBuilder::tiered) handle, only reads that reach
    /// Redis refresh early, and reads that memory answers do not.
    ///
    /// # Examples
    ///
    /// ```
    /// use cachify_core::{Cachify, key};
    ///
    /// #[tokio::main]
    /// async fn main() {
    ///     let cachify = Cachify::memory();
    ///     let rates = cachify.cached(&key!("rates")).ttl("5m").refresh_early(1.0);
    ///     assert_eq!(rates.get_or_spawn(async || 7).await, 7);
    /// }
    /// ```
    #[doc(alias("xfetch", "probabilistic early expiration", "refresh ahead"))]
    pub fn refresh_early(mut self, beta: f64) -> Self {
        self.access.refresh.early = beta;
        self
    }

    /// Sets how long a caller waits for a refresh if it may be served an old value instead. After
    /// that, it gets the [stale](Self::stale) value. Default:
    /// [`get_or_compute`](Self::get_or_compute) waits for its own computation, and
    /// [`get_or_spawn`](Self::get_or_spawn) does not wait.
    ///
    /// The computation of `get_or_spawn` then goes on in the background. The computation of
    /// `get_or_compute` belongs to its caller, so it is dropped. This counts as a failure: the
    /// process pauses before it tries again. Prefer `get_or_spawn` for computations that may take
    /// longer than the limit.
    ///
    /// # Panics
    ///
    /// If the time is a string that cannot be parsed. Outside of a tokio runtime, a read panics if
    /// it has to wait.
    ///
    /// # Examples
    ///
    /// ```
    /// use cachify_core::{Cachify, key};
    ///
    /// #[tokio::main]
    /// async fn main() -> Result<(), cachify_core::Error> {
    ///     let cachify = Cachify::memory();
    ///     let rates = cachify.cached(&key!("rates")).stale("1h").soft_limit("20ms");
    ///     rates.set(7).await?;
    ///     rates.expire().await?;
    ///     assert_eq!(rates.get_or_spawn(std::future::pending::<i32>).await, 7);
    ///     Ok(())
    /// }
    /// ```
    #[doc(alias = "soft timeout")]
    #[track_caller]
    pub fn soft_limit(mut self, limit: impl IntoTime<Duration>) -> Self {
        self.access.refresh.soft_limit = Some(limit.time());
        self
    }

    /// Ends a computation after `limit`: it is dropped, and fails with an error of kind
    /// [`Timeout`](crate::ErrorKind::Timeout) that names the template. As after any other error, a
    /// [stale](Self::stale) value is served instead if there is one. Default: no limit.
    ///
    /// The computation must be able to fail: use it with
    /// [`get_or_try_compute`](Self::get_or_try_compute) or
    /// [`get_or_try_spawn`](Self::get_or_try_spawn), and with an error that is
    /// `From<`[`Error`]`>`. The limit applies to each computation. A caller that waits for another
    /// caller's computation and then computes itself may take longer.
    ///
    /// # Panics
    ///
    /// If the time is a string that cannot be parsed. Outside of a tokio runtime, a computation
    /// panics.
    ///
    /// # Examples
    ///
    /// ```
    /// use cachify_core::{Cachify, Error, ErrorKind, key};
    ///
    /// #[tokio::main]
    /// async fn main() {
    ///     let cachify = Cachify::memory();
    ///     let rates = cachify.cached(&key!("rates")).hard_limit("20ms");
    ///     let hangs = std::future::pending::<Result<i32, Error>>;
    ///     let error = rates.get_or_try_compute(hangs).await.unwrap_err();
    ///     assert_eq!(error.kind(), ErrorKind::Timeout);
    ///     assert_eq!(error.template(), Some("rates"));
    /// }
    /// ```
    ///
    /// A computation that cannot fail does not compile:
    ///
    /// ```compile_fail
    /// # use cachify_core::{Cachify, key};
    /// # async fn example() {
    /// let cached = Cachify::memory().cached(&key!("rates")).hard_limit("20ms");
    /// let rates = cached.get_or_compute(async || 7).await;
    /// # }
    /// ```
    #[doc(alias("hard timeout", "deadline"))]
    #[track_caller]
    pub fn hard_limit(self, limit: impl IntoTime<Duration>) -> Cached<HardLimit<P>> {
        let limit = limit.time();
        self.map(|inner| HardLimit { inner, limit })
    }

    /// Sets the time to live of `None`, the absence of a value. Default: that of other values.
    ///
    /// # Panics
    ///
    /// If the time is a string that cannot be parsed.
    ///
    /// # Examples
    ///
    /// ```
    /// use cachify_core::{Cachify, key};
    ///
    /// #[tokio::main]
    /// async fn main() {
    ///     let cachify = Cachify::memory();
    ///     let row = cachify.cached(&key!("row")).ttl("5m").none_ttl("5s");
    ///     assert_eq!(row.get_or_compute(async || None::<i32>).await, None);
    /// }
    /// ```
    #[doc(alias = "negative caching")]
    #[track_caller]
    pub fn none_ttl(self, ttl: impl IntoTime<Ttl>) -> Cached<NoneTtl<P>> {
        let ttl = ttl.time();
        self.map(|inner| NoneTtl { inner, ttl })
    }

    /// Also stores errors for which `choose` returns a time to live, such as an error that says
    /// that a row is missing. Default: no error is stored. This must be the last option.
    ///
    /// A stored error is returned until its time is over, or the entry is reset or set. Callers
    /// that wait for the computation get it, as they would get a value, and it replaces a
    /// [stale](Self::stale) value. It is never served stale itself. An error for which `choose`
    /// returns `None`, or a time of zero, is returned and not stored.
    ///
    /// A read without this option finds a stored error unreadable: it counts that, and computes.
    ///
    /// # Examples
    ///
    /// ```
    /// use cachify_core::{Cachify, key};
    /// use serde::{Deserialize, Serialize};
    ///
    /// #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    /// enum Failed {
    ///     NoSuchRow,
    ///     Database(String),
    /// }
    ///
    /// #[tokio::main]
    /// async fn main() {
    ///     let cachify = Cachify::memory();
    ///     let row = cachify
    ///         .cached(&key!("row"))
    ///         .ttl("5m")
    ///         .cache_err(|error: &Failed| matches!(error, Failed::NoSuchRow).then_some("10s"));
    ///
    ///     let down = async || Err::<i32, _>(Failed::Database("down".to_owned()));
    ///     assert!(matches!(row.get_or_try_compute(down).await, Err(Failed::Database(_))));
    ///     let absent = async || Err::<i32, _>(Failed::NoSuchRow);
    ///     assert_eq!(row.get_or_try_compute(absent).await, Err(Failed::NoSuchRow));
    ///     // No caller asks the database for the next ten seconds.
    ///     assert_eq!(row.get_or_try_compute(down).await, Err(Failed::NoSuchRow));
    /// }
    /// ```
    #[doc(alias = "negative caching")]
    pub fn cache_err<E, F, L>(self, choose: F) -> CacheErr<P, F>
    where
        F: Fn(&E) -> Option<L>,
        L: IntoTime<Ttl>,
    {
        CacheErr::new(self.access, choose)
    }

    /// Sets whether a [tiered](crate::CachifyBuilder::tiered) handle uses its memory for the entry.
    /// Default: `true`. Without a tier, it makes no difference.
    ///
    /// With `false`, each read asks Redis, so a reset in any process is seen by all reads that
    /// start later. Choose that for values that must never be old, and for large or rarely read
    /// values, so that memory has room for more useful copies.
    ///
    /// # Examples
    ///
    /// ```
    /// use cachify_core::{Cachify, key};
    ///
    /// #[tokio::main]
    /// async fn main() {
    ///     let cachify = Cachify::memory(); // or tiered
    ///     let id = 7;
    ///     let balance = cachify.cached(&key!("balance-{id}")).local(false);
    ///     assert_eq!(balance.get_or_compute(async || 100).await, 100);
    /// }
    /// ```
    pub fn local(mut self, local: bool) -> Self {
        self.access.copies = local;
        self
    }

    /// Sets whether the caller does not wait: while another caller computes, this one computes too,
    /// and its value is not stored.
    #[cfg(feature = "http")]
    pub(crate) fn alone(mut self, alone: bool) -> Self {
        self.access.alone = alone;
        self
    }

    /// Replaces all policies by `policy`.
    #[cfg(feature = "http")]
    pub(crate) fn policy<Q>(self, policy: Q) -> Cached<Q> {
        self.map(|_| policy)
    }

    fn map<Q>(self, policy: impl FnOnce(P) -> Q) -> Cached<Q> {
        Cached {
            access: self.access.map(policy),
        }
    }

    /// Shares the error of a failed computation with all callers that waited for it and use this
    /// option, too. `#[cached]` sets it if the error type is `Clone`.
    ///
    /// # Examples
    ///
    /// ```
    /// use cachify_core::{Cachify, key};
    ///
    /// #[tokio::main]
    /// async fn main() {
    ///     let cachify = Cachify::memory();
    ///     let cached = cachify.cached(&key!("row")).share_errors();
    ///     let row = cached.get_or_try_compute(async || Err::<i32, _>("the database is down"));
    ///     assert_eq!(row.await, Err("the database is down"));
    /// }
    /// ```
    pub fn share_errors(self) -> Cached<ShareErrors<P>> {
        self.map(|inner| ShareErrors { inner })
    }

    /// Returns the cached value, or computes and stores it.
    ///
    /// # Cancel safety
    ///
    /// If this future is dropped, a waiting caller takes over and computes with its own closure.
    ///
    /// # Panics
    ///
    /// If `compute` panics. Outside of a tokio runtime, also if the call has to wait for another
    /// caller's computation.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::sync::atomic::{AtomicU32, Ordering};
    ///
    /// use cachify_core::{Cachify, key};
    ///
    /// #[tokio::main]
    /// async fn main() {
    ///     let cachify = Cachify::memory();
    ///     let queries = AtomicU32::new(0);
    ///     let count = || async {
    ///         queries.fetch_add(1, Ordering::Relaxed);
    ///         tokio::task::yield_now().await; // the database takes its time
    ///         42
    ///     };
    ///
    ///     // Two callers that miss at once share one query, and later ones find the entry.
    ///     let users = cachify.cached(&key!("count-users")).ttl("5m");
    ///     let both = tokio::join!(users.get_or_compute(count), users.get_or_compute(count));
    ///     assert_eq!(both, (42, 42));
    ///     assert_eq!(users.get_or_compute(count).await, 42);
    ///     assert_eq!(queries.into_inner(), 1);
    /// }
    /// ```
    #[doc(alias(
        "single flight",
        "singleflight",
        "stampede",
        "dogpile",
        "memoize",
        "get_with"
    ))]
    pub async fn get_or_compute<T, F, Fut>(&self, compute: F) -> T
    where
        T: Cacheable,
        P: Policy<T> + ErrorPolicy<Infallible>,
        F: FnOnce() -> Fut,
        Fut: Future<Output = T>,
    {
        let compute = async |_| Ok::<T, Infallible>(compute().await);
        match self.access.fetch(compute, None).await {
            Ok((value, _)) => value,
            Err(never) => match never {},
        }
    }

    /// Returns the cached value, or computes it and stores it if it is `Ok`.
    ///
    /// # Errors
    ///
    /// Only errors of `compute`: the caller's own, or with [`share_errors`](Self::share_errors) the
    /// error of the caller that it waited for. Errors are not stored. A failing backend is not an
    /// error: the value is computed.
    ///
    /// # Cancel safety
    ///
    /// If this future is dropped, a waiting caller takes over and computes with its own closure.
    ///
    /// # Panics
    ///
    /// If `compute` panics. Outside of a tokio runtime, also if the call has to wait for another
    /// caller's computation.
    ///
    /// # Examples
    ///
    /// ```
    /// use cachify_core::{Cachify, key};
    ///
    /// #[tokio::main]
    /// async fn main() -> Result<(), &'static str> {
    ///     let cachify = Cachify::memory();
    ///     let id = 7;
    ///     let user = cachify.cached(&key!("user-{id}")).ttl("5m");
    ///
    ///     let down = async || Err::<String, _>("the database is down");
    ///     assert_eq!(user.get_or_try_compute(down).await, Err("the database is down"));
    ///
    ///     // The error was not stored: the next caller tries again.
    ///     let up = async || Ok::<_, &str>("Ann".to_owned());
    ///     assert_eq!(user.get_or_try_compute(up).await?, "Ann");
    ///     // From now on the entry answers, even while the database is down.
    ///     assert_eq!(user.get_or_try_compute(down).await?, "Ann");
    ///     Ok(())
    /// }
    /// ```
    #[doc(alias("single flight", "singleflight", "stampede", "dogpile", "try_get_with"))]
    pub async fn get_or_try_compute<T, E, F, Fut>(&self, compute: F) -> Result<T, E>
    where
        T: Cacheable,
        P: Policy<T> + ErrorPolicy<E>,
        F: FnOnce() -> Fut,
        Fut: Future<Output = Result<T, E>>,
    {
        let access = &self.access;
        let compute = |_| self.within(compute());
        let fetched = access.fetch(compute, access.policy.sharing()).await;
        fetched.map(|(value, _)| value)
    }

    /// Returns the cached value, or computes and stores it. Does not wait for a refresh: if there
    /// is a [stale](Self::stale) value, it is returned at once, and `compute` runs in the
    /// background.
    ///
    /// Otherwise, this works like [`get_or_compute`](Self::get_or_compute): a caller without any
    /// value computes in its own call. `compute` must own its data, because it may outlive the
    /// call.
    ///
    /// The background task ends when the last clone of the handle is dropped, or when the handle is
    /// closed. The caller's task-locals are not set in it, including that of
    /// [`Cachify::scope`](crate::Cachify::scope). If `compute` panics there, the panic is logged,
    /// and counts as a failure.
    ///
    /// # Cancel safety
    ///
    /// If this future is dropped while it computes, a waiting caller takes over and computes with
    /// its own closure. A refresh in the background goes on.
    ///
    /// # Panics
    ///
    /// As [`get_or_compute`](Self::get_or_compute).
    ///
    /// # Examples
    ///
    /// ```
    /// use cachify_core::{Cachify, key};
    ///
    /// async fn load_rates() -> i32 { 8 }
    ///
    /// #[tokio::main]
    /// async fn main() -> Result<(), cachify_core::Error> {
    ///     let cachify = Cachify::memory();
    ///     let rates = cachify.cached(&key!("rates")).ttl("1m").stale("1h");
    ///     rates.set(7).await?;
    ///     rates.expire().await?;
    ///
    ///     // No caller waits for the provider.
    ///     assert_eq!(rates.get_or_spawn(load_rates).await, 7);
    ///     # while rates.get_or_spawn(load_rates).await != 8 { tokio::task::yield_now().await; }
    ///     Ok(())
    /// }
    /// ```
    #[doc(alias("stale_while_revalidate", "refresh"))]
    pub async fn get_or_spawn<T, F, Fut>(&self, compute: F) -> T
    where
        T: Cacheable,
        P: Policy<T> + ErrorPolicy<Infallible> + Clone + Send + Sync + 'static,
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future<Output = T> + Send + 'static,
    {
        let compute = |_| async { Ok::<T, Infallible>(compute().await) };
        match self.access.fetch_or_spawn(|| true, compute, None).await {
            Ok((value, _)) => value,
            Err(never) => match never {},
        }
    }

    /// Returns the cached value, or computes it and stores it if it is `Ok`. Does not wait for a
    /// refresh: see [`get_or_spawn`](Self::get_or_spawn).
    ///
    /// # Errors
    ///
    /// As [`get_or_try_compute`](Self::get_or_try_compute). The error of a refresh in the background
    /// reaches no caller: it is counted, and the stale value is served until its time is over.
    ///
    /// # Cancel safety
    ///
    /// As [`get_or_spawn`](Self::get_or_spawn).
    ///
    /// # Panics
    ///
    /// As [`get_or_compute`](Self::get_or_compute).
    ///
    /// # Examples
    ///
    /// ```
    /// use cachify_core::{Cachify, key};
    ///
    /// async fn load_rates() -> Result<i32, &'static str> { Err("the provider is away") }
    ///
    /// #[tokio::main]
    /// async fn main() -> Result<(), cachify_core::Error> {
    ///     let cachify = Cachify::memory();
    ///     let rates = cachify.cached(&key!("rates")).ttl("1m").stale("1h");
    ///     rates.set(7).await?;
    ///     rates.expire().await?;
    ///     assert_eq!(rates.get_or_try_spawn(load_rates).await, Ok(7));
    ///     Ok(())
    /// }
    /// ```
    pub async fn get_or_try_spawn<T, E, F, Fut>(&self, compute: F) -> Result<T, E>
    where
        T: Cacheable,
        P: Policy<T> + ErrorPolicy<E> + Clone + Send + Sync + 'static,
        E: Send + 'static,
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future<Output = Result<T, E>> + Send + 'static,
    {
        let sharing = self.access.policy.sharing();
        self.spawn(|_| compute(), sharing).await
    }

    /// Returns the cached value, if there is one. Never computes, and never waits for a
    /// computation. With [`stale`](Self::stale), the value may be stale.
    ///
    /// # Errors
    ///
    /// [`Unavailable`](crate::ErrorKind::Unavailable) or [`Timeout`](crate::ErrorKind::Timeout) if
    /// the backend is away.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future has no effect.
    ///
    /// # Examples
    ///
    /// ```
    /// use cachify_core::{Cachify, key};
    ///
    /// #[tokio::main]
    /// async fn main() -> Result<(), cachify_core::Error> {
    ///     let cachify = Cachify::memory();
    ///     let id = 7;
    ///     let seats = cachify.cached(&key!("seats-{id}"));
    ///
    ///     // A page that can do without the number does not wait for it.
    ///     assert_eq!(seats.get::<u32>().await?, None);
    ///     seats.set(3_u32).await?;
    ///     assert_eq!(seats.get::<u32>().await?, Some(3));
    ///     Ok(())
    /// }
    /// ```
    #[doc(alias = "peek")]
    pub async fn get<T: Cacheable>(&self) -> Result<Option<T>, Error>
    where
        P: Policy<T>,
    {
        self.access.get().await
    }

    /// Stores `value`, whatever was there. A computation that is under way cannot overwrite it.
    /// Where [`cache_if`](Self::cache_if), [`ttl_with`](Self::ttl_with) or a time to live of zero
    /// refuse the value, this is a [reset](Self::reset).
    ///
    /// The old entry is removed first, then the new one is stored. A read in between waits for it.
    ///
    /// # Two callers at once
    ///
    /// Of writes that overlap, two sets or a set and a reset, the one that begins last at the
    /// backend wins, which need not be the one that was called last. The other stores nothing and
    /// is `Ok`. If you cannot rule that out, by a [lock](crate::Cachify::lock) or otherwise, reset
    /// after each change instead, see [`update`](crate::Cachify::update): resets do not depend on
    /// their order.
    ///
    /// # Errors
    ///
    /// [`Codec`](crate::ErrorKind::Codec) if the value cannot be encoded: nothing changed.
    /// [`Unconfirmed`](crate::ErrorKind::Unconfirmed) if the backend did not acknowledge it: the
    /// entry may be the old or the new one, so it will be reset as soon as the backend answers.
    /// [`NotQueued`](crate::ErrorKind::NotQueued) if there is no room to remember that.
    ///
    /// # Cancel safety
    ///
    /// If this future is dropped after its first poll, the entry is the new one or none.
    ///
    /// # Examples
    ///
    /// ```
    /// use cachify_core::{Cachify, key};
    ///
    /// # async fn load_name(id: i64) -> String { format!("user {id}") }
    /// #[tokio::main]
    /// async fn main() -> Result<(), cachify_core::Error> {
    ///     let cachify = Cachify::memory();
    ///     let id = 7;
    ///     let user = cachify.cached(&key!("user-{id}")).ttl("5m");
    ///
    ///     // The row was just inserted, so its first read needs no query.
    ///     user.set("Ann".to_owned()).await?;
    ///     let name = user.get_or_compute(|| load_name(id)).await;
    ///     assert_eq!(name, "Ann");
    ///     Ok(())
    /// }
    /// ```
    #[doc(alias("insert", "put"))]
    pub async fn set<T>(&self, value: T) -> Result<(), Error>
    where
        T: Cacheable,
        P: Policy<T>,
    {
        self.access.set(value).await
    }

    /// Removes the entry; see [`Cachify::reset`](crate::Cachify::reset).
    ///
    /// # Errors
    ///
    /// As [`Cachify::reset`](crate::Cachify::reset).
    ///
    /// # Cancel safety
    ///
    /// Once the future was polled, the reset completes even if the future is dropped.
    ///
    /// # Examples
    ///
    /// ```
    /// use cachify_core::{Cachify, key};
    ///
    /// # async fn load_name(id: i64) -> String { format!("user {id}") }
    /// #[tokio::main]
    /// async fn main() -> Result<(), cachify_core::Error> {
    ///     let cachify = Cachify::memory();
    ///     let id = 7;
    ///     let user = cachify.cached(&key!("user-{id}"));
    ///     user.set("Ann".to_owned()).await?;
    ///
    ///     // The row was changed by other means: the next read asks the database.
    ///     user.reset().await?;
    ///     let name = user.get_or_compute(|| load_name(id)).await;
    ///     assert_eq!(name, "user 7");
    ///     Ok(())
    /// }
    /// ```
    #[doc(alias("invalidate", "evict", "remove", "delete"))]
    pub async fn reset(&self) -> Result<(), Error> {
        self.access.reset().await
    }

    /// Makes the entry stale; see [`Cachify::expire`](crate::Cachify::expire).
    ///
    /// # Errors
    ///
    /// As [`Cachify::expire`](crate::Cachify::expire).
    ///
    /// # Cancel safety
    ///
    /// Once the future was polled, the entry becomes stale or is removed, even if the future is
    /// dropped.
    ///
    /// # Examples
    ///
    /// ```
    /// use cachify_core::{Cachify, key};
    ///
    /// #[tokio::main]
    /// async fn main() -> Result<(), cachify_core::Error> {
    ///     let cachify = Cachify::memory();
    ///     let rates = cachify.cached(&key!("rates")).stale("1h");
    ///     rates.set(7).await?;
    ///     rates.expire().await?;
    ///     assert_eq!(rates.get_or_compute(async || 8).await, 8);
    ///     Ok(())
    /// }
    /// ```
    pub async fn expire(&self) -> Result<(), Error> {
        self.access.expire().await
    }

    /// Runs the read path, and returns how it went. `compute` learns whether its value will be
    /// stored, unless a reset happens in between.
    pub(crate) fn fetch<T, E, F, Fut>(
        &self,
        compute: F,
        sharing: Option<Sharing<E>>,
    ) -> impl Future<Output = Result<(T, ReadOutcome), E>>
    where
        T: Cacheable,
        P: Policy<T>,
        F: FnOnce(bool) -> Fut,
        Fut: Future<Output = Result<T, E>>,
    {
        self.access.fetch(compute, sharing)
    }

    /// Reads the value, and refreshes it in the background. `compute` learns whether it runs there.
    pub(crate) async fn spawn<T, E, F, Fut>(
        &self,
        compute: F,
        sharing: Option<Sharing<E>>,
    ) -> Result<T, E>
    where
        T: Cacheable,
        P: Policy<T> + ErrorPolicy<E> + Clone + Send + Sync + 'static,
        E: Send + 'static,
        F: FnOnce(bool) -> Fut + Send + 'static,
        Fut: Future<Output = Result<T, E>> + Send + 'static,
    {
        let access = &self.access;
        let (limit, key) = (access.policy.hard_limit(), access.key.clone());
        let compute = |run: Run| async move { within(limit, &key, compute(run.background)).await };
        let fetched = access.fetch_or_spawn(|| true, compute, sharing).await;
        fetched.map(|(value, _)| value)
    }

    /// Runs a computation, for as long as its hard limit permits.
    pub(crate) async fn within<T, E>(
        &self,
        computation: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E>
    where
        P: ErrorPolicy<E>,
    {
        let limit = self.access.policy.hard_limit();
        within(limit, &self.access.key, computation).await
    }

    /// Like [`fetch`](Self::fetch), but a stale value is returned at once, and refreshed in the
    /// background if `may_spawn` permits it.
    #[cfg(feature = "http")]
    pub(crate) async fn fetch_or_spawn<T, E, F, Fut>(
        &self,
        may_spawn: impl FnOnce() -> bool,
        compute: F,
    ) -> Result<(T, ReadOutcome), E>
    where
        T: Cacheable,
        P: Policy<T> + Clone + Send + Sync + 'static,
        E: Send + 'static,
        F: FnOnce(bool) -> Fut + Send + 'static,
        Fut: Future<Output = Result<T, E>> + Send + 'static,
    {
        let compute = |run: Run| compute(run.leased);
        self.access.fetch_or_spawn(may_spawn, compute, None).await
    }

    /// Returns the value if there is one, and whether it is stale. Never computes.
    #[cfg(feature = "http")]
    pub(crate) async fn find<T: Cacheable>(&self) -> Result<Option<(T, ReadOutcome)>, Error>
    where
        P: Policy<T>,
    {
        self.access.find().await
    }

    /// Stores `value` anew in place of a fresh entry that `is_same`, unless that entry is changed
    /// meanwhile.
    #[cfg(feature = "http")]
    pub(crate) async fn renew<T: Cacheable>(
        &self,
        value: T,
        is_same: impl Fn(&T) -> bool,
    ) -> Result<(), Error>
    where
        P: Policy<T>,
    {
        self.access.renew(value, is_same).await
    }

    /// Stores `value` without making sure that a failure leaves no old value behind.
    #[cfg(feature = "http")]
    pub(crate) async fn put<T>(&self, value: T) -> Result<(), Error>
    where
        T: Cacheable,
        P: Policy<T>,
    {
        match self.access.lifetime(&value) {
            Some(times) => self.access.put(value, times).await,
            None => Ok(()),
        }
    }
}

impl<P> fmt::Debug for Cached<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cached")
            .field("key", &self.access.key)
            .finish_non_exhaustive()
    }
}

//! The extension trait of filters.

use std::future::Future;
use std::sync::Arc;

use cachify_core::http::HoldRules;
use cachify_core::{Cachify, Error, Guard, Key, Permit};
use warp::filters::BoxedFilter;
use warp::reply::Response;
use warp::{Filter, Rejection};

use crate::cache::{CacheOptions, CachedHandler};
use crate::handler::{Extracted, Handler, Route};
use crate::hold::{LockOptions, OnceOptions, PoolOptions};
use crate::problem::refuse;
use crate::request::head;

/// Adds caching, locks, run-once and pools to filters.
///
/// Keys are made from the values that the filter extracted, such as a path parameter,
/// [`query`](crate::query), [`warp::query()`] or [`warp::header()`].
///
/// The methods are for filters that can reject. A filter that cannot, such as [`warp::any()`]
/// alone, becomes one by [`boxed`](Filter::boxed).
pub trait FilterExt: Route<Extract: Extracted> {
    /// Handles requests, and caches the responses.
    ///
    /// The handler is as for [`then`](Filter::then) or [`and_then`](Filter::and_then): an async
    /// function of the extracted values that returns a reply, or a result with a rejection. HTTP
    /// decides [what is cached](cachify_core::http): successful responses to GET requests without
    /// `Authorization` or `Cookie`, unless they set a cookie or forbid storing. `Vary` is honoured.
    /// Rejections are not cached.
    ///
    /// [`warp::get()`] rejects HEAD requests. [`get_or_head`](crate::get_or_head) accepts them, and
    /// they are answered from the entry of GET. POST, PUT, PATCH and DELETE requests that the
    /// filter accepts run the handler, and reset the key if it answers without an error.
    ///
    /// A filter with several paths, such as `a.or(b).unify()`, needs a key that distinguishes them.
    /// Nothing checks that, since warp does not say which path matched: extract
    /// [`warp::path::full()`], or cache each path by itself. If responses depend on the host,
    /// extract [`host`](crate::host) and call [`keyed_by([header::HOST])`](CacheOptions::keyed_by).
    ///
    /// # Concurrent requests
    ///
    /// A second request of the same key gets the response of the first. The filters before this one
    /// run for both requests, the handler for one. If the first client disconnects, its handler is
    /// dropped, and the second request runs its own.
    ///
    /// # The handler's view
    ///
    /// The handler runs in the [scope](Cachify::scope) of the cache's handle. It does not need to
    /// evaluate conditions such as `If-None-Match`, or ranges: they are evaluated on its response.
    /// If it answers with 304 or 206 itself, that response goes only to its own client.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use cachify_warp::{CacheOptions, Cachify, FilterExt, key};
    /// use warp::Filter;
    ///
    /// async fn read_user(user_id: i64) -> String {
    ///     format!("user {user_id}")
    /// }
    ///
    /// let cachify = Cachify::memory();
    /// let cache = CacheOptions::new(&cachify).ttl(Duration::from_mins(5));
    /// let read = warp::path!("users" / i64)
    ///     .and(warp::get())
    ///     .cached(cache, |(id,)| key!("read_user-{id}"), read_user);
    /// ```
    fn cached<H: Handler<Self::Extract, Kind>, Kind: 'static>(
        self,
        cache: CacheOptions,
        key: impl Fn(&Self::Extract) -> Key + Send + Sync + 'static,
        handler: H,
    ) -> impl Route<Extract = (Response,)> {
        let cached = Arc::new(CachedHandler(cache.0, key, handler));
        Self::Extract::one(self)
            .and(head())
            .and_then(move |args, head| cached.serve(args, head))
    }

    /// Handles one request of each key at a time, across all processes.
    ///
    /// Other requests wait for up to [`LockOptions::wait`], first come, first served, and are then
    /// rejected; [`recover`](crate::recover) answers with 423. By default, they do not wait.
    /// Guards, macros and other filters of the same key use the same lock. It is released before
    /// the response is sent.
    ///
    /// The handler is as for [`cached`](Self::cached), and runs in the scope of the lock's handle.
    ///
    /// # Bodies
    ///
    /// The filters before this one run before the lock is acquired: `.and(warp::body::json())`
    /// reads the whole body first, so a stalled client does not block others. The body of
    /// [`warp::body::stream()`] is read by the handler, under the lock, for at most
    /// [`LockOptions::max_hold`], 1 minute by default. warp itself has no time limit for bodies.
    ///
    /// # When the lock is lost
    ///
    /// The handler is dropped, and the answer is 503. If the client disconnects, the handler is
    /// dropped too, and the lock is released.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use cachify_warp::{Cachify, FilterExt, LockOptions, key};
    /// use warp::Filter;
    ///
    /// async fn charge(order: u64) -> &'static str {
    ///     "charged"
    /// }
    ///
    /// let lock = LockOptions::new(&Cachify::memory()).wait(Duration::from_secs(2));
    /// let route = warp::path!("orders" / u64 / "charge")
    ///     .and(warp::post())
    ///     .then_locked(lock, |(order,)| key!("charge-{order}"), charge)
    ///     .recover(cachify_warp::recover);
    /// ```
    fn then_locked<H: Handler<Self::Extract, Kind>, Kind: 'static>(
        self,
        lock: impl Into<LockOptions>,
        key: impl Fn(&Self::Extract) -> Key + Send + Sync + 'static,
        handler: H,
    ) -> BoxedFilter<(Response,)> {
        then_held(self, lock.into().0, key, handler)
    }

    /// Handles a request unless another one of its key is running, in any process.
    ///
    /// Other requests are rejected at once; [`recover`](crate::recover) answers with 409, or the
    /// response of [`OnceOptions::on_locked`]. Everything else is as with
    /// [`then_locked`](Self::then_locked).
    fn then_once<H: Handler<Self::Extract, Kind>, Kind: 'static>(
        self,
        once: impl Into<OnceOptions>,
        key: impl Fn(&Self::Extract) -> Key + Send + Sync + 'static,
        handler: H,
    ) -> BoxedFilter<(Response,)> {
        then_held(self, once.into().0, key, handler)
    }

    /// Limits the number of requests of each key that are handled at a time, across all processes.
    ///
    /// Other requests wait for up to [`PoolOptions::wait`], first come, first served, and are then
    /// rejected; [`recover`](crate::recover) answers with 429. Everything else is as with
    /// [`then_locked`](Self::then_locked).
    fn then_pooled<H: Handler<Self::Extract, Kind>, Kind: 'static>(
        self,
        pool: PoolOptions,
        key: impl Fn(&Self::Extract) -> Key + Send + Sync + 'static,
        handler: H,
    ) -> BoxedFilter<(Response,)> {
        then_held(self, pool.0, key, handler)
    }

    /// Lets one request of each key pass at a time, and appends the [`Guard`] to the extracted
    /// values.
    ///
    /// Use it instead of [`then_locked`](Self::then_locked) if the handler needs the guard, for its
    /// fencing token or to release it early.
    ///
    /// # When the lock is released
    ///
    /// The lock is held until the guard is dropped: by the handler, at its end, because a later
    /// filter rejects, or because the client disconnects. Dropping the guard releases the lock in
    /// the background, possibly after the response was sent. [`Guard::finish`] and
    /// [`Guard::release`] wait for the release, so that the client's next request finds the lock
    /// free.
    ///
    /// # Bodies
    ///
    /// Put the filter of the body before this one: `.and(warp::body::json()).locked(..)`. Otherwise
    /// the body is read while the lock is held, and a client that stalls keeps the lock without
    /// limit, unless [`LockOptions::max_hold`] is set.
    ///
    /// # When the lock is lost
    ///
    /// The handler continues, but a future that it runs by [`Guard::run`] is stopped.
    ///
    /// # Examples
    ///
    /// ```
    /// use cachify_warp::{Cachify, FilterExt, Guard, Problem, key};
    /// use warp::Filter;
    ///
    /// async fn charge(order: u64, guard: Guard) -> Result<&'static str, Problem> {
    ///     let charged = guard.run(async { "charged" }).await?;
    ///     guard.finish().await;
    ///     Ok(charged)
    /// }
    ///
    /// let route = warp::path!("orders" / u64 / "charge")
    ///     .and(warp::post())
    ///     .locked(&Cachify::memory(), |(order,)| key!("charge-{order}"))
    ///     .then(charge)
    ///     .recover(cachify_warp::recover);
    /// ```
    fn locked(
        self,
        lock: impl Into<LockOptions>,
        key: impl Fn(&Self::Extract) -> Key + Send + Sync + 'static,
    ) -> <Self::Extract as Extracted>::Held<Guard> {
        held(self, lock.into().0, key, HoldRules::guard)
    }

    /// Lets a request pass unless another one of its key is running, and appends the [`Guard`] to
    /// the extracted values.
    ///
    /// Use it instead of [`then_once`](Self::then_once) if the handler needs the guard. Everything
    /// else is as with [`locked`](Self::locked).
    fn once(
        self,
        once: impl Into<OnceOptions>,
        key: impl Fn(&Self::Extract) -> Key + Send + Sync + 'static,
    ) -> <Self::Extract as Extracted>::Held<Guard> {
        held(self, once.into().0, key, HoldRules::guard)
    }

    /// Limits the number of requests of each key that pass at a time, and appends the [`Permit`] to
    /// the extracted values.
    ///
    /// Use it instead of [`then_pooled`](Self::then_pooled) if the handler needs the permit.
    /// Everything else is as with [`locked`](Self::locked).
    fn pooled(
        self,
        pool: PoolOptions,
        key: impl Fn(&Self::Extract) -> Key + Send + Sync + 'static,
    ) -> <Self::Extract as Extracted>::Held<Permit> {
        held(self, pool.0, key, HoldRules::permit)
    }

    /// Handles requests in the [scope](Cachify::scope) of a handle: the handle of every function
    /// whose macro does not name one.
    ///
    /// The handler is as for [`cached`](Self::cached).
    ///
    /// # Examples
    ///
    /// ```
    /// use cachify_warp::{Cachify, FilterExt};
    ///
    /// async fn square(number: u64) -> String {
    ///     assert!(Cachify::current().is_some());
    ///     (number * number).to_string()
    /// }
    ///
    /// let route = warp::path!("square" / u64).scoped(&Cachify::memory(), square);
    /// ```
    fn scoped<H: Handler<Self::Extract, Kind>, Kind: 'static>(
        self,
        cachify: &Cachify,
        handler: H,
    ) -> impl Route<Extract = (Response,)> + use<Self, H, Kind> {
        let (cachify, handler) = (cachify.clone(), Arc::new(handler));
        Self::Extract::one(self).and_then(move |args| {
            let handler = Arc::clone(&handler);
            let call = async move { handler.call(args).await };
            cachify.clone().scope(call)
        })
    }
}

impl<F: Route<Extract: Extracted>> FilterExt for F {}

fn then_held<F, K, H, Kind>(
    filter: F,
    rules: HoldRules<Response>,
    key: K,
    handler: H,
) -> BoxedFilter<(Response,)>
where
    F: Route<Extract: Extracted>,
    K: Fn(&F::Extract) -> Key + Send + Sync + 'static,
    H: Handler<F::Extract, Kind>,
    Kind: 'static,
{
    let held = Arc::new((rules, key, handler));
    F::Extract::one(filter)
        .and_then(move |args: F::Extract| {
            let held = Arc::clone(&held);
            async move {
                let (rules, key, handler) = &*held;
                let key = key(&args);
                // Boxed, so that moving it is cheap.
                let work = Box::pin(async { handler.call(args).await });
                let work = rules.cachify().scope(work);
                let response = rules.run(&key, work).await;
                response.map_err(|error| refuse(rules, error))?
            }
        })
        .boxed()
}

fn held<F, K, A, Fut, G>(
    filter: F,
    rules: HoldRules<Response>,
    key: K,
    acquire: A,
) -> <F::Extract as Extracted>::Held<G>
where
    F: Route<Extract: Extracted>,
    K: Fn(&F::Extract) -> Key + Send + Sync + 'static,
    A: Fn(Arc<HoldRules<Response>>, Key) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = Result<G, Error>> + Send,
    G: Send + 'static,
{
    let (rules, key) = (Arc::new(rules), Arc::new(key));
    F::Extract::held(F::Extract::one(filter).and_then(move |args: F::Extract| {
        let rules = Arc::clone(&rules);
        let acquired = acquire(Arc::clone(&rules), key(&args));
        async move {
            let guard = acquired.await.map_err(|error| refuse(&rules, error))?;
            Ok::<_, Rejection>((args, guard))
        }
    }))
}

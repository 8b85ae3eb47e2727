//! Extends filters.

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

/// Caching, locks, run-once and pools on any filter.
///
/// Keys are made of what the filter extracted: a path parameter, [`query`](crate::query),
/// [`warp::query()`], [`warp::header()`].
///
/// A filter that cannot reject, such as [`warp::any()`] alone, becomes one that could by
/// [`boxed`](Filter::boxed).
pub trait FilterExt: Route<Extract: Extracted> {
    /// Handles requests, and caches the responses.
    ///
    /// The handler is what [`then`](Filter::then) or [`and_then`](Filter::and_then) take: an async
    /// function of the extracted values, which returns a reply, or a result with a rejection. [What
    /// is cached](cachify_core::http) follows from HTTP: responses to GET requests without
    /// `Authorization` or `Cookie`, successful ones that set no cookie and forbid no storing,
    /// `Vary` honoured. Rejections are not cached.
    ///
    /// [`warp::get()`] rejects HEAD requests; [`get_or_head`](crate::get_or_head) lets them in, and
    /// GET's entry answers them. POST, PUT, PATCH and DELETE requests that a filter lets in run the
    /// handler, and reset the key if it answers without an error.
    ///
    /// A filter of several paths, such as `a.or(b).unify()`, needs a key that tells them apart.
    /// Nothing checks that, since warp does not tell which one matched: extract
    /// [`warp::path::full()`], or cache each of them. For responses that depend on the host,
    /// extract [`host`](crate::host) and say [`keyed_by([header::HOST])`](CacheOptions::keyed_by).
    ///
    /// # Two requests at once
    ///
    /// The second gets the response of the first. Filters that come before run for each of them,
    /// the handler for one. If the first client goes away, its handler is dropped, and the second
    /// request runs its own.
    ///
    /// # What the handler sees
    ///
    /// It runs in the [scope](Cachify::scope) of the cache's handle. Conditions and ranges, as in
    /// `If-None-Match`, are evaluated on its answer: it need not look for them. An answer of 304 or
    /// 206 of its own goes to its client alone.
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

    /// Handles one request at a time for each key, in all processes.
    ///
    /// The others wait as long as [`LockOptions::wait`] says, first come, first served, and are
    /// then rejected: [`recover`](crate::recover) answers 423. The lock is the same as that of a
    /// guard, a macro or another filter of that key. It is released before the response is sent.
    ///
    /// The handler is as for [`cached`](Self::cached), and runs in the scope of the lock's handle.
    ///
    /// # Bodies
    ///
    /// Filters that come before are done before the lock is taken: `.and(warp::body::json())` reads
    /// the whole body first, so a stalled client does not block others. The handler reads the body
    /// of [`warp::body::stream()`] under the lock, for at most [`LockOptions::max_hold`], 1 minute
    /// by default. warp itself has no time limit for bodies.
    ///
    /// # When the lock is lost
    ///
    /// The handler is dropped, and the answer is 503. The same happens to it when its client goes
    /// away; the lock is then free at once.
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
    /// The others are rejected at once: [`recover`](crate::recover) answers 409, or what
    /// [`OnceOptions::on_locked`] says. All else is as with [`then_locked`](Self::then_locked).
    fn then_once<H: Handler<Self::Extract, Kind>, Kind: 'static>(
        self,
        once: impl Into<OnceOptions>,
        key: impl Fn(&Self::Extract) -> Key + Send + Sync + 'static,
        handler: H,
    ) -> BoxedFilter<(Response,)> {
        then_held(self, once.into().0, key, handler)
    }

    /// Limits how many requests of each key are handled at a time, in all processes together.
    ///
    /// The others wait as long as [`PoolOptions::wait`] says, first come, first served, and are
    /// then rejected: [`recover`](crate::recover) answers 429. All else is as with
    /// [`then_locked`](Self::then_locked).
    fn then_pooled<H: Handler<Self::Extract, Kind>, Kind: 'static>(
        self,
        pool: PoolOptions,
        key: impl Fn(&Self::Extract) -> Key + Send + Sync + 'static,
        handler: H,
    ) -> BoxedFilter<(Response,)> {
        then_held(self, pool.0, key, handler)
    }

    /// Lets one request at a time pass for each key, and appends the [`Guard`] to what is
    /// extracted.
    ///
    /// It is [`then_locked`](Self::then_locked) for handlers that want the guard: for its fencing
    /// token, or to let go early.
    ///
    /// # How long it is held
    ///
    /// Until the handler drops the guard, at its end; or when a filter that comes later rejects, or
    /// the client goes away. A guard that is dropped gives the lock back in the background, maybe
    /// after the response was sent; [`Guard::finish`] and [`Guard::release`] wait for it, so that
    /// the client can come again at once.
    ///
    /// # Bodies
    ///
    /// Put the filter of the body before this one: `.and(warp::body::json()).locked(..)`. After it,
    /// the body is read while the lock is held, and a client that stalls keeps the lock without
    /// end, unless [`LockOptions::max_hold`] is set.
    ///
    /// # When the lock is lost
    ///
    /// The handler goes on, unless it asks: [`Guard::run`] stops what it is given.
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
    /// what is extracted.
    ///
    /// It is [`then_once`](Self::then_once) for handlers that want the guard. All else is as with
    /// [`locked`](Self::locked).
    fn once(
        self,
        once: impl Into<OnceOptions>,
        key: impl Fn(&Self::Extract) -> Key + Send + Sync + 'static,
    ) -> <Self::Extract as Extracted>::Held<Guard> {
        held(self, once.into().0, key, HoldRules::guard)
    }

    /// Limits how many requests of each key pass at a time, and appends the [`Permit`] to what is
    /// extracted.
    ///
    /// It is [`then_pooled`](Self::then_pooled) for handlers that want the permit. All else is as
    /// with [`locked`](Self::locked).
    fn pooled(
        self,
        pool: PoolOptions,
        key: impl Fn(&Self::Extract) -> Key + Send + Sync + 'static,
    ) -> <Self::Extract as Extracted>::Held<Permit> {
        held(self, pool.0, key, HoldRules::permit)
    }

    /// Handles requests in the [scope](Cachify::scope) of a handle, which is then that of all
    /// functions whose macro names none.
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
                // In a box, so that it is moved at the price of a pointer.
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

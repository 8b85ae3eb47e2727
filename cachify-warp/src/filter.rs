//! Extends filters.

use std::convert::Infallible;
use std::sync::Arc;

use cachify_core::http::sorted_query;
use cachify_core::{Cachify, Guard, Key, Permit};
use warp::filters::BoxedFilter;
use warp::host::Authority;
use warp::http::{HeaderMap, Method, Request, Uri};
use warp::reply::Response;
use warp::{Filter, Rejection};

use crate::cache::CachedHandler;
use crate::handler::{Extracted, Handler, Route};
use crate::hold::Take;
use crate::{CacheOptions, LockOptions, OnceOptions, PoolOptions};

/// Caching, locks, run-once and pools on any filter.
///
/// Keys are made of what the filter extracted: a path parameter, [`query`], [`warp::query()`],
/// [`warp::header()`].
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
    /// [`warp::get()`] rejects HEAD requests; [`get_or_head`] lets them in, and GET's entry answers
    /// them. POST, PUT, PATCH and DELETE requests that a filter lets in run the handler, and reset
    /// the key if it answers without an error.
    ///
    /// A filter of several paths, such as `a.or(b).unify()`, needs a key that tells them apart.
    /// Nothing checks that, since warp does not tell which one matched: extract
    /// [`warp::path::full()`], or cache each of them. For responses that depend on the host,
    /// extract [`host`] and say [`keyed_by([header::HOST])`](CacheOptions::keyed_by).
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
        let cached = Arc::new(CachedHandler {
            cache,
            key,
            handler,
        });
        Self::Extract::one(self)
            .and(warp::method())
            .and(warp::host::optional())
            .and(warp::header::headers_cloned())
            .and_then(move |args, method: Method, host, headers: HeaderMap| {
                cached.serve(args, method, host, headers)
            })
    }

    /// Handles one request at a time for each key, in all processes.
    ///
    /// The others wait as long as [`LockOptions::wait`] says, first come, first served, and are then
    /// rejected: [`recover`](crate::recover) answers 423. The lock is the same as that of a guard,
    /// a macro or another filter of that key. It is given back before the response is sent.
    ///
    /// The handler is as for [`cached`](Self::cached), and runs in the scope of the lock's handle.
    ///
    /// # Bodies
    ///
    /// Filters that come before are done before the lock is taken: `.and(warp::body::json())` reads
    /// the whole body first, so a stalled client does not block others. The handler reads the body
    /// of [`warp::body::stream()`] under the lock; [`LockOptions::max_hold`], 1 minute by default, bounds
    /// how long. warp itself has no time limit for bodies.
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
        then_held(self, lock.into(), key, handler)
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
        then_held(self, once.into(), key, handler)
    }

    /// Limits how many requests of each key are handled at a time, in all processes together.
    ///
    /// The others wait as long as [`PoolOptions::wait`] says, first come, first served, and are then
    /// rejected: [`recover`](crate::recover) answers 429. All else is as with
    /// [`then_locked`](Self::then_locked).
    fn then_pooled<H: Handler<Self::Extract, Kind>, Kind: 'static>(
        self,
        pool: PoolOptions,
        key: impl Fn(&Self::Extract) -> Key + Send + Sync + 'static,
        handler: H,
    ) -> BoxedFilter<(Response,)> {
        then_held(self, pool, key, handler)
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
        held(self, lock.into(), key)
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
        held(self, once.into(), key)
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
        held(self, pool, key)
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
        let scoped = Arc::new((cachify.clone(), handler));
        Self::Extract::one(self).and_then(move |args| {
            let scoped = Arc::clone(&scoped);
            let (cachify, _) = &*scoped;
            cachify
                .clone()
                .scope(async move { scoped.1.call(args).await })
        })
    }
}

impl<F: Route<Extract: Extracted>> FilterExt for F {}

fn then_held<F, T, K, H, Kind>(filter: F, hold: T, key: K, handler: H) -> BoxedFilter<(Response,)>
where
    F: Route<Extract: Extracted>,
    T: Take,
    K: Fn(&F::Extract) -> Key + Send + Sync + 'static,
    H: Handler<F::Extract, Kind>,
    Kind: 'static,
{
    let held = Arc::new((hold, key, handler));
    F::Extract::one(filter)
        .and_then(move |args: F::Extract| {
            let held = Arc::clone(&held);
            async move {
                let (hold, key, handler) = &*held;
                let key = key(&args);
                // In a box, so that it is moved at the price of a pointer.
                let work = Box::pin(async { handler.call(args).await });
                hold.run(key, work).await?
            }
        })
        .boxed()
}

fn held<F, T, K>(filter: F, hold: T, key: K) -> <F::Extract as Extracted>::Held<T::Guard>
where
    F: Route<Extract: Extracted>,
    T: Take,
    K: Fn(&F::Extract) -> Key + Send + Sync + 'static,
{
    let held = Arc::new((hold, key));
    F::Extract::held(F::Extract::one(filter).and_then(move |args: F::Extract| {
        let held = Arc::clone(&held);
        async move {
            let (hold, key) = &*held;
            let key = key(&args);
            Ok::<_, Rejection>((args, hold.take(key, None).await?))
        }
    }))
}

/// Extracts the handle.
///
/// # Examples
///
/// ```
/// use cachify_warp::{Cachify, Problem, key, with_cachify};
/// use warp::Filter;
///
/// async fn forget(user_id: i64, cachify: Cachify) -> Result<&'static str, Problem> {
///     cachify.reset(&key!("read_user-{user_id}")).await?;
///     Ok("forgotten")
/// }
///
/// let cachify = Cachify::memory();
/// let route = warp::path!("users" / i64).and(warp::delete()).and(with_cachify(&cachify)).then(forget);
/// ```
pub fn with_cachify(
    cachify: &Cachify,
) -> impl Filter<Extract = (Cachify,), Error = Infallible> + Clone + Send + Sync + 'static + use<> {
    let cachify = cachify.clone();
    warp::any().map(move || cachify.clone())
}

/// Lets GET and HEAD requests pass: what a cached route can answer.
///
/// A server sends no bodies to HEAD requests, so that a handler can treat both alike.
pub fn get_or_head() -> impl Filter<Extract = (), Error = Rejection> + Copy + Send + Sync + 'static
{
    warp::get().or(warp::head()).unify()
}

/// Extracts the [host](cachify_core::http::host) that a request was sent to, for a key: empty if
/// there is none.
///
/// It is the same over all versions of HTTP, in lower case and without a default port.
///
/// # Examples
///
/// ```
/// use cachify_warp::{CacheOptions, Cachify, FilterExt, host, key};
/// use warp::{Filter, http::header};
///
/// async fn shop(host: String) -> String {
///     format!("the shop of {host}")
/// }
///
/// let cache = CacheOptions::new(&Cachify::memory()).keyed_by([header::HOST]);
/// let shop = warp::path::end()
///     .and(warp::get())
///     .and(host())
///     .cached(cache, |(host,)| key!("shop-{host}"), shop);
/// ```
pub fn host() -> impl Filter<Extract = (String,), Error = Rejection> + Copy + Send + Sync + 'static
{
    warp::host::optional().map(|authority: Option<Authority>| {
        let (mut request, ()) = Request::new(()).into_parts();
        request.uri = authority.map(Uri::from).unwrap_or_default();
        cachify_core::http::host(&request)
            .unwrap_or_default()
            .into_owned()
    })
}

/// Extracts the whole query, sorted by the names of its parameters, for a key: empty if there is
/// none.
///
/// # Examples
///
/// ```
/// use cachify_warp::{CacheOptions, Cachify, FilterExt, key, query};
/// use warp::Filter;
///
/// async fn list_users(query: String) -> String {
///     format!("users of {query}")
/// }
///
/// let list = warp::path!("users").and(warp::get()).and(query()).cached(
///     CacheOptions::new(&Cachify::memory()),
///     |(query,)| key!("list_users-{query}"),
///     list_users,
/// );
/// ```
pub fn query() -> impl Filter<Extract = (String,), Error = Infallible> + Copy + Send + Sync + 'static
{
    warp::query::raw()
        .or(warp::any().map(String::new))
        .unify()
        .map(|query: String| sorted_query(&query).into_owned())
}

//! Routes that run under a lock, once at a time, or a limited number at a time.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cachify_core::http::{BodyRules, HoldRules};
use cachify_core::{Cachify, Error, IntoTime};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use poem::{Body, Endpoint, IntoResponse, Middleware, Request, Response, Result};

use crate::Problem;
use crate::extract::Params;
use crate::middleware::{broken, put_head, take_head, well_formed};

/// The common part of the three kinds of middleware.
#[derive(Clone)]
struct Hold {
    cachify: Cachify,
    rules: HoldRules,
    on_contended: Option<Arc<dyn Fn() -> Response + Send + Sync>>,
    on_error: Option<Arc<dyn Fn(Error) -> Response + Send + Sync>>,
}

impl Hold {
    #[track_caller]
    fn new(cachify: &Cachify, rules: Result<HoldRules, Error>) -> Arc<Self> {
        Arc::new(Self {
            cachify: cachify.clone(),
            rules: well_formed(rules),
            on_contended: None,
            on_error: None,
        })
    }

    async fn run<E: Endpoint>(&self, inner: &E, mut request: Request) -> Result<Response> {
        let parts = take_head(&mut request);
        let params = Params::if_read(&request, Some(self.rules.request_key()));
        let key = match self.rules.key(&parts, |name| params.get(name)) {
            Ok(key) => key,
            Err(error) => return self.refuse(error),
        };
        put_head(&mut request, parts);
        let body = request.take_body();
        match whole(self.rules.body(), body).await {
            Ok(body) => request.set_body(body),
            Err(error) => return self.refuse(error),
        }
        let work = async { inner.call(request).await.map(IntoResponse::into_response) };
        let response = self.rules.run(&self.cachify, &key, work).await;
        response.unwrap_or_else(|error| self.refuse(error))
    }

    fn refuse(&self, error: Error) -> Result<Response> {
        match (&self.on_contended, &self.on_error) {
            (Some(on_contended), _) if error.is_contended() => Ok(on_contended()),
            (_, Some(on_error)) if !error.is_contended() => Ok(on_error(error)),
            _ => Err(Problem(error).into()),
        }
    }
}

/// Reads a body, without changing what the handler gets of it.
pub(crate) async fn whole(rules: &BodyRules, body: Body) -> Result<Body, Error> {
    if body.is_empty() {
        return Ok(body);
    }
    let read = async |body: BoxBody<Bytes, io::Error>, limit: usize| match Limited::new(body, limit)
        .collect()
        .await
    {
        Ok(read) if read.trailers().is_some() => Some(read.map_err(|never| match never {}).boxed()),
        Ok(read) => Some(Body::from(read.to_bytes()).into()),
        Err(error) if error.is::<LengthLimitError>() => None,
        Err(error) => Some(broken(error)),
    };
    rules.read(body.into(), read).await.map(Body::from)
}

impl fmt::Debug for Hold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.rules.fmt(f)
    }
}

/// Makes a middleware and its endpoint.
macro_rules! hold {
    ($(#[$middleware_doc:meta])* $Middleware:ident, $(#[$endpoint_doc:meta])* $Endpoint:ident) => {
        $(#[$middleware_doc])*
        #[must_use = "a middleware does nothing until it is added to a route"]
        #[derive(Debug, Clone)]
        pub struct $Middleware(Arc<Hold>);

        impl $Middleware {
            /// Sets the answer to all other errors: the backend is away, the lock or permit got
            /// lost, the request makes no key, or its body is too slow or too long. Default: a
            /// [`Problem`], 503 and a problem document.
            pub fn on_error<R: IntoResponse>(
                self,
                answer: impl Fn(Error) -> R + Send + Sync + 'static,
            ) -> Self {
                let answer = move |error| answer(error).into_response();
                self.with(|hold| hold.on_error = Some(Arc::new(answer)))
            }

            fn rules(self, change: impl FnOnce(&mut HoldRules)) -> Self {
                self.with(|hold| change(&mut hold.rules))
            }

            fn with(mut self, change: impl FnOnce(&mut Hold)) -> Self {
                change(Arc::make_mut(&mut self.0));
                self
            }

            fn on_contended<R: IntoResponse>(
                self,
                answer: impl Fn() -> R + Send + Sync + 'static,
            ) -> Self {
                let answer = move || answer().into_response();
                self.with(|hold| hold.on_contended = Some(Arc::new(answer)))
            }
        }

        cachify_core::__cachify_hold_options!($Middleware);

        impl<E: Endpoint> Middleware<E> for $Middleware {
            type Output = $Endpoint<E>;

            fn transform(&self, inner: E) -> $Endpoint<E> {
                let hold = Arc::clone(&self.0);
                $Endpoint { inner, hold }
            }
        }

        $(#[$endpoint_doc])*
        #[derive(Debug)]
        pub struct $Endpoint<E> {
            inner: E,
            hold: Arc<Hold>,
        }

        impl<E: Endpoint> Endpoint for $Endpoint<E> {
            type Output = Response;

            async fn call(&self, request: Request) -> Result<Response> {
                self.hold.run(&self.inner, request).await
            }
        }
    };
}

hold! {
    /// Runs a route under a lock: of the requests with one key, one at a time, in all processes.
    ///
    /// The others wait as long as [`wait`](Self::wait) says, first come, first served, and are then
    /// answered 423. The [key](crate::CacheMiddleware#the-key) is as for a cached route, and the
    /// lock the same as that of a guard, a macro or an extractor of that key. A request that lacks
    /// a part of the key is answered 400.
    ///
    /// # Bodies
    ///
    /// The body of a request is read before the lock is taken, so a stalled client does not block
    /// others. The default limits are 2 MiB ([`body_limit`](Self::body_limit)) and 10 s
    /// ([`body_time`](Self::body_time)). A longer body is answered 413, a slower one 408. With
    /// [`stream_body`](Self::stream_body) the handler reads the body itself.
    ///
    /// # When the lock is lost
    ///
    /// The handler is dropped, and the answer is 503. The same happens after
    /// [`max_hold`](Self::max_hold), 1 minute by default. If the client disconnects and [the server
    /// notices](crate::HangupListener), the handler is dropped too, and the lock is free at once.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use cachify_poem::{Cachify, LockMiddleware};
    /// use poem::{EndpointExt, Route, handler, put};
    ///
    /// #[handler]
    /// async fn charge() -> &'static str {
    ///     "charged"
    /// }
    ///
    /// let cachify = Cachify::memory();
    /// let locked = LockMiddleware::new(&cachify, "charge-{order}").wait(Duration::from_secs(2));
    /// let app = Route::new().at("/orders/:order/charge", put(charge.with(locked)));
    /// ```
    LockMiddleware,
    /// The endpoint made by [`LockMiddleware`].
    LockEndpoint
}

impl LockMiddleware {
    /// Locks the keys of `template`.
    ///
    /// # Panics
    ///
    /// If the template is malformed.
    #[track_caller]
    pub fn new(cachify: &Cachify, template: &str) -> Self {
        Self(Hold::new(cachify, HoldRules::lock(template)))
    }

    /// Sets how long a request waits for the lock. Default: not at all.
    ///
    /// # Panics
    ///
    /// If a text is not a time.
    #[track_caller]
    pub fn wait(self, wait: impl IntoTime<Duration>) -> Self {
        let wait = wait.time();
        self.rules(|rules| rules.wait(wait))
    }

    /// Sets the answer while another request holds the lock. Default: a [`Problem`], 423 and a
    /// problem document.
    pub fn on_locked<R: IntoResponse>(
        self,
        answer: impl Fn() -> R + Send + Sync + 'static,
    ) -> Self {
        self.on_contended(answer)
    }
}

hold! {
    /// Runs a route unless the same is running already: of the requests with one key, the second is
    /// answered 409.
    ///
    /// All else is as with [`LockMiddleware`].
    ///
    /// # Examples
    ///
    /// ```
    /// use cachify_poem::{Cachify, OnceMiddleware};
    /// use poem::{EndpointExt, Route, handler, http::StatusCode, put};
    ///
    /// #[handler]
    /// async fn update_user() -> &'static str {
    ///     "updated"
    /// }
    ///
    /// let cachify = Cachify::memory();
    /// let once = OnceMiddleware::new(&cachify, "update-user-{user_id}")
    ///     .on_locked(|| (StatusCode::IM_USED, "update in progress"));
    /// let app = Route::new().at("/users/:user_id", put(update_user.with(once)));
    /// ```
    OnceMiddleware,
    /// The endpoint made by [`OnceMiddleware`].
    OnceEndpoint
}

impl OnceMiddleware {
    /// Runs the keys of `template` once at a time.
    ///
    /// # Panics
    ///
    /// If the template is malformed.
    #[track_caller]
    pub fn new(cachify: &Cachify, template: &str) -> Self {
        Self(Hold::new(cachify, HoldRules::once(template)))
    }

    /// Sets the answer while another request runs. Default: a [`Problem`], 409 and a problem
    /// document.
    pub fn on_locked<R: IntoResponse>(
        self,
        answer: impl Fn() -> R + Send + Sync + 'static,
    ) -> Self {
        self.on_contended(answer)
    }
}

hold! {
    /// Limits how many requests of a key run at a time, in all processes together.
    ///
    /// The others wait as long as [`wait`](Self::wait) says and are then answered 429. All else is
    /// as with [`LockMiddleware`].
    ///
    /// # Examples
    ///
    /// ```
    /// use cachify_poem::{Cachify, PoolMiddleware};
    /// use poem::{EndpointExt, Route, get, handler};
    ///
    /// #[handler]
    /// async fn ask_vendor() -> &'static str {
    ///     "asked"
    /// }
    ///
    /// let cachify = Cachify::memory();
    /// let pooled = PoolMiddleware::new(&cachify, "vendor-{tenant}", 10);
    /// let app = Route::new().at("/vendors/:tenant", get(ask_vendor.with(pooled)));
    /// ```
    PoolMiddleware,
    /// The endpoint made by [`PoolMiddleware`].
    PoolEndpoint
}

impl PoolMiddleware {
    /// Makes a pool of `max` permits for each key of `template`.
    ///
    /// # Panics
    ///
    /// If the template is malformed.
    #[track_caller]
    pub fn new(cachify: &Cachify, template: &str, max: u32) -> Self {
        Self(Hold::new(cachify, HoldRules::pool(template, max)))
    }

    /// Sets how long a request waits for a permit. Default: not at all.
    ///
    /// # Panics
    ///
    /// If a text is not a time.
    #[track_caller]
    pub fn wait(self, wait: impl IntoTime<Duration>) -> Self {
        let wait = wait.time();
        self.rules(|rules| rules.wait(wait))
    }

    /// Sets the answer while all permits are out. Default: a [`Problem`], 429 and a problem
    /// document.
    pub fn on_full<R: IntoResponse>(self, answer: impl Fn() -> R + Send + Sync + 'static) -> Self {
        self.on_contended(answer)
    }
}

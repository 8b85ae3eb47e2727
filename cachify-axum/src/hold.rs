//! Routes that run under a lock, once at a time, or a limited number at a time.

use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, HttpBody as _};
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use cachify_core::http::{BodyRules, HoldRules};
use cachify_core::{Cachify, Error, IntoTime};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use tower_layer::Layer;
use tower_service::Service;

use crate::layer::{Path, broken, take_ready, well_formed};
use crate::{Problem, ResponseFuture};

/// The common part of the three layers.
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

    async fn run<S>(&self, mut inner: S, request: Request) -> Result<Response, S::Error>
    where
        S: Service<Request>,
        S::Response: IntoResponse,
    {
        let (mut parts, body) = request.into_parts();
        let path = Path::of(self.rules.request_key(), &mut parts);
        let key = match self.rules.key(&parts, |name| path.as_ref()?.get(name)) {
            Ok(key) => key,
            Err(error) => return Ok(self.refuse(error)),
        };
        let body = match whole(self.rules.body(), body).await {
            Ok(body) => body,
            Err(error) => return Ok(self.refuse(error)),
        };
        let work = async {
            let response = inner.call(Request::from_parts(parts, body)).await?;
            Ok(response.into_response())
        };
        match self.rules.run(&self.cachify, &key, work).await {
            Ok(response) => response,
            Err(error) => Ok(self.refuse(error)),
        }
    }

    fn refuse(&self, error: Error) -> Response {
        match (&self.on_contended, &self.on_error) {
            (Some(on_contended), _) if error.is_contended() => on_contended(),
            (_, Some(on_error)) if !error.is_contended() => on_error(error),
            _ => Problem(error).into_response(),
        }
    }
}

/// Reads a body, without changing what the handler gets of it.
async fn whole(rules: &BodyRules, body: Body) -> Result<Body, Error> {
    if body.is_end_stream() {
        return Ok(body);
    }
    let read = async |body: Body, limit: usize| match Limited::new(body, limit).collect().await {
        Ok(read) if read.trailers().is_some() => Some(Body::new(read)),
        Ok(read) => Some(Body::from(read.to_bytes())),
        Err(error) if error.is::<LengthLimitError>() => None,
        Err(error) => Some(broken(error)),
    };
    rules.read(body, read).await
}

impl fmt::Debug for Hold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.rules.fmt(f)
    }
}

/// Makes a layer and its service.
macro_rules! hold {
    ($(#[$layer_doc:meta])* $Layer:ident, $(#[$service_doc:meta])* $Service:ident) => {
        $(#[$layer_doc])*
        #[must_use = "a layer does nothing until it is added to a route"]
        #[derive(Debug, Clone)]
        pub struct $Layer(Arc<Hold>);

        impl $Layer {
            /// Sets the answer to all other errors: the backend is away, the lock or permit got
            /// lost, the request makes no key, or its body is too slow or too long. Default: 503
            /// and a problem document.
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

        cachify_core::__cachify_hold_options!($Layer);

        impl<S> Layer<S> for $Layer {
            type Service = $Service<S>;

            fn layer(&self, inner: S) -> $Service<S> {
                let hold = Arc::clone(&self.0);
                $Service { inner, hold }
            }
        }

        $(#[$service_doc])*
        #[derive(Debug, Clone)]
        pub struct $Service<S> {
            inner: S,
            hold: Arc<Hold>,
        }

        impl<S> Service<Request> for $Service<S>
        where
            S: Service<Request> + Clone + Send + 'static,
            S::Response: IntoResponse,
            S::Future: Send + 'static,
            S::Error: Send + 'static,
        {
            type Response = Response;
            type Error = S::Error;
            type Future = ResponseFuture<S::Error>;

            fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
                self.inner.poll_ready(cx)
            }

            fn call(&mut self, request: Request) -> Self::Future {
                let (inner, hold) = (take_ready(&mut self.inner), Arc::clone(&self.hold));
                ResponseFuture::new(async move { hold.run(inner, request).await })
            }
        }
    };
}

hold! {
    /// Runs a route under a lock: of the requests with one key, one at a time, in all processes.
    ///
    /// The others wait as long as [`wait`](Self::wait) says, first come, first served, and are then
    /// answered 423. The [key](crate::CacheLayer#the-key) is as for a cached route, and the lock
    /// the same as that of a guard, a macro or an extractor of that key. A request that lacks a
    /// part of the key is answered 400.
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
    /// [`max_hold`](Self::max_hold), 1 minute by default. If the client disconnects, the handler is
    /// dropped too, and the lock is free at once.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use axum::{Router, handler::Handler, routing::put};
    /// use cachify_axum::{Cachify, LockLayer};
    ///
    /// async fn charge() -> &'static str {
    ///     "charged"
    /// }
    ///
    /// let cachify = Cachify::memory();
    /// let locked = LockLayer::new(&cachify, "charge-{order}").wait(Duration::from_secs(2));
    /// let app: Router = Router::new().route("/orders/{order}/charge", put(charge.layer(locked)));
    /// ```
    LockLayer,
    /// The service made by [`LockLayer`].
    LockService
}

impl LockLayer {
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

    /// Sets the answer while another request holds the lock. Default: 423 and a problem document.
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
    /// All else is as with [`LockLayer`].
    ///
    /// # Examples
    ///
    /// ```
    /// use axum::{Router, handler::Handler, http::StatusCode, routing::put};
    /// use cachify_axum::{Cachify, OnceLayer};
    ///
    /// async fn update_user() -> &'static str {
    ///     "updated"
    /// }
    ///
    /// let cachify = Cachify::memory();
    /// let once = OnceLayer::new(&cachify, "update-user-{user_id}")
    ///     .on_locked(|| (StatusCode::IM_USED, "update in progress"));
    /// let app: Router = Router::new().route("/users/{user_id}", put(update_user.layer(once)));
    /// ```
    OnceLayer,
    /// The service made by [`OnceLayer`].
    OnceService
}

impl OnceLayer {
    /// Runs the keys of `template` once at a time.
    ///
    /// # Panics
    ///
    /// If the template is malformed.
    #[track_caller]
    pub fn new(cachify: &Cachify, template: &str) -> Self {
        Self(Hold::new(cachify, HoldRules::once(template)))
    }

    /// Sets the answer while another request runs. Default: 409 and a problem document.
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
    /// as with [`LockLayer`].
    ///
    /// # Examples
    ///
    /// ```
    /// use axum::{Router, handler::Handler, routing::get};
    /// use cachify_axum::{Cachify, PoolLayer};
    ///
    /// async fn ask_vendor() -> &'static str {
    ///     "asked"
    /// }
    ///
    /// let cachify = Cachify::memory();
    /// let pooled = PoolLayer::new(&cachify, "vendor-{tenant}", 10);
    /// let app: Router = Router::new().route("/vendors/{tenant}", get(ask_vendor.layer(pooled)));
    /// ```
    PoolLayer,
    /// The service made by [`PoolLayer`].
    PoolService
}

impl PoolLayer {
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

    /// Sets the answer while all permits are out. Default: 429 and a problem document.
    pub fn on_full<R: IntoResponse>(self, answer: impl Fn() -> R + Send + Sync + 'static) -> Self {
        self.on_contended(answer)
    }
}

/// Reads the body of a request before the inner service runs: up to 2 MiB and for up to 10 s, or
/// else answers 413 or 408.
///
/// A handler that takes a lock or a permit as an argument needs it where clients are not trusted.
/// axum reads the body last, so a client that stalls halfway would keep the lock. The layers that
/// hold, such as [`LockLayer`], do the same by themselves.
///
/// # Examples
///
/// ```
/// use axum::{Router, handler::Handler, routing::put};
/// use cachify_axum::{BodyLayer, CacheKey, Cachify, Locked};
/// use serde::Deserialize;
///
/// #[derive(Deserialize, CacheKey)]
/// #[key("update-user-{user_id}")]
/// struct UpdateUser {
///     user_id: i64,
/// }
///
/// async fn update_user(Locked { key, .. }: Locked<UpdateUser>, name: String) -> String {
///     format!("user {} is {name}", key.user_id)
/// }
///
/// let app: Router = Router::new()
///     .route("/users/{user_id}", put(update_user.layer(BodyLayer::new())))
///     .with_state(Cachify::memory());
/// ```
#[must_use = "a layer does nothing until it is added to a route"]
#[derive(Debug, Clone, Copy, Default)]
pub struct BodyLayer(BodyRules);

impl BodyLayer {
    /// Makes a layer with the defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the longest body that is read, in bytes.
    pub fn limit(mut self, bytes: usize) -> Self {
        self.0.limit(bytes);
        self
    }

    /// Sets how long a body may take to arrive.
    ///
    /// # Panics
    ///
    /// If a text is not a time.
    #[track_caller]
    pub fn time(mut self, time: impl IntoTime<Duration>) -> Self {
        self.0.time(time.time());
        self
    }
}

impl<S> Layer<S> for BodyLayer {
    type Service = BodyService<S>;

    fn layer(&self, inner: S) -> BodyService<S> {
        let rules = self.0;
        BodyService { inner, rules }
    }
}

/// The service made by [`BodyLayer`].
#[derive(Debug, Clone)]
pub struct BodyService<S> {
    inner: S,
    rules: BodyRules,
}

impl<S> Service<Request> for BodyService<S>
where
    S: Service<Request> + Clone + Send + 'static,
    S::Response: IntoResponse,
    S::Future: Send + 'static,
    S::Error: Send + 'static,
{
    type Response = Response;
    type Error = S::Error;
    type Future = ResponseFuture<S::Error>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let (mut inner, rules) = (take_ready(&mut self.inner), self.rules);
        ResponseFuture::new(async move {
            let (parts, body) = request.into_parts();
            match whole(&rules, body).await {
                Ok(body) => {
                    let response = inner.call(Request::from_parts(parts, body)).await?;
                    Ok(response.into_response())
                }
                Err(error) => Ok(Problem(error).into_response()),
            }
        })
    }
}

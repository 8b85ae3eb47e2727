//! Cached routes, and the scope of a handle.

use std::fmt;
use std::future::{Future, ready};
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::BoxError;
use axum::body::{Body, Bytes, HttpBody};
use axum::extract::{FromRequestParts, MatchedPath, OriginalUri, RawPathParams, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use cachify_core::Cachify;
use cachify_core::http::{CacheRules, Framework, RequestKey, Routed};
use futures_util::{FutureExt as _, stream};
use http_body_util::{BodyExt as _, Limited};
use tower_layer::Layer;
use tower_service::Service;

/// The future returned by the services of this crate.
pub struct ResponseFuture<E>(Progress<E>);

enum Progress<E> {
    /// A hit, for which nothing is put in a box.
    Ready(Option<Response>),
    Running(BoxFuture<Result<Response, E>>),
}

type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

impl<E> ResponseFuture<E> {
    pub(crate) fn new(future: impl Future<Output = Result<Response, E>> + Send + 'static) -> Self {
        Self(Progress::Running(Box::pin(future)))
    }
}

impl<E> Future for ResponseFuture<E> {
    type Output = Result<Response, E>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.0 {
            Progress::Running(future) => future.as_mut().poll(cx),
            Progress::Ready(response) => match response.take() {
                Some(response) => Poll::Ready(Ok(response)),
                None => panic!("polled again after it was ready"),
            },
        }
    }
}

impl<E> fmt::Debug for ResponseFuture<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}

/// Caches the responses of a route.
///
/// It goes onto a handler, a method router, a router or a fallback. [What is
/// cached](cachify_core::http) follows from HTTP: GET requests without `Authorization` or `Cookie`,
/// successful answers that set no cookie and forbid no storing, `Vary` honoured.
///
/// # The key
///
/// In the template, `{name}` is a path parameter, `{path}`, `{host}`, `{query.page}`,
/// `{header.accept-language}` and `{cookie.session}` are other parts of the request, and `{query}`
/// is the whole query, sorted: see [`RequestKey`]. A request that does not fill the key passes
/// through uncached, and the log says so once.
///
/// The path itself is not part of the key, unless the template names `{path}`: two routes need two
/// templates. Where one layer covers several routes, the first is cached. The others pass through
/// with a warning, and so does what axum does not route: a fallback or a nested service.
///
/// A parameter is the text of the path: to a handler that reads a number, `/users/7` and
/// `/users/07` are the same, to the cache and to locks they are not, and a reset of the one leaves
/// the other. Where a client gains by that, refuse other spellings, or take a [typed
/// key](crate::Locked).
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use axum::{Router, extract::Path, handler::Handler, routing::get};
/// use cachify_axum::{CacheLayer, Cachify};
///
/// async fn read_user(Path(user_id): Path<i64>) -> String {
///     format!("user {user_id}")
/// }
///
/// let cachify = Cachify::memory();
/// let cached = CacheLayer::new(&cachify, "read_user-{user_id}").ttl(Duration::from_mins(5));
/// let app: Router = Router::new().route("/users/{user_id}", get(read_user.layer(cached)));
/// ```
#[must_use = "a layer does nothing until it is added to a route"]
#[derive(Debug, Clone)]
pub struct CacheLayer(Arc<CacheConfig>);

#[derive(Debug, Clone)]
struct CacheConfig {
    cachify: Cachify,
    rules: Arc<CacheRules>,
}

impl CacheLayer {
    /// Caches under the keys of `template`, with the handle's default time to live.
    ///
    /// # Panics
    ///
    /// If the template is malformed, or names what no part of a request fills, as a malformed route
    /// does.
    #[track_caller]
    pub fn new(cachify: &Cachify, template: &str) -> Self {
        Self(Arc::new(CacheConfig {
            cachify: cachify.clone(),
            rules: Arc::new(well_formed(CacheRules::new(template))),
        }))
    }

    fn with(mut self, change: impl FnOnce(&mut CacheRules)) -> Self {
        change(Arc::make_mut(&mut Arc::make_mut(&mut self.0).rules));
        self
    }
}

cachify_core::__cachify_cache_options!(CacheLayer);
cachify_core::__cachify_template_options!(CacheLayer);

/// # Panics
///
/// On an error of a template.
#[track_caller]
pub(crate) fn well_formed<T>(parsed: Result<T, cachify_core::Error>) -> T {
    parsed.unwrap_or_else(|error| panic!("{error}"))
}

impl<S> Layer<S> for CacheLayer {
    type Service = CacheService<S>;

    fn layer(&self, inner: S) -> CacheService<S> {
        let cached = Arc::clone(&self.0);
        CacheService { inner, cached }
    }
}

/// The service made by [`CacheLayer`].
#[derive(Debug, Clone)]
pub struct CacheService<S> {
    inner: S,
    cached: Arc<CacheConfig>,
}

impl<S> Service<Request> for CacheService<S>
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
        let CacheConfig { cachify, rules } = &*self.cached;
        let (mut parts, body) = request.into_parts();
        let path = rules.key().and_then(|key| Path::of(key, &mut parts));
        let plan = rules.plan(&parts, &RoutedRequest(&parts, path));
        if let Some(response) = rules.hit::<Axum>(cachify, &plan, &parts) {
            return ResponseFuture(Progress::Ready(Some(response)));
        }
        let (cachify, rules) = (cachify.clone(), Arc::clone(rules));
        let mut inner = take_ready(&mut self.inner);
        let call = async move |parts| {
            let response = inner.call(Request::from_parts(parts, body)).await?;
            Ok(response.into_response())
        };
        ResponseFuture::new(async move {
            rules
                .serve::<Axum, _, _, _>(&cachify, plan, parts, call)
                .await
        })
    }
}

/// The service that was polled ready, with a clone left in its place: only the former may be
/// called.
pub(crate) fn take_ready<S: Clone>(service: &mut S) -> S {
    let clone = service.clone();
    mem::replace(service, clone)
}

/// The path parameters of a request.
pub(crate) struct Path(RawPathParams);

impl Path {
    /// `None` if the key needs none, or if there are none, as on a fallback.
    pub(crate) fn of(key: &RequestKey, parts: &mut Parts) -> Option<Self> {
        if !key.reads_path() {
            return None;
        }
        // It waits for nothing.
        let params = RawPathParams::from_request_parts(parts, &()).now_or_never()?;
        params.ok().map(Self)
    }

    /// Returns a parameter by name; `None` if nested routers use the name twice, since either could
    /// be meant.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        let mut named = self.0.iter().filter(|(other, _)| *other == name);
        let (_, value) = named.next()?;
        named.next().is_none().then_some(value)
    }
}

/// Makes a body that ends the way another one did.
pub(crate) fn broken(error: BoxError) -> Body {
    Body::from_stream(stream::once(ready(Err::<Bytes, _>(error))))
}

/// Where a request was routed.
struct RoutedRequest<'a>(&'a Parts, Option<Path>);

impl Routed for RoutedRequest<'_> {
    fn route(&self) -> Option<&str> {
        self.0.extensions.get().map(MatchedPath::as_str)
    }

    fn path(&self) -> &str {
        let original = self.0.extensions.get::<OriginalUri>();
        original.map_or(&self.0.uri, |OriginalUri(uri)| uri).path()
    }

    fn param(&self, name: &str) -> Option<&str> {
        self.1.as_ref()?.get(name)
    }
}

/// Handles axum's responses.
struct Axum;

impl Framework for Axum {
    type Response = Response;

    fn head(response: &Response) -> (StatusCode, &HeaderMap) {
        (response.status(), response.headers())
    }

    fn headers_mut(response: &mut Response) -> &mut HeaderMap {
        response.headers_mut()
    }

    fn body_length(response: &Response) -> Option<u64> {
        response.body().size_hint().exact()
    }

    async fn collect(
        response: Response,
        limit: usize,
    ) -> Result<axum::http::Response<Bytes>, Response> {
        let (parts, body) = response.into_parts();
        match Limited::new(body, limit).collect().await {
            // They cannot be stored.
            Ok(read) if read.trailers().is_some() => {
                Err(Response::from_parts(parts, Body::new(read)))
            }
            Ok(read) => Ok(Response::from_parts(parts, read.to_bytes())),
            Err(error) => Err(Response::from_parts(parts, broken(error))),
        }
    }

    fn build(response: axum::http::Response<Bytes>) -> Response {
        response.map(Body::from)
    }
}

/// Sets the handle of each request. All functions inside it whose macro names no handle use it, in
/// any task of the server.
///
/// # Examples
///
/// ```
/// use axum::{Router, extract::Path, routing::get};
/// use cachify_axum::{Cachify, ScopeLayer};
///
/// async fn square(Path(number): Path<u64>) -> String {
///     assert!(Cachify::current().is_some());
///     (number * number).to_string()
/// }
///
/// let app: Router = Router::new()
///     .route("/square/{number}", get(square))
///     .layer(ScopeLayer::new(&Cachify::memory()));
/// ```
#[must_use = "a layer does nothing until it is added to a route"]
#[derive(Debug, Clone)]
pub struct ScopeLayer(Cachify);

impl ScopeLayer {
    /// Makes the layer of a handle.
    pub fn new(cachify: &Cachify) -> Self {
        Self(cachify.clone())
    }
}

impl<S> Layer<S> for ScopeLayer {
    type Service = ScopeService<S>;

    fn layer(&self, inner: S) -> ScopeService<S> {
        ScopeService {
            inner,
            cachify: self.0.clone(),
        }
    }
}

/// The service made by [`ScopeLayer`].
#[derive(Debug, Clone)]
pub struct ScopeService<S> {
    inner: S,
    cachify: Cachify,
}

impl<S, R> Service<R> for ScopeService<S>
where
    S: Service<R>,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = BoxFuture<Result<S::Response, S::Error>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: R) -> Self::Future {
        let future = self.cachify.sync_scope(|| self.inner.call(request));
        Box::pin(self.cachify.scope(future))
    }
}

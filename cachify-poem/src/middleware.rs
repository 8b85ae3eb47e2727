//! Cached routes, and the scope of a handle.

use std::convert::Infallible;
use std::io;
use std::mem;
use std::sync::Arc;

use bytes::Bytes;
use cachify_core::http::{CacheRules, Framework, Routed};
use cachify_core::{Cachify, Error};
use futures_util::future::{Either, FutureExt as _, ready};
use futures_util::stream;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Limited};
use poem::http::request::Parts;
use poem::http::{self, HeaderMap, StatusCode, Uri};
use poem::{
    Body, Endpoint, IntoResponse, Middleware, PathPattern, Request, Response, ResponseParts, Result,
};

use crate::extract::Params;

/// Caches the responses of a route.
///
/// It goes onto a handler, a method router or whatever else is inside a route. [What is
/// cached](cachify_core::http) follows from HTTP: GET requests without `Authorization` or `Cookie`,
/// successful answers that set no cookie and forbid no storing, `Vary` honoured.
///
/// # The key
///
/// In the template, `{name}` is a path parameter, `{path}`, `{host}`, `{query.page}`,
/// `{header.accept-language}` and `{cookie.session}` are other parts of the request, and `{query}`
/// is the whole query, sorted: see [`RequestKey`](cachify_core::http::RequestKey). A request that
/// does not fill the key passes through uncached, and the log says so once.
///
/// The path itself is not part of the key, unless the template names `{path}`: two routes need two
/// templates. Where one middleware covers several routes, the first is cached. The others pass
/// through with a warning, and so does what it sees around a [`Route`](poem::Route).
///
/// A parameter is the text of the path: to a handler that reads a number, `/users/7` and
/// `/users/07` are the same, to the cache and to locks they are not, and a reset of the one leaves
/// the other. Where a client gains by that, refuse other spellings, or take a [typed
/// key](crate::Locked).
///
/// Only the route makes path parameters, so a middleware that names one goes inside:
/// `.at(path, endpoint.with(..))`. Around a [`Route`](poem::Route), no parameter is known yet. In
/// an operation of poem-openapi they are called `{param0}`, `{param1}`, in their order.
///
/// # HEAD
///
/// It is answered from GET's entry. On a miss it fills nothing around the methods, as in
/// `get(endpoint).with(..)`; inside them, as in `get(endpoint.with(..))`, poem shows a HEAD as a
/// GET, which fills.
///
/// # Errors
///
/// An error of the endpoint passes through as it is, for a `catch_error` further out, and is not
/// shared. Only one whose status is [cached](Self::statuses) is made a response here. The others
/// have no `Cache-Status`: an error has no headers yet.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use cachify_poem::{CacheMiddleware, Cachify};
/// use poem::{EndpointExt, Route, get, handler, web::Path};
///
/// #[handler]
/// async fn read_user(Path(user_id): Path<i64>) -> String {
///     format!("user {user_id}")
/// }
///
/// let cachify = Cachify::memory();
/// let cached = CacheMiddleware::new(&cachify, "read_user-{user_id}").ttl(Duration::from_mins(5));
/// let app = Route::new().at("/users/:user_id", get(read_user.with(cached)));
/// ```
#[must_use = "a middleware does nothing until it is added to a route"]
#[derive(Debug, Clone)]
pub struct CacheMiddleware {
    cachify: Cachify,
    rules: Arc<CacheRules>,
}

impl CacheMiddleware {
    /// Caches under the keys of `template`, with the handle's default time to live.
    ///
    /// # Panics
    ///
    /// If the template is malformed, or names what no part of a request fills, as a malformed route
    /// does.
    #[track_caller]
    pub fn new(cachify: &Cachify, template: &str) -> Self {
        Self {
            cachify: cachify.clone(),
            rules: Arc::new(well_formed(CacheRules::new(template))),
        }
    }

    fn with(mut self, change: impl FnOnce(&mut CacheRules)) -> Self {
        change(Arc::make_mut(&mut self.rules));
        self
    }
}

cachify_core::__cachify_cache_options!(CacheMiddleware);
cachify_core::__cachify_template_options!(CacheMiddleware);

/// # Panics
///
/// On an error of a template.
#[track_caller]
pub(crate) fn well_formed<T>(parsed: Result<T, Error>) -> T {
    parsed.unwrap_or_else(|error| panic!("{error}"))
}

impl<E: Endpoint + 'static> Middleware<E> for CacheMiddleware {
    type Output = CacheEndpoint<E>;

    fn transform(&self, inner: E) -> CacheEndpoint<E> {
        CacheEndpoint {
            inner: Arc::new(inner),
            cached: self.clone(),
        }
    }
}

/// The endpoint made by [`CacheMiddleware`].
#[derive(Debug)]
pub struct CacheEndpoint<E> {
    inner: Arc<E>,
    cached: CacheMiddleware,
}

impl<E: Endpoint + 'static> Endpoint for CacheEndpoint<E> {
    type Output = Response;

    fn call(&self, mut request: Request) -> impl Future<Output = Result<Response>> + Send {
        let CacheMiddleware { cachify, rules } = &self.cached;
        let parts = take_head(&mut request);
        let params = Params::if_read(&request, rules.key());
        let routed = RoutedRequest {
            request: &request,
            uri: &parts.uri,
            params,
        };
        let plan = rules.plan(&parts, &routed);
        if let Some(answer) = rules.hit::<Poem>(cachify, &plan, &parts) {
            return Either::Left(ready(answer.into_result()));
        }
        let (inner, judge) = (Arc::clone(&self.inner), Arc::clone(rules));
        let call = async move |parts| {
            put_head(&mut request, parts);
            Ok(match inner.call(request).await {
                Ok(response) => Answer::of(response.into_response(), None),
                Err(error) if judge.stores(error.status()) => {
                    Answer::of(error.into_response(), None)
                }
                Err(error) => Answer::of(Response::from(error.status()), Some(error)),
            })
        };
        let serve = rules.serve::<Poem, Infallible, _, _>(cachify, plan, parts, call);
        // In a box, so that a hit does not carry the state of a miss around.
        Either::Right(serve.map(|Ok(answer)| answer.into_result()).boxed())
    }
}

/// Takes what the rules look at out of a request.
pub(crate) fn take_head(request: &mut Request) -> Parts {
    let (mut parts, ()) = http::Request::new(()).into_parts();
    parts.method = request.method().clone();
    parts.uri = mem::take(request.uri_mut());
    parts.headers = mem::take(request.headers_mut());
    parts
}

/// Where a request was routed.
struct RoutedRequest<'a> {
    request: &'a Request,
    /// What nested routes left of the URI.
    uri: &'a Uri,
    params: Params,
}

impl RoutedRequest<'_> {
    /// Returns the URI before nested routes stripped it; `None` for a request that was built, as by
    /// poem's `TestClient`.
    fn original(&self) -> Option<&Uri> {
        Some(self.request.original_uri()).filter(|uri| uri.path() != "/")
    }
}

impl Routed for RoutedRequest<'_> {
    /// `None` around a `Route` inside another: poem then shows the pattern of the outer one,
    /// which covers a part of the path only.
    fn route(&self) -> Option<&str> {
        let PathPattern(pattern) = self.request.data()?;
        let wild = pattern.rsplit('/').next()?.starts_with('*');
        let whole = |uri: &Uri| wild || segments(pattern) == segments(uri.path());
        self.original().is_none_or(whole).then_some(pattern)
    }

    fn path(&self) -> &str {
        self.original().unwrap_or(self.uri).path()
    }

    fn param(&self, name: &str) -> Option<&str> {
        self.params.get(name)
    }
}

/// The number of segments of a path, or of a pattern, whose expressions in `<>` can have slashes of
/// their own.
fn segments(path: &str) -> usize {
    let path = path.trim_matches('/');
    let mut inside = 0_usize;
    let slashes = path.bytes().filter(|byte| {
        match byte {
            b'<' => inside += 1,
            b'>' => inside = inside.saturating_sub(1),
            _ => {}
        }
        *byte == b'/' && inside == 0
    });
    slashes.count() + usize::from(!path.is_empty())
}

/// Undoes [`take_head`].
pub(crate) fn put_head(request: &mut Request, parts: Parts) {
    *request.uri_mut() = parts.uri;
    *request.headers_mut() = parts.headers;
}

type Boxed = http::Response<BoxBody<Bytes, io::Error>>;

/// A response as one of the `http` crate, whose body tells its length; or an error, as the bare
/// response that the rules judge.
struct Answer {
    response: Boxed,
    error: Option<poem::Error>,
}

impl Answer {
    fn of(response: impl Into<Boxed>, error: Option<poem::Error>) -> Self {
        let response = response.into();
        Self { response, error }
    }

    fn into_result(self) -> Result<Response> {
        if let Some(error) = self.error {
            return Err(error);
        }
        let (head, body) = self.response.into_parts();
        let head = ResponseParts {
            status: head.status,
            version: head.version,
            headers: head.headers,
            extensions: head.extensions,
        };
        Ok(Response::from_parts(head, body.into()))
    }
}

/// Handles poem's responses.
struct Poem;

impl Framework for Poem {
    type Response = Answer;

    fn head(answer: &Answer) -> (StatusCode, &HeaderMap) {
        (answer.response.status(), answer.response.headers())
    }

    fn headers_mut(answer: &mut Answer) -> &mut HeaderMap {
        answer.response.headers_mut()
    }

    fn body_length(answer: &Answer) -> Option<u64> {
        exact_length(answer.response.body())
    }

    async fn collect(answer: Answer, limit: usize) -> Result<http::Response<Bytes>, Answer> {
        let (head, body) = answer.response.into_parts();
        let body = match Limited::new(body, limit).collect().await {
            // They cannot be stored.
            Ok(read) if read.trailers().is_some() => read.map_err(|never| match never {}).boxed(),
            Ok(read) => return Ok(http::Response::from_parts(head, read.to_bytes())),
            Err(error) => broken(error),
        };
        Err(Answer::of(http::Response::from_parts(head, body), None))
    }

    fn build(response: http::Response<Bytes>) -> Answer {
        Answer::of(response.map(|bytes| BoxBody::from(Body::from(bytes))), None)
    }
}

/// Makes a body that ends the way another one did.
pub(crate) fn broken(error: Box<dyn std::error::Error + Send + Sync>) -> BoxBody<Bytes, io::Error> {
    let error = error
        .downcast()
        .map_or_else(io::Error::other, |error| *error);
    let end = ready(Err::<Bytes, _>(error));
    Body::from_bytes_stream(stream::once(end)).into()
}

fn exact_length(body: &impl BodyExt) -> Option<u64> {
    body.size_hint().exact()
}

/// Sets the handle of each request. All functions inside it whose macro names no handle use it, in
/// any task of the server, and so do the guards among its arguments.
///
/// # Examples
///
/// ```
/// use cachify_poem::{Cachify, ScopeMiddleware};
/// use poem::{EndpointExt, Route, get, handler, web::Path};
///
/// #[handler]
/// async fn square(Path(number): Path<u64>) -> String {
///     assert!(Cachify::current().is_some());
///     (number * number).to_string()
/// }
///
/// let app = Route::new()
///     .at("/square/:number", get(square))
///     .with(ScopeMiddleware::new(&Cachify::memory()));
/// ```
#[must_use = "a middleware does nothing until it is added to a route"]
#[derive(Debug, Clone)]
pub struct ScopeMiddleware(Cachify);

impl ScopeMiddleware {
    /// Makes the middleware of a handle.
    pub fn new(cachify: &Cachify) -> Self {
        Self(cachify.clone())
    }
}

impl<E: Endpoint> Middleware<E> for ScopeMiddleware {
    type Output = ScopeEndpoint<E>;

    fn transform(&self, inner: E) -> ScopeEndpoint<E> {
        let cachify = self.0.clone();
        ScopeEndpoint { inner, cachify }
    }
}

/// The endpoint made by [`ScopeMiddleware`].
#[derive(Debug)]
pub struct ScopeEndpoint<E> {
    inner: E,
    cachify: Cachify,
}

impl<E: Endpoint> Endpoint for ScopeEndpoint<E> {
    type Output = E::Output;

    async fn call(&self, request: Request) -> Result<E::Output> {
        // The call too is inside, not only the future that it makes.
        let call = async { self.inner.call(request).await };
        self.cachify.scope(call).await
    }
}

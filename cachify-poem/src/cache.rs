//! Cached routes.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use cachify_core::http::CacheRules;
use futures_util::future::{Either, FutureExt as _, ready};
use http_body_util::combinators::BoxBody;
use poem::{
    Endpoint, Error, IntoResponse, Middleware, Request, Response, ResponseParts, Result, http,
};

use crate::body::boxed;
use crate::routed::{RoutedRequest, put_head, take_head};

/// Caches the responses of a route.
///
/// Add it to a handler, a method router or any other endpoint inside a route. HTTP decides [what is
/// cached](cachify_core::http): successful responses to GET requests without `Authorization` or
/// `Cookie`, unless they set a cookie or forbid storing. `Vary` is honoured.
///
/// # The key
///
/// In the template, `{name}` is a path parameter, `{path}`, `{host}`, `{query.page}`,
/// `{header.accept-language}` and `{cookie.session}` are other parts of the request, and `{query}`
/// is the whole query, sorted; see [`RequestKey`](cachify_core::http::RequestKey). A request that
/// lacks a part of the key passes through uncached, and the log says so once.
///
/// The path is not part of the key unless the template names `{path}`, so two routes need two
/// templates. If one middleware covers several routes, only the first requested route is cached.
/// The others pass through with a warning, and so do all requests if the middleware is around a
/// [`Route`](poem::Route).
///
/// A parameter in a key is the text of the path. To a handler that parses a number, `/users/7` and
/// `/users/07` are the same, but they make two keys, and a reset of one leaves the other. If a
/// client could gain by that, refuse other spellings, or use a [typed key](crate::Locked).
///
/// The route makes the path parameters, so a middleware that names one goes inside the route:
/// `.at(path, endpoint.with(..))`. Around a [`Route`](poem::Route), no parameter is known yet. In
/// an operation of poem-openapi, the parameters are called `{param0}`, `{param1}` and so on, in
/// their order.
///
/// # HEAD
///
/// A HEAD request is answered from the entry of GET. A middleware around the methods, as in
/// `get(endpoint).with(..)`, stores nothing on a miss. Inside a method, as in
/// `get(endpoint.with(..))`, poem shows a HEAD request as a GET, whose response is stored.
///
/// # Errors
///
/// An error of the endpoint passes through unchanged, so that an outer `catch_error` can handle it,
/// and is not shared. It has no `Cache-Status`, since an error has no headers yet. Only an error
/// whose status is [cached](Self::statuses) is converted into a response here.
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
pub struct CacheMiddleware(Arc<CacheRules>);

cachify_core::__cachify_cached_route!(CacheMiddleware);

impl<E: Endpoint + 'static> Middleware<E> for CacheMiddleware {
    type Output = CacheEndpoint<E>;

    fn transform(&self, inner: E) -> CacheEndpoint<E> {
        let (inner, rules) = (Arc::new(inner), Arc::clone(&self.0));
        CacheEndpoint { inner, rules }
    }
}

/// The endpoint of a [`CacheMiddleware`].
#[derive(Debug)]
pub struct CacheEndpoint<E> {
    inner: Arc<E>,
    rules: Arc<CacheRules>,
}

impl<E: Endpoint + 'static> Endpoint for CacheEndpoint<E> {
    type Output = Response;

    fn call(&self, mut request: Request) -> impl Future<Output = Result<Response>> + Send {
        let parts = take_head(&mut request);
        let place = RoutedRequest::of(&request, &parts);
        let plan = self.rules.plan(&parts, &place);
        if let Some(hit) = self.rules.hit(&plan, &parts, boxed) {
            return Either::Left(ready(response_of(hit)));
        }
        let (inner, rules) = (Arc::clone(&self.inner), Arc::clone(&self.rules));
        let judge = Arc::clone(&rules);
        let call = async move |parts| {
            put_head(&mut request, parts);
            Ok::<_, Error>(match inner.call(request).await {
                Ok(response) => response.into_response().into(),
                Err(error) if judge.stores(error.status()) => error.into_response().into(),
                Err(error) => passing(error),
            })
        };
        // Boxed, so that the future of a hit does not have room for the state of a miss.
        let served = Box::pin(async move { rules.serve(plan, parts, boxed, call).await });
        Either::Right(served.map(|served| response_of(served?)))
    }
}

type BoxedResponse = http::Response<BoxBody<Bytes, io::Error>>;

/// An error that passes through the cache.
#[derive(Clone)]
struct Passing(Arc<Error>);

/// Returns a bare response that stands for the error while the rules judge it.
fn passing(error: Error) -> BoxedResponse {
    let mut response = BoxedResponse::from(Response::from(error.status()));
    response.extensions_mut().insert(Passing(Arc::new(error)));
    response
}

/// Converts a response into one of poem, or returns the error that it stands for.
fn response_of(mut response: BoxedResponse) -> Result<Response> {
    if let Some(Passing(error)) = response.extensions_mut().remove()
        && let Ok(error) = Arc::try_unwrap(error)
    {
        return Err(error);
    }
    let (head, body) = response.into_parts();
    let head = ResponseParts {
        status: head.status,
        version: head.version,
        headers: head.headers,
        extensions: head.extensions,
    };
    Ok(Response::from_parts(head, body.into()))
}

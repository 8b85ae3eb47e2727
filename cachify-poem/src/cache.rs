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
pub struct CacheMiddleware(Arc<CacheRules>);

cachify_core::__cachify_cached_route!(CacheMiddleware);

impl<E: Endpoint + 'static> Middleware<E> for CacheMiddleware {
    type Output = CacheEndpoint<E>;

    fn transform(&self, inner: E) -> CacheEndpoint<E> {
        let (inner, rules) = (Arc::new(inner), Arc::clone(&self.0));
        CacheEndpoint { inner, rules }
    }
}

/// The endpoint made by [`CacheMiddleware`].
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
        // In a box, so that a hit does not carry the state of a miss around.
        let served = Box::pin(async move { rules.serve(plan, parts, boxed, call).await });
        Either::Right(served.map(|served| response_of(served?)))
    }
}

type BoxedResponse = http::Response<BoxBody<Bytes, io::Error>>;

/// An error on its way through the cache.
#[derive(Clone)]
struct Passing(Arc<Error>);

/// Makes the bare response that the rules judge in place of an error.
fn passing(error: Error) -> BoxedResponse {
    let mut response = BoxedResponse::from(Response::from(error.status()));
    response.extensions_mut().insert(Passing(Arc::new(error)));
    response
}

/// Makes a response of poem, or the error that passed.
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

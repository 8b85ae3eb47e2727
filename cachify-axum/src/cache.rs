//! Cached routes.

use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::Body;
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use cachify_core::http::CacheRules;
use tower_layer::Layer;
use tower_service::Service;

use crate::routed::{RoutedRequest, path_params};
use crate::service::{ResponseFuture, take_ready};

/// Caches the responses of a route.
///
/// Add it to a handler, a method router, a router or a fallback. HTTP decides [what is
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
/// templates. If one layer covers several routes, only the first requested route is cached. The
/// others pass through with a warning, and so do requests that axum does not route, as in a
/// fallback or a nested service.
///
/// A parameter in a key is the text of the path. To a handler that parses a number, `/users/7` and
/// `/users/07` are the same, but they make two keys, and a reset of one leaves the other. If a
/// client could gain by that, refuse other spellings, or use a [typed key](crate::Locked).
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
pub struct CacheLayer(Arc<CacheRules>);

cachify_core::__cachify_cached_route!(CacheLayer);

impl<S> Layer<S> for CacheLayer {
    type Service = CacheService<S>;

    fn layer(&self, inner: S) -> CacheService<S> {
        let rules = Arc::clone(&self.0);
        CacheService { inner, rules }
    }
}

/// The service of a [`CacheLayer`].
#[derive(Debug, Clone)]
pub struct CacheService<S> {
    inner: S,
    rules: Arc<CacheRules>,
}

impl<S> Service<Request> for CacheService<S>
where
    S: Service<Request, Response: IntoResponse, Future: Send, Error: Send> + Clone + Send + 'static,
{
    type Response = Response;
    type Error = S::Error;
    type Future = ResponseFuture<S::Error>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let (mut parts, body) = request.into_parts();
        let params = path_params(&mut parts, self.rules.key());
        let place = RoutedRequest(&parts, params);
        let plan = self.rules.plan(&parts, &place);
        if let Some(response) = self.rules.hit(&plan, &parts, Body::new) {
            return ResponseFuture::ready(response);
        }
        let (mut inner, rules) = (take_ready(&mut self.inner), Arc::clone(&self.rules));
        let call = async move |parts| {
            let response = inner.call(Request::from_parts(parts, body)).await?;
            Ok(response.into_response())
        };
        ResponseFuture::running(async move { rules.serve(plan, parts, Body::new, call).await })
    }
}

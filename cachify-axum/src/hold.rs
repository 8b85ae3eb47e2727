//! Routes that run under a lock, once at a time, or under a permit.

use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::Body;
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use cachify_core::Error;
use cachify_core::http::{HeldRoute, HoldRules};
use tower_layer::Layer;
use tower_service::Service;

use crate::problem::Problem;
use crate::routed::{RoutedRequest, path_params};
use crate::service::{ResponseFuture, take_ready};

/// Runs a route under a lock, so that one request of each key runs at a time, across all processes.
///
/// Other requests wait for up to [`wait`](Self::wait), first come, first served, and are then
/// answered with 423. By default, they do not wait. The [key](crate::CacheLayer#the-key) is that of
/// a cached route. Guards, macros and extractors of the same key use the same lock. A request that
/// lacks a part of the key is answered with 400.
///
/// # Bodies
///
/// The body of a request is read before the lock is acquired, so a stalled client does not block
/// others. The default limits are 2 MiB ([`body_limit`](Self::body_limit)) and 10 s
/// ([`body_time`](Self::body_time)). A longer body is answered with 413, and a slower one with 408.
/// With [`stream_body`](Self::stream_body) the handler reads the body itself.
///
/// # When the lock is lost
///
/// The handler is dropped, and the answer is 503. The same happens after
/// [`max_hold`](Self::max_hold), 1 minute by default. If the client disconnects, the handler is
/// dropped too, and the lock is released.
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
#[must_use = "a layer does nothing until it is added to a route"]
#[derive(Debug, Clone)]
pub struct LockLayer(Arc<HeldRoute<Response>>);

cachify_core::__cachify_held_route!(LockLayer, IntoResponse: lock);

/// Runs a route unless a request of the same key is running already, in any process.
///
/// A second request is answered with 409. Everything else is as with [`LockLayer`].
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
#[must_use = "a layer does nothing until it is added to a route"]
#[derive(Debug, Clone)]
pub struct OnceLayer(Arc<HeldRoute<Response>>);

cachify_core::__cachify_held_route!(OnceLayer, IntoResponse: once);

/// Limits the number of requests of each key that run at a time, across all processes.
///
/// Other requests wait for up to [`wait`](Self::wait), and are then answered with 429. Everything
/// else is as with [`LockLayer`].
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
#[must_use = "a layer does nothing until it is added to a route"]
#[derive(Debug, Clone)]
pub struct PoolLayer(Arc<HeldRoute<Response>>);

cachify_core::__cachify_held_route!(PoolLayer, IntoResponse: pool);

/// Implements [`Layer`] for the layers that make a [`HoldService`].
macro_rules! layer {
    ($($Layer:ident)+) => {$(
        impl<S> Layer<S> for $Layer {
            type Service = HoldService<S>;

            fn layer(&self, inner: S) -> HoldService<S> {
                let route = Arc::clone(&self.0);
                HoldService { inner, route }
            }
        }
    )+};
}

layer!(LockLayer OnceLayer PoolLayer);

/// The service of a [`LockLayer`], [`OnceLayer`] or [`PoolLayer`].
#[derive(Debug, Clone)]
pub struct HoldService<S> {
    inner: S,
    route: Arc<HeldRoute<Response>>,
}

impl<S> Service<Request> for HoldService<S>
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
        let (mut inner, route) = (take_ready(&mut self.inner), Arc::clone(&self.route));
        ResponseFuture::running(async move {
            let held = async {
                let (mut parts, body) = request.into_parts();
                let params = path_params(&mut parts, Some(&route.key));
                let key = route.key.require(&parts, &RoutedRequest(&parts, params))?;
                let body = route.body.read(body, Body::new).await?;
                let request = Request::from_parts(parts, body);
                let work = async { inner.call(request).await.map(IntoResponse::into_response) };
                route.rules.run(&key, work).await
            };
            let response = held.await;
            response.unwrap_or_else(|error| Ok(refuse(&route.rules, error)))
        })
    }
}

fn refuse(rules: &HoldRules<Response>, error: Error) -> Response {
    match rules.refuse(error) {
        Ok(answer) => answer(),
        Err(error) => Problem(error).into_response(),
    }
}

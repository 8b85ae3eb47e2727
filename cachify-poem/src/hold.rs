//! Routes that run under a lock, once at a time, or under a permit.

use std::sync::Arc;

use cachify_core::Error;
use cachify_core::http::{HeldRoute, HoldRules};
use poem::{Endpoint, IntoResponse, Middleware, Request, Response, Result};

use crate::body::boxed;
use crate::problem::Problem;
use crate::routed::{RoutedRequest, put_head, take_head};

/// Runs a route under a lock, so that one request of each key runs at a time, across all processes.
///
/// Other requests wait for up to [`wait`](Self::wait), first come, first served, and are then
/// answered with 423. By default, they do not wait. The [key](crate::CacheMiddleware#the-key) is
/// that of a cached route. Guards, macros and extractors of the same key use the same lock. A
/// request that lacks a part of the key is answered with 400.
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
/// [`max_hold`](Self::max_hold), 1 minute by default. If the client disconnects and [the server
/// notices](crate::HangupListener), the handler is dropped too, and the lock is released.
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
#[must_use = "a middleware does nothing until it is added to a route"]
#[derive(Debug, Clone)]
pub struct LockMiddleware(Arc<HeldRoute<Response>>);

cachify_core::__cachify_held_route!(LockMiddleware, IntoResponse: lock);

/// Runs a route unless a request of the same key is running already, in any process.
///
/// A second request is answered with 409. Everything else is as with [`LockMiddleware`].
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
#[must_use = "a middleware does nothing until it is added to a route"]
#[derive(Debug, Clone)]
pub struct OnceMiddleware(Arc<HeldRoute<Response>>);

cachify_core::__cachify_held_route!(OnceMiddleware, IntoResponse: once);

/// Limits the number of requests of each key that run at a time, across all processes.
///
/// Other requests wait for up to [`wait`](Self::wait), and are then answered with 429. Everything
/// else is as with [`LockMiddleware`].
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
#[must_use = "a middleware does nothing until it is added to a route"]
#[derive(Debug, Clone)]
pub struct PoolMiddleware(Arc<HeldRoute<Response>>);

cachify_core::__cachify_held_route!(PoolMiddleware, IntoResponse: pool);

/// Implements [`Middleware`] for the types that make a [`HoldEndpoint`].
macro_rules! middleware {
    ($($Middleware:ident)+) => {$(
        impl<E: Endpoint> Middleware<E> for $Middleware {
            type Output = HoldEndpoint<E>;

            fn transform(&self, inner: E) -> HoldEndpoint<E> {
                let route = Arc::clone(&self.0);
                HoldEndpoint { inner, route }
            }
        }
    )+};
}

middleware!(LockMiddleware OnceMiddleware PoolMiddleware);

/// The endpoint of a [`LockMiddleware`], [`OnceMiddleware`] or [`PoolMiddleware`].
#[derive(Debug)]
pub struct HoldEndpoint<E> {
    inner: E,
    route: Arc<HeldRoute<Response>>,
}

impl<E: Endpoint> Endpoint for HoldEndpoint<E> {
    type Output = Response;

    async fn call(&self, mut request: Request) -> Result<Response> {
        let route = &*self.route;
        let held = async {
            let parts = take_head(&mut request);
            let key = route
                .key
                .require(&parts, &RoutedRequest::of(&request, &parts))?;
            put_head(&mut request, parts);
            let body = route.body.read(request.take_body().into(), boxed).await?;
            request.set_body(body);
            let work = async { Ok(self.inner.call(request).await?.into_response()) };
            route.rules.run(&key, work).await
        };
        let response = held.await;
        response.unwrap_or_else(|error| refuse(&route.rules, error))
    }
}

fn refuse(rules: &HoldRules<Response>, error: Error) -> Result<Response> {
    match rules.refuse(error) {
        Ok(answer) => Ok(answer()),
        Err(error) => Err(Problem(error).into()),
    }
}

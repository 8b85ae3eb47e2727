//! Request bodies that are read before the handler runs.

use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use cachify_core::IntoTime;
use cachify_core::http::BodyRules;
use tower_layer::Layer;
use tower_service::Service;

use crate::problem::Problem;
use crate::service::{ResponseFuture, take_ready};

/// Reads the body of a request before the inner service runs.
///
/// By default, a body may have up to 2 MiB and take up to 10 s. A longer body is answered with 413,
/// and a slower one with 408.
///
/// A handler that takes a lock or a permit as an argument needs this layer if clients are not
/// trusted: axum reads the body last, so a client that stalls halfway would keep the lock.
/// [`LockLayer`](crate::LockLayer), [`OnceLayer`](crate::OnceLayer) and
/// [`PoolLayer`](crate::PoolLayer) read the body first by themselves.
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
    /// Creates a layer with the default limits.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the longest body that is read, in bytes. Default: 2 MiB.
    pub fn limit(mut self, bytes: usize) -> Self {
        self.0.limit(bytes);
        self
    }

    /// Sets the longest time that a body may take to arrive. Default: 10 s.
    ///
    /// # Panics
    ///
    /// If the time is a string that cannot be parsed.
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

/// The service of a [`BodyLayer`].
#[derive(Debug, Clone)]
pub struct BodyService<S> {
    inner: S,
    rules: BodyRules,
}

impl<S> Service<Request> for BodyService<S>
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
        let (mut inner, rules) = (take_ready(&mut self.inner), self.rules);
        ResponseFuture::running(async move {
            let (parts, body) = request.into_parts();
            match rules.read(body, Body::new).await {
                Ok(body) => {
                    let response = inner.call(Request::from_parts(parts, body)).await?;
                    Ok(response.into_response())
                }
                Err(error) => Ok(Problem(error).into_response()),
            }
        })
    }
}

//! Requests in the scope of a handle.

use std::task::{Context, Poll};

use cachify_core::Cachify;
use futures_util::future::BoxFuture;
use tower_layer::Layer;
use tower_service::Service;

/// Sets the current handle of each request: the handle of every function whose macro does not name
/// one.
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
    /// Creates a layer that sets `cachify`.
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

/// The service of a [`ScopeLayer`].
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
    type Future = BoxFuture<'static, Result<S::Response, S::Error>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: R) -> Self::Future {
        let future = self.cachify.sync_scope(|| self.inner.call(request));
        Box::pin(self.cachify.scope(future))
    }
}

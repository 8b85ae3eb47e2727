//! The scope of a handle.

use cachify_core::Cachify;
use poem::{Endpoint, Middleware, Request, Result};

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

//! Requests in the scope of a handle.

use cachify_core::Cachify;
use poem::{Endpoint, Middleware, Request, Result};

/// Sets the current handle of each request: the handle of every function whose macro does not name
/// one.
///
/// The guards among a handler's arguments use it too, unless there is a handle in
/// [`Data`](poem::web::Data).
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
    /// Creates a middleware that sets `cachify`.
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

/// The endpoint of a [`ScopeMiddleware`].
#[derive(Debug)]
pub struct ScopeEndpoint<E> {
    inner: E,
    cachify: Cachify,
}

impl<E: Endpoint> Endpoint for ScopeEndpoint<E> {
    type Output = E::Output;

    async fn call(&self, request: Request) -> Result<E::Output> {
        // The call itself runs in the scope too, not only the future that it returns.
        let call = async { self.inner.call(request).await };
        self.cachify.scope(call).await
    }
}

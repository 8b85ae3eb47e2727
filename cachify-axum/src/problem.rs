//! Errors as responses.

use axum::response::{IntoResponse, Response};
use cachify_core::http::problem;

cachify_core::__cachify_problem! {
    /// An [`Error`](crate::Error) as a response: a problem document, with `Retry-After` if a retry
    /// may succeed.
    ///
    /// The status is 423 for a held lock, 409 for a key that is running already, 429 for a full
    /// pool, 400 for a request that lacks a part of the key, and 503 while the backend is away. See
    /// [`problem`] for the whole table.
    ///
    /// # Examples
    ///
    /// ```
    /// use axum::extract::{Path, State};
    /// use cachify_axum::{Cachify, Problem, key};
    ///
    /// async fn charge(
    ///     State(cachify): State<Cachify>,
    ///     Path(order): Path<u64>,
    /// ) -> Result<&'static str, Problem> {
    ///     let _guard = cachify.lock(&key!("charge-{order}")).acquire().await?;
    ///     Ok("charged")
    /// }
    /// # let charge = axum::routing::post(charge);
    /// # let _: axum::Router<Cachify> = axum::Router::new().route("/{order}", charge);
    /// ```
    Problem
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let (status, headers, body) = problem(&self.0);
        (status, headers, body).into_response()
    }
}

//! Errors as responses.

use cachify_core::http::{problem, problem_status};
use poem::error::ResponseError;
use poem::http::StatusCode;
use poem::{Body, Response};

cachify_core::__cachify_problem! {
    /// An [`Error`](crate::Error) as a response: a problem document, with `Retry-After` if a retry
    /// may succeed.
    ///
    /// The status is 423 for a held lock, 409 for a key that is running already, 429 for a full
    /// pool, 400 for a request that lacks a part of the key, and 503 while the backend is away. See
    /// [`problem`] for the whole table.
    ///
    /// The guards and middleware of this crate return it inside their [`poem::Error`], where
    /// `catch_error` finds it.
    ///
    /// # Examples
    ///
    /// ```
    /// use cachify_poem::{Cachify, Problem, key};
    /// use poem::web::{Data, Path};
    /// use poem::{EndpointExt, Route, handler, http::StatusCode, post};
    ///
    /// #[handler]
    /// async fn charge(
    ///     Data(cachify): Data<&Cachify>,
    ///     Path(order): Path<u64>,
    /// ) -> Result<&'static str, Problem> {
    ///     let _guard = cachify.lock(&key!("charge-{order}")).acquire().await?;
    ///     Ok("charged")
    /// }
    ///
    /// let app = Route::new()
    ///     .at("/orders/:order/charge", post(charge))
    ///     .data(Cachify::memory())
    ///     .catch_error(|problem: Problem| async move {
    ///         (StatusCode::CONFLICT, problem.0.kind().as_str())
    ///     });
    /// ```
    Problem
}

impl ResponseError for Problem {
    fn status(&self) -> StatusCode {
        problem_status(&self.0)
    }

    fn as_response(&self) -> Response {
        let (status, headers, body) = problem(&self.0);
        let mut response = Response::builder().status(status).body(Body::from(body));
        *response.headers_mut() = headers;
        response
    }
}

//! Errors as responses.

use cachify_core::http::{problem, problem_status};
use poem::error::ResponseError;
use poem::http::StatusCode;
use poem::{Body, Response};

cachify_core::__cachify_problem! {
    /// An [`Error`](crate::Error) as a response: 423 for a lock that is held, 409 for what runs
    /// already, 429 for a full pool, 400 for a request that makes no key, 503 while the backend is
    /// away, with `Retry-After` and a problem document. See [`problem`] for the whole table.
    ///
    /// It is what guards and middleware of this crate return as their [`poem::Error`];
    /// `catch_error` finds it there, to answer otherwise.
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

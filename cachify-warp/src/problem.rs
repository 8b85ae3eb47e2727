//! Errors as rejections and as replies.

use std::fmt;
use std::sync::Arc;

use cachify_core::Error;
use cachify_core::http::{HoldRules, problem};
use warp::Reply;
use warp::reject::Reject;
use warp::reply::Response;

cachify_core::__cachify_problem! {
    /// An [`Error`](crate::Error) as a rejection and as a reply: a problem document, with
    /// `Retry-After` if a retry may succeed.
    ///
    /// The status is 423 for a held lock, 409 for a key that is running already, 429 for a full
    /// pool, and 503 while the backend is away. See [`problem`] for the whole table.
    ///
    /// The filters of this crate reject with it, and [`recover`] turns it into a response. A
    /// handler returns it by `?`, as a reply or as a [`warp::Rejection`].
    ///
    /// # Examples
    ///
    /// ```
    /// use cachify_warp::{Cachify, Problem, key, with_cachify};
    /// use warp::Filter;
    ///
    /// async fn charge(order: u64, cachify: Cachify) -> Result<&'static str, Problem> {
    ///     let _guard = cachify.lock(&key!("charge-{order}")).acquire().await?;
    ///     Ok("charged")
    /// }
    ///
    /// let cachify = Cachify::memory();
    /// let route = warp::path!("orders" / u64).and(with_cachify(&cachify)).then(charge);
    /// ```
    Problem
}

impl Reject for Problem {}

impl Reply for Problem {
    fn into_response(self) -> Response {
        let (status, headers, body) = problem(&self.0);
        let mut response = Response::new(body.into());
        *response.status_mut() = status;
        *response.headers_mut() = headers;
        response
    }
}

/// The response that the options of a route give in place of an error.
#[derive(Clone)]
struct Refusal(Arc<dyn Fn() -> Response + Send + Sync>);

/// Returns the rejection of a request that did not get its lock or permit.
pub(crate) fn refuse(rules: &HoldRules<Response>, error: Error) -> warp::Rejection {
    match rules.refuse(error) {
        Ok(answer) => warp::reject::custom(Refusal(answer)),
        Err(error) => warp::reject::custom(Problem(error)),
    }
}

impl fmt::Debug for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a refusal for `cachify_warp::recover`")
    }
}

impl Reject for Refusal {}

/// Answers the rejections of this crate's filters, and passes on all others.
///
/// Without it, warp answers them with 500. Add it to all routes together, or call it first in a
/// recovery function of your own. If a later route would accept the requests that a route rejects,
/// add it to that route itself.
///
/// # Errors
///
/// Rejections of other filters.
///
/// # Examples
///
/// ```
/// use cachify_warp::{Cachify, FilterExt, key};
/// use warp::{Filter, Reply, http::StatusCode};
///
/// async fn problems(rejection: warp::Rejection) -> Result<impl Reply, warp::Rejection> {
///     match cachify_warp::recover(rejection).await {
///         Err(other) if other.is_not_found() => Ok(StatusCode::NOT_FOUND.into_response()),
///         answered => answered,
///     }
/// }
///
/// let cachify = Cachify::memory();
/// let routes = warp::path!("reports" / u64)
///     .once(&cachify, |(id,)| key!("report-{id}"))
///     .map(|id, _guard| format!("report {id}"))
///     .recover(problems);
/// ```
pub async fn recover(rejection: warp::Rejection) -> Result<Response, warp::Rejection> {
    if let Some(Refusal(answer)) = rejection.find() {
        return Ok(answer());
    }
    match rejection.find::<Problem>() {
        Some(ours) => Ok(ours.clone().into_response()),
        None => Err(rejection),
    }
}

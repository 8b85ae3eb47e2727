//! Errors as rejections and as replies.

use std::fmt;
use std::sync::Arc;

use cachify_core::Error;
use cachify_core::http::{HoldRules, problem};
use warp::Reply;
use warp::reject::Reject;
use warp::reply::Response;

cachify_core::__cachify_problem! {
    /// An [`Error`](crate::Error) as a rejection and as a reply: 423 for a lock that is held, 409
    /// for what runs already, 429 for a full pool, 503 while the backend is away, with
    /// `Retry-After` and a problem document. See [`problem`] for the whole table.
    ///
    /// The guard filters reject with it; [`recover`] makes it a response. A handler returns it by
    /// `?`, as a reply or as a [`warp::Rejection`].
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

/// The answer that the options of a route give in place of an error.
#[derive(Clone)]
struct Refusal(Arc<dyn Fn() -> Response + Send + Sync>);

/// Rejects a request that did not get hold of its key.
pub(crate) fn refuse(rules: &HoldRules<Response>, error: Error) -> warp::Rejection {
    match rules.refuse(error) {
        Ok(answer) => warp::reject::custom(Refusal(answer)),
        Err(error) => warp::reject::custom(Problem(error)),
    }
}

impl fmt::Debug for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an answer that `cachify_warp::recover` gives")
    }
}

impl Reject for Refusal {}

/// Answers the rejections of this crate's filters, and passes all others on.
///
/// Without it, warp answers them 500. It goes onto all routes, or is the first thing that a
/// function of your own asks. Onto a route of its own it goes where a later route would accept the
/// requests that this one rejects.
///
/// # Errors
///
/// The rejections of others.
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

//! Every answer that is not a user is a problem: warp's own rejections are turned into one.

use std::convert::Infallible;

use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde_json::error::Category;
use tokio::task::JoinError;
use users::{Problem, StoreError};
use warp::filters::BoxedFilter;
use warp::http::{StatusCode, header};
use warp::reject::{self, Reject};
use warp::reply::{Reply, Response, json, with_header, with_status};
use warp::{Filter, Rejection};

/// Of a request, in bytes.
const LONGEST_BODY: u64 = 2 << 20;

/// A problem as an answer, and as a rejection.
#[derive(Debug, Clone)]
pub(crate) struct Failure(Problem);

impl Failure {
    fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self(Problem::new(status, detail))
    }
}

impl Reject for Failure {}

impl Reply for Failure {
    fn into_response(self) -> Response {
        let reply = with_status(json(&self.0), self.0.status());
        with_header(reply, header::CONTENT_TYPE, Problem::CONTENT_TYPE).into_response()
    }
}

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        Self(problem)
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self(error.into())
    }
}

/// The lock was lost, and the update stopped.
impl From<cachify_warp::Error> for Failure {
    fn from(error: cachify_warp::Error) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, error.kind().as_str())
    }
}

/// The task panicked, which is in the log.
impl From<JoinError> for Failure {
    fn from(_: JoinError) -> Self {
        let detail = "see the log for what happened";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, detail)
    }
}

/// `/users/{user_id}`
pub(crate) fn user_path() -> BoxedFilter<(i64,)> {
    warp::path!("users" / String)
        .and_then(async |id: String| {
            let refuse = |error| Failure::new(StatusCode::BAD_REQUEST, format!("user_id: {error}"));
            id.parse::<i64>()
                .map_err(|error| reject::custom(refuse(error)))
        })
        .boxed()
}

/// A JSON body.
pub(crate) fn body<T: DeserializeOwned + Send + 'static>() -> BoxedFilter<(T,)> {
    warp::header::optional::<String>("content-type")
        .and(warp::body::content_length_limit(LONGEST_BODY))
        .and(warp::body::bytes())
        .and_then(async |content_type: Option<String>, bytes: Bytes| {
            read(content_type.as_deref(), &bytes).map_err(reject::custom)
        })
        .boxed()
}

fn read<T: DeserializeOwned>(content_type: Option<&str>, bytes: &[u8]) -> Result<T, Failure> {
    if !content_type.is_some_and(|found| found.starts_with("application/json")) {
        let detail = "expected a body of type `application/json`";
        return Err(Failure::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail));
    }
    serde_json::from_slice(bytes).map_err(|error| {
        let status = match error.classify() {
            Category::Data => StatusCode::UNPROCESSABLE_ENTITY,
            _ => StatusCode::BAD_REQUEST,
        };
        Failure::new(status, error.to_string())
    })
}

/// Answers what no route does.
pub(crate) async fn recover(rejection: Rejection) -> Result<Response, Infallible> {
    let rejection = match cachify_warp::recover(rejection).await {
        Ok(response) => return Ok(response),
        Err(rejection) => rejection,
    };
    if let Some(failure) = rejection.find::<Failure>() {
        return Ok(failure.clone().into_response());
    }
    let status = if rejection.is_not_found() {
        StatusCode::NOT_FOUND
    } else if rejection.find::<reject::PayloadTooLarge>().is_some() {
        StatusCode::PAYLOAD_TOO_LARGE
    } else if rejection.find::<reject::LengthRequired>().is_some() {
        StatusCode::LENGTH_REQUIRED
    } else if rejection.find::<reject::MethodNotAllowed>().is_some() {
        StatusCode::METHOD_NOT_ALLOWED
    } else {
        StatusCode::BAD_REQUEST
    };
    Ok(Failure::new(status, "see /docs for what there is").into_response())
}

//! The answers other than a user: problem documents.

use std::time::Duration;

use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::{IntoResponses, ToSchema};

use crate::{Invalid, StoreError};

/// The time in which the body of a request must arrive.
pub const BODY_TIME: Duration = Duration::from_secs(10);

/// An answer of type `application/problem+json` (RFC 9457).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({
    "type": "about:blank",
    "title": "Not Found",
    "status": 404,
    "detail": "there is no user 7",
}))]
pub struct Problem {
    /// Always `about:blank`: the status says it all.
    #[serde(rename = "type")]
    pub kind: String,
    /// The status in words.
    pub title: String,
    /// The status of the answer.
    pub status: u16,
    /// The details of this occurrence.
    pub detail: String,
}

impl Problem {
    /// The content type of the answer.
    pub const CONTENT_TYPE: &'static str = "application/problem+json";

    /// Builds a problem titled after its status.
    pub fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self {
            kind: "about:blank".to_owned(),
            title: status.canonical_reason().unwrap_or("Error").to_owned(),
            status: status.as_u16(),
            detail: detail.into(),
        }
    }

    /// Builds a 404 for a user that does not exist.
    pub fn no_user(id: i64) -> Self {
        Self::new(StatusCode::NOT_FOUND, format!("there is no user {id}"))
    }

    /// Builds a 408 for a body that did not arrive within [`BODY_TIME`].
    pub fn slow_body() -> Self {
        let detail = format!("the body did not arrive within {BODY_TIME:?}");
        Self::new(StatusCode::REQUEST_TIMEOUT, detail)
    }

    /// Returns the status of the answer.
    pub fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }
}

impl From<Invalid> for Problem {
    fn from(invalid: Invalid) -> Self {
        Self::new(StatusCode::BAD_REQUEST, invalid.to_string())
    }
}

/// Logs the cause, and does not show it to the client.
impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        tracing::error!(%error, "the database failed; answering 500");
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "the database failed")
    }
}

/// The problems of a request that names a user, for OpenAPI documents.
#[derive(IntoResponses)]
pub enum PathProblems {
    /// The id in the path is not a whole number
    #[response(status = 400, content_type = "application/problem+json")]
    BadRequest(#[to_schema] Problem),
    /// There is no such user
    #[response(status = 404, content_type = "application/problem+json")]
    NotFound(#[to_schema] Problem),
    /// The database failed
    #[response(status = 500, content_type = "application/problem+json")]
    Failed(#[to_schema] Problem),
}

/// The problems of a request with a user in its body, for OpenAPI documents.
#[derive(IntoResponses)]
pub enum BodyProblems {
    /// The body is not JSON, or it broke off
    #[response(status = 400, content_type = "application/problem+json")]
    BadRequest(#[to_schema] Problem),
    /// The body did not arrive in time
    #[response(status = 408, content_type = "application/problem+json")]
    Slow(#[to_schema] Problem),
    /// The body is longer than 2 MiB
    #[response(status = 413, content_type = "application/problem+json")]
    Long(#[to_schema] Problem),
    /// The body is not declared as JSON
    #[response(status = 415, content_type = "application/problem+json")]
    Unsupported(#[to_schema] Problem),
    /// The body is not a valid user
    #[response(status = 422, content_type = "application/problem+json")]
    Invalid(#[to_schema] Problem),
    /// The database failed
    #[response(status = 500, content_type = "application/problem+json")]
    Failed(#[to_schema] Problem),
}

/// The additional problems of an update, for OpenAPI documents.
#[derive(IntoResponses)]
pub enum LockProblems {
    /// Updates cannot be kept apart at the moment; `Retry-After` says when to try again
    #[response(status = 503, content_type = "application/problem+json")]
    Unavailable(#[to_schema] Problem),
}

/// Returns the methods of a path, for the `Allow` field of a 405.
pub fn allowed(path: &str) -> &'static str {
    match path.strip_prefix("/users") {
        Some("" | "/") => "POST",
        Some(rest) if rest.starts_with('/') => "GET, HEAD, PUT",
        _ => "GET, HEAD",
    }
}

#[cfg(test)]
mod tests {
    use super::allowed;

    #[test]
    fn a_path_has_the_methods_of_its_route() {
        for (path, methods) in [
            ("/users", "POST"),
            ("/users/", "POST"),
            ("/users/7", "GET, HEAD, PUT"),
            ("/healthz", "GET, HEAD"),
        ] {
            assert_eq!(allowed(path), methods, "{path}");
        }
    }
}

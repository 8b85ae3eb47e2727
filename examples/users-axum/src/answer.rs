//! Problems, the answers other than a user. axum's own rejections become problems, too.

use axum::Json;
use axum::extract::rejection::{JsonRejection, PathRejection};
use axum::extract::{FromRequest, FromRequestParts, Path};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use users::{Problem, StoreError};

/// [`Path`], with a problem as its rejection.
#[derive(FromRequestParts)]
#[from_request(via(Path), rejection(Failure))]
pub(crate) struct Param<T>(pub(crate) T);

/// [`Json`], with a problem as its rejection.
#[derive(FromRequest)]
#[from_request(via(Json), rejection(Failure))]
pub(crate) struct Body<T>(pub(crate) T);

/// A problem as an answer.
pub(crate) struct Failure(Problem);

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let content_type = [(header::CONTENT_TYPE, Problem::CONTENT_TYPE)];
        (self.0.status(), content_type, Json(self.0)).into_response()
    }
}

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        Self(problem)
    }
}

impl From<StatusCode> for Failure {
    fn from(status: StatusCode) -> Self {
        let detail = match status {
            StatusCode::INTERNAL_SERVER_ERROR => "see the log for what happened",
            _ => "see /docs for what there is",
        };
        Self(Problem::new(status, detail))
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self(error.into())
    }
}

impl From<PathRejection> for Failure {
    fn from(rejection: PathRejection) -> Self {
        Self(Problem::new(rejection.status(), rejection.body_text()))
    }
}

impl From<JsonRejection> for Failure {
    fn from(rejection: JsonRejection) -> Self {
        Self(Problem::new(rejection.status(), rejection.body_text()))
    }
}

//! What the API answers when it has no user to show.

use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{Invalid, StoreError};

/// An answer of type `application/problem+json` (RFC 9457).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({"type": "about:blank", "title": "Not Found", "status": 404, "detail": "there is no user 7"}))]
pub struct Problem {
    /// `about:blank`: what the status says.
    #[serde(rename = "type")]
    pub kind: String,
    /// The status in words.
    pub title: String,
    /// The answer's status.
    pub status: u16,
    /// What happened this time.
    pub detail: String,
}

impl Problem {
    /// The answer's content type.
    pub const CONTENT_TYPE: &'static str = "application/problem+json";

    /// A problem titled after its status.
    pub fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self {
            kind: "about:blank".to_owned(),
            title: status.canonical_reason().unwrap_or("Error").to_owned(),
            status: status.as_u16(),
            detail: detail.into(),
        }
    }

    /// 404: the user does not exist.
    pub fn no_user(id: i64) -> Self {
        Self::new(StatusCode::NOT_FOUND, format!("there is no user {id}"))
    }

    /// The answer's status.
    pub fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }
}

impl From<Invalid> for Problem {
    fn from(invalid: Invalid) -> Self {
        Self::new(StatusCode::BAD_REQUEST, invalid.to_string())
    }
}

/// The cause goes to the log, not to the client.
impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        tracing::error!(%error, "the database failed");
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "the database failed")
    }
}

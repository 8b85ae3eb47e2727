//! Requests and answers, as types of poem-openapi. Answers other than a user are problems.

use std::borrow::Cow;

use cachify_poem::problem;
use poem::http::StatusCode;
use poem::{IntoResponse, Response};
use poem_openapi::payload::Json;
use poem_openapi::registry::{MetaSchemaRef, Registry};
use poem_openapi::types::{ParseError, ParseFromJSON, ParseResult, Type};
use poem_openapi::{ApiResponse, Object};
use serde_json::Value;
use tokio::task::JoinError;
use users::StoreError;

/// A user.
#[derive(Object)]
pub(crate) struct User {
    /// The id, given by the database.
    id: i64,
    /// The name, 1 to 100 characters.
    name: String,
    /// The email address, up to 254 characters, with one `@` inside.
    email: String,
}

impl From<users::User> for User {
    fn from(user: users::User) -> Self {
        let users::User { id, name, email } = user;
        Self { id, name, email }
    }
}

/// The body of a create or update request. The domain parses it, because poem-openapi would take a
/// number for a string. A body that is JSON but not a user is reported later, by the operation, to
/// distinguish it from malformed JSON.
pub(crate) struct NewUser(Result<users::NewUser, String>);

impl NewUser {
    pub(crate) fn valid(self) -> Result<users::NewUser, Failure> {
        let status = StatusCode::UNPROCESSABLE_ENTITY;
        self.0
            .map_err(|error| users::Problem::new(status, error).into())
    }
}

/// The fields of a create or update request.
#[derive(Object)]
#[oai(rename = "NewUser")]
struct Described {
    /// The name, 1 to 100 characters.
    #[oai(validator(min_length = 1, max_length = 100, pattern = r"\S"))]
    name: String,
    /// The email address, up to 254 characters, with one `@` inside.
    #[oai(validator(
        max_length = 254,
        pattern = r"^[^@\s\x00-\x1f\x7f-\x9f]+@[^@\s\x00-\x1f\x7f-\x9f]+$"
    ))]
    email: String,
}

impl ParseFromJSON for NewUser {
    fn parse_from_json(value: Option<Value>) -> ParseResult<Self> {
        // An absent body has become `null` by now.
        let value = value.filter(|value| !value.is_null());
        let value = value.ok_or_else(|| ParseError::custom("expected a user"))?;
        let user = serde_json::from_value(value);
        Ok(Self(user.map_err(|error| error.to_string())))
    }
}

impl Type for NewUser {
    const IS_REQUIRED: bool = true;

    type RawValueType = Self;
    type RawElementValueType = Self;

    fn name() -> Cow<'static, str> {
        Described::name()
    }

    fn schema_ref() -> MetaSchemaRef {
        Described::schema_ref()
    }

    fn register(registry: &mut Registry) {
        Described::register(registry);
    }

    fn as_raw_value(&self) -> Option<&Self> {
        Some(self)
    }

    fn raw_element_iter<'a>(&'a self) -> Box<dyn Iterator<Item = &'a Self> + 'a> {
        Box::new(self.as_raw_value().into_iter())
    }
}

#[derive(ApiResponse)]
pub(crate) enum Created {
    /// The user, under its new id
    #[oai(status = 201)]
    User(Json<User>),
}

#[derive(ApiResponse)]
pub(crate) enum Updated {
    /// The user as it is now
    #[oai(status = 200)]
    User(Json<User>),
    /// Another update of this user is in progress
    #[oai(status = 226)]
    InProgress(Json<Status>),
}

#[derive(Object)]
pub(crate) struct Status {
    status: String,
}

impl Updated {
    pub(crate) fn in_progress() -> Self {
        let status = "Update in progress".to_owned();
        Self::InProgress(Json(Status { status }))
    }
}

/// A problem document (RFC 9457).
#[derive(Object)]
pub(crate) struct Problem {
    /// Always `about:blank`: the status says it all.
    #[oai(rename = "type")]
    kind: String,
    /// The status in words.
    title: String,
    /// The status of the answer.
    status: u16,
    /// The details of this occurrence.
    detail: String,
}

/// A problem as an answer.
#[derive(ApiResponse)]
pub(crate) enum Failure {
    /// The id in the path or the body cannot be read
    #[oai(status = 400, content_type = "application/problem+json")]
    BadRequest(Json<Problem>),
    /// There is no such user
    #[oai(status = 404, content_type = "application/problem+json")]
    NotFound(Json<Problem>),
    /// The body did not arrive in time
    #[oai(status = 408, content_type = "application/problem+json")]
    Slow(Json<Problem>),
    /// The body is longer than 2 MiB
    #[oai(status = 413, content_type = "application/problem+json")]
    Long(Json<Problem>),
    /// The body is not declared as JSON
    #[oai(status = 415, content_type = "application/problem+json")]
    Unsupported(Json<Problem>),
    /// The body is not a valid user
    #[oai(status = 422, content_type = "application/problem+json")]
    Invalid(Json<Problem>),
    /// Any other refusal
    #[oai(status_range = "4XX", content_type = "application/problem+json")]
    Refused(StatusCode, Json<Problem>),
    /// Updates cannot be kept apart at the moment
    #[oai(status = 503, content_type = "application/problem+json")]
    Unavailable(
        Json<Problem>,
        /// Seconds until the next attempt
        #[oai(header = "Retry-After")]
        Option<String>,
    ),
    /// The database failed
    #[oai(status_range = "5XX", content_type = "application/problem+json")]
    Failed(StatusCode, Json<Problem>),
}

impl From<users::Problem> for Failure {
    fn from(problem: users::Problem) -> Self {
        let status = problem.status();
        let problem = Json(Problem {
            kind: problem.kind,
            title: problem.title,
            status: problem.status,
            detail: problem.detail,
        });
        match status {
            StatusCode::BAD_REQUEST => Self::BadRequest(problem),
            StatusCode::NOT_FOUND => Self::NotFound(problem),
            StatusCode::REQUEST_TIMEOUT => Self::Slow(problem),
            StatusCode::PAYLOAD_TOO_LARGE => Self::Long(problem),
            StatusCode::UNSUPPORTED_MEDIA_TYPE => Self::Unsupported(problem),
            StatusCode::UNPROCESSABLE_ENTITY => Self::Invalid(problem),
            StatusCode::SERVICE_UNAVAILABLE => Self::Unavailable(problem, None),
            _ if status.is_client_error() => Self::Refused(status, problem),
            _ => Self::Failed(status, problem),
        }
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        users::Problem::from(error).into()
    }
}

impl From<cachify_poem::Error> for Failure {
    fn from(error: cachify_poem::Error) -> Self {
        let (status, headers, body) = problem(&error);
        let again = headers
            .get("retry-after")
            .and_then(|value| value.to_str().ok());
        let problem = serde_json::from_slice(&body)
            .unwrap_or_else(|_| users::Problem::new(status, error.kind().as_str()));
        match problem.into() {
            Self::Unavailable(problem, _) => Self::Unavailable(problem, again.map(Into::into)),
            other => other,
        }
    }
}

impl From<JoinError> for Failure {
    fn from(_: JoinError) -> Self {
        StatusCode::INTERNAL_SERVER_ERROR.into()
    }
}

impl From<StatusCode> for Failure {
    fn from(status: StatusCode) -> Self {
        let detail = match status {
            StatusCode::INTERNAL_SERVER_ERROR => "see the log for what happened",
            _ => "see /docs for what there is",
        };
        users::Problem::new(status, detail).into()
    }
}

/// Turns poem's own errors into problems.
pub(crate) async fn recover(error: poem::Error) -> Response {
    let status = error.status();
    if error.is_from_response() {
        return error.into_response();
    }
    let failure = match status {
        StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED => status.into(),
        _ if status.is_client_error() => users::Problem::new(status, error.to_string()).into(),
        _ => {
            tracing::error!(%error, "answered with a problem");
            Failure::from(status)
        }
    };
    failure.into_response()
}

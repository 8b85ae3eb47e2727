//! Problems, the answers other than a user. warp's own rejections become problems, too.

use std::convert::Infallible;
use std::pin::pin;

use bytes::{Buf, BufMut as _, BytesMut};
use futures_util::{Stream, TryStreamExt};
use serde::de::DeserializeOwned;
use serde_json::error::Category;
use tokio::task::JoinError;
use users::{Problem, StoreError, UserId};
use warp::filters::BoxedFilter;
use warp::http::{Method, StatusCode, header};
use warp::path::FullPath;
use warp::reject::{self, Reject};
use warp::reply::{Reply, Response, json, with_header, with_status};
use warp::{Filter, Rejection};

/// The limit of a request's body, in bytes.
const LONGEST_BODY: usize = 2 << 20;

/// A problem, as an answer and as a rejection.
#[derive(Debug, Clone)]
pub(crate) enum Failure {
    Problem(Problem),
    /// The lock was lost, and the update was stopped.
    Lost(cachify_warp::Problem),
}

impl Failure {
    fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self::Problem(Problem::new(status, detail))
    }
}

impl Reject for Failure {}

impl Reply for Failure {
    fn into_response(self) -> Response {
        let problem = match self {
            Self::Problem(problem) => problem,
            Self::Lost(rejection) => return rejection.into_response(),
        };
        let reply = with_status(json(&problem), problem.status());
        with_header(reply, header::CONTENT_TYPE, Problem::CONTENT_TYPE).into_response()
    }
}

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        Self::Problem(problem)
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::Problem(error.into())
    }
}

impl From<cachify_warp::Error> for Failure {
    fn from(error: cachify_warp::Error) -> Self {
        Self::Lost(error.into())
    }
}

/// The task panicked, and the panic is in the log.
impl From<JoinError> for Failure {
    fn from(_: JoinError) -> Self {
        let detail = "see the log for what happened";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, detail)
    }
}

/// Matches `/users/{user_id}`.
pub(crate) fn user_path() -> BoxedFilter<(i64,)> {
    warp::path!("users" / String)
        .and_then(async |id: String| match id.parse() {
            Ok(UserId(id)) => Ok(id),
            Err(invalid) => Err(reject::custom(Failure::Problem(Problem::from(invalid)))),
        })
        .boxed()
}

/// Extracts a JSON body.
pub(crate) fn body<T: DeserializeOwned + Send + 'static>() -> BoxedFilter<(T,)> {
    warp::header::optional::<String>("content-type")
        .and(warp::body::stream())
        .and_then(async |content_type: Option<String>, body| {
            read(content_type.as_deref(), body)
                .await
                .map_err(reject::custom)
        })
        .boxed()
}

/// Reads a JSON body. warp's own JSON filter and its limit refuse bodies without a length.
async fn read<T: DeserializeOwned>(
    content_type: Option<&str>,
    body: impl Stream<Item = Result<impl Buf, warp::Error>>,
) -> Result<T, Failure> {
    if !content_type.is_some_and(is_json) {
        let detail = "expected a body of type `application/json`";
        return Err(Failure::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail));
    }
    let broken = |_| Failure::new(StatusCode::BAD_REQUEST, "the body broke off");
    let mut body = pin!(body.map_err(broken));
    let whole = async {
        let mut bytes = BytesMut::new();
        while let Some(piece) = body.try_next().await? {
            if bytes.len() + piece.remaining() > LONGEST_BODY {
                let detail = format!("expected up to {LONGEST_BODY} bytes");
                return Err(Failure::new(StatusCode::PAYLOAD_TOO_LARGE, detail));
            }
            bytes.put(piece);
        }
        Ok(bytes)
    };
    // A client that stops halfway must not keep its connection forever.
    let whole = tokio::time::timeout(users::BODY_TIME, whole).await;
    parse(&whole.map_err(|_| Failure::from(Problem::slow_body()))??)
}

fn is_json(content_type: &str) -> bool {
    let (essence, _) = content_type.split_once(';').unwrap_or((content_type, ""));
    let essence = essence.trim().to_ascii_lowercase();
    let subtype = essence.strip_prefix("application/");
    subtype.is_some_and(|subtype| subtype == "json" || subtype.ends_with("+json"))
}

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Failure> {
    serde_json::from_slice(bytes).map_err(|error| {
        let status = match error.classify() {
            Category::Data => StatusCode::UNPROCESSABLE_ENTITY,
            _ => StatusCode::BAD_REQUEST,
        };
        Failure::new(status, error.to_string())
    })
}

/// Answers 405 to methods that no route of a path accepts. It must come after all routes.
pub(crate) fn other_methods() -> BoxedFilter<(Response,)> {
    warp::method()
        .and(warp::path::full())
        .and_then(async |method: Method, path: FullPath| {
            let allowed = users::allowed(path.as_str());
            if allowed.split(", ").any(|allowed| method == allowed) {
                return Err(reject::not_found());
            }
            let detail = "see /docs for what there is";
            let failure = Failure::new(StatusCode::METHOD_NOT_ALLOWED, detail);
            Ok(with_header(failure, header::ALLOW, allowed).into_response())
        })
        .boxed()
}

/// Answers requests that no route accepts.
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
    } else {
        StatusCode::BAD_REQUEST
    };
    Ok(Failure::new(status, "see /docs for what there is").into_response())
}

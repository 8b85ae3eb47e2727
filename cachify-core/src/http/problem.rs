//! Problem responses for errors.

use bytes::Bytes;
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, StatusCode};

use crate::{Error, ErrorKind, observe};

/// Maps an [`Error`] to the status, headers and body of a problem response (RFC 9457), and logs it.
/// The response is the same in every framework.
///
/// | error | status | `Retry-After` |
/// |---|---|---|
/// | [`Held`](ErrorKind::Held) | 423 | until the holder's lease ends, at least 1 s |
/// | [`AlreadyRunning`](ErrorKind::AlreadyRunning) | 409 | as above |
/// | [`Full`](ErrorKind::Full) | 429 | as above |
/// | [`Lost`](ErrorKind::Lost), [`Unavailable`](ErrorKind::Unavailable), [`Timeout`](ErrorKind::Timeout), [`Unconfirmed`](ErrorKind::Unconfirmed), [`NotQueued`](ErrorKind::NotQueued) | 503 | 1 s |
/// | [`Request`](ErrorKind::Request) | 400 | |
/// | [`SlowBody`](ErrorKind::SlowBody) | 408 | |
/// | [`LongBody`](ErrorKind::LongBody) | 413 | |
/// | other kinds: mistakes in the program | 500 | |
///
/// The body names no key, template or cause.
///
/// # Logging
///
/// A 5xx status, or a request that lacks a part of its route's key, is logged as a warning, at most
/// once per minute for each template and kind. The field `unlogged` counts the occurrences in
/// between. Other errors are logged at level `debug`. No event names a key.
///
/// # Examples
///
/// ```
/// use cachify_core::http::problem;
/// use cachify_core::{Error, ErrorKind};
///
/// let error = Error::new(ErrorKind::Full, "no permit is free");
/// let (status, headers, body) = problem(&error);
/// assert_eq!(status, 429);
/// assert_eq!(headers["retry-after"], "1");
/// assert_eq!(headers["content-type"], "application/problem+json");
/// ```
pub fn problem(error: &Error) -> (StatusCode, HeaderMap, Bytes) {
    let (status, title, detail) = described(error);
    observe::answered(error, status.as_u16());
    let mut headers = HeaderMap::with_capacity(4);
    headers.insert(
        CONTENT_TYPE,
        HeaderValue::from_static("application/problem+json"),
    );
    if !matches!(status.as_u16(), 400 | 408 | 413 | 500) {
        headers.insert(RETRY_AFTER, retry_after(error).into());
    }
    let body = format!(
        r#"{{"type":"about:blank","title":"{title}","status":{},"detail":"{detail}"}}"#,
        status.as_u16()
    );
    (status, headers, body.into())
}

/// Returns the status of [`problem`], without logging the error.
pub fn problem_status(error: &Error) -> StatusCode {
    described(error).0
}

/// Returns the status, title and detail.
fn described(error: &Error) -> (StatusCode, &'static str, &'static str) {
    match error.kind() {
        ErrorKind::Held => (
            StatusCode::LOCKED,
            "Locked",
            "Another request is working on this; try again later.",
        ),
        ErrorKind::AlreadyRunning => (
            StatusCode::CONFLICT,
            "Already running",
            "The same request is being processed already; try again later.",
        ),
        ErrorKind::Full => (
            StatusCode::TOO_MANY_REQUESTS,
            "Too many at once",
            "All places for this are taken; try again later.",
        ),
        ErrorKind::Lost => (
            StatusCode::SERVICE_UNAVAILABLE,
            "Interrupted",
            "The request lost its exclusive access and was stopped; see what it did, and try \
             again.",
        ),
        ErrorKind::Unconfirmed | ErrorKind::NotQueued => (
            StatusCode::SERVICE_UNAVAILABLE,
            "Not confirmed",
            "The change may be seen late, because the cache did not confirm it.",
        ),
        ErrorKind::Unavailable | ErrorKind::Timeout => (
            StatusCode::SERVICE_UNAVAILABLE,
            "Temporarily unavailable",
            "A service that is needed for this is away; try again later.",
        ),
        ErrorKind::Request => (
            StatusCode::BAD_REQUEST,
            "Bad request",
            "A part of the request that is needed here is missing or not of the expected form.",
        ),
        ErrorKind::SlowBody => (
            StatusCode::REQUEST_TIMEOUT,
            "Request timeout",
            "The body did not arrive in time.",
        ),
        ErrorKind::LongBody => (
            StatusCode::PAYLOAD_TOO_LARGE,
            "Content too large",
            "The body is longer than what is accepted here.",
        ),
        _ => (
            StatusCode::INTERNAL_SERVER_ERROR,
            "Internal server error",
            "The server is not set up for this request.",
        ),
    }
}

/// Returns whole seconds, rounded up.
fn retry_after(error: &Error) -> u64 {
    error.retry_after().map_or(1, |after| {
        let part = u64::from(after.subsec_nanos() > 0);
        after.as_secs().saturating_add(part).max(1)
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn h5_every_kind_has_its_status() {
        for (kind, status) in [
            (ErrorKind::Held, 423),
            (ErrorKind::AlreadyRunning, 409),
            (ErrorKind::Full, 429),
            (ErrorKind::Unavailable, 503),
            (ErrorKind::Timeout, 503),
            (ErrorKind::Lost, 503),
            (ErrorKind::Unconfirmed, 503),
            (ErrorKind::NotQueued, 503),
            (ErrorKind::Request, 400),
            (ErrorKind::SlowBody, 408),
            (ErrorKind::LongBody, 413),
            (ErrorKind::Template, 500),
            (ErrorKind::Codec, 500),
        ] {
            let error = Error::new(kind, "secret").with_template("user-{id}");
            let (found, headers, body) = problem(&error);
            assert_eq!(found, status, "{kind}");
            let again = !matches!(status, 400 | 408 | 413 | 500);
            assert_eq!(headers.contains_key(RETRY_AFTER), again, "{kind}");
            let body = String::from_utf8_lossy(&body).into_owned();
            assert!(body.contains(&format!(r#""status":{status}"#)), "{body}");
            assert!(
                !body.contains("secret") && !body.contains("user-"),
                "{body}"
            );
        }
    }

    #[tokio::test]
    async fn h5_what_runs_already_is_a_conflict() {
        let cachify = crate::Cachify::memory();
        let key = crate::KeyTemplate::parse("once").unwrap().render(&[]);
        let _guard = cachify.lock(&key).acquire().await.unwrap();
        let once = cachify.once(&key).acquire().await.unwrap_err();
        let lock = cachify.lock(&key).acquire().await.unwrap_err();
        assert_eq!(
            (once.kind(), lock.kind()),
            (ErrorKind::AlreadyRunning, ErrorKind::Held)
        );
        assert!(once.is_contended() && once.retry_after().is_some());
        assert_eq!(
            (problem(&once).0.as_u16(), problem(&lock).0.as_u16()),
            (409, 423)
        );
    }

    #[test]
    fn h5_the_time_to_retry_is_rounded_up() {
        let error = Error::new(ErrorKind::Held, "").with_retry_after(Duration::from_millis(1200));
        let (_, headers, _) = problem(&error);
        assert_eq!(headers[RETRY_AFTER], "2");
    }
}

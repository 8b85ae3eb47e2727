//! What an error of ours is over HTTP.

use bytes::Bytes;
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, StatusCode};

use crate::{Error, ErrorKind};

/// What was asked for when [`problem`] is to tell that it is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum HoldKind {
    /// A lock: 423 when it is held.
    #[default]
    Lock,
    /// Run-once: 409 while somebody else runs.
    Once,
    /// A pool: 429 when it is full.
    Pool,
}

/// The status, headers and body that an error is answered with, the same in every framework.
///
/// | error | status | `Retry-After` |
/// |---|---|---|
/// | [`Held`](ErrorKind::Held) | 423; 409 for [`HoldKind::Once`]; 429 for [`HoldKind::Pool`] | when the holder's time ends, at least 1 s |
/// | [`Full`](ErrorKind::Full) | 429 | as above |
/// | [`Lost`](ErrorKind::Lost), [`Unavailable`](ErrorKind::Unavailable), [`Timeout`](ErrorKind::Timeout), [`Unconfirmed`](ErrorKind::Unconfirmed), [`NotQueued`](ErrorKind::NotQueued) | 503 | 1 s |
/// | others: mistakes in the program | 500 | |
///
/// The body is a problem document (RFC 9457). It says nothing of keys, templates and causes.
///
/// # Examples
///
/// ```
/// use cachify_core::http::{HoldKind, problem};
/// use cachify_core::{Error, ErrorKind};
///
/// let error = Error::new(ErrorKind::Full, "no permit is free");
/// let (status, headers, body) = problem(&error, HoldKind::Pool);
/// assert_eq!(status, 429);
/// assert_eq!(headers["retry-after"], "1");
/// assert_eq!(headers["content-type"], "application/problem+json");
/// ```
pub fn problem(error: &Error, hold: HoldKind) -> (StatusCode, HeaderMap, Bytes) {
    let (status, title, detail) = match (error.kind(), hold) {
        (ErrorKind::Held, HoldKind::Lock) => (
            StatusCode::LOCKED,
            "Locked",
            "Another request is working on this; try again later.",
        ),
        (ErrorKind::Held, HoldKind::Once) => (
            StatusCode::CONFLICT,
            "Already running",
            "The same request is being processed already; try again later.",
        ),
        (ErrorKind::Full, _) | (ErrorKind::Held, HoldKind::Pool) => (
            StatusCode::TOO_MANY_REQUESTS,
            "Too many at once",
            "All places for this are taken; try again later.",
        ),
        (ErrorKind::Lost, _) => (
            StatusCode::SERVICE_UNAVAILABLE,
            "Interrupted",
            "The request lost its exclusive access and was stopped; see what it did, and try again.",
        ),
        (ErrorKind::Unconfirmed | ErrorKind::NotQueued, _) => (
            StatusCode::SERVICE_UNAVAILABLE,
            "Not confirmed",
            "The change may be seen late, because the cache did not confirm it.",
        ),
        (ErrorKind::Unavailable | ErrorKind::Timeout, _) => (
            StatusCode::SERVICE_UNAVAILABLE,
            "Temporarily unavailable",
            "A service that is needed for this is away; try again later.",
        ),
        _ => (
            StatusCode::INTERNAL_SERVER_ERROR,
            "Internal server error",
            "The server is not set up for this request.",
        ),
    };
    let mut headers = HeaderMap::with_capacity(4);
    headers.insert(
        CONTENT_TYPE,
        HeaderValue::from_static("application/problem+json"),
    );
    if status != StatusCode::INTERNAL_SERVER_ERROR {
        headers.insert(RETRY_AFTER, retry_after(error).into());
    }
    let body = format!(
        r#"{{"type":"about:blank","title":"{title}","status":{},"detail":"{detail}"}}"#,
        status.as_u16()
    );
    (status, headers, body.into())
}

/// Whole seconds, rounded up.
fn retry_after(error: &Error) -> u64 {
    error.retry_after().map_or(1, |after| {
        let part = u64::from(after.subsec_nanos() > 0);
        after.as_secs().saturating_add(part).max(1)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn h5_every_kind_has_its_status() {
        for (kind, hold, status) in [
            (ErrorKind::Held, HoldKind::Lock, 423),
            (ErrorKind::Held, HoldKind::Once, 409),
            (ErrorKind::Full, HoldKind::Pool, 429),
            (ErrorKind::Unavailable, HoldKind::Lock, 503),
            (ErrorKind::Timeout, HoldKind::Once, 503),
            (ErrorKind::Lost, HoldKind::Lock, 503),
            (ErrorKind::Unconfirmed, HoldKind::Lock, 503),
            (ErrorKind::Template, HoldKind::Lock, 500),
        ] {
            let error = Error::new(kind, "secret").with_template("user-{id}");
            let (found, headers, body) = problem(&error, hold);
            assert_eq!(found, status, "{kind}");
            assert_eq!(headers.contains_key(RETRY_AFTER), status != 500, "{kind}");
            let body = String::from_utf8_lossy(&body).into_owned();
            assert!(body.contains(&format!(r#""status":{status}"#)), "{body}");
            assert!(
                !body.contains("secret") && !body.contains("user-"),
                "{body}"
            );
        }
    }

    #[test]
    fn h5_the_time_to_retry_is_rounded_up() {
        let error = Error::new(ErrorKind::Held, "").with_retry_after(Duration::from_millis(1200));
        let (_, headers, _) = problem(&error, HoldKind::Lock);
        assert_eq!(headers[RETRY_AFTER], "2");
    }
}

//! The members of `Cache-Status` (RFC 9211) that this cache adds.

use std::fmt::Write as _;

use crate::observe::Why;
use http::header::CACHE_STATUS;
use http::{HeaderMap, HeaderValue, StatusCode};

/// The reason why a request went on to the inner service: the parameter `fwd`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fwd {
    /// A rule keeps the answer from being shared.
    Bypass(Why),
    /// Neither GET nor HEAD.
    Method,
    /// Nothing was stored under the key.
    UriMiss,
    /// Nothing was stored for the fields that the answer varies by.
    VaryMiss,
    /// The request's `Cache-Control` asked for a new response.
    Request,
}

/// The origin of a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    Hit,
    /// A stored response past its lifetime. The number of seconds is not positive.
    Stale(i64),
    /// The same, in place of a failure: a response of this status, or an error.
    Failed(Option<StatusCode>, i64),
    Stored(Fwd),
    Collapsed(Fwd),
    Forwarded(Fwd),
}

impl Origin {
    /// Returns whether the response was made for another request.
    pub(super) const fn reused(self) -> bool {
        match self {
            Self::Hit | Self::Stale(_) | Self::Failed(..) | Self::Collapsed(_) => true,
            Self::Stored(_) | Self::Forwarded(_) => false,
        }
    }

    const fn forwarded(self) -> &'static str {
        match self {
            // `status` adds the rest.
            Self::Hit | Self::Stale(_) => "cachify; hit",
            Self::Failed(..) => "cachify; fwd=stale",
            Self::Stored(Fwd::VaryMiss) => "cachify; fwd=vary-miss; stored",
            Self::Stored(Fwd::Request) => "cachify; fwd=request; stored",
            Self::Stored(_) => "cachify; fwd=uri-miss; stored",
            Self::Collapsed(Fwd::VaryMiss) => "cachify; fwd=vary-miss; collapsed",
            Self::Collapsed(Fwd::Request) => "cachify; fwd=request; collapsed",
            Self::Collapsed(_) => "cachify; fwd=uri-miss; collapsed",
            // `status` adds the reason.
            Self::Forwarded(Fwd::Bypass(_)) => "cachify; fwd=bypass",
            Self::Forwarded(Fwd::Method) => "cachify; fwd=method",
            Self::Forwarded(Fwd::UriMiss) => "cachify; fwd=uri-miss",
            Self::Forwarded(Fwd::VaryMiss) => "cachify; fwd=vary-miss",
            Self::Forwarded(Fwd::Request) => "cachify; fwd=request",
        }
    }

    pub(super) fn status(self, left: Option<u64>) -> HeaderValue {
        let known = HeaderValue::from_static(self.forwarded());
        match (self, left) {
            (Self::Hit, Some(left)) => {
                let mut text = String::with_capacity(40);
                let _ = write!(text, "cachify; hit; ttl={left}");
                HeaderValue::try_from(text).unwrap_or(known)
            }
            (Self::Stale(left), _) => {
                let text = format!("{}; ttl={left}", self.forwarded());
                HeaderValue::try_from(text).unwrap_or(known)
            }
            (Self::Failed(status, left), _) => {
                let text = match status {
                    Some(status) => format!("fwd-status={}", status.as_u16()),
                    None => format!("detail={}", Why::Error.as_str()),
                };
                let text = format!("{}; {text}; ttl={left}", self.forwarded());
                HeaderValue::try_from(text).unwrap_or(known)
            }
            (Self::Forwarded(Fwd::Bypass(why)), _) => {
                let text = format!("{}; detail={}", self.forwarded(), why.as_str());
                HeaderValue::try_from(text).unwrap_or(known)
            }
            _ => known,
        }
    }

    /// Appends this cache's member, after those of caches closer to the origin.
    pub(super) fn tell(self, headers: &mut HeaderMap) {
        headers.append(CACHE_STATUS, self.status(None));
    }
}

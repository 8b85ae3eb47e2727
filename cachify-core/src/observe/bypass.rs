//! The reasons to bypass the cache.

/// The reason why a response is for one client alone. `Cache-Status`, the metric and the log show
/// the same name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Why {
    /// The request has a cookie that the key does not name.
    Cookie,
    /// The request has `Authorization`, and the response is not open to all.
    Authorization,
    /// The request is neither GET nor HEAD.
    Method,
    /// The request has a body, which the key does not cover.
    Body,
    /// The request has a precondition for the origin alone.
    Precondition,
    /// The request asks for another protocol.
    Upgrade,
    /// The request lacks a part of the key.
    NoKey,
    /// The request's route is unknown, or not the first one seen.
    Route,
    /// The rules do not store responses of this status.
    Status,
    /// The response sets a cookie.
    SetCookie,
    /// The response forbids storing, or cannot be parsed.
    CacheControl,
    /// The response had already expired when it was made.
    Expired,
    /// The response has no lifetime of its own, which the rules require.
    NotExplicit,
    /// The response varies by everything, or its `Vary` is malformed.
    Vary,
    /// The response has trailers, or is a part of a whole.
    Part,
    /// The response's body is longer than the limit.
    TooLarge,
    /// The length of the response's body is unknown.
    Streaming,
    /// The response's body broke off, or did not have the announced length.
    Broken,
    /// The key is known to be uncacheable, and another request for it is running.
    Alone,
    /// The inner service returned an error in place of a response.
    Error,
}

impl Why {
    #[cfg(feature = "metrics")]
    pub(crate) const ALL: [Self; 20] = [
        Self::Cookie,
        Self::Authorization,
        Self::Method,
        Self::Body,
        Self::Precondition,
        Self::Upgrade,
        Self::NoKey,
        Self::Route,
        Self::Status,
        Self::SetCookie,
        Self::CacheControl,
        Self::Expired,
        Self::NotExplicit,
        Self::Vary,
        Self::Part,
        Self::TooLarge,
        Self::Streaming,
        Self::Broken,
        Self::Alone,
        Self::Error,
    ];

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Cookie => "cookie",
            Self::Authorization => "authorization",
            Self::Method => "method",
            Self::Body => "request-body",
            Self::Precondition => "precondition",
            Self::Upgrade => "upgrade",
            Self::NoKey => "no-key",
            Self::Route => "route",
            Self::Status => "status",
            Self::SetCookie => "set-cookie",
            Self::CacheControl => "cache-control",
            Self::Expired => "expired",
            Self::NotExplicit => "not-explicit",
            Self::Vary => "vary",
            Self::Part => "part",
            Self::TooLarge => "too-large",
            Self::Streaming => "streaming",
            Self::Broken => "broken",
            Self::Alone => "alone",
            Self::Error => "error",
        }
    }

    /// Returns the advice for a route that bypasses for this reason, or `None` if the reason
    /// concerns a single request.
    pub(crate) const fn advice(self) -> Option<&'static str> {
        Some(match self {
            Self::Cookie => {
                "requests with this cookie are not cached: name it in the key with \
                 `{cookie.NAME}`, or use `ignore_cookies` if the response does not depend on it"
            }
            Self::Authorization => {
                "requests with `Authorization` are not cached: name `{header.authorization}` in \
                 the key, or send `Cache-Control: public` with the response"
            }
            Self::Status => "a response of this status is not cached: add it to `statuses`",
            Self::SetCookie => "a response that sets a cookie is not cached",
            Self::CacheControl => "the `Cache-Control` of a response forbids storing",
            Self::Expired => "a response had expired when it was made",
            Self::NotExplicit => {
                "a response has no lifetime, which `only_explicit` requires: send `max-age`"
            }
            Self::Vary => "a response with this `Vary` cannot be shared",
            Self::Part => "a response with trailers or `Content-Range` is not cached",
            Self::TooLarge => "a response is over the `limit` and is not cached: raise the limit",
            Self::Streaming => {
                "a response of unknown length is not cached: if an inner layer compresses it, put \
                 that layer outside of the cache"
            }
            Self::Body => "requests with a body are not cached",
            Self::Method
            | Self::Precondition
            | Self::Upgrade
            // These two have their own events.
            | Self::NoKey
            | Self::Route
            | Self::Broken
            | Self::Alone
            | Self::Error => return None,
        })
    }
}

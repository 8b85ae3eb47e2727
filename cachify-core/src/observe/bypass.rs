//! The reasons to bypass the cache.

/// The reason to answer a request for its client alone, as `Cache-Status`, the metric and the log
/// name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Why {
    /// It has a cookie that the key does not name.
    Cookie,
    /// It has `Authorization`, and the response is not open to all.
    Authorization,
    /// It is neither GET nor HEAD.
    Method,
    /// It has a body, which the key does not name.
    Body,
    /// It has a precondition for the origin alone.
    Precondition,
    /// It asks for another protocol.
    Upgrade,
    /// It lacks something that the key names.
    NoKey,
    /// Its route is not known to be the one that the key is for.
    Route,
    /// The rules do not store responses of this status.
    Status,
    /// The response sets a cookie.
    SetCookie,
    /// The response forbids storing, or cannot be parsed.
    CacheControl,
    /// The response was no longer fresh when it was made.
    Expired,
    /// The response does not say how long it is fresh, as the rules require.
    NotExplicit,
    /// The response varies by everything, or by more than was known.
    Vary,
    /// The response has trailers, or is a part.
    Part,
    /// The body is longer than the limit.
    TooLarge,
    /// The length of the body is unknown.
    Streaming,
    /// The body broke off, or does not have the length that was announced.
    Broken,
    /// The key is known to be uncacheable, and another request of it is running.
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

    /// Returns what to do about a route that bypasses for this reason; `None` if it tells of one
    /// request only.
    pub(crate) const fn advice(self) -> Option<&'static str> {
        Some(match self {
            Self::Cookie => {
                "requests with this cookie are not cached: name it in the key with `{cookie.NAME}`, or \
                 use `ignore_cookies` if the response does not depend on it"
            }
            Self::Authorization => {
                "requests with `Authorization` are not cached: name `{header.authorization}` in the \
                 key, or have the handler send `Cache-Control: public`"
            }
            Self::Status => "a response of this status is not cached: see `statuses`",
            Self::SetCookie => "a response that sets a cookie is not cached",
            Self::CacheControl => "the `Cache-Control` of a response forbids storing",
            Self::Expired => "a response had expired when it was made",
            Self::NotExplicit => {
                "a response does not say how long it is fresh, as `only_explicit` requires"
            }
            Self::Vary => "a response with this `Vary` cannot be shared",
            Self::Part => "a response with trailers or `Content-Range` is not cached",
            Self::TooLarge => "a response is longer than `limit` and is not cached",
            Self::Streaming => {
                "a response of unknown length is not cached: if a layer inside compresses it, put that \
                 layer outside of the cache"
            }
            Self::Body => "requests with a body are not cached",
            Self::Method
            | Self::Precondition
            | Self::Upgrade
            // They have an event of their own.
            | Self::NoKey
            | Self::Route
            | Self::Broken
            | Self::Alone
            | Self::Error => return None,
        })
    }
}

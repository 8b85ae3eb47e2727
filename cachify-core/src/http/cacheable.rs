//! Decides from a request and from the head of its response whether the response may be stored.

use std::time::{Duration, SystemTime};

use http::header::{
    AGE, AUTHORIZATION, CONTENT_LENGTH, CONTENT_RANGE, COOKIE, DATE, EXPIRES, HeaderMap,
    HeaderName, IF_MATCH, IF_UNMODIFIED_SINCE, SET_COOKIE, TRAILER, TRANSFER_ENCODING, UPGRADE,
    VARY,
};
use http::{Method, StatusCode};

use super::cache_status::Fwd;
use super::cookies::Ignored;
use super::directives::{
    Directives, LARGEST, Targeted, cache_control, delta_seconds, pragma_forbids, targeted,
};
use super::fields::date;
use super::stale::Staleness;
use crate::observe::Why;

/// The statuses that are stored by default: those cacheable statuses (RFC 9110, 15.1) that do not
/// report an absence, which can end at any moment.
pub(super) const STATUSES: [StatusCode; 4] = [
    StatusCode::OK,
    StatusCode::NON_AUTHORITATIVE_INFORMATION,
    StatusCode::MOVED_PERMANENTLY,
    StatusCode::PERMANENT_REDIRECT,
];

/// Statuses that describe a temporary state, as server errors do: the answers of locks, once and
/// pools, and similar ones.
const MOMENTARY: [StatusCode; 5] = [
    StatusCode::REQUEST_TIMEOUT,
    StatusCode::CONFLICT,
    StatusCode::LOCKED,
    StatusCode::TOO_EARLY,
    StatusCode::TOO_MANY_REQUESTS,
];

/// The statuses of failures, in whose place a stale response may be served (RFC 5861, 4).
const FAILURES: [StatusCode; 4] = [
    StatusCode::INTERNAL_SERVER_ERROR,
    StatusCode::BAD_GATEWAY,
    StatusCode::SERVICE_UNAVAILABLE,
    StatusCode::GATEWAY_TIMEOUT,
];

/// Returns whether a stale response may be served in place of one of this status.
pub(super) fn is_failure(status: StatusCode) -> bool {
    FAILURES.contains(&status)
}

/// Response headers that an entry never has: they are for one client, or describe a part.
pub(super) const UNSTORED: [HeaderName; 2] = [SET_COOKIE, CONTENT_RANGE];

/// Returns whether a response of this status can be an entry with a body of this length.
///
/// 206 and 304 answer one request only. 204 and 205 have no body, and statuses outside of 200 to
/// 599 are not final responses.
pub(super) fn can_be_an_entry(status: StatusCode, length: u64) -> bool {
    let empty = status == StatusCode::NO_CONTENT || status == StatusCode::RESET_CONTENT;
    (200..600).contains(&status.as_u16())
        && status != StatusCode::PARTIAL_CONTENT
        && status != StatusCode::NOT_MODIFIED
        && (length == 0 || !empty)
}

/// Decides whether a request may be answered from the cache. Returns whether it is `authorized`: it
/// then gets only [open](Storable::open) responses. The headers in `keyed` are part of the
/// request's key.
pub(super) fn admit(
    method: &Method,
    headers: &HeaderMap,
    keyed: &[HeaderName],
    ignored: &Ignored,
) -> Result<bool, Fwd> {
    if method != Method::GET && method != Method::HEAD {
        return Err(Fwd::Method);
    }
    // Preconditions are for the origin alone (RFC 9111, 4.3.2), an upgrade changes the protocol,
    // and the key does not cover a body.
    let special = [
        (IF_MATCH, Why::Precondition),
        (IF_UNMODIFIED_SINCE, Why::Precondition),
        (UPGRADE, Why::Upgrade),
        (TRANSFER_ENCODING, Why::Body),
    ];
    let personal = !keyed.contains(&COOKIE) && !ignored.covers(headers);
    let why = if personal {
        Some(Why::Cookie)
    } else if headers
        .get(CONTENT_LENGTH)
        .is_some_and(|length| length.as_bytes() != b"0")
    {
        Some(Why::Body)
    } else {
        let special = special.iter().find(|(name, _)| headers.contains_key(name));
        special.map(|&(_, why)| why)
    };
    if let Some(why) = why {
        return Err(Fwd::Bypass(why));
    }
    Ok(headers.contains_key(AUTHORIZATION) && !keyed.contains(&AUTHORIZATION))
}

/// The reason not to store a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// A temporary failure, which says nothing about the next response.
    Accident(Why),
    /// A property that the next response probably shares.
    Kind(Why),
}

impl Refusal {
    pub(super) const fn why(self) -> Why {
        let (Self::Accident(why) | Self::Kind(why)) = self;
        why
    }
}

/// The rules for storing a response, as its head gives them.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Storable {
    /// The fields that it varies by, sorted.
    pub(super) vary: Vec<HeaderName>,
    /// Its freshness lifetime, if it gives one.
    pub(super) lifetime: Option<Duration>,
    /// Set if requests with `Authorization` may get it, too.
    pub(super) open: bool,
    /// The directives that decide about it after its lifetime.
    pub(super) stale: Staleness,
}

/// Decides whether a response may be stored. `authorized` says that its request had
/// `Authorization`.
pub(super) fn storable(
    status: StatusCode,
    headers: &HeaderMap,
    statuses: &[StatusCode],
    authorized: bool,
) -> Result<Storable, Refusal> {
    if (status.is_server_error() || MOMENTARY.contains(&status)) && !statuses.contains(&status) {
        return Err(Refusal::Accident(Why::Status));
    }
    if !statuses.contains(&status) || !can_be_an_entry(status, 0) {
        return Err(Refusal::Kind(Why::Status));
    }
    if headers.contains_key(TRAILER) {
        return Err(Refusal::Kind(Why::Part));
    }
    if let Some(name) = UNSTORED.iter().find(|name| headers.contains_key(*name)) {
        return Err(Refusal::Kind(if name == SET_COOKIE {
            Why::SetCookie
        } else {
            Why::Part
        }));
    }
    let (directives, lifetime) = policy(headers)?;
    // RFC 9111, 3.5. `must-revalidate` opens a response to other users only if its request had
    // `Authorization`.
    let open = directives.public
        || directives.s_maxage.is_some()
        || authorized && directives.must_revalidate;
    // RFC 9111, 5.2.2.3: the `no-store` is meant for caches that do not understand the status.
    let understood = directives.must_understand && status.canonical_reason().is_some();
    if !understood && (directives.no_store || directives.must_understand)
        // Also if they name only some fields: a cache may store the rest, but need not.
        || directives.private
        || directives.no_cache
    {
        return Err(Refusal::Kind(Why::CacheControl));
    }
    if lifetime.is_some_and(|lifetime| lifetime.is_zero()) {
        return Err(Refusal::Kind(Why::Expired));
    }
    if authorized && !open {
        return Err(Refusal::Kind(Why::Authorization));
    }
    Ok(Storable {
        vary: vary(headers)?,
        lifetime,
        open,
        stale: Staleness::of(&directives),
    })
}

/// Returns the caching directives of a response and its lifetime: of a targeted field, else of
/// `Cache-Control`, else of `Pragma`.
fn policy(headers: &HeaderMap) -> Result<(Directives, Option<Duration>), Refusal> {
    let time = |directives: &Directives| {
        let seconds = directives.s_maxage.or(directives.max_age);
        seconds.map(Duration::from_secs)
    };
    let targeted = targeted(headers);
    if let Targeted::Valid(directives) = targeted {
        return Ok((directives, time(&directives)));
    }
    let ordinary = cache_control(headers).map_err(|_| Refusal::Kind(Why::CacheControl))?;
    if ordinary.is_none() && pragma_forbids(headers) {
        return Err(Refusal::Kind(Why::CacheControl));
    }
    let directives = ordinary.unwrap_or_default();
    let lifetime = time(&directives).or_else(|| expires(headers));
    // A malformed targeted field is ignored, but does not count as permission to store.
    if targeted == Targeted::Invalid && lifetime.is_none() {
        return Err(Refusal::Kind(Why::CacheControl));
    }
    Ok((directives, lifetime))
}

/// Returns how long after its `Date`, or from now if it has none, a response expires by its
/// `Expires`. An invalid date, such as the common `0`, means that it has expired (RFC 9111, 5.3).
fn expires(headers: &HeaderMap) -> Option<Duration> {
    let mut lines = headers.get_all(EXPIRES).into_iter();
    let line = lines.next()?;
    if lines.any(|other| other != line) {
        return Some(Duration::ZERO);
    }
    let made = headers.get(DATE).and_then(date);
    let left = date(line).and_then(|end| {
        end.duration_since(made.unwrap_or_else(SystemTime::now))
            .ok()
    });
    Some(left.unwrap_or_default())
}

/// Returns the age of a response that was received `now`, `delay` after the request was sent (RFC
/// 9111, 4.2.3).
///
/// The delay counts only for a response from another cache: a response that was made here is new
/// when it is complete.
pub(super) fn initial_age(headers: &HeaderMap, now: SystemTime, delay: Duration) -> u64 {
    let made = headers.get(DATE).and_then(date);
    let apparent = made
        .and_then(|made| now.duration_since(made).ok())
        .map_or(0, |age| age.as_secs());
    // The first of several members counts, and an invalid one counts as absent (RFC 9111, 5.1).
    let told = headers.get(AGE).and_then(|line| {
        let first = line.as_bytes().split(|&byte| byte == b',').next()?;
        delta_seconds(first.trim_ascii())
    });
    let corrected = told.map_or(0, |age| age.saturating_add(delay.as_secs()));
    apparent.max(corrected).min(LARGEST)
}

fn vary(headers: &HeaderMap) -> Result<Vec<HeaderName>, Refusal> {
    let mut fields = Vec::new();
    for value in headers.get_all(VARY) {
        for field in value.as_bytes().split(|&byte| byte == b',') {
            let field = field.trim_ascii();
            if field.is_empty() {
                continue;
            }
            if field == b"*" {
                return Err(Refusal::Kind(Why::Vary));
            }
            fields.push(HeaderName::from_bytes(field).map_err(|_| Refusal::Kind(Why::Vary))?);
        }
    }
    fields.sort_unstable_by(|a, b| a.as_str().cmp(b.as_str()));
    fields.dedup();
    Ok(fields)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::fields::list;
    use super::super::wish::Wish;
    use super::*;
    use http::HeaderValue;
    use proptest::prelude::*;

    fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
        lines
            .iter()
            .map(|&(name, value)| (HeaderName::from_static(name), value.parse().unwrap()))
            .collect()
    }

    /// The expectation for the next response.
    #[derive(Debug, PartialEq)]
    enum Next {
        Any,
        Alike,
    }

    fn of(status: u16, lines: &[(&'static str, &str)]) -> Result<Storable, Next> {
        storable(
            StatusCode::from_u16(status).unwrap(),
            &headers(lines),
            &STATUSES,
            false,
        )
        .map_err(|refusal| match refusal {
            Refusal::Accident(_) => Next::Any,
            Refusal::Kind(_) => Next::Alike,
        })
    }

    #[test]
    fn h1_only_some_statuses_are_stored() {
        for status in [200, 203, 301, 308] {
            assert!(of(status, &[]).is_ok(), "{status}");
        }
        for status in [201, 204, 206, 302, 304, 307, 400, 401, 404, 410] {
            assert_eq!(of(status, &[]), Err(Next::Alike), "{status}");
        }
        for status in [408, 409, 423, 425, 429, 500, 503] {
            assert_eq!(of(status, &[]), Err(Next::Any), "{status}");
        }
    }

    #[test]
    fn h1_what_an_answer_forbids_is_not_stored() {
        for (name, value) in [
            ("set-cookie", "id=1"),
            ("cache-control", "no-store"),
            ("cache-control", "private"),
            ("cache-control", "Private"),
            ("cache-control", "max-age=60, PRIVATE=\"x, y\""),
            ("cache-control", "no-cache"),
            ("cache-control", "max-age=0"),
            ("cache-control", "max-age=soon"),
            ("cache-control", "max-age=60, s-maxage=0"),
            ("cache-control", "private; max-age=60"),
            ("cache-control", "no-cache no-store"),
            ("cache-control", "max-age=60, \"no-store"),
            ("pragma", "no-cache"),
            ("cdn-cache-control", "no-store"),
            ("cdn-cache-control", "max-age=60, &&"),
            ("cachify-cache-control", "private; max-age=60"),
            ("expires", "0"),
            ("expires", "Sun, 06 Nov 1994 08:49:37 GMT"),
            ("vary", "*"),
            ("vary", "accept, *"),
            ("vary", "a b"),
            ("trailer", "checksum"),
        ] {
            assert_eq!(
                of(200, &[(name, value)]),
                Err(Next::Alike),
                "{name}: {value}"
            );
        }
    }

    #[test]
    fn h1_a_quoted_directive_is_an_argument() {
        let storable = of(
            200,
            &[("cache-control", "ext=\"a, no-store, b\", max-age=\"60\"")],
        );
        assert_eq!(storable.unwrap().lifetime, Some(Duration::from_mins(1)));
    }

    #[test]
    fn h1_the_time_for_shared_caches_comes_first() {
        let storable = of(200, &[("cache-control", "s-maxage=5, max-age=60")]).unwrap();
        assert_eq!(storable.lifetime, Some(Duration::from_secs(5)));
    }

    #[test]
    fn h1_an_answer_expires_when_it_says_unless_it_says_how_long_it_lives() {
        let date = ("date", "Sun, 06 Nov 1994 08:49:37 GMT");
        let expires = ("expires", "Sun, 06 Nov 1994 08:50:07 GMT");
        let max_age = |lines: &[_]| of(200, lines).unwrap().lifetime;
        assert_eq!(max_age(&[date, expires]), Some(Duration::from_secs(30)));
        let both = [date, expires, ("cache-control", "max-age=60")];
        assert_eq!(max_age(&both), Some(Duration::from_mins(1)));
        assert_eq!(max_age(&[date]), None);
    }

    #[test]
    fn h1_a_targeted_field_comes_before_cache_control() {
        let lifetime = |lines: &[_]| of(200, lines).map(|storable| storable.lifetime);
        let minute = Ok(Some(Duration::from_mins(1)));
        let [ours, cdn] = ["cachify-cache-control", "cdn-cache-control"];
        let old = [
            ("cache-control", "no-store"),
            ("expires", "0"),
            ("pragma", "no-cache"),
        ];
        let with = |lines: &[_]| lifetime(&[&old, lines].concat());
        assert_eq!(with(&[(cdn, "max-age=60")]), minute);
        assert_eq!(with(&[(cdn, "no-store"), (ours, "max-age=60")]), minute);
        assert_eq!(with(&[(ours, "max-age=60"), (cdn, "no-store")]), minute);
        // An empty or malformed field leaves the decision to the next field.
        assert_eq!(with(&[(ours, ""), (cdn, "max-age=60")]), minute);
        assert_eq!(with(&[(ours, "max-age=60,"), (cdn, "max-age=60")]), minute);
        assert_eq!(with(&[(ours, "max-age=60,")]), Err(Next::Alike));
        let fallback = [(ours, "max-age=9,"), ("cache-control", "max-age=60")];
        assert_eq!(lifetime(&fallback), minute);
        // A time of the wrong type counts as expired.
        assert_eq!(with(&[(cdn, "max-age=\"60\"")]), Err(Next::Alike));
    }

    #[test]
    fn h1_an_age_is_what_date_and_other_caches_say() {
        let now = date(&HeaderValue::from_static("Sun, 06 Nov 1994 08:49:37 GMT")).unwrap();
        let age = |lines: &[_]| initial_age(&headers(lines), now, Duration::from_secs(3));
        let old = ("date", "Sun, 06 Nov 1994 08:48:37 GMT");
        let ahead = ("date", "Sun, 06 Nov 1994 09:00:00 GMT");
        for (lines, expected) in [
            (&[][..], 0),
            (&[old], 60),
            (&[("date", "sUn, 06 nOV 1994 08:48:37 gmt")], 60),
            (&[("date", "Sunday, 06-Nov-94 08:48:37 GMT")], 60),
            (&[("date", "Sun Nov  6 08:48:37 1994")], 60),
            (&[("date", "Sun, 06 Nov 1994 08:48:37 CET")], 0),
            (&[ahead], 0),
            (&[("date", "yesterday")], 0),
            (&[("age", "7")], 10),
            (&[old, ("age", "7")], 60),
            (&[old, ("age", "100")], 103),
            (&[("age", "7, 99")], 10),
            (&[("age", "7"), ("age", "99")], 10),
            (&[("age", "99999999999999999999999999999999")], LARGEST),
            (&[("age", "+61")], 0),
            (&[("age", "-61")], 0),
            (&[("age", "61.0")], 0),
            (&[("age", "old, 61")], 0),
        ] {
            assert_eq!(age(lines), expected, "{lines:?}");
        }
    }

    #[test]
    fn h1_no_store_is_ignored_only_for_a_status_that_is_understood() {
        let judge = |status, value| {
            let status = StatusCode::from_u16(status).unwrap();
            let headers = headers(&[("cache-control", value)]);
            storable(status, &headers, &[status], false).is_ok()
        };
        assert!(judge(200, "max-age=60, no-store, must-understand"));
        assert!(!judge(599, "max-age=60, no-store, must-understand"));
        assert!(!judge(599, "max-age=60, must-understand"));
        assert!(!judge(
            200,
            "max-age=60, no-store, private, must-understand"
        ));
    }

    #[test]
    fn h1_requests_with_authorization_share_what_is_said_to_be_open() {
        for (value, alone, authorized) in [
            ("public, max-age=60", true, true),
            ("s-maxage=60", true, true),
            ("max-age=60, must-revalidate", false, true),
            ("max-age=60", false, false),
            ("private, public", false, false),
        ] {
            let judge = |authorized| {
                let headers = headers(&[("cache-control", value)]);
                storable(StatusCode::OK, &headers, &STATUSES, authorized)
            };
            assert_eq!(
                judge(false).is_ok_and(|storable| storable.open),
                alone,
                "{value}"
            );
            assert_eq!(judge(true).is_ok(), authorized, "{value}");
        }
    }

    #[test]
    fn h2_the_varying_fields_are_sorted_and_named_once() {
        let lines = [("vary", "Accept-Language, accept"), ("vary", "ACCEPT,")];
        let vary = of(200, &lines).unwrap().vary;
        assert_eq!(vary, ["accept", "accept-language"]);
    }

    #[test]
    fn h1_requests_of_a_person_bypass_unless_the_key_tells_them_apart() {
        for (name, value, why) in [
            ("authorization", "Bearer x", Why::Authorization),
            ("cookie", "id=1", Why::Cookie),
            ("upgrade", "websocket", Why::Upgrade),
            ("if-match", "\"x\"", Why::Precondition),
            ("content-length", "3", Why::Body),
        ] {
            let headers = headers(&[(name, value)]);
            let admit = |keyed: &[_]| admit(&Method::GET, &headers, keyed, &Ignored::default());
            // A request with `Authorization` may get some responses.
            let alone = if name == "authorization" {
                Ok(true)
            } else {
                Err(Fwd::Bypass(why))
            };
            assert_eq!(admit(&[]), alone, "{name}");
            let keyed = [HeaderName::from_static(name)];
            let personal = keyed[0] == AUTHORIZATION || keyed[0] == COOKIE;
            assert_eq!(admit(&keyed) == Ok(false), personal, "{name}");
        }
        let admit = |method| admit(&method, &HeaderMap::new(), &[], &Ignored::default());
        assert_eq!(admit(Method::HEAD), Ok(false));
        assert_eq!(admit(Method::POST), Err(Fwd::Method));
    }

    proptest! {
        #[test]
        fn s3_header_fields_never_panic(
            lines in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..4),
        ) {
            let mut headers = HeaderMap::new();
            for line in lines {
                if let Ok(value) = http::HeaderValue::from_bytes(&line) {
                    for name in [VARY, AGE, DATE, EXPIRES] {
                        headers.append(name, value.clone());
                    }
                }
            }
            let _ = storable(StatusCode::OK, &headers, &STATUSES, true);
            let _ = (Wish::of(&headers), initial_age(&headers, SystemTime::now(), Duration::MAX));
        }

        #[test]
        fn s3_lists_never_panic(line in "[\\PC,\"\\\\]*") {
            prop_assert!(list(&line).all(|item| !item.is_empty()));
        }
    }
}

//! What may be stored, by the request and by the head of its answer.

use std::time::{Duration, SystemTime};

use http::header::{
    AUTHORIZATION, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_RANGE, COOKIE, DATE, EXPIRES, HeaderMap,
    HeaderName, HeaderValue, IF_MATCH, IF_UNMODIFIED_SINCE, SET_COOKIE, TRAILER, TRANSFER_ENCODING,
    UPGRADE, VARY,
};
use http::{Method, StatusCode};

use super::answer::Fwd;

/// Statuses that are stored unless the rules say otherwise. They are those of the cacheable ones (RFC 9110, 15.1) that
/// do not tell of an absence, which ends without notice.
pub(super) const STATUSES: [StatusCode; 4] = [
    StatusCode::OK,
    StatusCode::NON_AUTHORITATIVE_INFORMATION,
    StatusCode::MOVED_PERMANENTLY,
    StatusCode::PERMANENT_REDIRECT,
];

/// Statuses that tell of a moment, as server errors do: what locks, run-once and pools answer, and their like.
const MOMENTARY: [StatusCode; 5] = [
    StatusCode::REQUEST_TIMEOUT,
    StatusCode::CONFLICT,
    StatusCode::LOCKED,
    StatusCode::TOO_EARLY,
    StatusCode::TOO_MANY_REQUESTS,
];

/// Request headers that tell users apart, each of which a key may name.
pub(super) const PERSONAL: [HeaderName; 2] = [AUTHORIZATION, COOKIE];

/// Whether a request must not be answered from the cache; its headers in `allowed` are part of the key.
pub(super) fn bypass(method: &Method, headers: &HeaderMap, keyed: &[HeaderName]) -> Option<Fwd> {
    if method != Method::GET && method != Method::HEAD {
        return Some(Fwd::Method);
    }
    // A precondition for the origin alone (RFC 9111, 4.3.2), another protocol, a body that the key does not tell.
    let special = [IF_MATCH, IF_UNMODIFIED_SINCE, UPGRADE, TRANSFER_ENCODING];
    let personal = |name: &HeaderName| headers.contains_key(name) && !keyed.contains(name);
    let bypass = PERSONAL.iter().any(personal)
        || special.iter().any(|name| headers.contains_key(name))
        || headers
            .get(CONTENT_LENGTH)
            .is_some_and(|length| length.as_bytes() != b"0");
    bypass.then_some(Fwd::Bypass)
}

/// What a request's `Cache-Control` asks for, where the rules listen to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wish {
    Nothing,
    /// A new answer, also for the others.
    Fresh,
    /// An answer that is not stored.
    Unstored,
}

pub(super) fn wish(headers: &HeaderMap) -> Wish {
    let mut wish = Wish::Nothing;
    for (name, value) in directives(headers) {
        if name.eq_ignore_ascii_case("no-store") {
            return Wish::Unstored;
        }
        let reload = name.eq_ignore_ascii_case("no-cache")
            || name.eq_ignore_ascii_case("max-age") && value == Some("0");
        if reload {
            wish = Wish::Fresh;
        }
    }
    wish
}

/// Why an answer is not stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// It was an accident, and says nothing about the next answer.
    Accident,
    /// The next answer will probably be of the same kind.
    Kind,
}

/// What the head of an answer says about storing it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Storable {
    /// The fields that it varies by, sorted.
    pub(super) vary: Vec<HeaderName>,
    /// How long it says that it is fresh.
    pub(super) max_age: Option<Duration>,
}

pub(super) fn storable(
    status: StatusCode,
    headers: &HeaderMap,
    statuses: &[StatusCode],
) -> Result<Storable, Refusal> {
    if (status.is_server_error() || MOMENTARY.contains(&status)) && !statuses.contains(&status) {
        return Err(Refusal::Accident);
    }
    let partial = status == StatusCode::PARTIAL_CONTENT || status == StatusCode::NOT_MODIFIED;
    let special = [SET_COOKIE, TRAILER, CONTENT_RANGE];
    if partial
        || !statuses.contains(&status)
        || special.iter().any(|name| headers.contains_key(name))
    {
        return Err(Refusal::Kind);
    }
    Ok(Storable {
        max_age: max_age(headers)?,
        vary: vary(headers)?,
    })
}

fn max_age(headers: &HeaderMap) -> Result<Option<Duration>, Refusal> {
    let (mut private, mut shared) = (None, None);
    for (name, value) in directives(headers) {
        let is = |other| name.eq_ignore_ascii_case(other);
        // Also where they name fields only: to keep the rest is allowed, not asked for.
        if is("no-store") || is("private") || is("no-cache") {
            return Err(Refusal::Kind);
        }
        // An unreadable time is none at all (RFC 9111, 4.2.1).
        let time = || Duration::from_secs(value.map_or(0, seconds));
        if is("s-maxage") {
            shared.get_or_insert_with(time);
        } else if is("max-age") {
            private.get_or_insert_with(time);
        }
    }
    let max_age = shared.or(private).or_else(|| expires(headers));
    if max_age.is_some_and(|time| time.is_zero()) {
        return Err(Refusal::Kind);
    }
    Ok(max_age)
}

/// How long after its `Date`, else from now, an answer expires by its `Expires`. What is no date has passed (RFC 9111, 5.3): many say `0`.
fn expires(headers: &HeaderMap) -> Option<Duration> {
    let made = headers.get(DATE).and_then(date);
    let left = date(headers.get(EXPIRES)?).and_then(|end| {
        end.duration_since(made.unwrap_or_else(SystemTime::now))
            .ok()
    });
    Some(left.unwrap_or_default())
}

pub(super) fn date(value: &HeaderValue) -> Option<SystemTime> {
    httpdate::parse_http_date(value.to_str().ok()?).ok()
}

/// A number of seconds; one that is too large is the largest, and what is no number is 0.
fn seconds(text: &str) -> u64 {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return 0;
    }
    text.parse()
        .unwrap_or(u64::from(u32::MAX))
        .min(u64::from(u32::MAX))
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
                return Err(Refusal::Kind);
            }
            fields.push(HeaderName::from_bytes(field).map_err(|_| Refusal::Kind)?);
        }
    }
    fields.sort_unstable_by(|a, b| a.as_str().cmp(b.as_str()));
    fields.dedup();
    Ok(fields)
}

/// The directives of all `Cache-Control` lines, with their arguments, quotes taken off.
fn directives(headers: &HeaderMap) -> impl Iterator<Item = (&str, Option<&str>)> {
    headers
        .get_all(CACHE_CONTROL)
        .into_iter()
        // What is no text cannot be understood, and then nothing is to be stored.
        .map(|value| value.to_str().unwrap_or("no-store"))
        .flat_map(list)
        .map(|item| match item.split_once('=') {
            Some((name, value)) => (name.trim(), Some(value.trim().trim_matches('"'))),
            None => (item, None),
        })
}

/// The members of a comma-separated list; commas in quotes do not separate.
pub(super) fn list(line: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(line);
    std::iter::from_fn(move || {
        let line = rest?;
        let (mut quoted, mut escaped) = (false, false);
        let end = line.bytes().position(|byte| {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = quoted,
                b'"' => quoted = !quoted,
                _ => return byte == b',' && !quoted,
            }
            false
        });
        rest = end.map(|end| &line[end + 1..]);
        let item = end.map_or(line, |end| &line[..end]);
        Some(item.trim())
    })
    .filter(|item| !item.is_empty())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
        lines
            .iter()
            .map(|&(name, value)| (HeaderName::from_static(name), value.parse().unwrap()))
            .collect()
    }

    fn of(status: u16, lines: &[(&'static str, &str)]) -> Result<Storable, Refusal> {
        storable(
            StatusCode::from_u16(status).unwrap(),
            &headers(lines),
            &STATUSES,
        )
    }

    #[test]
    fn h1_only_some_statuses_are_stored() {
        for status in [200, 203, 301, 308] {
            assert!(of(status, &[]).is_ok(), "{status}");
        }
        for status in [201, 204, 206, 302, 304, 307, 400, 401, 404, 410] {
            assert_eq!(of(status, &[]), Err(Refusal::Kind), "{status}");
        }
        for status in [408, 409, 423, 425, 429, 500, 503] {
            assert_eq!(of(status, &[]), Err(Refusal::Accident), "{status}");
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
            ("expires", "0"),
            ("expires", "Sun, 06 Nov 1994 08:49:37 GMT"),
            ("vary", "*"),
            ("vary", "accept, *"),
            ("vary", "a b"),
            ("trailer", "checksum"),
        ] {
            assert_eq!(
                of(200, &[(name, value)]),
                Err(Refusal::Kind),
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
        assert_eq!(storable.unwrap().max_age, Some(Duration::from_mins(1)));
    }

    #[test]
    fn h1_the_time_for_shared_caches_comes_first() {
        let storable = of(200, &[("cache-control", "s-maxage=5, max-age=60")]).unwrap();
        assert_eq!(storable.max_age, Some(Duration::from_secs(5)));
    }

    #[test]
    fn h1_an_answer_expires_when_it_says_unless_it_says_how_long_it_lives() {
        let date = ("date", "Sun, 06 Nov 1994 08:49:37 GMT");
        let expires = ("expires", "Sun, 06 Nov 1994 08:50:07 GMT");
        let max_age = |lines: &[_]| of(200, lines).unwrap().max_age;
        assert_eq!(max_age(&[date, expires]), Some(Duration::from_secs(30)));
        let both = [date, expires, ("cache-control", "max-age=60")];
        assert_eq!(max_age(&both), Some(Duration::from_mins(1)));
        assert_eq!(max_age(&[date]), None);
    }

    #[test]
    fn h2_the_varying_fields_are_sorted_and_named_once() {
        let lines = [("vary", "Accept-Language, accept"), ("vary", "ACCEPT,")];
        let vary = of(200, &lines).unwrap().vary;
        assert_eq!(vary, ["accept", "accept-language"]);
    }

    #[test]
    fn h1_requests_of_a_person_bypass_unless_the_key_tells_them_apart() {
        for (name, value) in [
            ("authorization", "Bearer x"),
            ("cookie", "id=1"),
            ("upgrade", "websocket"),
            ("if-match", "\"x\""),
            ("content-length", "3"),
        ] {
            let headers = headers(&[(name, value)]);
            assert_eq!(
                bypass(&Method::GET, &headers, &[]),
                Some(Fwd::Bypass),
                "{name}"
            );
            let keyed = [HeaderName::from_static(name)];
            let allowed = bypass(&Method::GET, &headers, &keyed).is_none();
            assert_eq!(allowed, PERSONAL.contains(&keyed[0]), "{name}");
        }
        let none = HeaderMap::new();
        assert_eq!(bypass(&Method::HEAD, &none, &[]), None);
        assert_eq!(bypass(&Method::POST, &none, &[]), Some(Fwd::Method));
    }

    proptest! {
        #[test]
        fn s3_header_fields_never_panic(lines in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..4)) {
            let mut headers = HeaderMap::new();
            for line in lines {
                if let Ok(value) = http::HeaderValue::from_bytes(&line) {
                    headers.append(CACHE_CONTROL, value.clone());
                    headers.append(VARY, value);
                }
            }
            let _ = storable(StatusCode::OK, &headers, &STATUSES);
            let _ = wish(&headers);
        }

        #[test]
        fn s3_lists_never_panic(line in "[\\PC,\"\\\\]*") {
            prop_assert!(list(&line).all(|item| !item.is_empty()));
        }
    }
}

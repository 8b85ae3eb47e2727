//! Makes a client's response from a stored one: the whole, a part, or a 304.

use bytes::Bytes;
use http::header::{
    ACCEPT_RANGES, AGE, CACHE_STATUS, CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_LENGTH,
    CONTENT_RANGE, CONTENT_TYPE, DATE, ETAG, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE,
    LAST_MODIFIED, RANGE,
};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};

use super::cache_status::Origin;
use super::fields::{date, list};
use super::stored::{Stored, Told};
use crate::clock::Moment;

/// Request headers that ask for less than the whole response. They are removed before the inner
/// service is called, and evaluated afterwards.
pub(super) const CONDITIONS: [HeaderName; 4] = [IF_NONE_MATCH, IF_MODIFIED_SINCE, RANGE, IF_RANGE];

/// Makes the response to a request with these `conditions`.
pub(super) fn answer(
    stored: &Stored,
    origin: Origin,
    now: Moment,
    head: bool,
    conditions: &HeaderMap,
) -> Response<Bytes> {
    let mut headers = headers(stored, origin, now);
    let mut status = stored.status;
    let mut body = stored.body.clone();
    if status.is_success() && !conditions.is_empty() {
        if unchanged(conditions, &headers) {
            // A 304 repeats the other headers (RFC 9110, 15.4.5), but has no body that these could
            // describe.
            for name in [
                CONTENT_LENGTH,
                CONTENT_TYPE,
                CONTENT_ENCODING,
                CONTENT_LANGUAGE,
                ACCEPT_RANGES,
            ] {
                headers.remove(name);
            }
            status = StatusCode::NOT_MODIFIED;
            body = Bytes::new();
        } else if let Some(range) = part(conditions, &headers, status, body.len(), head) {
            let content_range;
            (status, body, content_range) = match range {
                Some((first, last)) => (
                    StatusCode::PARTIAL_CONTENT,
                    body.slice(first..=last),
                    format!("bytes {first}-{last}/{}", body.len()),
                ),
                None => (
                    StatusCode::RANGE_NOT_SATISFIABLE,
                    Bytes::new(),
                    format!("bytes */{}", body.len()),
                ),
            };
            if status == StatusCode::RANGE_NOT_SATISFIABLE {
                // They describe the body, which is not sent.
                for name in [CONTENT_TYPE, CONTENT_ENCODING, CONTENT_LANGUAGE] {
                    headers.remove(name);
                }
            }
            headers.insert(CONTENT_LENGTH, body.len().into());
            if let Ok(value) = HeaderValue::try_from(content_range) {
                headers.insert(CONTENT_RANGE, value);
            }
        }
    }
    if head {
        if status != StatusCode::NOT_MODIFIED && status != StatusCode::NO_CONTENT {
            headers.insert(CONTENT_LENGTH, body.len().into());
        }
        body = Bytes::new();
    }
    let mut response = Response::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}

fn headers(stored: &Stored, origin: Origin, now: Moment) -> HeaderMap {
    let (age, left) = stored.age(now);
    if origin == Origin::Hit
        && let Ok(last) = stored.last_hit.try_read()
        && let Some(last) = &*last
        && (last.age, last.left) == (age, left)
    {
        return last.headers.clone();
    }
    let mut headers = stored.headers.clone();
    if origin.reused() || stored.facts.age > 0 {
        headers.insert(AGE, age.into());
    } else {
        headers.remove(AGE);
    }
    let status = origin.status(left);
    if stored.upstream {
        headers.append(CACHE_STATUS, status);
    } else {
        headers.insert(CACHE_STATUS, status);
    }
    if origin == Origin::Hit
        && let Ok(mut last) = stored.last_hit.try_write()
    {
        *last = Some(Told {
            age,
            left,
            headers: headers.clone(),
        });
    }
    headers
}

/// Returns whether the client already has this response (RFC 9110, 13.2.2).
fn unchanged(conditions: &HeaderMap, headers: &HeaderMap) -> bool {
    if conditions.contains_key(IF_NONE_MATCH) {
        let Some(tag) = headers.get(ETAG).and_then(|tag| tag.to_str().ok()) else {
            return false;
        };
        return conditions
            .get_all(IF_NONE_MATCH)
            .into_iter()
            .filter_map(|line| line.to_str().ok())
            .flat_map(list)
            .any(|known| known == "*" || opaque(known) == opaque(tag));
    }
    let time = |headers: &HeaderMap, name| headers.get(name).and_then(date);
    let Some(since) = time(conditions, IF_MODIFIED_SINCE) else {
        return false;
    };
    if headers.contains_key(LAST_MODIFIED) {
        return time(headers, LAST_MODIFIED).is_some_and(|modified| modified <= since);
    }
    // Otherwise the time at which it was made counts (RFC 9111, 4.3.2). Another version may have
    // been made within the same second.
    time(headers, DATE).is_some_and(|made| made < since)
}

/// Removes the weakness mark of an entity tag.
fn opaque(tag: &str) -> &str {
    tag.strip_prefix("W/").unwrap_or(tag)
}

/// Returns the first and the last byte that the request asks for, `Some(None)` if the body has no
/// such bytes, and `None` if the request asks for the whole.
#[expect(clippy::option_option, reason = "three outcomes, for one caller")]
fn part(
    conditions: &HeaderMap,
    headers: &HeaderMap,
    status: StatusCode,
    length: usize,
    head: bool,
) -> Option<Option<(usize, usize)>> {
    let range = conditions.get(RANGE)?;
    if head || status != StatusCode::OK || !still_the_same(conditions, headers) {
        return None;
    }
    single_range(range.to_str().ok()?, length)
}

/// Returns whether `If-Range`, if present, names this response. Only then can the client use a part
/// of it.
fn still_the_same(conditions: &HeaderMap, headers: &HeaderMap) -> bool {
    let Some(known) = conditions.get(IF_RANGE) else {
        return true;
    };
    if known.as_bytes().starts_with(b"\"") {
        return headers.get(ETAG) == Some(known);
    }
    // A weak tag never matches. A date matches if it is equal and strong: the response was made in
    // a later second, so no other version has the same date (RFC 9110, 8.8.2.2).
    let time = |name| headers.get(name).and_then(date);
    let (Some(modified), Some(made)) = (time(LAST_MODIFIED), time(DATE)) else {
        return false;
    };
    modified < made && Some(modified) == date(known)
}

/// Reads `bytes=FIRST-LAST`, `bytes=FIRST-` and `bytes=-SUFFIX`. Several ranges, or a malformed
/// one, ask for the whole.
#[expect(clippy::option_option, reason = "as `part`")]
fn single_range(text: &str, length: usize) -> Option<Option<(usize, usize)>> {
    let (unit, range) = text.split_once('=')?;
    let (first, last) = range.trim().split_once('-')?;
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        return None;
    }
    let number = |text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        // A number that is too large lies past the end of any body.
        digits.then(|| text.parse().unwrap_or(usize::MAX))
    };
    if first.is_empty() {
        let suffix = number(last)?.min(length);
        return Some((suffix > 0).then(|| (length - suffix, length - 1)));
    }
    let first = number(first)?;
    let last = if last.is_empty() {
        usize::MAX
    } else {
        number(last)?
    };
    if last < first {
        return None;
    }
    Some((first < length).then(|| (first, last.min(length - 1))))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::stale::Windows;
    use super::super::stored::Facts;
    use super::*;
    use crate::Ttl;
    use proptest::prelude::*;
    use std::time::Duration;

    const DATE: &str = "Sun, 06 Nov 1994 08:49:37 GMT";

    fn stored() -> Stored {
        let mut headers = HeaderMap::new();
        headers.insert(ETAG, "\"v1\"".parse().unwrap());
        headers.insert(LAST_MODIFIED, DATE.parse().unwrap());
        headers.insert(CONTENT_TYPE, "text/plain".parse().unwrap());
        of(headers)
    }

    fn of(headers: HeaderMap) -> Stored {
        let facts = Facts {
            age: 0,
            open: false,
            at: Moment::from_micros(1),
            ttl: Ttl::new(Duration::from_mins(1)),
            stale: Windows::default(),
        };
        Stored::new(
            StatusCode::OK,
            headers,
            Bytes::from_static(b"0123456789"),
            facts,
        )
    }

    fn ask(lines: &[(HeaderName, &str)]) -> (u16, Bytes, Option<String>) {
        let conditions = lines
            .iter()
            .map(|(name, value)| (name.clone(), value.parse().unwrap()))
            .collect();
        let answer = answer(
            &stored(),
            Origin::Hit,
            Moment::from_micros(1),
            false,
            &conditions,
        );
        let range = answer.headers().get(CONTENT_RANGE);
        let range = range.map(|range| range.to_str().unwrap().to_owned());
        (answer.status().as_u16(), answer.into_body(), range)
    }

    #[test]
    fn h3_a_client_that_has_it_gets_304() {
        for tags in ["\"v1\"", "W/\"v1\"", "*", "\"x, y\", \"v1\""] {
            assert_eq!(ask(&[(IF_NONE_MATCH, tags)]).0, 304, "{tags}");
        }
        for tags in ["\"v2\"", "v1", "\"x,\"v1\""] {
            assert_eq!(ask(&[(IF_NONE_MATCH, tags)]).0, 200, "{tags}");
        }
        let later = "Mon, 07 Nov 1994 00:00:00 GMT";
        let earlier = "Sat, 05 Nov 1994 00:00:00 GMT";
        assert_eq!(ask(&[(IF_MODIFIED_SINCE, DATE)]).0, 304);
        assert_eq!(ask(&[(IF_MODIFIED_SINCE, later)]).0, 304);
        assert_eq!(ask(&[(IF_MODIFIED_SINCE, earlier)]).0, 200);
        assert_eq!(ask(&[(IF_MODIFIED_SINCE, "yesterday")]).0, 200);
        // If both are given, the tag decides.
        let both = [(IF_MODIFIED_SINCE, later), (IF_NONE_MATCH, "\"v2\"")];
        assert_eq!(ask(&both).0, 200);
    }

    #[test]
    fn h3_a_304_has_no_body_and_does_not_describe_one() {
        let conditions = HeaderMap::from_iter([(IF_NONE_MATCH, "*".parse().unwrap())]);
        let answer = answer(
            &stored(),
            Origin::Hit,
            Moment::from_micros(1),
            false,
            &conditions,
        );
        assert!(answer.body().is_empty());
        assert!(!answer.headers().contains_key(CONTENT_TYPE));
        assert_eq!(answer.headers()[ETAG], "\"v1\"");
        assert!(answer.headers().contains_key(CACHE_STATUS));
    }

    #[test]
    fn h3_a_single_range_is_cut_out() {
        for (range, body, content_range) in [
            ("bytes=0-3", "0123", "bytes 0-3/10"),
            ("bytes=7-", "789", "bytes 7-9/10"),
            ("bytes=-2", "89", "bytes 8-9/10"),
            ("bytes=-99", "0123456789", "bytes 0-9/10"),
            ("Bytes=9-99999999999999999999999", "9", "bytes 9-9/10"),
        ] {
            let answer = ask(&[(RANGE, range)]);
            let expected = (
                206,
                Bytes::from_static(body.as_bytes()),
                Some(content_range.into()),
            );
            assert_eq!(answer, expected, "{range}");
        }
        for range in ["bytes=10-", "bytes=-0", "bytes=99999999999999999999999-"] {
            let answer = ask(&[(RANGE, range)]);
            assert_eq!(
                answer,
                (416, Bytes::new(), Some("bytes */10".into())),
                "{range}"
            );
        }
        for range in [
            "bytes=3-1",
            "bytes=0-1,3-4",
            "lines=0-1",
            "bytes=",
            "bytes=a-",
            "-",
            "bytes=+1-2",
        ] {
            assert_eq!(ask(&[(RANGE, range)]).0, 200, "{range}");
        }
    }

    #[test]
    fn h3_a_part_of_something_else_is_not_sent() {
        for (known, status) in [
            ("\"v1\"", 206),
            ("\"v2\"", 200),
            ("W/\"v1\"", 200),
            (DATE, 206),
            ("Mon, 07 Nov 1994 00:00:00 GMT", 200),
        ] {
            assert_eq!(
                ask(&[(RANGE, "bytes=0-3"), (IF_RANGE, known)]).0,
                status,
                "{known}"
            );
        }
    }

    #[test]
    fn h3_a_date_of_the_second_it_was_made_in_joins_nothing() {
        let headers = |made: &str| {
            let lines = [(LAST_MODIFIED, DATE), (http::header::DATE, made)];
            lines.map(|(name, value)| (name, value.parse().unwrap()))
        };
        for (made, status) in [(DATE, 200), ("Sun, 06 Nov 1994 08:49:38 GMT", 206)] {
            let stored = of(headers(made).into_iter().collect());
            let lines = [(RANGE, "bytes=0-3"), (IF_RANGE, DATE)];
            let lines = lines.map(|(name, value)| (name, value.parse().unwrap()));
            let now = Moment::from_micros(1);
            let answer = answer(
                &stored,
                Origin::Hit,
                now,
                false,
                &lines.into_iter().collect(),
            );
            assert_eq!(answer.status(), status, "{made}");
        }
    }

    #[test]
    fn h3_a_tag_of_ours_joins_nothing() {
        let stored = of(HeaderMap::new());
        let tag = stored.headers[ETAG].clone();
        let ask = |lines: &[(HeaderName, &HeaderValue)]| {
            let lines = lines
                .iter()
                .map(|(name, value)| (name.clone(), (*value).clone()));
            let now = Moment::from_micros(1);
            answer(&stored, Origin::Hit, now, false, &lines.collect()).status()
        };
        let range = HeaderValue::from_static("bytes=0-3");
        assert_eq!(ask(&[(RANGE, &range), (IF_RANGE, &tag)]), 200);
        assert_eq!(ask(&[(IF_NONE_MATCH, &tag)]), 304);
    }

    #[test]
    fn h3_without_last_modified_the_date_counts() {
        let stored = of([(http::header::DATE, DATE.parse().unwrap())]
            .into_iter()
            .collect());
        for (since, status) in [(DATE, 200), ("Sun, 06 Nov 1994 08:49:38 GMT", 304)] {
            let since = [(IF_MODIFIED_SINCE, since.parse().unwrap())];
            let now = Moment::from_micros(1);
            let answer = answer(
                &stored,
                Origin::Hit,
                now,
                false,
                &since.into_iter().collect(),
            );
            assert_eq!(answer.status(), status);
        }
    }

    #[test]
    fn h3_age_and_time_left_are_told() {
        let now = Moment::from_micros(1) + Duration::from_millis(7_900);
        let answer = answer(&stored(), Origin::Hit, now, false, &HeaderMap::new());
        assert_eq!(answer.headers()[AGE], "7");
        assert_eq!(answer.headers()[CACHE_STATUS], "cachify; hit; ttl=52");
    }

    proptest! {
        #[test]
        fn s3_ranges_never_panic(range in "(bytes=)?[0-9a-z,= -]{0,24}", length in 0_usize..20) {
            if let Some(Some((first, last))) = single_range(&range, length) {
                prop_assert!(first <= last && last < length);
            }
        }

        #[test]
        fn s3_conditions_never_panic(value: Vec<u8>, head: bool) {
            if let Ok(value) = HeaderValue::from_bytes(&value) {
                for name in CONDITIONS {
                    let conditions = [(name, value.clone()), (RANGE, "bytes=0-1".parse().unwrap())];
                    let conditions = conditions.into_iter().collect();
                    let now = Moment::from_micros(1);
                    let _ = answer(&stored(), Origin::Hit, now, head, &conditions);
                }
            }
        }
    }
}

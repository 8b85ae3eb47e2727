//! Entry points for fuzzing, see [`testing::fuzzing`](crate::testing::fuzzing).

use std::time::{Duration, SystemTime};

use http::{HeaderMap, HeaderName, HeaderValue};

use super::cacheable::initial_age;
use super::cookies::Ignored;
use super::directives::{cache_control, pragma_forbids, targeted};
use super::fields::date;
use super::stored::Stored;
use super::vary::meaning;
use super::wish::Wish;
use crate::codec;

/// Decodes a response, and asserts that none of its fields can change the framing.
pub(crate) fn fuzz_stored(bytes: &[u8]) {
    let (format, payload) = bytes.split_first().unwrap_or((&1, &[]));
    let sealed = codec::sealed::<Stored>(*format, payload);
    let Some(stored) = codec::decode::<Stored>(&sealed) else {
        return;
    };
    for name in ["transfer-encoding", "connection", "set-cookie", "upgrade"] {
        assert!(!stored.headers.contains_key(name), "{name}");
    }
    let lengths = || stored.headers.get_all("content-length").into_iter();
    let length = stored.body.len().to_string();
    assert!(lengths().count() <= 1);
    assert!(lengths().all(|said| *said == *length), "{length}");
}

/// Reads every field that affects storing and answering.
pub(crate) fn fuzz_fields(bytes: &[u8]) {
    let mut headers = HeaderMap::new();
    for line in bytes.split(|byte| *byte == b'\n').take(64) {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else {
            continue;
        };
        let (name, value) = (&line[..colon], &line[colon + 1..]);
        let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name), HeaderValue::from_bytes(value))
        else {
            continue;
        };
        headers.append(name, value);
    }
    let _ = cache_control(&headers);
    let _ = pragma_forbids(&headers);
    let _ = targeted(&headers);
    let _ = Wish::of(&headers);
    let now = SystemTime::UNIX_EPOCH + Duration::from_hours(500_000);
    let _ = initial_age(&headers, now, Duration::ZERO);
    for value in headers.values() {
        let _ = date(value);
    }
    let names: Vec<_> = headers.keys().cloned().collect();
    for name in &names {
        meaning(name.as_str(), &headers, |_| {});
    }
    let mut ignored = Ignored::default();
    ignored.set(["_ga*", "theme"]);
    let covered = ignored.covers(&headers);
    ignored.remove(&mut headers);
    assert!(!covered || !headers.contains_key("cookie"));
}

//! Comparison of the fields that a response varies by, by meaning (RFC 9111, 4.1).

use http::header::{HeaderMap, HeaderValue};

use super::directives::delta_seconds;

/// The fields that are lists of weighted members.
const WEIGHTED: [&str; 4] = [
    "accept",
    "accept-charset",
    "accept-encoding",
    "accept-language",
];

/// The weighted lists in which the order of members of equal weight does not matter. By RFC 9110,
/// it matters in no list, but servers prefer the first member of the others.
const UNORDERED: [&str; 2] = ["accept-charset", "accept-encoding"];

/// The fields that identify a user, in which every byte counts.
const EXACT: [&str; 3] = ["authorization", "cookie", "proxy-authorization"];

/// Passes the same bytes to `part` for two requests if the field has the same meaning in both.
pub(super) fn meaning(field: &str, headers: &HeaderMap, mut part: impl FnMut(&[u8])) {
    let lines = || {
        headers
            .get_all(field)
            .into_iter()
            .map(HeaderValue::as_bytes)
    };
    // The lengths separate values, and distinguish an absent line from an empty one.
    let mut sized = |value: &[u8]| {
        part(&value.len().to_le_bytes());
        part(value);
    };
    if EXACT.contains(&field) {
        sized(&lines().count().to_le_bytes());
        return lines().for_each(sized);
    }
    let mut present = false;
    let members: Vec<_> = lines()
        .inspect(|_| present = true)
        .flat_map(|line| split(line, b','))
        .collect();
    let weighted = if WEIGHTED.contains(&field) {
        members.iter().map(|member| weigh(member)).collect()
    } else {
        None
    };
    let Some(mut weighted): Option<Vec<_>> = weighted else {
        sized(&[u8::from(present)]);
        let mut value = members.join(&b',');
        if field == "host" {
            value.make_ascii_lowercase(); // RFC 9110, 4.2.3
        }
        return sized(&value);
    };
    sized(&[u8::from(present), b'w']);
    sized(&weighted.len().to_le_bytes());
    if UNORDERED.contains(&field) {
        weighted.sort_unstable_by(|a, b| b.cmp(a));
    } else {
        weighted.sort_by_key(|(weight, _)| std::cmp::Reverse(*weight));
    }
    for (weight, member) in weighted {
        sized(&weight.to_le_bytes());
        sized(&member);
    }
}

/// Splits a member into its weight, in thousandths, and the rest. Returns `None` if it is
/// malformed.
fn weigh(member: &[u8]) -> Option<(u16, Vec<u8>)> {
    let mut parts = split(member, b';');
    let mut name = parts.next()?.to_ascii_lowercase();
    let mut weight = 1000;
    for part in parts {
        if let [b'q' | b'Q', b'=', number @ ..] = part {
            weight = thousandths(number)?;
        } else {
            name.push(b';');
            name.extend_from_slice(part);
        }
    }
    Some((weight, name))
}

/// Reads a weight such as `0.5`, with at most three digits after the point.
fn thousandths(number: &[u8]) -> Option<u16> {
    let (whole, fraction) = match number {
        [whole @ (b'0' | b'1')] => (whole, &[][..]),
        [whole @ (b'0' | b'1'), b'.', fraction @ ..] if fraction.len() <= 3 => (whole, fraction),
        _ => return None,
    };
    let mut digits = *b"000";
    digits[..fraction.len()].copy_from_slice(fraction);
    let number = u16::from(whole - b'0') * 1000 + u16::try_from(delta_seconds(&digits)?).ok()?;
    (number <= 1000).then_some(number)
}

/// Splits at `separator` outside quotes, and removes white space and empty parts.
fn split(text: &[u8], separator: u8) -> impl Iterator<Item = &[u8]> {
    let (mut quoted, mut escaped) = (false, false);
    text.split(move |&byte| {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = quoted,
            b'"' => quoted = !quoted,
            _ => return byte == separator && !quoted,
        }
        false
    })
    .map(<[u8]>::trim_ascii)
    .filter(|part| !part.is_empty())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(field: &'static str, lines: &[&str]) -> Vec<u8> {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(field, line.parse().unwrap());
        }
        let mut bytes = Vec::new();
        meaning(field, &headers, |part| bytes.extend_from_slice(part));
        bytes
    }

    #[test]
    fn h2_values_that_mean_the_same_are_the_same() {
        for (field, a, b) in [
            ("foo", &["1,2"][..], &[" 1 , 2 "][..]),
            ("foo", &["1", "2"], &["1, 2"]),
            ("foo", &["1,,2,"], &["1, 2"]),
            ("accept-language", &["en, de"], &["eN ,  De"]),
            ("accept-language", &["en;q=0.5, de"], &["de, en;Q=0.50"]),
            ("accept-language", &["en;q=1.0"], &["en"]),
            ("accept-encoding", &["gzip, br"], &["br,GZIP;q=1"]),
            ("accept", &["text/html ; level=1"], &["TEXT/html;level=1"]),
            ("host", &["A.example"], &["a.example"]),
        ] {
            assert_eq!(of(field, a), of(field, b), "{field}: {a:?} and {b:?}");
        }
    }

    #[test]
    fn h2_values_that_may_mean_something_else_differ() {
        for (field, a, b) in [
            ("foo", &[][..], &[""][..]),
            ("foo", &["1, 2"], &["2, 1"]),
            ("foo", &["a"], &["A"]),
            ("foo", &["\"a, b\""], &["\"a,b\""]),
            ("foo", &["a b"], &["a  b"]),
            ("accept-language", &["en, de"], &["de, en"]),
            ("accept-language", &["en"], &["en;q=0.9"]),
            ("accept-language", &["en;q=2"], &["en"]),
            ("accept-encoding", &[], &[""]),
            ("accept-encoding", &["gzip"], &["gzip;q=0"]),
            ("accept", &["a/b;x=Y"], &["a/b;x=y"]),
            ("cookie", &["a=1, b"], &["a=1,b"]),
            ("cookie", &["a", "b"], &["a, b"]),
            ("authorization", &["Basic x"], &["basic x"]),
        ] {
            assert_ne!(of(field, a), of(field, b), "{field}: {a:?} and {b:?}");
        }
    }

    proptest! {
        #[test]
        fn s3_selecting_fields_never_panic(
            lines in prop::collection::vec("[a-zQq0-9=.;, \"\\\\/*]{0,24}", 0..3),
        ) {
            for field in ["accept", "accept-encoding", "foo", "cookie"] {
                let lines: Vec<_> = lines.iter().map(String::as_str).collect();
                let _ = of(field, &lines);
            }
        }
    }
}

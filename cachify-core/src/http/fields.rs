//! Parsers for values of header fields.

use std::time::SystemTime;

use http::HeaderValue;

/// Reads an HTTP date in any of its three forms, ignoring case (RFC 9111, 4.2).
pub(super) fn date(value: &HeaderValue) -> Option<SystemTime> {
    let text = value.to_str().ok()?;
    httpdate::parse_http_date(text).ok().or_else(|| {
        let mut in_word = false;
        let capitalized: String = text
            .chars()
            .map(|letter| {
                let first = !std::mem::replace(&mut in_word, letter.is_ascii_alphabetic());
                if first {
                    letter.to_ascii_uppercase()
                } else {
                    letter.to_ascii_lowercase()
                }
            })
            .collect();
        httpdate::parse_http_date(&capitalized.replace("Gmt", "GMT")).ok()
    })
}

/// Returns the members of a comma-separated list. Commas in quotes do not separate.
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

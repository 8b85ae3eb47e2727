//! Parsers for `Cache-Control` (RFC 9111, 5.2) and its targeted forms (RFC 9213).

use http::header::{CACHE_CONTROL, HeaderMap, PRAGMA};

/// The targeted fields that address this cache, in order of precedence.
const TARGETED: [&str; 2] = ["cachify-cache-control", "cdn-cache-control"];

/// The largest number of seconds; larger ones count as this (RFC 9111, 1.2.2).
pub(super) const LARGEST: u64 = 1 << 31;

/// The directives of a request or response that concern this cache.
#[expect(
    clippy::struct_excessive_bools,
    reason = "each directive is there or not, independently of the others"
)]
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Directives {
    pub(super) no_store: bool,
    pub(super) no_cache: bool,
    pub(super) private: bool,
    pub(super) public: bool,
    pub(super) must_revalidate: bool,
    pub(super) proxy_revalidate: bool,
    pub(super) must_understand: bool,
    pub(super) only_if_cached: bool,
    pub(super) max_age: Option<u64>,
    pub(super) s_maxage: Option<u64>,
    pub(super) min_fresh: Option<u64>,
    pub(super) max_stale: Option<u64>,
    pub(super) stale_while_revalidate: Option<u64>,
    pub(super) stale_if_error: Option<u64>,
}

/// A field that does not follow its grammar, or that contradicts itself.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Malformed;

impl Directives {
    /// Adds a directive, and returns whether it agrees with an earlier one of the same name.
    ///
    /// A directive that limits caching counts even if its argument names only some fields.
    fn add(&mut self, name: &[u8], seconds: u64) -> bool {
        let is = |other: &str| name.eq_ignore_ascii_case(other.as_bytes());
        let time = if is("max-age") {
            &mut self.max_age
        } else if is("s-maxage") {
            &mut self.s_maxage
        } else if is("min-fresh") {
            &mut self.min_fresh
        } else if is("max-stale") {
            &mut self.max_stale
        } else if is("stale-while-revalidate") {
            &mut self.stale_while_revalidate
        } else if is("stale-if-error") {
            &mut self.stale_if_error
        } else {
            self.no_store |= is("no-store");
            self.no_cache |= is("no-cache");
            self.private |= is("private");
            self.public |= is("public");
            self.must_revalidate |= is("must-revalidate");
            self.proxy_revalidate |= is("proxy-revalidate");
            self.must_understand |= is("must-understand");
            self.only_if_cached |= is("only-if-cached");
            return true;
        };
        *time.get_or_insert(seconds) == seconds
    }
}

/// Reads all `Cache-Control` lines; `None` if there are none.
pub(super) fn cache_control(headers: &HeaderMap) -> Result<Option<Directives>, Malformed> {
    let mut directives = None;
    for line in headers.get_all(CACHE_CONTROL) {
        let directives = directives.get_or_insert_with(Directives::default);
        read(line.as_bytes(), directives).ok_or(Malformed)?;
    }
    Ok(directives)
}

/// Returns whether `Pragma` says `no-cache` (RFC 9111, 5.4) or cannot be parsed.
pub(super) fn pragma_forbids(headers: &HeaderMap) -> bool {
    let mut directives = Directives::default();
    let lines = headers.get_all(PRAGMA).into_iter();
    !lines.into_iter().all(|line| {
        let read = read(line.as_bytes(), &mut directives).is_some();
        read && !directives.no_cache
    })
}

/// The directives in the targeted fields of a response.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Targeted {
    Absent,
    /// Malformed, so that `Cache-Control` counts.
    Invalid,
    Valid(Directives),
}

/// Reads the first targeted field that is valid and not empty (RFC 9213, 2.2).
pub(super) fn targeted(headers: &HeaderMap) -> Targeted {
    let mut invalid = false;
    for name in TARGETED {
        let mut lines = headers.get_all(name).into_iter();
        let Some(first) = lines.next() else {
            continue;
        };
        // The lines of a dictionary make one value.
        let mut value = first.as_bytes().to_vec();
        for line in lines {
            value.extend_from_slice(b", ");
            value.extend_from_slice(line.as_bytes());
        }
        match dictionary(&value) {
            Some(Some(directives)) => return Targeted::Valid(directives),
            Some(None) => {}
            None => invalid = true,
        }
    }
    if invalid {
        Targeted::Invalid
    } else {
        Targeted::Absent
    }
}

/// Reads a number of seconds. A number that is too large counts as [`LARGEST`].
pub(super) fn delta_seconds(text: &[u8]) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0_u64, |seconds, byte| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        Some((seconds * 10 + digit).min(LARGEST))
    })
}

/// Reads one line of comma-separated directives. Returns `None` if it is malformed.
fn read(line: &[u8], directives: &mut Directives) -> Option<()> {
    let mut rest = Cursor(line);
    loop {
        // Empty members are allowed (RFC 9110, 5.6.1).
        rest.skip(|byte| matches!(byte, b' ' | b'\t' | b','));
        if rest.0.is_empty() {
            return Some(());
        }
        let name = rest.some(is_token)?;
        let argument = if rest.eat(b'=') {
            Some(if rest.eat(b'"') {
                rest.quoted(|byte| byte == b'\t' || byte >= b' ', |_| true)?
            } else {
                rest.some(is_token)?
            })
        } else {
            None
        };
        let seconds = match argument {
            // Without a time, any staleness is meant (RFC 9111, 5.2.1.2).
            None if name.eq_ignore_ascii_case(b"max-stale") => LARGEST,
            // A malformed time counts as expired (RFC 9111, 4.2.1).
            argument => argument.and_then(delta_seconds).unwrap_or(0),
        };
        if !directives.add(name, seconds) {
            return None;
        }
        rest.skip(|byte| matches!(byte, b' ' | b'\t'));
        if !rest.0.is_empty() && !rest.eat(b',') {
            return None;
        }
    }
}

/// Reads a dictionary (RFC 8941, 4.2.2). Returns `None` if it is malformed, `Some(None)` if it is
/// empty.
#[expect(clippy::option_option, reason = "three outcomes, for one caller")]
fn dictionary(value: &[u8]) -> Option<Option<Directives>> {
    let mut rest = Cursor(value.trim_ascii());
    if rest.0.is_empty() {
        return Some(None);
    }
    let mut members: Vec<(&[u8], u64)> = Vec::new();
    loop {
        let name = rest.key()?;
        let mut seconds = 0;
        if rest.eat(b'=') {
            if rest.eat(b'(') {
                rest.inner_list()?;
            } else {
                seconds = rest.item()?.unwrap_or(0);
            }
        }
        rest.parameters()?;
        // The last of several members of one name counts.
        members.retain(|(other, _)| *other != name);
        members.push((name, seconds));
        rest.skip(|byte| matches!(byte, b' ' | b'\t'));
        if rest.0.is_empty() {
            break;
        }
        if !rest.eat(b',') {
            return None;
        }
        rest.skip(|byte| matches!(byte, b' ' | b'\t'));
    }
    let mut directives = Directives::default();
    for (name, seconds) in members {
        directives.add(name, seconds);
    }
    Some(Some(directives))
}

/// The text that is left to read.
struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    fn eat(&mut self, byte: u8) -> bool {
        let rest = self.0.strip_prefix(&[byte]);
        self.0 = rest.unwrap_or(self.0);
        rest.is_some()
    }

    fn skip(&mut self, which: impl Fn(u8) -> bool) -> &'a [u8] {
        let end = self.0.iter().position(|byte| !which(*byte));
        let (taken, rest) = self.0.split_at(end.unwrap_or(self.0.len()));
        self.0 = rest;
        taken
    }

    fn some(&mut self, which: impl Fn(u8) -> bool) -> Option<&'a [u8]> {
        let taken = self.skip(which);
        (!taken.is_empty()).then_some(taken)
    }

    /// Reads the rest of a quoted string, and keeps its escapes.
    fn quoted(
        &mut self,
        allowed: impl Fn(u8) -> bool,
        escapable: impl Fn(u8) -> bool,
    ) -> Option<&'a [u8]> {
        let mut escaped = false;
        for (at, &byte) in self.0.iter().enumerate() {
            match byte {
                _ if !allowed(byte) => return None,
                _ if escaped => {
                    if !escapable(byte) {
                        return None;
                    }
                    escaped = false;
                }
                b'\\' => escaped = true,
                b'"' => {
                    let text = &self.0[..at];
                    self.0 = &self.0[at + 1..];
                    return Some(text);
                }
                _ => {}
            }
        }
        None
    }

    fn key(&mut self) -> Option<&'a [u8]> {
        let first = *self.0.first()?;
        if !first.is_ascii_lowercase() && first != b'*' {
            return None;
        }
        self.some(|byte| {
            byte.is_ascii_lowercase()
                || byte.is_ascii_digit()
                || matches!(byte, b'_' | b'-' | b'.' | b'*')
        })
    }

    /// Reads a bare item, and returns its value if that is an integer that is not negative.
    #[expect(clippy::option_option, reason = "malformed, another type, an integer")]
    fn item(&mut self) -> Option<Option<u64>> {
        let other = Some(None);
        if self.eat(b'"') {
            let visible = |byte: u8| (b' '..=b'~').contains(&byte);
            return self
                .quoted(visible, |byte| matches!(byte, b'"' | b'\\'))
                .and(other);
        }
        if self.eat(b'?') {
            return (self.eat(b'0') || self.eat(b'1')).then_some(None);
        }
        if self.eat(b':') {
            self.skip(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'='));
            return self.eat(b':').then_some(None);
        }
        let first = *self.0.first()?;
        if first.is_ascii_alphabetic() || first == b'*' {
            self.skip(|byte| is_token(byte) || matches!(byte, b':' | b'/'));
            return other;
        }
        let negative = self.eat(b'-');
        let digits = self.some(|byte| byte.is_ascii_digit())?;
        if self.eat(b'.') {
            let fraction = self.some(|byte| byte.is_ascii_digit())?;
            return (digits.len() <= 12 && fraction.len() <= 3).then_some(None);
        }
        if digits.len() > 15 {
            return None;
        }
        Some(delta_seconds(digits).filter(|_| !negative))
    }

    fn inner_list(&mut self) -> Option<()> {
        loop {
            self.skip(|byte| byte == b' ');
            if self.eat(b')') {
                return Some(());
            }
            self.item()?;
            self.parameters()?;
            if !matches!(self.0.first(), Some(b' ' | b')')) {
                return None;
            }
        }
    }

    /// Reads parameters, which have no meaning here (RFC 9213, 2.1) but must be well-formed.
    fn parameters(&mut self) -> Option<()> {
        while self.eat(b';') {
            self.skip(|byte| byte == b' ');
            self.key()?;
            if self.eat(b'=') {
                self.item()?;
            }
        }
        Some(())
    }
}

fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use http::HeaderValue;
    use proptest::prelude::*;

    fn line(name: &'static str, value: &[u8]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.append(name, HeaderValue::from_bytes(value).unwrap());
        headers
    }

    fn read(value: &str) -> Result<Option<Directives>, Malformed> {
        cache_control(&line("cache-control", value.as_bytes()))
    }

    #[test]
    fn h9_what_does_not_parse_is_malformed() {
        for value in [
            "private; max-age=60",
            "no-store;max-age=9",
            "no-cache no-store",
            "max-age=60, \"no-store",
            "private=\"x, max-age=60",
            "private=\"x\\\", max-age=60",
            "max-age=60 s-maxage=60",
            "max-age =60",
            "max-age= 60",
            "max-age=",
            "=60",
            "max-age=60, max-age=9",
            "max-age=60, (no-store)",
            "max-age=60, no\u{2011}store",
            "max-age=60, no-store\"\"",
        ] {
            assert_eq!(read(value), Err(Malformed), "{value}");
        }
    }

    #[test]
    fn h1_directives_are_read_whatever_their_form() {
        let directives = read(" , MAX-AGE=\"60\",, x=\"a, no-store\" ,Public,max-age=60,y=z, ");
        let expected = Directives {
            public: true,
            max_age: Some(60),
            ..Directives::default()
        };
        assert_eq!(directives, Ok(Some(expected)));
        for (value, seconds) in [
            ("0060", 60),
            ("'60'", 0),
            ("60.0", 0),
            ("6a", 0),
            ("\"\"", 0),
            ("2147483647", LARGEST - 1),
            ("99999999999999999999999999999999", LARGEST),
        ] {
            let directives = read(&format!("max-age={value}")).unwrap().unwrap();
            assert_eq!(directives.max_age, Some(seconds), "{value}");
        }
    }

    #[test]
    fn h1_a_targeted_field_is_a_dictionary() {
        let said = |value: &str| targeted(&line("cdn-cache-control", value.as_bytes()));
        for value in [
            "max-age=10000, &&&&&",
            "MaX-aGe=3600",
            "max-age =100",
            "max-age= 100",
            "max-age=1,",
            "max-age=1 no-store",
            "x=\"\\a\"",
            "x=(1 2",
            "x=1234567890123456",
            "x=?2",
            "x=:a",
        ] {
            assert_eq!(said(value), Targeted::Invalid, "{value}");
        }
        for value in [
            "max-age=60",
            " max-age=60 ,\tfoobar",
            "max-age=1;x=\"y\";z, max-age=60",
            "a=(\"b\";c d);e=?1, max-age=60, f=-1.5, g=:YQ==:, h=*x/y",
        ] {
            let expected = Directives {
                max_age: Some(60),
                ..Directives::default()
            };
            assert_eq!(said(value), Targeted::Valid(expected), "{value}");
        }
        for (value, seconds) in [
            ("\"60\"", 0),
            ("-60", 0),
            ("60.5", 0),
            ("999999999999", LARGEST),
        ] {
            let Targeted::Valid(directives) = said(&format!("max-age={value}")) else {
                panic!("{value}");
            };
            assert_eq!(directives.max_age, Some(seconds), "{value}");
        }
        // `max-age` is a parameter of `private` here, not a member of the dictionary.
        let Targeted::Valid(directives) = said("private; max-age=60") else {
            panic!();
        };
        assert!(directives.private && directives.max_age.is_none());
        assert_eq!(said(" "), Targeted::Absent);
    }

    proptest! {
        #[test]
        fn s3_directives_never_panic(
            value in prop::collection::vec(any::<u8>(), 0..40),
            text in "[a-z0-9=\"\\\\;, ()?:.*-]{0,40}",
        ) {
            for value in [&value, text.as_bytes()] {
                if let Ok(value) = HeaderValue::from_bytes(value) {
                    let mut headers = HeaderMap::new();
                    for name in ["cache-control", "cdn-cache-control", "pragma"] {
                        headers.append(name, value.clone());
                    }
                    let _ = (cache_control(&headers), targeted(&headers), pragma_forbids(&headers));
                }
            }
        }
    }
}

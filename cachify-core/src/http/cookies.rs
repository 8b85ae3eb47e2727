//! Ignored cookies: responses do not depend on them.

use http::header::{COOKIE, HeaderMap, HeaderValue};

/// The names of ignored cookies. A trailing `*` matches any suffix.
#[derive(Debug, Clone, Default)]
pub(super) struct Ignored {
    names: Vec<String>,
    /// Cookies that the key names. They are not ignored, but are no reason to bypass the cache
    /// either.
    keyed: Vec<String>,
}

impl Ignored {
    pub(super) fn keyed(keyed: &[String]) -> Self {
        Self {
            names: Vec::new(),
            keyed: keyed.to_vec(),
        }
    }

    pub(super) fn set<S: Into<String>>(&mut self, names: impl IntoIterator<Item = S>) {
        self.names = names.into_iter().map(Into::into).collect();
    }

    fn is_keyed(&self, cookie: &[u8]) -> bool {
        let (name, _) = split(cookie);
        self.keyed.iter().any(|keyed| keyed.as_bytes() == name)
    }

    fn contains(&self, cookie: &[u8]) -> bool {
        let (name, _) = split(cookie);
        self.names
            .iter()
            .any(|ignored| match ignored.strip_suffix('*') {
                Some(start) => name.starts_with(start.as_bytes()),
                None => name == ignored.as_bytes(),
            })
    }

    /// Returns whether all cookies of a request are ignored or named by the key.
    pub(super) fn covers(&self, headers: &HeaderMap) -> bool {
        let covered = |cookie| self.is_keyed(cookie) || self.contains(cookie);
        let mut lines = headers.get_all(COOKIE).into_iter();
        lines.all(|line| cookies(line).all(covered))
    }

    /// Removes ignored cookies that the key does not name from a request, so that its response
    /// cannot depend on them.
    pub(super) fn remove(&self, headers: &mut HeaderMap) {
        if self.names.is_empty() {
            return;
        }
        let lines: Vec<HeaderValue> = headers
            .get_all(COOKIE)
            .into_iter()
            .filter_map(|line| {
                let kept: Vec<_> = cookies(line)
                    .filter(|cookie| self.is_keyed(cookie) || !self.contains(cookie))
                    .collect();
                HeaderValue::from_bytes(&kept.join(&b"; "[..])).ok()
            })
            .filter(|line| !line.is_empty())
            .collect();
        headers.remove(COOKIE);
        for line in lines {
            headers.append(COOKIE, line);
        }
    }
}

/// Returns the values of a cookie.
pub(super) fn values<'h>(headers: &'h HeaderMap, name: &str) -> impl Iterator<Item = &'h [u8]> {
    let all = headers.get_all(COOKIE).into_iter().flat_map(cookies);
    all.filter_map(move |cookie| {
        let (other, value) = split(cookie);
        (other == name.as_bytes()).then_some(value)
    })
}

fn split(cookie: &[u8]) -> (&[u8], &[u8]) {
    let end = cookie.iter().position(|&byte| byte == b'=');
    let (name, value) = cookie.split_at(end.unwrap_or(cookie.len()));
    let value = value.strip_prefix(b"=").unwrap_or(value);
    (name.trim_ascii(), value.trim_ascii())
}

fn cookies(line: &HeaderValue) -> impl Iterator<Item = &[u8]> {
    let cookies = line.as_bytes().split(|&byte| byte == b';');
    cookies
        .map(<[u8]>::trim_ascii)
        .filter(|cookie| !cookie.is_empty())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn h1_ignored_cookies_are_told_by_their_names() {
        let mut ignored = Ignored::default();
        ignored.set(["_ga*", "theme"]);
        for (line, covered, left) in [
            ("", true, None),
            ("_ga=1; _ga_X=2;theme=dark ;", true, None),
            ("theme", true, None),
            ("id=7; theme=dark", false, Some("id=7")),
            ("themes=1", false, Some("themes=1")),
            ("Theme=1; x=_ga", false, Some("Theme=1; x=_ga")),
            ("x_ga=1", false, Some("x_ga=1")),
            ("; =1", false, Some("=1")),
        ] {
            let mut headers = HeaderMap::from_iter([(COOKIE, line.parse().unwrap())]);
            assert_eq!(ignored.covers(&headers), covered, "{line}");
            ignored.remove(&mut headers);
            let rest = headers.get(COOKIE).map(|line| line.to_str().unwrap());
            assert_eq!(rest, left, "{line}");
        }
        let all = HeaderMap::from_iter([(COOKIE, "id=7; x".parse().unwrap())]);
        let mut every = Ignored::keyed(&["id".to_owned()]);
        every.set(["*"]);
        assert!(every.covers(&all));
        let mut left = all.clone();
        every.remove(&mut left);
        assert_eq!(left.get(COOKIE).unwrap(), "id=7");
        assert!(Ignored::keyed(&["id".to_owned(), "x".to_owned()]).covers(&all));
        assert!(!Ignored::keyed(&["id".to_owned()]).covers(&all));
        assert!(!Ignored::default().covers(&all));
    }
}

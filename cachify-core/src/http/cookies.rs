//! Cookies that responses do not depend on.

use http::header::{COOKIE, HeaderMap, HeaderValue};

/// Names of cookies that the rules ignore; a trailing `*` stands for any end.
#[derive(Debug, Clone, Default)]
pub(super) struct Ignored(Vec<String>);

impl Ignored {
    pub(super) fn new<S: Into<String>>(names: impl IntoIterator<Item = S>) -> Self {
        Self(names.into_iter().map(Into::into).collect())
    }

    fn contains(&self, cookie: &[u8]) -> bool {
        let name = cookie.split(|&byte| byte == b'=').next();
        let name = name.unwrap_or_default().trim_ascii();
        self.0
            .iter()
            .any(|ignored| match ignored.strip_suffix('*') {
                Some(start) => name.starts_with(start.as_bytes()),
                None => name == ignored.as_bytes(),
            })
    }

    /// Returns whether a request has no cookies but ignored ones.
    pub(super) fn covers(&self, headers: &HeaderMap) -> bool {
        let mut lines = headers.get_all(COOKIE).into_iter();
        lines.all(|line| cookies(line).all(|cookie| self.contains(cookie)))
    }

    /// Takes ignored cookies off a request, so that its response cannot depend on them.
    pub(super) fn remove(&self, headers: &mut HeaderMap) {
        if self.0.is_empty() {
            return;
        }
        let lines: Vec<HeaderValue> = headers
            .get_all(COOKIE)
            .into_iter()
            .filter_map(|line| {
                let kept: Vec<_> = cookies(line)
                    .filter(|cookie| !self.contains(cookie))
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
        let ignored = Ignored::new(["_ga*", "theme"]);
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
        assert!(Ignored::new(["*"]).covers(&all));
        assert!(!Ignored::default().covers(&all));
    }
}

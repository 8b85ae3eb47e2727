//! The route that poem matched for a request.

use std::cell::OnceCell;
use std::mem;

use cachify_core::http::{PathParams, Routed};
use poem::http::request::Parts;
use poem::http::{self, Uri};
use poem::{PathPattern, Request};

/// Takes the method, the URI and the headers out of a request, for the rules to read.
pub(crate) fn take_head(request: &mut Request) -> Parts {
    let (mut parts, ()) = http::Request::new(()).into_parts();
    parts.method = request.method().clone();
    parts.uri = mem::take(request.uri_mut());
    parts.headers = mem::take(request.headers_mut());
    parts
}

/// Undoes [`take_head`].
pub(crate) fn put_head(request: &mut Request, parts: Parts) {
    *request.uri_mut() = parts.uri;
    *request.headers_mut() = parts.headers;
}

/// Returns the path parameters of a request.
pub(crate) fn path_params(request: &Request) -> PathParams {
    request.path_params().unwrap_or_default()
}

/// A request with the route that poem matched.
pub(crate) struct RoutedRequest<'a> {
    request: &'a Request,
    /// The URI as nested routes stripped it.
    uri: &'a Uri,
    /// The path parameters, which are read when the key first needs one.
    params: OnceCell<PathParams>,
}

impl<'a> RoutedRequest<'a> {
    pub(crate) fn of(request: &'a Request, parts: &'a Parts) -> Self {
        let (uri, params) = (&parts.uri, OnceCell::new());
        Self {
            request,
            uri,
            params,
        }
    }

    /// Returns the URI before nested routes stripped it, or `None` for a request that was built
    /// without a server, as by poem's `TestClient`.
    fn original(&self) -> Option<&Uri> {
        Some(self.request.original_uri()).filter(|uri| uri.path() != "/")
    }
}

impl Routed for RoutedRequest<'_> {
    /// Returns the pattern of the route, or `None` around a `Route` inside another. There, poem
    /// shows the pattern of the outer one, which covers only a part of the path.
    fn route(&self) -> Option<&str> {
        let PathPattern(pattern) = self.request.data()?;
        let wild = pattern.rsplit('/').next()?.starts_with('*');
        let whole = |uri: &Uri| wild || segments(pattern) == segments(uri.path());
        self.original().is_none_or(whole).then_some(pattern)
    }

    fn path(&self) -> &str {
        self.original().unwrap_or(self.uri).path()
    }

    fn params(&self) -> impl Iterator<Item = (&str, &str)> {
        let params = self.params.get_or_init(|| path_params(self.request));
        params.iter()
    }
}

/// Returns the number of segments of a path or a pattern. Slashes inside the `<>` of a pattern do
/// not count.
fn segments(path: &str) -> usize {
    let path = path.trim_matches('/');
    let mut inside = 0_usize;
    let slashes = path.bytes().filter(|byte| {
        match byte {
            b'<' => inside += 1,
            b'>' => inside = inside.saturating_sub(1),
            _ => {}
        }
        *byte == b'/' && inside == 0
    });
    slashes.count() + usize::from(!path.is_empty())
}

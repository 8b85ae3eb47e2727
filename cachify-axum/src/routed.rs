//! The route that axum matched for a request.

use axum::extract::{FromRequestParts, MatchedPath, OriginalUri, RawPathParams};
use axum::http::request::Parts;
use cachify_core::http::{RequestKey, Routed};
use futures_util::FutureExt as _;

/// A request with the route that axum matched.
pub(crate) struct RoutedRequest<'a>(pub(crate) &'a Parts, pub(crate) Option<RawPathParams>);

/// Returns the path parameters, or `None` if the key needs none or if there are none, as in a
/// fallback.
pub(crate) fn path_params(parts: &mut Parts, key: Option<&RequestKey>) -> Option<RawPathParams> {
    if !key?.reads_path() {
        return None;
    }
    // This extractor never waits.
    let params = RawPathParams::from_request_parts(parts, &()).now_or_never()?;
    params.ok()
}

impl Routed for RoutedRequest<'_> {
    fn route(&self) -> Option<&str> {
        self.0.extensions.get().map(MatchedPath::as_str)
    }

    fn path(&self) -> &str {
        let original = self.0.extensions.get::<OriginalUri>();
        original.map_or(&self.0.uri, |OriginalUri(uri)| uri).path()
    }

    fn params(&self) -> impl Iterator<Item = (&str, &str)> {
        self.1.iter().flatten()
    }
}

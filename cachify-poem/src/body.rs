//! Conversion of bodies.

use std::io;

use bytes::Bytes;
use cachify_core::http::ReadBody;
use http_body_util::BodyExt as _;
use http_body_util::combinators::BoxBody;

/// Converts a body that was read into one of poem.
pub(crate) fn boxed(read: ReadBody) -> BoxBody<Bytes, io::Error> {
    let io_error = |error: Box<dyn std::error::Error + Send + Sync>| {
        let error = error.downcast();
        error.map_or_else(io::Error::other, |error| *error)
    };
    read.map_err(io_error).boxed()
}

//! Log events of errors that are answered over HTTP.
#![cfg(feature = "http")]
#![allow(clippy::unwrap_used)]

#[path = "common/log.rs"]
mod log;

use std::time::Duration;

use cachify_core::http::{RequestKey, Routed, problem};
use cachify_core::{Error, ErrorKind};
use log::Log;

struct Secret;

impl Routed for Secret {
    fn route(&self) -> Option<&str> {
        None
    }

    fn path(&self) -> &'static str {
        "/s3cret"
    }

    fn params(&self) -> impl Iterator<Item = (&str, &str)> {
        [("id", "s3cret")].into_iter()
    }
}

#[tokio::test(start_paused = true)]
async fn h5_s1_what_is_answered_is_logged_once_per_minute() {
    let log = Log::start();

    let down = Error::new(ErrorKind::Unavailable, "the server is away");
    let late = Error::new(ErrorKind::Timeout, "the server is late");
    for _ in 0..1000 {
        problem(&down);
        problem(&late);
    }
    let lines = log.take_warnings();
    assert_eq!(lines.len(), 2, "one for each kind: {lines:?}");
    assert!(lines[0].contains("the server is away"), "{lines:?}");
    assert!(lines[0].contains("status=503 unlogged=0"), "{lines:?}");
    tokio::time::advance(Duration::from_mins(1)).await;
    problem(&down);
    let lines = log.take_warnings();
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].contains("unlogged=999"), "{lines:?}");

    for kind in [ErrorKind::Held, ErrorKind::Full, ErrorKind::SlowBody] {
        problem(&Error::new(kind, "refused"));
    }
    assert_eq!(log.take_warnings().len(), 0, "refusals are everyday work");

    let request = http::Request::put("/s3cret").body(()).unwrap();
    let (parts, ()) = request.into_parts();
    for (template, kind) in [
        ("a-{id}-{query.page}", ErrorKind::Request),
        ("b-{header.x-tenant}", ErrorKind::Request),
        ("c-{id}-{other}", ErrorKind::Template),
    ] {
        let route_key = RequestKey::new(template);
        for _ in 0..1000 {
            let error = route_key.require(&parts, &Secret).unwrap_err();
            assert_eq!(error.kind(), kind, "{error}");
            problem(&error);
        }
        let lines = log.take_warnings();
        assert_eq!(lines.len(), 1, "{lines:?}");
        assert!(lines[0].contains(template), "{lines:?}");
        assert!(!lines[0].contains("s3cret"), "{lines:?}");
    }
}

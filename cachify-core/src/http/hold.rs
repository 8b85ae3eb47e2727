//! Routes that run under a lock, once at a time, or so many at a time.

use std::future::Future;
use std::time::Duration;

use http::request::Parts;

use super::request_key::{RequestKey, decoded};
use crate::backend::SlotKind;
use crate::hold::Request;
use crate::{Cachify, Error, ErrorKind, Key};

/// Under which lock or permit a route runs.
///
/// An adapter renders the [`key`](Self::key) of a request, has [`run`](Self::run) run the inner service, and answers errors with
/// [`problem`](super::problem) or as its user says.
#[derive(Debug, Clone)]
pub struct HoldRules {
    key: RequestKey,
    kind: SlotKind,
    max: u32,
    once: bool,
    ttl: Option<Duration>,
    wait: Duration,
    max_hold: Option<Duration>,
}

impl HoldRules {
    /// One request at a time for each key; the others may wait.
    ///
    /// # Errors
    ///
    /// Those of [`RequestKey::parse`].
    pub fn lock(template: &str) -> Result<Self, Error> {
        Ok(Self {
            key: RequestKey::parse(template)?,
            kind: SlotKind::Lock,
            max: 1,
            once: false,
            ttl: None,
            wait: Duration::ZERO,
            max_hold: None,
        })
    }

    /// One request at a time for each key; the others are refused as [`Cachify::once`] does.
    ///
    /// # Errors
    ///
    /// Those of [`RequestKey::parse`].
    pub fn once(template: &str) -> Result<Self, Error> {
        let once = true;
        Self::lock(template).map(|rules| Self { once, ..rules })
    }

    /// At most `max` requests at a time for each key.
    ///
    /// # Errors
    ///
    /// Those of [`RequestKey::parse`].
    pub fn pool(template: &str, max: u32) -> Result<Self, Error> {
        let kind = SlotKind::Pool;
        Self::lock(template).map(|rules| Self { kind, max, ..rules })
    }

    /// How long the hold of a request that died blocks the others. Default: the handle's `lock_ttl`, 30 s. At least 1 s.
    pub fn ttl(&mut self, ttl: Duration) {
        self.ttl = Some(ttl);
    }

    /// How long a request waits. Default: not at all.
    pub fn wait(&mut self, wait: Duration) {
        self.wait = wait;
    }

    /// How long a request may take before it is stopped. Default: without end. At least 1 s.
    pub fn max_hold(&mut self, max_hold: Duration) {
        self.max_hold = Some(max_hold);
    }

    /// How requests are keyed.
    pub fn request_key(&self) -> &RequestKey {
        &self.key
    }

    /// The key of a request; `param` returns the path parameter of a name.
    ///
    /// # Errors
    ///
    /// [`Template`](crate::ErrorKind::Template) if the request does not fill a placeholder; [`Request`](crate::ErrorKind::Request) if its
    /// path is not UTF-8, for then no framework has its parameters.
    pub fn key<'a>(
        &self,
        request: &'a Parts,
        param: impl Fn(&str) -> Option<&'a str>,
    ) -> Result<Key, Error> {
        self.key.render(request, param).map_err(|missing| {
            if std::str::from_utf8(&decoded(request.uri.path())).is_ok() {
                return missing.into();
            }
            Error::new(ErrorKind::Request, "the path of a request is not UTF-8")
                .with_template(missing.template())
        })
    }

    /// Gets hold of the key, runs `work`, which is not polled before, and lets go.
    ///
    /// # Errors
    ///
    /// Those of [`Lock::run`](crate::Lock::run) or [`Pool::run`](crate::Pool::run).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future drops `work` and lets go in the background.
    pub async fn run<F: Future>(
        &self,
        cachify: &Cachify,
        key: &Key,
        work: F,
    ) -> Result<F::Output, Error> {
        let mut request = Request::new(cachify, self.kind, key, self.max);
        request.ttl = self.ttl.unwrap_or(request.ttl);
        request.wait = self.wait;
        request.max_hold = self.max_hold;
        let (holding, _) = request
            .acquire()
            .await
            .map_err(|error| if self.once { error.of_once() } else { error })?;
        let output = holding.run(work).await?;
        holding.finish().await;
        Ok(output)
    }
}

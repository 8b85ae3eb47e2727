//! Routes that run under a lock, once at a time, or a limited number at a time.

use std::future::Future;
use std::time::Duration;

use http::request::Parts;

use super::request_key::{RequestKey, decoded};
use crate::backend::SlotKind;
use crate::{Cachify, Error, ErrorKind, Key};

/// Configures how a request's body is read before a lock or permit is taken for it.
///
/// A client decides how fast its body arrives. If a route waited for the body while holding a lock
/// or permit, one stalled client would block all others.
///
/// An example is at [`read`](Self::read).
#[derive(Debug, Clone, Copy)]
pub struct BodyRules {
    limit: usize,
    time: Duration,
    streams: bool,
}

impl Default for BodyRules {
    fn default() -> Self {
        Self {
            limit: 2 << 20,
            time: Duration::from_secs(10),
            streams: false,
        }
    }
}

impl BodyRules {
    /// Sets the longest body that is read, in bytes. Default: 2 MiB.
    pub fn limit(&mut self, bytes: usize) {
        self.limit = bytes;
        self.streams = false;
    }

    /// Sets how long a body may take to arrive. Default: 10 s.
    pub fn time(&mut self, time: Duration) {
        self.time = time;
        self.streams = false;
    }

    /// Leaves bodies to the handler.
    pub fn stream(&mut self) {
        self.streams = true;
    }

    /// Reads a body with `read`. `read` gets the limit, and returns the body for the handler, or
    /// `None` if the body is longer.
    ///
    /// # Errors
    ///
    /// [`SlowBody`](ErrorKind::SlowBody) if the body does not arrive in time,
    /// [`LongBody`](ErrorKind::LongBody) if it is too long.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future drops `read`. Nothing is held meanwhile.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime.
    ///
    /// # Examples
    ///
    /// ```
    /// use cachify_core::ErrorKind;
    /// use cachify_core::http::BodyRules;
    ///
    /// #[tokio::main]
    /// async fn main() -> Result<(), cachify_core::Error> {
    ///     let mut rules = BodyRules::default();
    ///     rules.limit(4);
    ///
    ///     let read = async |body: &'static str, limit| (body.len() <= limit).then_some(body);
    ///     assert_eq!(rules.read("four", read).await?, "four");
    ///     let error = rules.read("longer", read).await.unwrap_err();
    ///     assert_eq!(error.kind(), ErrorKind::LongBody);
    ///     Ok(())
    /// }
    /// ```
    pub async fn read<B>(
        &self,
        body: B,
        read: impl AsyncFnOnce(B, usize) -> Option<B>,
    ) -> Result<B, Error> {
        if self.streams {
            return Ok(body);
        }
        match tokio::time::timeout(self.time, read(body, self.limit)).await {
            Ok(Some(body)) => Ok(body),
            Ok(None) => Err(Error::new(
                ErrorKind::LongBody,
                "the body of a request is longer than what is read before a lock or permit is taken; raise the limit, or stream it",
            )),
            Err(_) => Err(Error::new(
                ErrorKind::SlowBody,
                "the body of a request did not arrive in time; nothing was held for it",
            )),
        }
    }
}

/// Under which lock or permit a route runs.
///
/// An adapter renders the [`key`](Self::key) of a request, [reads](BodyRules::read) its body, has
/// [`run`](Self::run) run the inner service, and answers errors with [`problem`](super::problem) or
/// as its user says.
#[derive(Debug, Clone)]
pub struct HoldRules {
    key: RequestKey,
    kind: SlotKind,
    max: u32,
    once: bool,
    ttl: Option<Duration>,
    wait: Duration,
    max_hold: Option<Duration>,
    body: BodyRules,
}

impl HoldRules {
    /// How long a handler may take by default.
    ///
    /// Most proxies and clients give up on a response after a minute.
    pub const MAX_HOLD: Duration = Duration::from_mins(1);

    /// Runs one request at a time for each key; the others may wait.
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
            max_hold: Some(Self::MAX_HOLD),
            body: BodyRules::default(),
        })
    }

    /// Runs one request at a time for each key; the others are refused, as with [`Cachify::once`].
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

    /// Sets how long the hold of a request that died blocks the others. Default: the handle's
    /// `lock_ttl`, 30 s. At least 1 s.
    pub fn ttl(&mut self, ttl: Duration) {
        self.ttl = Some(ttl);
    }

    /// Sets how long a request waits. Default: not at all.
    pub fn wait(&mut self, wait: Duration) {
        self.wait = wait;
    }

    /// Sets how long a handler may take before it is stopped; `None` means no limit. Default: 1
    /// minute. At least 1 s.
    pub fn max_hold(&mut self, max_hold: Option<Duration>) {
        self.max_hold = max_hold;
    }

    /// Returns the rules for reading bodies, to change them.
    pub fn body_mut(&mut self) -> &mut BodyRules {
        &mut self.body
    }

    /// Returns the rules for reading bodies.
    pub fn body(&self) -> &BodyRules {
        &self.body
    }

    /// Returns how requests are keyed.
    pub fn request_key(&self) -> &RequestKey {
        &self.key
    }

    /// Renders the key of a request; `param` returns a path parameter by name.
    ///
    /// # Errors
    ///
    /// [`Request`](ErrorKind::Request) if the client could have sent the missing part: a query
    /// parameter, a header, or a UTF-8 path. [`Template`](ErrorKind::Template) if no request of the
    /// route can fill a placeholder: its path has no such parameter.
    pub fn key<'a>(
        &self,
        request: &'a Parts,
        param: impl Fn(&str) -> Option<&'a str>,
    ) -> Result<Key, Error> {
        self.key.render(request, param).map_err(|missing| {
            let name = missing.name();
            let message = if !is_path_parameter(name) {
                format!("a request lacks `{{{name}}}`, which the key of its route is made of")
            } else if std::str::from_utf8(&decoded(request.uri.path())).is_err() {
                "the path of a request is not UTF-8".to_owned()
            } else {
                return missing.into();
            };
            Error::new(ErrorKind::Request, message).with_template(missing.template())
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
    ///
    /// # Panics
    ///
    /// If `work` does; and outside a tokio runtime.
    ///
    /// # Examples
    ///
    /// ```
    /// use cachify_core::http::HoldRules;
    /// use cachify_core::{Cachify, key};
    /// use http::Request;
    ///
    /// #[tokio::main]
    /// async fn main() -> Result<(), Box<dyn std::error::Error>> {
    ///     let cachify = Cachify::memory();
    ///     let rules = HoldRules::once("report-{id}")?;
    ///     let (request, ()) = Request::post("/reports/7").body(())?.into_parts();
    ///
    ///     // The framework's router knows the path parameters.
    ///     let key = rules.key(&request, |name| (name == "id").then_some("7"))?;
    ///     assert_eq!(key, key!("report-7"));
    ///     assert_eq!(rules.run(&cachify, &key, async { "made" }).await?, "made");
    ///     Ok(())
    /// }
    /// ```
    pub async fn run<F: Future>(
        &self,
        cachify: &Cachify,
        key: &Key,
        work: F,
    ) -> Result<F::Output, Error> {
        let mut request = cachify.request(self.kind, key, self.max);
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

/// Returns whether the route, rather than each request, decides if a placeholder has a value.
fn is_path_parameter(name: &str) -> bool {
    name != "host" && !name.contains('.')
}

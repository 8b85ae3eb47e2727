//! One opaque [`Error`] with a [`kind`](Error::kind), for every operation that can fail.

use std::borrow::Cow;
use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use smol_str::SmolStr;

/// The kind of an error. Errors that need different handling have different kinds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// Another caller holds the lock, and still held it at the end of the wait.
    Held,
    /// Another caller is running the key, which runs [once](crate::Cachify::once) at a time.
    AlreadyRunning,
    /// All permits of the pool are taken, and still were at the end of the wait.
    Full,
    /// The lock or permit was held, but is no longer, or can no longer be known to be.
    Lost,
    /// The backend cannot be reached or refuses, or the circuit breaker is open after repeated
    /// failures.
    Unavailable,
    /// The backend did not answer within the backend timeout. The operation may or may not have
    /// happened. Or a computation took longer than its
    /// [`hard_limit`](crate::Cached::hard_limit).
    Timeout,
    /// A reset (or set) was not acknowledged. It is queued and retried until it is, or until the
    /// last handle is dropped. Until then, this process does not trust the backend's copy of the
    /// key.
    Unconfirmed,
    /// A reset (or set) was not acknowledged and is not retried: the queue is full, or the handle
    /// was closed.
    NotQueued,
    /// A key template is malformed, or a placeholder has no value.
    Template,
    /// A request lacks a part of a key, or has it in another form.
    Request,
    /// The body of a request did not arrive within the time limit of its route.
    SlowBody,
    /// The body of a request is longer than the limit of its route.
    LongBody,
    /// A value could not be encoded.
    Codec,
    /// The handle or the server is misconfigured, or a call that needs a tokio runtime was made
    /// outside one. The message names the fix.
    Configuration,
}

impl ErrorKind {
    /// Returns the kind's name as it appears in messages and metrics: lower case, one word or two.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Held => "held",
            Self::AlreadyRunning => "already running",
            Self::Full => "full",
            Self::Lost => "lost",
            Self::Unavailable => "unavailable",
            Self::Timeout => "timeout",
            Self::Unconfirmed => "unconfirmed",
            Self::NotQueued => "not queued",
            Self::Template => "template",
            Self::Request => "request",
            Self::SlowBody => "slow body",
            Self::LongBody => "long body",
            Self::Codec => "codec",
            Self::Configuration => "configuration",
        }
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// An error of cachify: what happened, to which template, and what to do next.
///
/// It never contains a key's arguments, a cached value or a password, so it is safe to log. It is
/// cheap to clone, so callers that share a computation can share its error.
///
/// # Examples
///
/// ```
/// use cachify_core::{Error, ErrorKind};
///
/// fn status(error: &Error) -> u16 {
///     match error.kind() {
///         ErrorKind::Held | ErrorKind::Full => 423,
///         ErrorKind::Unavailable | ErrorKind::Timeout => 503,
///         _ => 500,
///     }
/// }
/// assert_eq!(status(&Error::new(ErrorKind::Held, "try again")), 423);
/// ```
#[derive(Clone)]
pub struct Error(Arc<Inner>);

#[derive(Clone)]
struct Inner {
    kind: ErrorKind,
    template: Option<SmolStr>,
    message: Cow<'static, str>,
    retry_after: Option<Duration>,
    /// Overrides the kind's answer to [`Error::is_down`].
    down: Option<bool>,
    source: Option<Arc<dyn StdError + Send + Sync>>,
}

impl Error {
    /// Creates an error of `kind`, for your own backends. The message should say what to do next.
    ///
    /// ```
    /// use cachify_core::{Error, ErrorKind};
    ///
    /// let error = Error::new(ErrorKind::Unavailable, "the store is closed; open it again");
    /// assert_eq!(error.kind(), ErrorKind::Unavailable);
    /// ```
    pub fn new(kind: ErrorKind, message: impl Into<Cow<'static, str>>) -> Self {
        Self(Arc::new(Inner {
            kind,
            template: None,
            message: message.into(),
            retry_after: None,
            down: None,
            source: None,
        }))
    }

    /// Returns the kind of the error.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// Returns the key template of the operation, if it had one.
    pub fn template(&self) -> Option<&str> {
        self.0.template.as_deref()
    }

    /// Returns the time after which a retry may succeed, at the latest when the holder's lease
    /// ends. Returns `None` if it is not known, or if a retry would not help.
    pub fn retry_after(&self) -> Option<Duration> {
        self.0.retry_after
    }

    /// Returns whether another caller holds the lock or runs the key, or the pool is full. These
    /// are the cases of `on_locked` and `on_full`.
    pub fn is_contended(&self) -> bool {
        matches!(
            self.kind(),
            ErrorKind::Held | ErrorKind::AlreadyRunning | ErrorKind::Full
        )
    }

    /// Returns whether the backend was away or too slow. A service answers such an error with 503.
    pub fn is_unavailable(&self) -> bool {
        matches!(self.kind(), ErrorKind::Unavailable | ErrorKind::Timeout)
    }

    /// Attaches the cause, which [`source`](StdError::source) returns.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.inner_mut().source = Some(Arc::from(source.into()));
        self
    }

    #[must_use]
    pub(crate) fn with_template(mut self, template: &str) -> Self {
        if self.0.template.is_none() {
            self.inner_mut().template = Some(template.into());
        }
        self
    }

    #[must_use]
    pub(crate) fn with_retry_after(mut self, retry_after: Duration) -> Self {
        self.inner_mut().retry_after = Some(retry_after);
        self
    }

    /// Turns the refusal of a lock into that of once.
    #[must_use]
    pub(crate) fn of_once(mut self) -> Self {
        if self.kind() == ErrorKind::Held {
            let inner = self.inner_mut();
            inner.kind = ErrorKind::AlreadyRunning;
            inner.message = "another caller is already running this key; try again later".into();
        }
        self
    }

    /// Sets whether other operations would fail as well, if the kind alone does not tell.
    #[cfg(feature = "redis")]
    #[must_use]
    pub(crate) fn with_down(mut self, down: bool) -> Self {
        self.inner_mut().down = Some(down);
        self
    }

    /// Returns whether the backend as a whole failed, rather than this one operation. The circuit
    /// breaker counts such errors.
    pub(crate) fn is_down(&self) -> bool {
        self.0.down.unwrap_or_else(|| self.is_unavailable())
    }

    fn inner_mut(&mut self) -> &mut Inner {
        Arc::make_mut(&mut self.0)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("Error");
        out.field("kind", &self.0.kind)
            .field("message", &self.0.message);
        if let Some(template) = &self.0.template {
            out.field("template", template);
        }
        if let Some(source) = &self.0.source {
            out.field("source", source);
        }
        out.finish()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)?;
        match &self.0.template {
            Some(template) => write!(f, " (key template `{template}`)"),
            None => Ok(()),
        }
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0
            .source
            .as_deref()
            .map(|source| source as &(dyn StdError + 'static))
    }
}

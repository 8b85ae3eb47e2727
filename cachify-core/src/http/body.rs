//! Bodies that are read into memory.

use std::error::Error as StdError;
use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt as _, Collected, LengthLimitError, Limited};

use crate::{Error, ErrorKind};

pub(super) type BoxError = Box<dyn StdError + Send + Sync>;

/// A body in memory, from which an adapter builds a body of its framework.
///
/// It ends like the original body: with its trailers, or with the error that broke it off.
#[derive(Debug)]
pub struct ReadBody(Read);

#[derive(Debug)]
enum Read {
    Whole(Bytes),
    Trailing(Box<Collected<Bytes>>),
    Broken(Option<BoxError>),
}

impl ReadBody {
    /// Reads a body. A body of more than `limit` bytes counts as broken off.
    pub(super) async fn read<B>(body: B, limit: usize) -> Self
    where
        B: Body<Data = Bytes, Error: Into<BoxError>>,
    {
        Self(match Limited::new(body, limit).collect().await {
            Ok(read) if read.trailers().is_some() => Read::Trailing(Box::new(read)),
            Ok(read) => Read::Whole(read.to_bytes()),
            Err(error) => Read::Broken(Some(error)),
        })
    }

    fn is_too_long(&self) -> bool {
        matches!(&self.0, Read::Broken(Some(error)) if error.is::<LengthLimitError>())
    }

    /// Returns the bytes.
    ///
    /// # Errors
    ///
    /// Returns the body itself if it has trailers or broke off.
    pub fn into_bytes(self) -> Result<Bytes, Self> {
        match self.0 {
            Read::Whole(bytes) => Ok(bytes),
            other => Err(Self(other)),
        }
    }
}

impl From<Bytes> for ReadBody {
    fn from(bytes: Bytes) -> Self {
        Self(Read::Whole(bytes))
    }
}

impl Body for ReadBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match &mut self.0 {
            Read::Whole(bytes) if bytes.is_empty() => Poll::Ready(None),
            Read::Whole(bytes) => Poll::Ready(Some(Ok(Frame::data(mem::take(bytes))))),
            Read::Trailing(read) => Pin::new(read)
                .poll_frame(cx)
                .map_err(|never| match never {}),
            Read::Broken(error) => Poll::Ready(error.take().map(Err)),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Read::Whole(bytes) => bytes.is_empty(),
            Read::Trailing(read) => read.is_end_stream(),
            Read::Broken(error) => error.is_none(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Read::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Read::Trailing(read) => read.size_hint(),
            Read::Broken(_) => SizeHint::default(),
        }
    }
}

/// The limits for reading a request's body before a lock or permit is taken.
///
/// A client decides how fast its body arrives. If a route waited for the body while holding a lock
/// or permit, one stalled client would block all others.
///
/// See [`read`](Self::read) for an example.
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

    /// Reads a body, and turns it into the handler's body with `build`.
    ///
    /// # Errors
    ///
    /// [`SlowBody`](ErrorKind::SlowBody) if the body does not arrive in [`time`](Self::time),
    /// [`LongBody`](ErrorKind::LongBody) if it is longer than the [`limit`](Self::limit).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future drops the body. No lock or permit is held while the body is read.
    ///
    /// # Panics
    ///
    /// If called outside a tokio runtime.
    ///
    /// # Examples
    ///
    /// ```
    /// use cachify_core::ErrorKind;
    /// use cachify_core::http::{BodyRules, ReadBody};
    /// use http_body_util::Full;
    ///
    /// #[tokio::main]
    /// async fn main() -> Result<(), cachify_core::Error> {
    ///     let mut rules = BodyRules::default();
    ///     rules.limit(4);
    ///
    ///     let full = |read: ReadBody| Full::new(read.into_bytes().unwrap_or_default());
    ///     rules.read(Full::from("four"), full).await?;
    ///     let error = rules.read(Full::from("longer"), full).await.unwrap_err();
    ///     assert_eq!(error.kind(), ErrorKind::LongBody);
    ///     Ok(())
    /// }
    /// ```
    pub async fn read<B>(&self, body: B, build: fn(ReadBody) -> B) -> Result<B, Error>
    where
        B: Body<Data = Bytes, Error: Into<BoxError>>,
    {
        if self.streams || body.is_end_stream() {
            return Ok(body);
        }
        match tokio::time::timeout(self.time, ReadBody::read(body, self.limit)).await {
            Ok(read) if read.is_too_long() => Err(Error::new(
                ErrorKind::LongBody,
                "the body of a request is over the limit for reading it before a lock or permit is \
                 taken; raise the limit, or stream the body",
            )),
            Ok(read) => Ok(build(read)),
            Err(_) => Err(Error::new(
                ErrorKind::SlowBody,
                "the body of a request did not arrive in time; no lock or permit was taken; \
                 allow more time, or stream the body",
            )),
        }
    }
}

//! Handlers that respond as the request tells them to, and that can be stopped at a gate.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _, stream};
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderName, HeaderValue};
use http::{HeaderMap, Response, StatusCode};
use tokio::sync::{Notify, Semaphore};

use super::limit::soon;
use crate::{Cachify, Error, KeyTemplate};

/// The handlers of a [`TestApp`](super::TestApp), each with a name. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct Probe(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    handlers: Mutex<HashMap<String, Handler>>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct Handler {
    calls: usize,
    dropped: usize,
    gate: Option<Arc<Semaphore>>,
    headers: HeaderMap,
    scoped: bool,
}

const SPLIT: &[u8] = b"helloHTTP/1.1 200 OK\r\nset-cookie: id=7\r\ncontent-length: 0\r\n\r\n";

/// The body of a response.
pub enum Content {
    /// The whole body.
    Whole(Bytes),
    /// Pieces of the body, whose length is not known in advance.
    Stream(Pieces),
}

/// The pieces of a body. An error ends the body early.
pub type Pieces = Pin<Box<dyn Stream<Item = Result<Bytes, io::Error>> + Send + Sync>>;

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole(bytes) => bytes.fmt(f),
            Self::Stream(_) => f.write_str("a stream"),
        }
    }
}

impl Probe {
    /// Returns the response of the handler `name` to a request with these headers and this body.
    ///
    /// By default, the status is 200, the type `text/plain`, and the body the name with the number
    /// of the call.
    ///
    /// | header of the request | effect |
    /// |---|---|
    /// | `x-status` | sets the status |
    /// | `x-answer-NAME: VALUE` | adds a header; `#` stands for the number of the call |
    /// | `x-body: echo`, `empty`, `language` | repeats the body, sends none, repeats `accept-language` |
    /// | `x-body: large`, `stream` | sends 2 MiB, or several pieces |
    /// | `x-body: split` | sends what looks like the end of a response and a second one |
    /// | `x-body: told`, `broken`, `endless` | sends pieces: of an announced length, ended early by an error, or without an end |
    ///
    /// # Cancel safety
    ///
    /// Dropping the future is [counted](Self::until_dropped).
    pub async fn answer(&self, name: &str, request: &HeaderMap, body: Bytes) -> Response<Content> {
        let n = self.call(name, request).await;
        let field = |field: &str| request.get(field).and_then(|value| value.to_str().ok());
        let text = format!("{name} {n}");
        let pieces = [format!("{name} "), n.to_string()].map(Bytes::from);
        let streamed = |pieces: [Bytes; 2]| stream::iter(pieces.map(Ok::<_, io::Error>));
        let kind = field("x-body").unwrap_or_default();
        let content = match kind {
            "empty" => Content::Whole(Bytes::new()),
            "echo" => Content::Whole(body),
            "split" => Content::Whole(Bytes::from_static(SPLIT)),
            "large" => Content::Whole(vec![b'x'; 2 << 20].into()),
            "language" => {
                let language = field("accept-language").unwrap_or("none");
                Content::Whole(format!("{language} {n}").into())
            }
            "stream" | "told" => Content::Stream(Box::pin(streamed(pieces))),
            "endless" => Content::Stream(Box::pin(streamed(pieces).chain(stream::pending()))),
            "broken" => {
                let broken = Err(io::Error::other("broken off on purpose"));
                Content::Stream(Box::pin(streamed(pieces).chain(stream::iter([broken]))))
            }
            _ => Content::Whole(text.clone().into()),
        };
        let mut response = Response::new(content);
        let status = field("x-status").and_then(|status| status.parse().ok());
        *response.status_mut() = status.unwrap_or(StatusCode::OK);
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
        match kind {
            "told" => drop(headers.insert(CONTENT_LENGTH, text.len().into())),
            "broken" => drop(headers.insert(CONTENT_LENGTH, (text.len() + 1).into())),
            _ => {}
        }
        for (field, value) in request {
            let name = field.as_str().strip_prefix("x-answer-");
            let Some(Ok(name)) = name.map(str::parse::<HeaderName>) else {
                continue;
            };
            let numbered = value.to_str().unwrap_or_default();
            let numbered = numbered.replace('#', &n.to_string());
            let value = HeaderValue::try_from(numbered).unwrap_or_else(|_| value.clone());
            headers.append(name, value);
        }
        response
    }

    /// Acquires and releases a lock of the key `own-{name}`, for a handler that returns the error.
    /// `kind` is `lock` or `once`.
    ///
    /// # Errors
    ///
    /// Those of [`Lock::acquire`](crate::Lock::acquire) or [`Once::acquire`](crate::Once::acquire).
    pub async fn own(&self, cachify: &Cachify, kind: &str, name: &str) -> Result<(), Error> {
        let key = KeyTemplate::parse(&format!("own-{name}"))?.render(&[]);
        let guard = match kind {
            "once" => cachify.once(&key).acquire().await?,
            _ => cachify.lock(&key).acquire().await?,
        };
        guard.finish().await;
        Ok(())
    }

    /// Counts a call of the handler `name`, waits while its gate is [shut](Self::shut), and returns
    /// the number of the call, from 1.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future is [counted](Self::until_dropped).
    pub async fn call(&self, name: &str, request: &HeaderMap) -> usize {
        let (n, gate) = {
            let mut handlers = self.handlers();
            let handler = handlers.entry(name.to_owned()).or_default();
            handler.calls += 1;
            handler.headers = request.clone();
            handler.scoped = Cachify::current().is_some();
            (handler.calls, handler.gate.clone())
        };
        self.0.changed.notify_waiters();
        if let Some(gate) = gate {
            let dropped = Dropped { probe: self, name };
            if let Ok(permit) = gate.acquire().await {
                permit.forget();
            }
            std::mem::forget(dropped);
        }
        n
    }

    /// Makes later calls of the handler `name` wait.
    pub fn shut(&self, name: &str) {
        let gate = Some(Arc::new(Semaphore::new(0)));
        self.handlers().entry(name.to_owned()).or_default().gate = gate;
    }

    /// Lets `n` calls of the handler `name` continue, including those that begin later.
    pub fn open(&self, name: &str, n: usize) {
        if let Some(Some(gate)) = self.handlers().get(name).map(|handler| &handler.gate) {
            gate.add_permits(n);
        }
    }

    /// Returns the number of calls to the handler `name`.
    pub fn calls(&self, name: &str) -> usize {
        self.handlers().get(name).map_or(0, |handler| handler.calls)
    }

    /// Returns the request headers of the last call of the handler `name`.
    pub fn headers(&self, name: &str) -> HeaderMap {
        let handlers = self.handlers();
        let headers = handlers.get(name).map(|handler| handler.headers.clone());
        headers.unwrap_or_default()
    }

    /// Returns whether the last call of the handler `name` was in the scope of a handle.
    pub fn is_scoped(&self, name: &str) -> bool {
        let handlers = self.handlers();
        handlers.get(name).is_some_and(|handler| handler.scoped)
    }

    /// Waits until the handler `name` was called `n` times.
    ///
    /// # Panics
    ///
    /// After 30 s.
    pub async fn until_called(&self, name: &str, n: usize) {
        let what = format!("{n} calls of `{name}`");
        self.until(&what, || self.calls(name) >= n).await;
    }

    /// Waits until `n` calls of the handler `name` were dropped while they waited.
    ///
    /// # Panics
    ///
    /// After 30 s.
    pub async fn until_dropped(&self, name: &str, n: usize) {
        let dropped = || {
            let handlers = self.handlers();
            handlers
                .get(name)
                .is_some_and(|handler| handler.dropped >= n)
        };
        let what = format!("{n} dropped calls of `{name}`");
        self.until(&what, dropped).await;
    }

    async fn until(&self, what: &str, condition: impl Fn() -> bool) {
        soon(what, async {
            loop {
                let mut changed = pin!(self.0.changed.notified());
                changed.as_mut().enable();
                if condition() {
                    break;
                }
                changed.await;
            }
        })
        .await;
    }

    fn handlers(&self) -> MutexGuard<'_, HashMap<String, Handler>> {
        let handlers = self.0.handlers.lock();
        handlers.unwrap_or_else(PoisonError::into_inner)
    }
}

/// Counts a call that is dropped before its end.
struct Dropped<'a> {
    probe: &'a Probe,
    name: &'a str,
}

impl Drop for Dropped<'_> {
    fn drop(&mut self) {
        if let Some(handler) = self.probe.handlers().get_mut(self.name) {
            handler.dropped += 1;
        }
        self.probe.0.changed.notify_waiters();
    }
}

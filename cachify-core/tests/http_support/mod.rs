//! A framework of a few lines, a client for it, and a backend that encodes as if remote.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used)]

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use cachify_core::backend::memory::Memory;
use cachify_core::backend::{
    Acquire, Acquired, Backend, Begin, Begun, BoxFuture, Found, Inspection, NewEntry, Signals,
    Slot, Stored, Token, Typed,
};
use cachify_core::clock::{Clock, Moment};
use cachify_core::http::{CacheRules, ReadBody, RequestKey, Routed};
use cachify_core::{Cachify, Error, Key};
use http::request::Parts;
use http::{Request, Response};
use http_body::{Frame, SizeHint};

/// A body that is complete, or that comes in pieces.
#[derive(Debug, Clone, PartialEq)]
pub enum Body {
    Full(Bytes),
    Stream {
        length: Option<u64>,
        pieces: Vec<&'static str>,
        breaks: bool,
    },
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = &'static str;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, &'static str>>> {
        let piece = match self.get_mut() {
            Self::Full(bytes) if bytes.is_empty() => None,
            Self::Full(bytes) => Some(Ok(std::mem::take(bytes))),
            Self::Stream { pieces, .. } if !pieces.is_empty() => Some(Ok(pieces.remove(0).into())),
            Self::Stream { breaks, .. } => std::mem::take(breaks).then_some(Err("broke off")),
        };
        Poll::Ready(piece.map(|piece| piece.map(Frame::data)))
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Full(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Self::Stream { length, .. } => length.map_or_else(SizeHint::new, SizeHint::with_exact),
        }
    }
}

pub fn made(read: ReadBody) -> Body {
    match read.into_bytes() {
        Ok(bytes) => Body::Full(bytes),
        Err(_) => Body::Stream {
            length: None,
            pieces: Vec::new(),
            breaks: true,
        },
    }
}

/// Builds a request to the only route.
pub struct Page<'a>(pub &'a str);

impl Routed for Page<'_> {
    fn route(&self) -> Option<&str> {
        Some("/page")
    }

    fn path(&self) -> &str {
        self.0
    }

    fn params(&self) -> impl Iterator<Item = (&str, &str)> {
        std::iter::empty()
    }
}

type Answer = Pin<Box<dyn Future<Output = Result<Response<Body>, String>> + Send>>;

/// A cached route.
#[derive(Clone)]
pub struct Route {
    rules: Arc<CacheRules>,
    handler: Arc<dyn Fn(Parts) -> Answer + Send + Sync>,
    runs: Arc<AtomicUsize>,
}

impl Route {
    pub fn new<Fut>(
        rules: CacheRules,
        handler: impl Fn(Parts) -> Fut + Send + Sync + 'static,
    ) -> Self
    where
        Fut: Future<Output = Response<Body>> + Send + 'static,
    {
        Self::fallible(rules, move |parts| {
            let answer = handler(parts);
            async { Ok(answer.await) }
        })
    }

    pub fn fallible<Fut>(
        rules: CacheRules,
        handler: impl Fn(Parts) -> Fut + Send + Sync + 'static,
    ) -> Self
    where
        Fut: Future<Output = Result<Response<Body>, String>> + Send + 'static,
    {
        Self {
            rules: Arc::new(rules),
            handler: Arc::new(move |parts| Box::pin(handler(parts))),
            runs: Arc::default(),
        }
    }

    /// Returns the number of the handler's runs.
    pub fn runs(&self) -> usize {
        self.runs.load(Ordering::SeqCst)
    }

    pub fn ask(
        &self,
        request: Request<()>,
    ) -> impl Future<Output = Result<Response<Body>, String>> + Send + 'static {
        let route = self.clone();
        async move {
            let (parts, ()) = request.into_parts();
            let plan = route.rules.plan(&parts, &Page(parts.uri.path()));
            let Self {
                rules,
                handler,
                runs,
            } = route;
            let call = move |parts| {
                runs.fetch_add(1, Ordering::SeqCst);
                handler(parts)
            };
            rules.serve(plan, parts, made, call).await
        }
    }

    pub async fn get(&self, headers: &[(&str, &str)]) -> Response<Body> {
        self.ask(get("/page", headers)).await.unwrap()
    }
}

pub fn get(uri: &str, headers: &[(&str, &str)]) -> Request<()> {
    let mut request = Request::get(uri);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(()).unwrap()
}

pub fn text(body: impl Into<Bytes>) -> Response<Body> {
    Response::new(Body::Full(body.into()))
}

pub fn with(mut response: Response<Body>, headers: &[(&'static str, &str)]) -> Response<Body> {
    for (name, value) in headers {
        response.headers_mut().append(*name, value.parse().unwrap());
    }
    response
}

pub fn body(response: &Response<Body>) -> &str {
    match response.body() {
        Body::Full(bytes) => std::str::from_utf8(bytes).unwrap(),
        body @ Body::Stream { .. } => panic!("{body:?}"),
    }
}

pub fn header<'r>(response: &'r Response<Body>, name: &str) -> Option<&'r str> {
    Some(response.headers().get(name)?.to_str().unwrap())
}

/// Returns the last `Cache-Status`.
pub fn status(response: &Response<Body>) -> &str {
    let last = response
        .headers()
        .get_all("cache-status")
        .into_iter()
        .next_back();
    last.unwrap().to_str().unwrap()
}

pub fn rules(cachify: &Cachify, template: &str) -> CacheRules {
    let mut rules = CacheRules::new(cachify, RequestKey::new(template));
    rules.ttl(Duration::from_mins(5).into());
    rules
}

/// Returns a handle over each kind of backend, on tokio's clock.
pub fn backends() -> Vec<Cachify> {
    vec![memory(), far().0]
}

pub fn memory() -> Cachify {
    let builder = Cachify::builder().memory().clock(Clock::test());
    builder.connect_lazy().unwrap()
}

/// Returns a handle over a backend that keeps bytes, and the number of its `GET`s.
pub fn far() -> (Cachify, Arc<AtomicUsize>) {
    let gets = Arc::<AtomicUsize>::default();
    let clock = Clock::test();
    let far = Far {
        memory: Memory::builder().clock(clock.clone()).build(),
        gets: Arc::clone(&gets),
    };
    let builder = Cachify::builder().backend(Arc::new(far)).clock(clock);
    (builder.connect_lazy().unwrap(), gets)
}

/// Stores the bytes that it would send over a network.
#[derive(Debug)]
struct Far {
    memory: Memory,
    gets: Arc<AtomicUsize>,
}

impl Far {
    fn bytes(&self, key: &Key, entry: &NewEntry<'_>) -> Result<Typed, Error> {
        Ok(Arc::new((entry.encode)(self.memory.now(key))?))
    }
}

fn found(found: Found) -> Found {
    match found.value {
        Stored::Typed(typed) => Found::bytes(typed.downcast_ref::<Vec<u8>>().unwrap().clone()),
        _ => found,
    }
}

impl Backend for Far {
    fn now(&self, key: &Key) -> Moment {
        self.memory.now(key)
    }

    fn signals(&self) -> &Signals {
        self.memory.signals()
    }

    fn get<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Result<Option<Found>, Error>> {
        self.gets.fetch_add(1, Ordering::SeqCst);
        Box::pin(async move { Ok(self.memory.get(key).await?.map(found)) })
    }

    fn begin<'a>(&'a self, key: &'a Key, begin: Begin<'a>) -> BoxFuture<'a, Result<Begun, Error>> {
        Box::pin(async move {
            // The memory compares by identity, a remote backend by content.
            let stored = self.memory.get(key).await?;
            let is_same = match (&stored, begin.replaces) {
                (Some(stored), Some(old)) => match (found(stored.clone()).value, &old.value) {
                    (Stored::Bytes(stored), Stored::Bytes(old)) => stored == *old,
                    _ => false,
                },
                _ => false,
            };
            let begin = begin.replaces(stored.as_ref().filter(|_| is_same));
            Ok(match self.memory.begin(key, begin).await? {
                Begun::Found(entry) => Begun::Found(found(entry)),
                begun => begun,
            })
        })
    }

    fn fill<'a>(
        &'a self,
        key: &'a Key,
        token: &'a Token,
        entry: NewEntry<'a>,
    ) -> BoxFuture<'a, Result<bool, Error>> {
        Box::pin(async move {
            let value = &self.bytes(key, &entry)?;
            let mut entry = entry;
            entry.value = value;
            self.memory.fill(key, token, entry).await
        })
    }

    fn release_lease<'a>(
        &'a self,
        key: &'a Key,
        token: &'a Token,
    ) -> BoxFuture<'a, Result<bool, Error>> {
        self.memory.release_lease(key, token)
    }

    fn extend_lease<'a>(
        &'a self,
        key: &'a Key,
        token: &'a Token,
        ttl: Duration,
    ) -> BoxFuture<'a, Result<bool, Error>> {
        self.memory.extend_lease(key, token, ttl)
    }

    fn reset<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Result<(), Error>> {
        self.memory.reset(key)
    }

    fn acquire<'a>(
        &'a self,
        slot: &'a Slot,
        acquire: Acquire<'a>,
    ) -> BoxFuture<'a, Result<Acquired, Error>> {
        self.memory.acquire(slot, acquire)
    }

    fn extend<'a>(
        &'a self,
        slot: &'a Slot,
        token: &'a Token,
        ttl: Duration,
    ) -> BoxFuture<'a, Result<bool, Error>> {
        self.memory.extend(slot, token, ttl)
    }

    fn release<'a>(
        &'a self,
        slot: &'a Slot,
        token: &'a Token,
    ) -> BoxFuture<'a, Result<bool, Error>> {
        self.memory.release(slot, token)
    }

    fn evict<'a>(&'a self, slot: &'a Slot) -> BoxFuture<'a, Result<bool, Error>> {
        self.memory.evict(slot)
    }

    fn inspect<'a>(&'a self, slot: &'a Slot) -> BoxFuture<'a, Result<Inspection, Error>> {
        self.memory.inspect(slot)
    }

    fn check(&self) -> BoxFuture<'_, Result<(), Error>> {
        self.memory.check()
    }
}

//! Handles over each kind of backend, a client without a socket, and doors for handlers to wait at.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used)]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::http::{HeaderMap, Request, StatusCode};
use cachify_axum::Cachify;
use tokio::sync::Semaphore;
use tower::ServiceExt as _;

/// A handle over each kind of backend, all empty.
pub fn backends() -> Vec<Cachify> {
    let memory = Cachify::memory();
    #[cfg(all(feature = "redis", unix))]
    return vec![memory, redis()];
    #[cfg(not(all(feature = "redis", unix)))]
    vec![memory]
}

#[cfg(all(feature = "redis", unix))]
fn redis() -> Cachify {
    static LAST: AtomicUsize = AtomicUsize::new(0);
    let n = LAST.fetch_add(1, Ordering::SeqCst);
    Cachify::builder()
        .redis(redis_fixture::shared())
        .prefix(format!("axum-{}-{n}", std::process::id()))
        .connect_lazy()
        .unwrap()
}

/// An answer, read to its end.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Answer {
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        Some(self.headers.get(name)?.to_str().unwrap())
    }

    /// What the cache said, without the time that is left.
    pub fn cache(&self) -> &str {
        let status = self.header("cache-status").unwrap_or_default();
        status.split("; ttl=").next().unwrap()
    }

    /// The status and the body.
    pub fn brief(&self) -> (u16, &str) {
        (self.status.as_u16(), self.text())
    }
}

pub fn request(method: &str, uri: &str, headers: &[(&str, &str)]) -> Request<Body> {
    let mut request = Request::builder().method(method).uri(uri);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(Body::empty()).unwrap()
}

pub async fn send(app: &Router, request: Request<Body>) -> Answer {
    let (head, body) = app.clone().oneshot(request).await.unwrap().into_parts();
    Answer {
        status: head.status,
        headers: head.headers,
        body: to_bytes(body, usize::MAX).await.unwrap(),
    }
}

pub async fn get(app: &Router, uri: &str) -> Answer {
    send(app, request("GET", uri, &[])).await
}

/// Where handlers wait until they are let through, counted.
#[derive(Debug, Clone)]
pub struct Door(Arc<(AtomicUsize, Semaphore)>);

impl Door {
    pub fn shut() -> Self {
        Self(Arc::new((AtomicUsize::new(0), Semaphore::new(0))))
    }

    pub async fn pass(&self) {
        self.0.0.fetch_add(1, Ordering::SeqCst);
        self.0.1.acquire().await.unwrap().forget();
    }

    /// How many came so far.
    pub fn came(&self) -> usize {
        self.0.0.load(Ordering::SeqCst)
    }

    pub async fn until_came(&self, count: usize) {
        while self.came() < count {
            tokio::task::yield_now().await;
        }
    }

    pub fn open(&self, count: usize) {
        self.0.1.add_permits(count);
    }
}

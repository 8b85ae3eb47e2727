//! Handles over each kind of backend, a client without a socket, and doors for handlers to wait at.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used)]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use cachify_poem::Cachify;
use poem::endpoint::BoxEndpoint;
use poem::http::{HeaderMap, Method, StatusCode};
use poem::test::TestClient;
use poem::{Body, EndpointExt as _, IntoEndpoint};
use tokio::sync::Semaphore;

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
        .prefix(format!("poem-{}-{n}", std::process::id()))
        .connect_lazy()
        .unwrap()
}

/// An app and its client.
#[derive(Clone)]
pub struct App(Arc<TestClient<BoxEndpoint<'static>>>);

impl App {
    pub fn new<E: IntoEndpoint<Endpoint: 'static>>(app: E) -> Self {
        let app = app.into_endpoint().map_to_response().boxed();
        Self(Arc::new(TestClient::new(app)))
    }

    pub async fn send(
        &self,
        method: Method,
        uri: &str,
        headers: &[(&str, &str)],
        body: impl Into<Body>,
    ) -> Answer {
        let mut request = self.0.request(method, uri).body(body);
        for &(name, value) in headers {
            request = request.header(name, value);
        }
        let mut response = request.send().await.0;
        Answer {
            status: response.status(),
            headers: response.headers().clone(),
            body: response.take_body().into_vec().await.unwrap(),
        }
    }

    pub async fn get(&self, uri: &str) -> Answer {
        self.get_with(uri, &[]).await
    }

    pub async fn get_with(&self, uri: &str, headers: &[(&str, &str)]) -> Answer {
        self.send(Method::GET, uri, headers, ()).await
    }

    pub async fn put(&self, uri: &str) -> Answer {
        self.send(Method::PUT, uri, &[], ()).await
    }
}

/// An answer, read to its end.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
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

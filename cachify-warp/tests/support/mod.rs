//! Handles over each kind of backend, a client without a socket, and doors for handlers to wait at.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used)]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use cachify_warp::Cachify;
use cachify_warp::handler::Route;
use tokio::sync::Semaphore;
use warp::filters::BoxedFilter;
use warp::http::{HeaderMap, StatusCode};
use warp::reply::{Reply, Response};
use warp::{Filter, Rejection, test};

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
        .prefix(format!("warp-{}-{n}", std::process::id()))
        .connect_lazy()
        .unwrap()
}

pub type App = BoxedFilter<(Response,)>;

/// Routes as an app has them: with the rejections of this crate answered.
pub fn app<R: Reply + 'static>(routes: impl Route<Extract = (R,)>) -> App {
    plain(routes.recover(cachify_warp::recover))
}

/// Routes without more.
pub fn plain<R: Reply + 'static>(
    routes: impl Filter<Extract = (R,), Error: Into<Rejection>> + Send + Sync + 'static,
) -> App {
    routes.map(Reply::into_response).boxed()
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

pub fn request(method: &str, uri: &str, headers: &[(&str, &str)]) -> test::RequestBuilder {
    let mut request = test::request().method(method).path(uri);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request
}

pub async fn send(app: &App, request: test::RequestBuilder) -> Answer {
    let (head, body) = soon(request.reply(app)).await.into_parts();
    Answer {
        status: head.status,
        headers: head.headers,
        body,
    }
}

pub async fn get(app: &App, uri: &str) -> Answer {
    send(app, request("GET", uri, &[])).await
}

/// Fails rather than hangs.
pub async fn soon<F: Future>(future: F) -> F::Output {
    let limit = Duration::from_secs(10);
    tokio::time::timeout(limit, future).await.unwrap()
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
        soon(async {
            while self.came() < count {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }

    pub fn open(&self, count: usize) {
        self.0.1.add_permits(count);
    }
}

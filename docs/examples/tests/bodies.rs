//! The page on compression, streams and request ids.
#![allow(clippy::unwrap_used, clippy::unused_async)]

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::handler::Handler;
use axum::middleware::{self, Next};
use axum::response::Response;
use axum::routing::get;
use cachify_axum::{CacheLayer, Cachify, Problem, key};
use futures_util::{Stream, StreamExt as _, stream};
use tower::ServiceExt as _;

// ANCHOR: stream
async fn export(State(cachify): State<Cachify>) -> Result<Body, Problem> {
    let permit = cachify.pool(&key!("exports"), 2).acquire().await?;
    // The stream owns the permit, so both end together.
    let rows = rows().map(move |row| {
        if permit.is_lost() {
            return Err(io::Error::other("the permit was lost"));
        }
        Ok(row)
    });
    Ok(Body::from_stream(rows))
}
// ANCHOR_END: stream

fn rows() -> impl Stream<Item = Bytes> {
    stream::iter(["a\n", "b\n", "c\n"].map(Bytes::from))
}

#[tokio::test]
async fn a_permit_is_held_until_the_body_ends() {
    let cachify = Cachify::memory();
    let app = Router::new().route("/export", get(export));
    let app = app.with_state(cachify.clone());
    let ask = async || {
        let request = Request::get("/export").body(Body::empty()).unwrap();
        app.clone().oneshot(request).await.unwrap()
    };
    let (one, two) = (ask().await, ask().await);
    assert_eq!(ask().await.status(), 429);

    assert_eq!(to_bytes(one.into_body(), 100).await.unwrap(), "a\nb\nc\n");
    drop(two); // the client disconnected
    let key = key!("exports");
    while cachify.pool(&key, 2).status().await.unwrap().in_use > 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(ask().await.status(), 200);
}

// ANCHOR: request_id
static REQUESTS: AtomicU64 = AtomicU64::new(1);

async fn add_request_id(request: Request, next: Next) -> Response {
    let id = REQUESTS.fetch_add(1, Ordering::Relaxed);
    let mut response = next.run(request).await;
    response.headers_mut().insert("x-request-id", id.into());
    response
}

fn app(cachify: &Cachify) -> Router {
    let cached = CacheLayer::new(cachify, "read_user-{user_id}");
    Router::new()
        .route("/users/{user_id}", get(read_user.layer(cached)))
        .layer(middleware::from_fn(add_request_id)) // outside the cache
}
// ANCHOR_END: request_id

async fn read_user() -> &'static str {
    "user"
}

#[tokio::test]
async fn each_hit_has_a_request_id_of_its_own() {
    let app = app(&Cachify::memory());
    let ask = async || {
        let request = Request::get("/users/7").body(Body::empty()).unwrap();
        let response = app.clone().oneshot(request).await.unwrap();
        let header = |name: &str| response.headers()[name].to_str().unwrap().to_owned();
        (header("x-request-id"), header("cache-status"))
    };
    let (first, second) = (ask().await, ask().await);
    assert!(second.1.contains("hit"), "{second:?}");
    assert_ne!(first.0, second.0);
}

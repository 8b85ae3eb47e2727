//! Compares a cached route with the same route without a cache, which answers ready bytes, both
//! without a socket. The budget is 1.5 times the time.

#![allow(missing_docs, clippy::unwrap_used)]

use std::hint::black_box;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::Path;
use axum::handler::Handler as _;
use axum::http::{Request, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use cachify_axum::{CacheLayer, Cachify};
use divan::Bencher;
use tokio::runtime::Runtime;
use tower_service::Service;

fn main() {
    divan::main();
}

static USER: Bytes = Bytes::from_static(
    br#"{"id":7,"name":"Ann","email":"ann@example.com","about":"................................................................................................................................................................"}"#,
);

async fn read_user(Path(user_id): Path<u64>) -> Response {
    black_box(user_id);
    ([(header::CONTENT_TYPE, "application/json")], USER.clone()).into_response()
}

fn plain() -> Router {
    Router::new().route("/users/{user_id}", get(read_user))
}

fn cached(template: &str) -> Router {
    let layer = CacheLayer::new(&Cachify::memory(), template).ttl(Duration::from_hours(1));
    Router::new().route("/users/{user_id}", get(read_user.layer(layer)))
}

fn run(bencher: Bencher<'_, '_>, mut app: Router) {
    let runtime = Runtime::new().unwrap();
    let _context = runtime.enter();
    let request = || Request::get("/users/7").body(Body::empty()).unwrap();
    runtime.block_on(app.call(request())).unwrap();
    bencher.with_inputs(request).bench_local_values(|request| {
        let mut future = Box::pin(app.call(request));
        match future
            .as_mut()
            .poll(&mut Context::from_waker(Waker::noop()))
        {
            Poll::Ready(response) => response.unwrap(),
            Poll::Pending => unreachable!("a hit waits for nothing"),
        }
    });
}

/// The route without a cache, which the budget refers to.
#[divan::bench(sample_count = 500, sample_size = 500)]
fn ready_bytes(bencher: Bencher<'_, '_>) {
    run(bencher, plain());
}

#[divan::bench(sample_count = 500, sample_size = 500)]
fn cached_hit(bencher: Bencher<'_, '_>) {
    run(bencher, cached("read_user-{user_id}"));
}

/// A hit without the cost of reading path parameters for the key.
#[divan::bench(sample_count = 500, sample_size = 500)]
fn cached_hit_of_a_constant_key(bencher: Bencher<'_, '_>) {
    run(bencher, cached("read_user"));
}

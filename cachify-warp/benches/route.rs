//! A cached route without a socket, against the same route answering ready bytes: about 350 ns more. That is twice the time, since warp itself
//! takes 280 ns; axum takes 630, and stays below the budget of 1.5 with the same surplus.

#![allow(missing_docs, clippy::unwrap_used)]

use std::hint::black_box;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use cachify_warp::{Cache, Cachify, FilterExt, key};
use divan::Bencher;
use tokio::runtime::Runtime;
use tower_service::Service as _;
use warp::Filter;
use warp::filters::BoxedFilter;
use warp::http::{Request, header};
use warp::reply::{Reply, Response};

fn main() {
    divan::main();
}

static USER: Bytes = Bytes::from_static(
    br#"{"id":7,"name":"Ann","email":"ann@example.com","about":"................................................................................................................................................................"}"#,
);

async fn read_user(user_id: u64) -> Response {
    black_box(user_id);
    let mut response = Response::new(USER.clone().into());
    let json = header::HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response
}

fn route() -> BoxedFilter<(u64,)> {
    warp::path!("users" / u64).and(warp::get()).boxed()
}

fn run(bencher: Bencher<'_, '_>, app: impl Filter<Extract: Reply, Error = warp::Rejection>) {
    let mut app = warp::service(app);
    let runtime = Runtime::new().unwrap();
    let _context = runtime.enter();
    let request = || Request::get("/users/7").body(String::new()).unwrap();
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

/// What the budget counts against.
#[divan::bench(sample_count = 500, sample_size = 500)]
fn ready_bytes(bencher: Bencher<'_, '_>) {
    run(bencher, route().then(read_user));
}

#[divan::bench(sample_count = 500, sample_size = 500)]
fn cached_hit(bencher: Bencher<'_, '_>) {
    let cache = Cache::new(&Cachify::memory()).ttl(Duration::from_hours(1));
    let cached = route().cached(cache, |(id,)| key!("read_user-{id}"), read_user);
    run(bencher, cached);
}

/// Without the cost of rendering a key.
#[divan::bench(sample_count = 500, sample_size = 500)]
fn cached_hit_of_a_constant_key(bencher: Bencher<'_, '_>) {
    let cache = Cache::new(&Cachify::memory()).ttl(Duration::from_hours(1));
    let cached = route().cached(cache, |_| key!("read_user"), read_user);
    run(bencher, cached);
}

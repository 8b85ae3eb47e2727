//! Compares a cached route with the same route without a cache, which answers ready bytes.
//!
//! Without a socket, the cache adds about 350 ns. That nearly doubles the time, since warp itself
//! takes only 400 ns; axum takes 820 ns, and stays within the budget of 1.5 times with a similar
//! addition. The benchmarks with a socket show the difference to a client.

#![allow(missing_docs, clippy::unwrap_used)]

use std::hint::black_box;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use cachify_warp::{CacheOptions, Cachify, FilterExt, key};
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

/// Measures one client that sends one request after the other over one connection.
fn run_by_socket(
    bencher: Bencher<'_, '_>,
    app: impl Filter<Extract: Reply, Error = warp::Rejection> + Clone + Send + Sync + 'static,
) {
    const REQUEST: &[u8] = b"GET /users/7 HTTP/1.1\r\nhost: localhost\r\n\r\n";
    let runtime = Runtime::new().unwrap();
    let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0"));
    let listener = listener.unwrap();
    let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    client.set_nodelay(true).unwrap();
    runtime.spawn(warp::serve(app).incoming(listener).run());
    let mut answer = [0; 4096];
    let mut ask = || {
        client.write_all(REQUEST).unwrap();
        let mut read = 0;
        while !answer[..read].ends_with(&USER) {
            read += client.read(&mut answer[read..]).unwrap();
        }
        assert!(answer.starts_with(b"HTTP/1.1 200 "));
    };
    ask();
    bencher.bench_local(ask);
}

/// The route without a cache, which the budget refers to.
#[divan::bench(sample_count = 500, sample_size = 500)]
fn ready_bytes(bencher: Bencher<'_, '_>) {
    run(bencher, route().then(read_user));
}

#[divan::bench(sample_count = 500, sample_size = 500)]
fn cached_hit(bencher: Bencher<'_, '_>) {
    let cache = CacheOptions::new(&Cachify::memory()).ttl(Duration::from_hours(1));
    let cached = route().cached(cache, |(id,)| key!("read_user-{id}"), read_user);
    run(bencher, cached);
}

#[divan::bench(sample_count = 500, sample_size = 50)]
fn ready_bytes_by_a_socket(bencher: Bencher<'_, '_>) {
    run_by_socket(bencher, route().then(read_user));
}

#[divan::bench(sample_count = 500, sample_size = 50)]
fn cached_hit_by_a_socket(bencher: Bencher<'_, '_>) {
    let cache = CacheOptions::new(&Cachify::memory()).ttl(Duration::from_hours(1));
    let cached = route().cached(cache, |(id,)| key!("read_user-{id}"), read_user);
    run_by_socket(bencher, cached);
}

/// A hit without the cost of rendering a key.
#[divan::bench(sample_count = 500, sample_size = 500)]
fn cached_hit_of_a_constant_key(bencher: Bencher<'_, '_>) {
    let cache = CacheOptions::new(&Cachify::memory()).ttl(Duration::from_hours(1));
    let cached = route().cached(cache, |_| key!("read_user"), read_user);
    run(bencher, cached);
}

//! Compares a cached route with the same route without a cache, which answers ready bytes, both
//! without a socket. The budget is 1.5 times the time.

#![allow(missing_docs, clippy::unwrap_used)]

use std::hint::black_box;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use cachify_poem::{CacheMiddleware, Cachify};
use divan::Bencher;
use poem::http::Uri;
use poem::web::Path;
use poem::{Endpoint, EndpointExt as _, IntoResponse as _, Request, Response, Route, get, handler};
use tokio::runtime::Runtime;

fn main() {
    divan::main();
}

static USER: &[u8] =
    br#"{"id":7,"name":"Ann","email":"ann@example.com","about":"................................................................................................................................................................"}"#;

#[handler]
async fn read_user(Path(user_id): Path<u64>) -> Response {
    black_box(user_id);
    USER.with_content_type("application/json").into_response()
}

fn plain() -> Route {
    Route::new().at("/users/:user_id", get(read_user))
}

fn cached(template: &str) -> Route {
    let cached = CacheMiddleware::new(&Cachify::memory(), template).ttl(Duration::from_hours(1));
    Route::new().at("/users/:user_id", get(read_user.with(cached)))
}

fn run(bencher: Bencher<'_, '_>, app: &Route) {
    let runtime = Runtime::new().unwrap();
    let _context = runtime.enter();
    let request = || {
        Request::builder()
            .uri(Uri::from_static("/users/7"))
            .finish()
    };
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
    run(bencher, &plain());
}

#[divan::bench(sample_count = 500, sample_size = 500)]
fn cached_hit(bencher: Bencher<'_, '_>) {
    run(bencher, &cached("read_user-{user_id}"));
}

/// A hit without the cost of reading path parameters for the key.
#[divan::bench(sample_count = 500, sample_size = 500)]
fn cached_hit_of_a_constant_key(bencher: Bencher<'_, '_>) {
    run(bencher, &cached("read_user"));
}

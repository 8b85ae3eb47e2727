//! The page on the order of attributes.
#![allow(clippy::unwrap_used, clippy::unused_async)]

use std::sync::atomic::{AtomicUsize, Ordering};

use cachify_core::{Cachify, Error, cached, key, locked, once};

// ANCHOR: cached_locked
#[cached(key = "report-{id}", with = cachify)] // asked first: a hit needs no lock
#[locked(key = "reports", wait = "5s", with = cachify)] // one report at a time is computed
async fn report(cachify: &Cachify, runs: &AtomicUsize, id: u64) -> Result<u64, Error> {
    runs.fetch_add(1, Ordering::SeqCst);
    Ok(id * 2)
}
// ANCHOR_END: cached_locked

#[tokio::test]
async fn a_hit_needs_no_lock() {
    let (cachify, runs) = (Cachify::memory(), AtomicUsize::new(0));
    assert_eq!(report(&cachify, &runs, 1).await.unwrap(), 2);
    let _guard = cachify.lock(&key!("reports")).acquire().await.unwrap();
    assert_eq!(report(&cachify, &runs, 1).await.unwrap(), 2);
    assert_eq!(runs.load(Ordering::SeqCst), 1);
}

#[cached(key = "total-{id}", with = cachify)]
#[once(key = "totals", on_locked = 0, on_error = |_| 0, with = cachify)]
async fn total(cachify: &Cachify, id: u64) -> u64 {
    id * 2
}

// ANCHOR: cached_once
#[cached(key = "sum-{id}", with = cachify)]
#[once(key = "sums", on_locked = Err(Busy), on_error = |_| Err(Busy), with = cachify)]
async fn sum(cachify: &Cachify, id: u64) -> Result<u64, Busy> {
    Ok(id * 2)
}
// ANCHOR_END: cached_once

#[derive(Debug, PartialEq)]
struct Busy;

#[tokio::test]
async fn what_a_refusal_returns_is_stored_unless_it_is_an_error() {
    let cachify = Cachify::memory();
    let totals = cachify.lock(&key!("totals")).acquire().await.unwrap();
    let sums = cachify.lock(&key!("sums")).acquire().await.unwrap();
    assert_eq!(total(&cachify, 1).await, 0);
    assert_eq!(sum(&cachify, 1).await, Err(Busy));
    totals.release().await.unwrap();
    sums.release().await.unwrap();
    assert_eq!(total(&cachify, 1).await, 0);
    assert_eq!(sum(&cachify, 1).await, Ok(2));
}

// ANCHOR: instrument
#[tracing::instrument(skip_all)] // a span for each call
#[cached(key = "rates-{day}", with = cachify)]
#[tracing::instrument(name = "compute_rates", skip_all)] // a span for each computation
async fn rates(cachify: &Cachify, day: u32) -> Vec<u64> {
    vec![day.into(), 2]
}
// ANCHOR_END: instrument

#[tokio::test]
async fn a_function_with_spans_is_cached() {
    let cachify = Cachify::memory();
    rates(&cachify, 1).await;
    assert_eq!(rates::get(&cachify, &1).await.unwrap(), Some(vec![1, 2]));
}

mod poem_handler {
    // ANCHOR: handler
    use cachify_poem::{Problem, once};
    use poem::handler;
    use poem::web::Path;

    #[once(key = "import-{id}")] // above `#[handler]`
    #[handler]
    async fn import(Path(id): Path<u64>) -> Result<String, Problem> {
        Ok(format!("imported {id}"))
    }
    // ANCHOR_END: handler

    #[tokio::test]
    async fn a_handler_runs_once_at_a_time() {
        use cachify_poem::{Cachify, key};
        use poem::{Endpoint, Request, Route};

        let cachify = Cachify::memory();
        let app = Route::new().at("/import/:id", poem::post(import));
        let ask = async || {
            let request = Request::builder().method(poem::http::Method::POST);
            let request = request
                .uri(poem::http::Uri::from_static("/import/7"))
                .finish();
            app.get_response(request).await.status().as_u16()
        };
        let test = async {
            assert_eq!(ask().await, 200);
            let running = cachify.lock(&key!("import-7")).acquire().await.unwrap();
            assert_eq!(ask().await, 409);
            running.release().await.unwrap();
            assert_eq!(ask().await, 200);
        };
        cachify.scope(test).await;
    }
}

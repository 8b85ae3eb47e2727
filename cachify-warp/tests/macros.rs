//! This crate alone brings everything of the core, macros included.
#![allow(clippy::unwrap_used)]

use cachify_core::testing::adapter::{Probe, Server};
use cachify_warp::{CacheOptions, Cachify, FilterExt, Problem, cached, key, once};
use warp::Filter;
use warp::filters::BoxedFilter;
use warp::http::HeaderMap;
use warp::reply::Response;

#[cached(key = "square-{number}", ttl = "5m")]
async fn square(number: u64) -> u64 {
    number * number
}

#[once(key = "report-{id}")]
async fn report(id: u64, probe: Probe) -> Result<String, Problem> {
    probe.call("report", &HeaderMap::new()).await;
    Ok(format!("report {id}"))
}

async fn show(number: u64) -> String {
    square(number).await.to_string()
}

async fn serve(app: BoxedFilter<(Response,)>) -> Server {
    Server::start(|listener| warp::serve(app).incoming(listener).run()).await
}

#[tokio::test]
async fn scope_is_the_handle_of_each_function() {
    let cachify = Cachify::memory();
    let path = || warp::path!(u64);
    let cache = CacheOptions::new(&cachify);
    for app in [
        path().scoped(&cachify, show).boxed(),
        path().cached(cache, |(n,)| key!("shown-{n}"), show).boxed(),
        path().then_locked(&cachify, |(n,)| key!("shown-{n}"), show),
    ] {
        cachify.scope(square::reset(&7)).await.unwrap();
        assert_eq!(serve(app).await.get("/7").await.text(), "49");
        let stored = cachify.scope(square::get(&7)).await.unwrap();
        assert_eq!(stored, Some(49));
    }
}

#[tokio::test]
async fn h5_a_handler_that_runs_once_answers_409() {
    let (cachify, probe) = (Cachify::memory(), Probe::default());
    let inside = probe.clone();
    let with_probe = warp::any().map(move || inside.clone());
    let app = warp::path!(u64).and(with_probe).scoped(&cachify, report);
    let server = serve(app.boxed()).await;
    probe.shut("report");
    let first = server.send("GET /7", &[]).await;
    probe.until_called("report", 1).await;
    assert_eq!(server.get("/7").await.status, 409);
    probe.open("report", 1);
    assert_eq!(first.answer().await.brief(), (200, "report 7"));
}

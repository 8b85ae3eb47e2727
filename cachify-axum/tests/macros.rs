//! This crate alone brings everything of the core, macros included.
#![allow(clippy::unwrap_used)]

use std::future::IntoFuture as _;

use axum::extract::Path;
use axum::http::HeaderMap;
use axum::routing::get;
use axum::{Extension, Router};
use cachify_axum::{Cachify, Problem, ScopeLayer, cached, once};
use cachify_core::testing::adapter::{Probe, Server};

#[cached(key = "square-{number}", ttl = "5m")]
async fn square(number: u64) -> u64 {
    number * number
}

#[once(key = "report-{id}")]
async fn report(Path(id): Path<u64>, probe: Extension<Probe>) -> Result<String, Problem> {
    probe.call("report", &HeaderMap::new()).await;
    Ok(format!("report {id}"))
}

async fn serve(app: Router, cachify: &Cachify) -> Server {
    let app = app.layer(ScopeLayer::new(cachify));
    Server::start(|listener| axum::serve(listener, app).into_future()).await
}

#[tokio::test]
async fn scope_is_the_handle_of_each_function() {
    let cachify = Cachify::memory();
    let handler = async |Path(number): Path<u64>| square(number).await.to_string();
    let server = serve(Router::new().route("/{number}", get(handler)), &cachify).await;
    assert_eq!(server.get("/7").await.text(), "49");
    let stored = cachify.scope(square::get(&7)).await.unwrap();
    assert_eq!(stored, Some(49));
}

#[tokio::test]
async fn h5_a_handler_that_runs_once_answers_409() {
    let (cachify, probe) = (Cachify::memory(), Probe::default());
    let app = Router::new()
        .route("/{id}", get(report))
        .layer(Extension(probe.clone()));
    let server = serve(app, &cachify).await;
    probe.shut("report");
    let first = server.send("GET /7", &[]).await;
    probe.until_called("report", 1).await;
    assert_eq!(server.get("/7").await.status, 409);
    probe.open("report", 1);
    assert_eq!(first.answer().await.brief(), (200, "report 7"));
}

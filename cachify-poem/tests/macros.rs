//! This crate alone brings everything of the core, macros included.
#![allow(clippy::unwrap_used)]

use cachify_core::testing::adapter::{Probe, Server};
use cachify_poem::{Cachify, Problem, ScopeMiddleware, cached, once};
use poem::http::HeaderMap;
use poem::listener::TcpAcceptor;
use poem::web::{Data, Path};
use poem::{EndpointExt as _, Route, get, handler};

#[cached(key = "square-{number}", ttl = "5m")]
async fn square(number: u64) -> u64 {
    number * number
}

#[handler]
async fn squared(Path(number): Path<u64>) -> String {
    square(number).await.to_string()
}

#[once(key = "report-{id}")]
#[handler]
async fn report(Path(id): Path<u64>, Data(probe): Data<&Probe>) -> Result<String, Problem> {
    probe.call("report", &HeaderMap::new()).await;
    Ok(format!("report {id}"))
}

async fn serve(route: Route, cachify: &Cachify, probe: &Probe) -> Server {
    let app = route
        .with(ScopeMiddleware::new(cachify))
        .data(probe.clone());
    Server::start(async |listener| {
        let acceptor = TcpAcceptor::from_tokio(listener)?;
        poem::Server::new_with_acceptor(acceptor).run(app).await
    })
    .await
}

#[tokio::test]
async fn scope_is_the_handle_of_each_function() {
    let (cachify, probe) = (Cachify::memory(), Probe::default());
    let route = Route::new().at("/:number", get(squared));
    let server = serve(route, &cachify, &probe).await;
    assert_eq!(server.get("/7").await.text(), "49");
    let stored = cachify.scope(square::get(&7)).await.unwrap();
    assert_eq!(stored, Some(49));
}

#[tokio::test]
async fn h5_a_handler_that_runs_once_answers_409() {
    let (cachify, probe) = (Cachify::memory(), Probe::default());
    let route = Route::new().at("/:id", get(report));
    let server = serve(route, &cachify, &probe).await;
    probe.shut("report");
    let first = server.send("GET /7", &[]).await;
    probe.until_called("report", 1).await;
    assert_eq!(server.get("/7").await.status, 409);
    // The companions belong to the type that poem makes.
    assert!(cachify.scope(report::is_locked(&7)).await.unwrap());
    probe.open("report", 1);
    assert_eq!(first.answer().await.brief(), (200, "report 7"));
}

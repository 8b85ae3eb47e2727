//! Everything of the core comes with this crate alone, macros included.
#![allow(clippy::unwrap_used)]

mod support;

use axum::Router;
use axum::extract::Path;
use axum::routing::get;
use cachify_axum::{Cachify, Problem, ScopeLayer, cached, once};
use support::{Door, backends, get as fetch};

#[cached(key = "square-{number}", ttl = "5m")]
async fn square(number: u64) -> u64 {
    number * number
}

#[once(key = "report-{id}")]
async fn report(Path(id): Path<u64>, door: axum::Extension<Door>) -> Result<String, Problem> {
    door.pass().await;
    Ok(format!("report {id}"))
}

#[tokio::test]
async fn scope_is_the_handle_of_each_request() {
    for cachify in backends() {
        let handler = async |Path(number): Path<u64>| square(number).await.to_string();
        let app = Router::new()
            .route("/{number}", get(handler))
            .layer(ScopeLayer::new(&cachify));
        assert_eq!(fetch(&app, "/7").await.text(), "49");
        let stored = cachify.scope(square::get(&7)).await.unwrap();
        assert_eq!(stored, Some(49));
        assert!(Cachify::current().is_none());
    }
}

#[tokio::test]
async fn h5_a_handler_that_runs_once_answers_409() {
    for cachify in backends() {
        let door = Door::shut();
        let app = Router::new()
            .route("/{id}", get(report))
            .layer(axum::Extension(door.clone()))
            .layer(ScopeLayer::new(&cachify));
        let (first, ()) = tokio::join!(fetch(&app, "/7"), async {
            door.until_came(1).await;
            assert_eq!(fetch(&app, "/7").await.status, 409);
            door.open(1);
        });
        assert_eq!(first.brief(), (200, "report 7"));
    }
}

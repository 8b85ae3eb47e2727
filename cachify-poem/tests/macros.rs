//! Everything of the core comes with this crate alone, macros included.
#![allow(clippy::unwrap_used)]

mod support;

use cachify_poem::{Cachify, Problem, ScopeMiddleware, cached, once};
use poem::web::{Data, Path};
use poem::{EndpointExt as _, Route, get, handler};
use support::{App, Door, backends};

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
async fn report(Path(id): Path<u64>, Data(door): Data<&Door>) -> Result<String, Problem> {
    door.pass().await;
    Ok(format!("report {id}"))
}

#[tokio::test]
async fn scope_is_the_handle_of_each_request() {
    for cachify in backends() {
        let app = Route::new().at("/:number", get(squared));
        let app = App::new(app.with(ScopeMiddleware::new(&cachify)));
        assert_eq!(app.get("/7").await.text(), "49");
        let stored = cachify.scope(square::get(&7)).await.unwrap();
        assert_eq!(stored, Some(49));
        assert!(Cachify::current().is_none());
    }
}

#[tokio::test]
async fn h5_a_handler_that_runs_once_answers_409() {
    for cachify in backends() {
        let door = Door::shut();
        let app = Route::new().at("/:id", get(report)).data(door.clone());
        let app = App::new(app.with(ScopeMiddleware::new(&cachify)));
        let (first, ()) = tokio::join!(app.get("/7"), async {
            door.until_came(1).await;
            assert_eq!(app.get("/7").await.status, 409);
            // Companions are on the type that poem makes.
            assert!(cachify.scope(report::is_locked(&7)).await.unwrap());
            door.open(1);
        });
        assert_eq!(first.brief(), (200, "report 7"));
    }
}

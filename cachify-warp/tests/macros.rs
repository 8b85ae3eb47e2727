//! Everything of the core comes with this crate alone, macros included.
#![allow(clippy::unwrap_used)]

mod support;

use cachify_warp::{CacheOptions, Cachify, FilterExt, Problem, cached, key, once};
use support::{Door, app, backends, get as fetch};
use warp::Filter;

#[cached(key = "square-{number}", ttl = "5m")]
async fn square(number: u64) -> u64 {
    number * number
}

#[once(key = "report-{id}")]
async fn report(id: u64, door: Door) -> Result<String, Problem> {
    door.pass().await;
    Ok(format!("report {id}"))
}

async fn show(number: u64) -> String {
    square(number).await.to_string()
}

#[tokio::test]
async fn scope_is_the_handle_of_each_request() {
    for cachify in backends() {
        let path = || warp::path!(u64);
        let cache = CacheOptions::new(&cachify);
        for app in [
            app(path().scoped(&cachify, show)),
            app(path().cached(cache, |(n,)| key!("shown-{n}"), show)),
            app(path().then_locked(&cachify, |(n,)| key!("shown-{n}"), show)),
        ] {
            cachify.scope(square::reset(&7)).await.unwrap();
            assert_eq!(fetch(&app, "/7").await.text(), "49");
            let stored = cachify.scope(square::get(&7)).await.unwrap();
            assert_eq!(stored, Some(49));
            assert!(Cachify::current().is_none());
        }
    }
}

#[tokio::test]
async fn h5_a_handler_that_runs_once_answers_409() {
    for cachify in backends() {
        let door = Door::shut();
        let inside = door.clone();
        let with_door = warp::any().map(move || inside.clone());
        let app = app(warp::path!(u64).and(with_door).scoped(&cachify, report));
        let (first, ()) = tokio::join!(fetch(&app, "/7"), async {
            door.until_came(1).await;
            assert_eq!(fetch(&app, "/7").await.status, 409);
            door.open(1);
        });
        assert_eq!(first.brief(), (200, "report 7"));
    }
}

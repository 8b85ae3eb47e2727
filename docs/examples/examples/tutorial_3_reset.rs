//! Tutorial, chapters 3 to 5: updates reset the cached user and never run twice at a time, and the
//! environment says where the cache is.
#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::unused_async)]
#![allow(missing_docs, unreachable_pub, clippy::cast_possible_wrap)]

#[cfg(test)]
mod client;

// ANCHOR: all
mod store;

use std::time::Duration;

// ANCHOR: use
use axum::extract::{FromRef, Path, State};
use cachify_axum::{CacheLayer, Cachify, OnceLayer, key};
// ANCHOR_END: use
use axum::handler::Handler;
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use store::{NewUser, Store, User};

// ANCHOR: main
#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let url = std::env::var("CACHIFY_URL").unwrap_or_else(|_| "memory://".into());
    let cachify = Cachify::connect(&url).await?;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:8000").await?;
    axum::serve(listener, app(&cachify, Store::default())).await?;
    Ok(())
}
// ANCHOR_END: main

// ANCHOR: state
#[derive(Clone, FromRef)]
struct App {
    cachify: Cachify,
    store: Store,
}
// ANCHOR_END: state

// ANCHOR: router
fn app(cachify: &Cachify, store: Store) -> Router {
    let cached = CacheLayer::new(cachify, "read_user-{user_id}").ttl(Duration::from_mins(5));
    let once = OnceLayer::new(cachify, "update-user-{user_id}")
        .on_locked(|| (StatusCode::IM_USED, "update in progress\n"));
    Router::new()
        .route("/users/", post(create_user))
        .route(
            "/users/{user_id}",
            get(read_user.layer(cached)).put(update_user.layer(once)),
        )
        .with_state(App {
            cachify: cachify.clone(),
            store,
        })
}
// ANCHOR_END: router

async fn create_user(
    State(store): State<Store>,
    Json(new): Json<NewUser>,
) -> (StatusCode, Json<User>) {
    (StatusCode::CREATED, Json(store.create(new).await))
}

async fn read_user(
    State(store): State<Store>,
    Path(user_id): Path<i64>,
) -> Result<Json<User>, StatusCode> {
    let user = store.find(user_id).await;
    Ok(Json(user.ok_or(StatusCode::NOT_FOUND)?))
}

// ANCHOR: update
async fn update_user(
    State(cachify): State<Cachify>,
    State(store): State<Store>,
    Path(user_id): Path<i64>,
    Json(new): Json<NewUser>,
) -> Result<Json<User>, StatusCode> {
    let update = store.update(user_id, new);
    let user = cachify.update(&key!("read_user-{user_id}"), update).await;
    Ok(Json(user.ok_or(StatusCode::NOT_FOUND)?))
}
// ANCHOR_END: update
// ANCHOR_END: all

#[cfg(test)]
mod tests {
    use super::client::{ask, get, with_ann};
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_update_is_seen_at_once() {
        let cachify = Cachify::memory();
        let app = with_ann(app(&cachify, Store::default())).await;
        get(&app, "/users/1").await;
        ask(&app, "PUT", "/users/1", r#"{"name": "Bob"}"#).await;
        let (_, cache, body) = get(&app, "/users/1").await;
        assert_eq!(body, r#"{"id":1,"name":"Bob"}"#);
        assert_eq!(cache, "cachify; fwd=uri-miss; stored");
    }

    #[tokio::test(start_paused = true)]
    async fn a_read_in_flight_does_not_survive_an_update() {
        let cachify = Cachify::memory();
        let app = with_ann(app(&cachify, Store::default())).await;
        // The read finds Ann, and returns after the update has begun.
        let read = get(&app, "/users/1");
        let update = ask(&app, "PUT", "/users/1", r#"{"name": "Bob"}"#);
        tokio::join!(read, update);
        assert_eq!(get(&app, "/users/1").await.2, r#"{"id":1,"name":"Bob"}"#);
    }

    #[tokio::test(start_paused = true)]
    async fn the_second_update_is_told_so() {
        let cachify = Cachify::memory();
        let app = with_ann(app(&cachify, Store::default())).await;
        let update = |name| ask(&app, "PUT", "/users/1", name);
        let (first, second) =
            tokio::join!(update(r#"{"name": "Bob"}"#), update(r#"{"name": "Eve"}"#));
        assert_eq!((first.0, second.0), (200, 226));
        assert_eq!(second.2, "update in progress\n");
        let (status, ..) = update(r#"{"name": "Eve"}"#).await;
        assert_eq!(status, 200);
    }
}

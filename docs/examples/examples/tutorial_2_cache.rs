//! Tutorial, chapter 2: the read is cached.
#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::unused_async)]
#![allow(missing_docs, unreachable_pub, clippy::cast_possible_wrap)]

#[cfg(test)]
mod client;
mod store;

// ANCHOR: use
use std::time::Duration;

use axum::handler::Handler;
use cachify_axum::{CacheLayer, Cachify};
// ANCHOR_END: use
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use store::{NewUser, Store, User};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:8000").await?;
    // ANCHOR: main
    let cachify = Cachify::connect("memory://").await?;
    axum::serve(listener, app(&cachify, Store::default())).await?;
    // ANCHOR_END: main
    Ok(())
}

// ANCHOR: router
fn app(cachify: &Cachify, store: Store) -> Router {
    let cached = CacheLayer::new(cachify, "read_user-{user_id}").ttl(Duration::from_mins(5));
    Router::new()
        .route("/users/", post(create_user))
        .route(
            "/users/{user_id}",
            get(read_user.layer(cached)).put(update_user),
        )
        .with_state(store)
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

async fn update_user(
    State(store): State<Store>,
    Path(user_id): Path<i64>,
    Json(new): Json<NewUser>,
) -> Result<Json<User>, StatusCode> {
    let user = store.update(user_id, new).await;
    Ok(Json(user.ok_or(StatusCode::NOT_FOUND)?))
}

#[cfg(test)]
mod tests {
    use super::client::{ANN, ask, get, with_ann};
    use super::*;
    use tokio::time::Instant;

    #[tokio::test(start_paused = true)]
    async fn the_second_read_is_a_hit_and_old_after_an_update() {
        let cachify = Cachify::memory();
        let app = with_ann(app(&cachify, Store::default())).await;
        let (_, cache, _) = get(&app, "/users/1").await;
        assert_eq!(cache, "cachify; fwd=uri-miss; stored");

        let start = Instant::now();
        let (status, cache, body) = get(&app, "/users/1").await;
        assert_eq!((status, body.as_str()), (200, ANN));
        assert!(cache.starts_with("cachify; hit; ttl="), "{cache}");
        assert_eq!(start.elapsed(), Duration::ZERO);

        ask(&app, "PUT", "/users/1", r#"{"name": "Bob"}"#).await;
        assert_eq!(get(&app, "/users/1").await.2, ANN);
    }

    #[tokio::test(start_paused = true)]
    async fn fifty_readers_at_once_take_one_read() {
        let cachify = Cachify::memory();
        let app = with_ann(app(&cachify, Store::default())).await;
        let readers = (0..50).map(|_| get(&app, "/users/1"));
        let answers = futures_util::future::join_all(readers).await;
        let stored = answers
            .iter()
            .filter(|(_, cache, _)| cache.ends_with("stored"));
        assert_eq!(stored.count(), 1);
    }
}

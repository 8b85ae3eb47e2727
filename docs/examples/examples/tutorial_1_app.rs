//! Tutorial, chapter 1: the app without a cache.
#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::unused_async)]
#![allow(missing_docs, unreachable_pub, clippy::cast_possible_wrap)]

#[cfg(test)]
mod client;

// ANCHOR: all
mod store;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use store::{NewUser, Store, User};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:8000").await?;
    axum::serve(listener, app(Store::default())).await?;
    Ok(())
}

fn app(store: Store) -> Router {
    Router::new()
        .route("/users/", post(create_user))
        .route("/users/{user_id}", get(read_user).put(update_user))
        .with_state(store)
}

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
// ANCHOR_END: all

#[cfg(test)]
mod tests {
    use super::client::{ANN, ask, get, with_ann};
    use super::*;
    use tokio::time::{Duration, Instant};

    #[tokio::test(start_paused = true)]
    async fn every_read_is_slow() {
        let app = with_ann(app(Store::default())).await;
        for _ in 0..2 {
            let start = Instant::now();
            let (status, _, body) = get(&app, "/users/1").await;
            assert_eq!((status, body.as_str()), (200, ANN));
            assert_eq!(start.elapsed(), Duration::from_millis(400));
        }
        assert_eq!(get(&app, "/users/2").await.0, 404);
        let (status, ..) = ask(&app, "PUT", "/users/2", r#"{"name": "Bob"}"#).await;
        assert_eq!(status, 404);
    }
}

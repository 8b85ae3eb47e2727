//! Five minutes with axum.
#![allow(clippy::unwrap_used, clippy::unused_async, missing_docs)]
#![cfg_attr(not(test), allow(dead_code))]

// ANCHOR: db
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde::Serialize;

#[derive(Clone, Serialize)]
struct User {
    id: i64,
    name: String,
}

/// A stand-in for a database: one user, and 400 ms for each query.
#[derive(Clone)]
struct Db(Arc<Mutex<User>>);

impl Db {
    fn new() -> Self {
        let (id, name) = (1, "Ann".into());
        Self(Arc::new(Mutex::new(User { id, name })))
    }

    async fn find(&self, id: i64) -> Option<User> {
        tokio::time::sleep(Duration::from_millis(400)).await;
        let user = self.0.lock().unwrap();
        (user.id == id).then(|| user.clone())
    }

    async fn update(&self, id: i64, name: String) -> Option<User> {
        tokio::time::sleep(Duration::from_millis(400)).await;
        let mut user = self.0.lock().unwrap();
        (user.id == id).then(|| {
            user.name = name;
            user.clone()
        })
    }
}
// ANCHOR_END: db

// ANCHOR: app
use axum::extract::{FromRef, Path, State};
use axum::handler::Handler;
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use cachify_axum::{CacheLayer, Cachify, OnceLayer, key};

#[derive(Clone, FromRef)]
struct App {
    cachify: Cachify,
    db: Db,
}

async fn read_user(
    State(db): State<Db>,
    Path(user_id): Path<i64>,
) -> Result<Json<User>, StatusCode> {
    let user = db.find(user_id).await;
    Ok(Json(user.ok_or(StatusCode::NOT_FOUND)?))
}

async fn update_user(
    State(cachify): State<Cachify>,
    State(db): State<Db>,
    Path(user_id): Path<i64>,
    Json(name): Json<String>,
) -> Result<Json<User>, StatusCode> {
    let update = db.update(user_id, name);
    let user = cachify.update(&key!("read_user-{user_id}"), update).await;
    Ok(Json(user.ok_or(StatusCode::NOT_FOUND)?))
}

fn app(cachify: &Cachify, db: Db) -> Router {
    let cached = CacheLayer::new(cachify, "read_user-{user_id}").ttl(Duration::from_mins(5));
    let once = OnceLayer::new(cachify, "update-user-{user_id}");
    Router::new()
        .route(
            "/users/{user_id}",
            get(read_user.layer(cached)).put(update_user.layer(once)),
        )
        .with_state(App {
            cachify: cachify.clone(),
            db,
        })
}
// ANCHOR_END: app

// ANCHOR: main
#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let url = std::env::var("CACHIFY_URL").unwrap_or_else(|_| "memory://".into());
    let cachify = Cachify::connect(&url).await?;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:8000").await?;
    axum::serve(listener, app(&cachify, Db::new()))
        .with_graceful_shutdown(ctrl_c())
        .await?;
    cachify.close(Duration::from_secs(5)).await?;
    Ok(())
}

async fn ctrl_c() {
    tokio::signal::ctrl_c().await.ok();
}
// ANCHOR_END: main

// ANCHOR: typed
use cachify_axum::{CacheKey, Locked};
use serde::Deserialize;

#[derive(Deserialize, CacheKey)]
#[key("update-user-{user_id}")]
struct UpdateUser {
    user_id: i64,
}

async fn rename(locked: Locked<UpdateUser>) -> String {
    format!("user {} is mine", locked.key.user_id)
}
// ANCHOR_END: typed

#[cfg(test)]
mod client;

#[cfg(test)]
mod tests {
    use super::client::{ask, get as fetch};
    use super::*;
    use axum::routing::put;

    #[tokio::test(start_paused = true)]
    async fn reads_are_cached_and_reset() {
        let app = app(&Cachify::memory(), Db::new());
        fetch(&app, "/users/1").await;
        let (_, cache, _) = fetch(&app, "/users/1").await;
        assert!(cache.starts_with("cachify; hit"), "{cache}");
        assert_eq!(ask(&app, "PUT", "/users/1", r#""Bob""#).await.0, 200);
        let (status, _, body) = fetch(&app, "/users/1").await;
        assert_eq!((status, body.as_str()), (200, r#"{"id":1,"name":"Bob"}"#));
        assert_eq!(fetch(&app, "/users/2").await.0, 404);
    }

    #[tokio::test]
    async fn an_extractor_locks() {
        let cachify = Cachify::memory();
        let app = Router::new()
            .route("/users/{user_id}", put(rename))
            .with_state(cachify.clone());
        assert_eq!(ask(&app, "PUT", "/users/1", "").await.2, "user 1 is mine");
        let _guard = cachify.lock(&key!("update-user-1")).acquire().await;
        assert_eq!(ask(&app, "PUT", "/users/1", "").await.0, 423);
        assert_eq!(ask(&app, "PUT", "/users/2", "").await.0, 200);
    }
}

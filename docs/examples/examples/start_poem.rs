//! Five minutes with poem.
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
use cachify_poem::{CacheMiddleware, Cachify, OnceMiddleware, key};
use poem::error::NotFoundError;
use poem::web::{Data, Json, Path};
use poem::{Endpoint, EndpointExt, Result, Route, get, handler};

#[handler]
async fn read_user(Data(db): Data<&Db>, Path(user_id): Path<i64>) -> Result<Json<User>> {
    let user = db.find(user_id).await;
    Ok(Json(user.ok_or(NotFoundError)?))
}

#[handler]
async fn update_user(
    Data(cachify): Data<&Cachify>,
    Data(db): Data<&Db>,
    Path(user_id): Path<i64>,
    Json(name): Json<String>,
) -> Result<Json<User>> {
    let update = db.update(user_id, name);
    let user = cachify.update(&key!("read_user-{user_id}"), update).await;
    Ok(Json(user.ok_or(NotFoundError)?))
}

fn app(cachify: &Cachify, db: Db) -> impl Endpoint + use<> {
    let cached = CacheMiddleware::new(cachify, "read_user-{user_id}").ttl(Duration::from_mins(5));
    let once = OnceMiddleware::new(cachify, "update-user-{user_id}");
    Route::new()
        .at(
            "/users/:user_id",
            get(read_user.with(cached)).put(update_user.with(once)),
        )
        .data(cachify.clone())
        .data(db)
}
// ANCHOR_END: app

// ANCHOR: main
use cachify_poem::HangupListener;
use poem::Server;
use poem::listener::TcpListener;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let url = std::env::var("CACHIFY_URL").unwrap_or_else(|_| "memory://".into());
    let cachify = Cachify::connect(&url).await?;
    let listener = HangupListener::new(TcpListener::bind("127.0.0.1:8000"));
    Server::new(listener)
        .run_with_graceful_shutdown(app(&cachify, Db::new()), ctrl_c(), None)
        .await?;
    cachify.close(Duration::from_secs(5)).await?;
    Ok(())
}

async fn ctrl_c() {
    tokio::signal::ctrl_c().await.ok();
}
// ANCHOR_END: main

// ANCHOR: typed
use cachify_poem::{CacheKey, Locked};
use serde::Deserialize;

#[derive(Deserialize, CacheKey)]
#[key("update-user-{user_id}")]
struct UpdateUser {
    user_id: i64,
}

#[handler]
async fn rename(locked: Locked<UpdateUser>) -> String {
    format!("user {} is mine", locked.key.user_id)
}
// ANCHOR_END: typed

#[cfg(test)]
mod tests {
    use super::*;
    use poem::http::StatusCode;
    use poem::put;
    use poem::test::TestClient;

    #[tokio::test(start_paused = true)]
    async fn reads_are_cached_and_reset() {
        let client = TestClient::new(app(&Cachify::memory(), Db::new()));
        client.get("/users/1").send().await;
        let hit = client.get("/users/1").send().await;
        let cache = hit.0.header("cache-status").unwrap();
        assert!(cache.starts_with("cachify; hit"), "{cache}");
        let update = client.put("/users/1").body_json(&"Bob");
        update.send().await.assert_status_is_ok();
        let read = client.get("/users/1").send().await;
        read.assert_text(r#"{"id":1,"name":"Bob"}"#).await;
        let missing = client.get("/users/2").send().await;
        missing.assert_status(StatusCode::NOT_FOUND);
    }

    #[tokio::test]
    async fn an_extractor_locks() {
        let cachify = Cachify::memory();
        let app = Route::new().at("/users/:user_id", put(rename));
        let client = TestClient::new(app.data(cachify.clone()));
        let put = async |path: &str| client.put(path).send().await;
        put("/users/1").await.assert_text("user 1 is mine").await;
        let _guard = cachify.lock(&key!("update-user-1")).acquire().await;
        put("/users/1").await.assert_status(StatusCode::LOCKED);
        put("/users/2").await.assert_status_is_ok();
    }
}

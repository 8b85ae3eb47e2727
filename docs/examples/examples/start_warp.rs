//! Five minutes with warp.
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
use std::convert::Infallible;

use cachify_warp::{CacheOptions, Cachify, FilterExt, OnceOptions, key, recover, with_cachify};
use warp::filters::BoxedFilter;
use warp::http::StatusCode;
use warp::reply::Response;
use warp::{Filter, Reply, reply};

async fn read_user(user_id: i64, db: Db) -> Response {
    found(db.find(user_id).await)
}

async fn update_user(user_id: i64, name: String, db: Db, cachify: Cachify) -> Response {
    let update = db.update(user_id, name);
    found(cachify.update(&key!("read_user-{user_id}"), update).await)
}

fn found(user: Option<User>) -> Response {
    match user {
        Some(user) => reply::json(&user).into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

fn app(cachify: &Cachify, db: &Db) -> BoxedFilter<(impl Reply + use<>,)> {
    let cache = CacheOptions::new(cachify).ttl(Duration::from_mins(5));
    let read = warp::path!("users" / i64)
        .and(warp::get())
        .and(with_db(db))
        .cached(cache, |(user_id, _)| key!("read_user-{user_id}"), read_user);
    let update = warp::path!("users" / i64)
        .and(warp::put())
        .and(warp::body::json())
        .and(with_db(db))
        .and(with_cachify(cachify))
        .then_once(
            OnceOptions::new(cachify),
            |(user_id, ..)| key!("update-user-{user_id}"),
            update_user,
        );
    read.or(update).recover(recover).boxed()
}

fn with_db(db: &Db) -> impl Filter<Extract = (Db,), Error = Infallible> + Clone + use<> {
    let db = db.clone();
    warp::any().map(move || db.clone())
}
// ANCHOR_END: app

// ANCHOR: main
#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let url = std::env::var("CACHIFY_URL").unwrap_or_else(|_| "memory://".into());
    let cachify = Cachify::connect(&url).await?;
    let server = warp::serve(app(&cachify, &Db::new()));
    let server = server.bind(([127, 0, 0, 1], 8000)).await;
    server.graceful(ctrl_c()).run().await;
    cachify.close(Duration::from_secs(5)).await?;
    Ok(())
}

async fn ctrl_c() {
    tokio::signal::ctrl_c().await.ok();
}
// ANCHOR_END: main

// ANCHOR: guard
use cachify_warp::Guard;

async fn charge(order: u64, guard: Guard) -> Result<String, cachify_warp::Problem> {
    let token = guard.fencing_token();
    let charged = guard
        .run(async { format!("order {order}: {token}") })
        .await?;
    guard.finish().await; // the lock is free before the answer is sent
    Ok(charged)
}

fn charge_route(cachify: &Cachify) -> BoxedFilter<(impl Reply + use<>,)> {
    warp::path!("orders" / u64 / "charge")
        .and(warp::post())
        .locked(cachify, |(order,)| key!("charge-{order}"))
        .then(charge)
        .recover(recover)
        .boxed()
}
// ANCHOR_END: guard

#[cfg(test)]
mod tests {
    use super::*;
    use warp::test::request;

    #[tokio::test(start_paused = true)]
    async fn reads_are_cached_and_reset() {
        let app = app(&Cachify::memory(), &Db::new());
        let get = async |path: &str| request().path(path).reply(&app).await;
        get("/users/1").await;
        let hit = get("/users/1").await;
        let cache = hit.headers()["cache-status"].to_str().unwrap();
        assert!(cache.starts_with("cachify; hit"), "{cache}");
        let update = request().method("PUT").path("/users/1").json(&"Bob");
        assert_eq!(update.reply(&app).await.status(), 200);
        assert_eq!(get("/users/1").await.body(), r#"{"id":1,"name":"Bob"}"#);
        assert_eq!(get("/users/2").await.status(), 404);
    }

    #[tokio::test]
    async fn a_guard_is_handed_over() {
        let cachify = Cachify::memory();
        let app = charge_route(&cachify);
        let post = async |path: &str| request().method("POST").path(path).reply(&app).await;
        assert_eq!(post("/orders/7/charge").await.status(), 200);
        let _guard = cachify.lock(&key!("charge-7")).acquire().await;
        assert_eq!(post("/orders/7/charge").await.status(), 423);
        assert_eq!(post("/orders/8/charge").await.status(), 200);
    }
}

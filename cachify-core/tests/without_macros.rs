//! A program without attribute macros, line by line, over memory and over Redis.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use cachify_core::{Cachify, CachifyBuilder, Encoding, Error, ErrorKind, key};
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct User {
    id: i64,
    name: String,
}

#[derive(Debug, PartialEq)]
struct DbError;

struct Db;

impl Db {
    async fn find(&self, id: i64) -> Result<Option<User>, DbError> {
        let name = "Ann".to_owned();
        Ok(Some(User { id, name }))
    }

    async fn update(&self, id: i64, name: &str) -> Result<User, DbError> {
        let name = name.to_owned();
        Ok(User { id, name })
    }
}

async fn every_line(builder: CachifyBuilder) -> Result<(), Error> {
    let cachify = builder
        .prefix("shop")
        .owner("till-3")
        .default_ttl(Duration::from_mins(5))
        .lock_ttl(Duration::from_secs(30))
        .backend_timeout(Duration::from_secs(2))
        .compute_wait(Duration::from_secs(30))
        .encoding(Encoding::MessagePack)
        .capacity(1000)
        .connect()
        .await?;
    let (db, user_id) = (Db, 7);

    let key = key!("read_user-{user_id}");
    let user: Option<User> = cachify
        .cached(&key)
        .ttl(Duration::from_mins(5))
        .get_or_try_compute(|| db.find(user_id))
        .await
        .unwrap();
    let total: u64 = cachify
        .cached(&key!("total"))
        .get_or_compute(|| async { 42 })
        .await;
    assert_eq!(total, 42);
    let named = key!("read_user-{id}", id = user.as_ref().unwrap().id);
    assert_eq!(named, key);
    let stored = cachify.cached(&key).get::<Option<User>>().await?;
    assert_eq!(stored, Some(user));

    cachify.reset(&key).await?;
    assert_eq!(cachify.cached(&key).get::<Option<User>>().await?, None);
    cachify.cached(&key).set(None::<User>).await?;
    let user = cachify.update(&key, db.update(user_id, "Eve")).await;
    assert_eq!(user.unwrap().name, "Eve");
    assert_eq!(cachify.cached(&key).get::<Option<User>>().await?, None);

    let door = key!("update-user-{user_id}");
    let guard = cachify
        .lock(&door)
        .wait(Duration::from_secs(2))
        .acquire()
        .await?;
    assert!(guard.fencing_token() > 0);
    let held = cachify.lock(&door).acquire().await.unwrap_err();
    assert_eq!(held.kind(), ErrorKind::Held);
    guard.release().await?;
    drop(cachify.lock(&door).acquire().await?);
    // The lock is released before the caller that dropped the guard continues.
    cachify.lock(&door).acquire().await?.release().await?;

    let tenant = "acme";
    let permit = cachify.pool(&key!("vendor-{tenant}"), 10).acquire().await?;
    let vendor = cachify.pool(&key!("vendor-{tenant}"), 10);
    assert_eq!(vendor.status().await?.in_use, 1);
    drop(permit);
    cachify.close(Duration::from_secs(5)).await
}

#[tokio::test]
async fn over_memory() {
    every_line(Cachify::builder().memory()).await.unwrap();
    every_line(Cachify::builder().url("memory://"))
        .await
        .unwrap();
}

#[cfg(all(feature = "redis", unix))]
#[tokio::test]
async fn over_redis() {
    let server = redis_fixture::Server::start();
    every_line(Cachify::builder().redis(server.url()))
        .await
        .unwrap();
    let unix = server.unix_url().replace("redis+unix://", "unix://");
    every_line(Cachify::builder().url(unix)).await.unwrap();
}

/// A handle in a service is used by tasks, which move between threads.
#[test]
fn what_is_awaited_can_be_spawned() {
    fn is_send<T: Send>(_: T) {}

    let cachify = Cachify::memory();
    let key = key!("row");
    let cached = cachify.cached(&key);
    is_send(cached.get_or_compute(async || 1));
    is_send(cached.get_or_try_compute(async || Ok::<_, DbError>(1)));
    is_send(cached.get::<i32>());
    is_send(cached.set(1));
    is_send(cachify.reset(&key));
    is_send(cachify.update(&key, async {}));
    is_send(cachify.close(Duration::ZERO));
    is_send(Cachify::connect("memory://"));
    is_send(cachify.scope(async {}));
    let shared = cached.share_errors();
    is_send(shared.get_or_try_compute(async || Ok::<_, String>(1)));
}

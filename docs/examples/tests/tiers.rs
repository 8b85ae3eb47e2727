//! The page on memory in front of Redis, on a real server.
#![cfg(unix)]
#![allow(clippy::unwrap_used)]

use cachify_core::{Cachify, Error, key};
use redis_fixture::Server;

// ANCHOR: connect
async fn connect(url: &str) -> Result<Cachify, Error> {
    Cachify::builder()
        .tiered(url) // redis://127.0.0.1:6379
        .tier_staleness("500ms") // how old a value can be if no message arrives
        .capacity_bytes(64 << 20) // what the copies may take
        .connect()
        .await
}
// ANCHOR_END: connect

// ANCHOR: strict
async fn balance(cachify: &Cachify, db: &Db, account: i64) -> i64 {
    let cached = cachify.cached(&key!("balance-{account}")).local(false);
    cached.get_or_compute(|| db.balance(account)).await
}
// ANCHOR_END: strict

struct Db;

impl Db {
    async fn balance(&self, account: i64) -> i64 {
        account * 100
    }
}

#[tokio::test]
async fn a_value_that_must_not_be_old_is_read_from_redis() {
    let server = Server::start();
    let (here, there) = (connect(&server.url()).await, connect(&server.url()).await);
    let (here, there) = (here.unwrap(), there.unwrap());
    for _ in 0..2 {
        assert_eq!(balance(&here, &Db, 7).await, 700);
    }
    let stored = there.cached(&key!("balance-7"));
    stored.set(800_i64).await.unwrap();
    assert_eq!(balance(&here, &Db, 7).await, 800);
}

//! Clocks that differ.
#![cfg(all(feature = "redis", unix))]
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use std::sync::Arc;
use std::time::Duration;

use cachify_core::backend::redis::{Redis, RedisOptions};
use cachify_core::backend::{Acquire, Backend, Node};
use cachify_core::clock::Clock;
use common::{MILLI, SECOND, builder, connect, is_granted, key, lock};
use redis_fixture::Server;

const HOUR: Duration = Duration::from_hours(1);

fn server_micros(server: &Server) -> u64 {
    let reply = server.command(&["TIME"]);
    let [seconds, micros] = [0, 1].map(|i| reply.items()[i].text().parse::<u64>().unwrap());
    seconds * 1_000_000 + micros
}

#[tokio::test]
async fn c1_s25_an_hour_ahead_changes_nothing() {
    let server = Server::start();
    let ahead = Clock::test();
    ahead.advance(HOUR);
    let there = builder(&server.url()).clock(ahead).connect().await.unwrap();
    let here = connect(&server.url()).await;

    let cached = here.cached(&key("row")).ttl(60 * SECOND);
    cached.set(1).await.unwrap();
    assert_eq!(
        there.cached(&key("row")).get_or_compute(async || 0).await,
        1
    );
    let cached = there.cached(&key("other")).ttl(60 * SECOND);
    assert_eq!(cached.get_or_compute(async || 2).await, 2);
    assert_eq!(
        here.cached(&key("other")).peek::<i32>().await.unwrap(),
        Some(2)
    );
    let left = server.command(&["PTTL", "test:cached:{other}"]).int();
    assert!((50_000..=60_000).contains(&left));
    // When it was stored, by the server's clock: bytes 12 to 20 of the envelope.
    let stored = match server.command(&["GET", "test:cached:{other}"]) {
        redis_fixture::Reply::Bulk(bytes) => u64::from_le_bytes(bytes[12..20].try_into().unwrap()),
        other => panic!("{other:?}"),
    };
    assert!(server_micros(&server).abs_diff(stored) < 5_000_000);

    let guard = there.lock(&key("door")).acquire().await.unwrap();
    assert!(!guard.is_lost());
    let left = here.lock(&key("door")).ttl_left().await.unwrap().unwrap();
    assert!(left > 25 * SECOND && left <= 30 * SECOND);
    guard.release().await.unwrap();
}

#[tokio::test]
async fn l6_a_clock_that_was_set_is_noticed_by_the_first_request() {
    let server = Server::start();
    let clock = Clock::test();
    let node = Node::new("test");
    let options = RedisOptions::new(server.url())
        .prefix("test")
        .node(node.clone())
        .clock(clock.clone());
    let redis = Arc::new(Redis::lazy(options).unwrap());
    redis.check().await.unwrap();
    // As if the server's clock had been put back; then, as if it had been put ahead, which looks like a request that comes too late.
    clock.advance(HOUR);
    let acquire = |token| Acquire {
        token,
        ttl: 30 * SECOND,
        wait: None,
        within: 250 * MILLI,
    };
    let (token, slot) = (node.token(), lock("door"));
    assert!(is_granted(
        redis.acquire(&slot, acquire(&token)).await.unwrap()
    ));
    assert!(redis.now().as_micros().abs_diff(server_micros(&server)) < 5_000_000);
}

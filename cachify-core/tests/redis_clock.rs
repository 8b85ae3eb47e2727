//! Clocks that differ between machines.
#![cfg(all(feature = "redis", unix))]
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use std::sync::Arc;
use std::time::{Duration, Instant};

use cachify_core::Cachify;
use cachify_core::backend::redis::{Redis, RedisOptions};
use cachify_core::backend::{Acquire, Backend, Node};
use cachify_core::clock::Clock;
use common::{MILLI, SECOND, builder, connect, is_granted, key, lock, soon, until};
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
        here.cached(&key("other")).get::<i32>().await.unwrap(),
        Some(2)
    );
    let left = server.command(&["PTTL", "test:cached:{other}"]).int();
    assert!((50_000..=60_000).contains(&left));
    // The time of storing, by the server's clock: bytes 12 to 20 of the envelope.
    let stored = match server.command(&["GET", "test:cached:{other}"]) {
        redis_fixture::Reply::Bulk(bytes) => u64::from_le_bytes(bytes[12..20].try_into().unwrap()),
        other => panic!("{other:?}"),
    };
    assert!(server_micros(&server).abs_diff(stored) < 5_000_000);

    let guard = there.lock(&key("door")).acquire().await.unwrap();
    assert!(!guard.is_lost());
    let status = here.lock(&key("door")).status().await.unwrap();
    let left = status.holder.unwrap().ttl_left;
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
    // Simulates a server clock that was set back and then forward, which looks like a request that
    // comes too late.
    clock.advance(HOUR);
    let acquire = |token| Acquire::new(token, 30 * SECOND, 250 * MILLI);
    let (token, slot) = (node.token(), lock("door"));
    assert!(is_granted(
        redis.acquire(&slot, acquire(&token)).await.unwrap()
    ));
    assert!(
        redis
            .now(&slot.key)
            .as_micros()
            .abs_diff(server_micros(&server))
            < 5_000_000
    );
}

/// Simulates a server clock set forward by `by` microseconds: all deadlines come closer, and the
/// difference to this process's clock grows.
fn put_ahead(server: &Server, clock: &Clock, by: i64) {
    for slot in ["test:lock:{door}", "test:pool:{desk}"] {
        let holders = server.command(&["ZRANGE", slot, "0", "-1"]);
        for holder in holders.items() {
            server.command(&["ZINCRBY", slot, &(-by).to_string(), &holder.text()]);
        }
    }
    let step = Duration::from_micros(by.unsigned_abs());
    if by > 0 {
        clock.set_back(step);
    } else {
        clock.advance(step);
    }
}

/// Returns a handle with its own clock, and another process.
async fn two_processes(server: &Server) -> (Cachify, Cachify, Clock) {
    let clock = Clock::test();
    clock.advance(HOUR);
    let here = builder(&server.url()).clock(clock.clone());
    let there = connect(&server.url()).await;
    (here.connect().await.unwrap(), there, clock)
}

#[tokio::test]
async fn l4_a_guard_is_told_soon_after_the_servers_clock_was_put_ahead() {
    let server = Server::start();
    let (here, there, clock) = two_processes(&server).await;
    let guard = here.lock(&key("door")).acquire().await.unwrap();
    let permit = here.pool(&key("desk"), 1).acquire().await.unwrap();
    put_ahead(&server, &clock, 31_000_000);
    // By the server's clock they have expired.
    let next = there.lock(&key("door")).acquire().await.unwrap();
    let free = there.pool(&key("desk"), 1).acquire().await.unwrap();
    assert!(!guard.is_lost() && !permit.is_lost());
    // Nothing else talks to the server. The next renewals are due after 10 s.
    let start = Instant::now();
    soon("told", async { tokio::join!(guard.lost(), permit.lost()) }).await;
    assert!(start.elapsed() < 3 * SECOND, "{:?}", start.elapsed());
    next.release().await.unwrap();
    free.release().await.unwrap();
}

#[tokio::test]
async fn l4_any_answer_tells_of_a_clock_that_was_put_ahead() {
    let server = Server::start();
    let (here, _, clock) = two_processes(&server).await;
    let guard = here.lock(&key("door")).acquire().await.unwrap();
    put_ahead(&server, &clock, 31_000_000);
    let start = Instant::now();
    let other = here.lock(&key("other")).acquire().await.unwrap();
    soon("told", guard.lost()).await;
    assert!(start.elapsed() < 500 * MILLI, "{:?}", start.elapsed());
    other.release().await.unwrap();
}

#[tokio::test]
async fn l3_holds_are_renewed_soon_after_the_servers_clock_was_put_back() {
    let server = Server::start();
    let (here, there, clock) = two_processes(&server).await;
    let ttl = 120 * SECOND;
    let door = here.lock(&key("door")).ttl(ttl);
    let guard = door.acquire().await.unwrap();
    let permit = here.pool(&key("desk"), 1).ttl(ttl).acquire().await.unwrap();
    put_ahead(&server, &clock, -31_000_000);
    let deadlines = || {
        ["test:lock:{door}", "test:pool:{desk}"].map(|slot| {
            let first = server.command(&["ZRANGE", slot, "0", "0", "WITHSCORES"]);
            let deadline = first.items()[1].text().parse::<f64>().unwrap();
            #[allow(clippy::cast_precision_loss)]
            let now = server_micros(&server) as f64;
            (deadline - now) / 1e6
        })
    };
    assert!(
        deadlines().iter().all(|left| *left > 130.0),
        "dead holders would stay"
    );
    let start = Instant::now();
    until("renewed", async || {
        deadlines().iter().all(|left| *left <= 120.0)
    })
    .await;
    assert!(start.elapsed() < 3 * SECOND, "{:?}", start.elapsed());
    assert!(!guard.is_lost() && !permit.is_lost());
    assert!(there.lock(&key("door")).is_locked().await.unwrap());
}

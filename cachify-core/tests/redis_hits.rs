//! The cost of a hit, and entries that another program wrote.
#![cfg(all(feature = "redis", unix))]
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use common::{MILLI, connect, key, until};
use redis_fixture::{Proxy, Server};

/// Returns the number of calls of each command since the last `CONFIG RESETSTAT`.
fn calls(server: &Server) -> BTreeMap<String, u64> {
    let stats = server.command(&["INFO", "commandstats"]).text();
    let parse = |line: &str| {
        let (name, rest) = line.strip_prefix("cmdstat_")?.split_once(":calls=")?;
        Some((name.to_owned(), rest.split(',').next()?.parse().ok()?))
    };
    stats.lines().filter_map(parse).collect()
}

#[tokio::test]
async fn c1_a_hit_is_one_get() {
    let server = Server::start();
    let cachify = connect(&server.url()).await;
    let cached = cachify.cached(&key("row"));
    assert_eq!(cached.get_or_compute(async || 7).await, 7);

    server.command(&["CONFIG", "RESETSTAT"]);
    for _ in 0..100 {
        assert_eq!(cached.get_or_compute(async || 0).await, 7);
    }
    let mut calls = calls(&server);
    assert_eq!(calls.remove("get"), Some(100));
    // Commands added by the fixture and by the subscription's own check.
    calls.retain(|name, _| !name.starts_with("config") && name != "ping" && name != "info");
    assert!(calls.is_empty(), "{calls:?}");
}

#[tokio::test]
async fn c1_a_value_lives_for_half_a_second() {
    let server = Server::start();
    let cachify = connect(&server.url()).await;
    let cached = cachify.cached(&key("row")).ttl(500 * MILLI);
    let start = tokio::time::Instant::now();
    assert_eq!(cached.get_or_compute(async || 1).await, 1);
    assert_eq!(cached.get::<i32>().await.unwrap(), Some(1));
    until("it expires", async || {
        cached.get::<i32>().await.unwrap().is_none()
    })
    .await;
    assert!(start.elapsed() >= 500 * MILLI);
    assert!(start.elapsed() < 700 * MILLI);
}

#[tokio::test]
async fn c3_s2_many_callers_of_two_processes_compute_a_cold_key_once() {
    let server = Server::start();
    let (a, b) = (connect(&server.url()).await, connect(&server.url()).await);
    let computed = Arc::new(AtomicUsize::new(0));
    let mut tasks = Vec::new();
    for i in 0..200 {
        let cachify = [&a, &b][i % 2].clone();
        let computed = Arc::clone(&computed);
        tasks.push(tokio::spawn(async move {
            let compute = async || {
                computed.fetch_add(1, Ordering::SeqCst);
                tokio::time::sleep(50 * MILLI).await;
                7
            };
            cachify.cached(&key("cold")).get_or_compute(compute).await
        }));
    }
    for task in tasks {
        assert_eq!(task.await.unwrap(), 7);
    }
    assert_eq!(computed.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn c6_foreign_bytes_and_foreign_types_are_replaced() {
    let server = Server::start();
    let cachify = connect(&server.url()).await;
    let name = "test:cached:{row}";
    let cached = cachify.cached(&key("row"));
    let foreign: [&[&str]; 5] = [
        &["SET", name, "not ours"],
        &["SET", name, ""],
        &["RPUSH", name, "a", "list"],
        &["HSET", name, "a", "hash"],
        &["ZADD", name, "1", "a set"],
    ];
    for (i, command) in foreign.iter().enumerate() {
        server.command(&["DEL", name]);
        server.command(command);
        assert_eq!(cached.get::<usize>().await.unwrap(), None);
        assert_eq!(cached.get_or_compute(async || i).await, i);
        assert_eq!(cached.get::<usize>().await.unwrap(), Some(i));
    }
    // The entry becomes longer than its header says.
    server.command(&["SETRANGE", name, "40", "more"]);
    assert_eq!(cached.get_or_compute(async || 9_usize).await, 9);
    assert_eq!(cached.get::<usize>().await.unwrap(), Some(9));
}

#[tokio::test]
async fn many_callers_share_one_attempt_to_connect() {
    let server = Server::start();
    let proxy = Proxy::start(&server.url());
    let cachify = common::builder(&proxy.url()).connect_lazy().unwrap();
    let mut tasks = Vec::new();
    for i in 0..100 {
        let cachify = cachify.clone();
        tasks.push(tokio::spawn(async move {
            let cached = cachify.cached(&key(&format!("row-{i}")));
            cached.get_or_compute(async || i).await
        }));
    }
    for (i, task) in tasks.into_iter().enumerate() {
        assert_eq!(task.await.unwrap(), i);
    }
    assert_eq!(proxy.connections(), 1);
}

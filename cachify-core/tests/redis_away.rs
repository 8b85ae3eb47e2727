//! Redis refuses, hangs, or answers with errors.
#![cfg(all(feature = "redis", unix))]
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use std::time::Duration;

use cachify_core::backend::Backend;
use cachify_core::{Cachify, ErrorKind};
use common::{MILLI, Process, SECOND, builder, connect, is_granted, key, lock, soon, until};
use redis_fixture::{Proxy, Reply, Server};
use tokio::time::Instant;

const BACKEND_TIMEOUT: Duration = Duration::from_millis(250);
/// The time that a loaded machine adds.
const SLACK: Duration = Duration::from_millis(200);

/// Calls until the breaker is open; each call gets its value within the backend timeout.
async fn computes_within_the_backend_timeout(cachify: &Cachify) {
    for i in 0..6 {
        let start = Instant::now();
        let value = cachify.cached(&key("row")).get_or_compute(async || i).await;
        assert_eq!(value, i);
        assert!(
            start.elapsed() < BACKEND_TIMEOUT + SLACK,
            "{:?}",
            start.elapsed()
        );
    }
    let start = Instant::now();
    for i in 0..100 {
        let cached = cachify.cached(&key("row"));
        assert_eq!(cached.get_or_compute(async || i).await, i);
    }
    assert!(start.elapsed() < BACKEND_TIMEOUT, "{:?}", start.elapsed());
}

async fn caches_again(cachify: &Cachify) {
    until("it caches again", async || {
        let cached = cachify.cached(&key("recovered"));
        cached.get_or_compute(async || 1).await;
        matches!(cached.get::<i32>().await, Ok(Some(1)))
    })
    .await;
}

#[tokio::test]
async fn c7_a_server_that_refuses_costs_a_budget_at_most() {
    let server = Server::start();
    let cachify = connect(&server.url()).await;
    server.kill();
    computes_within_the_backend_timeout(&cachify).await;
    server.restart();
    caches_again(&cachify).await;
}

#[tokio::test]
async fn c7_a_server_that_hangs_costs_a_budget_at_most() {
    let server = Server::start();
    let cachify = connect(&server.url()).await;
    server.pause();
    computes_within_the_backend_timeout(&cachify).await;
    server.resume();
    caches_again(&cachify).await;
}

#[tokio::test]
async fn c7_a_server_that_hangs_from_the_start_costs_a_budget_at_most() {
    let server = Server::start();
    server.pause();
    let cachify = builder(&server.url()).connect_lazy().unwrap();
    computes_within_the_backend_timeout(&cachify).await;
    server.resume();
    caches_again(&cachify).await;
}

#[tokio::test]
async fn c7_a_network_that_swallows_everything_costs_a_budget_at_most() {
    let server = Server::start();
    let proxy = Proxy::start(&server.url());
    let cachify = connect(&proxy.url()).await;
    proxy.black_hole();
    computes_within_the_backend_timeout(&cachify).await;
    proxy.resume();
    caches_again(&cachify).await;
}

#[tokio::test]
async fn c7_a_connection_that_died_silently_is_replaced() {
    let server = Server::start();
    let proxy = Proxy::start(&server.url());
    let process = Process::new(&proxy.url());
    let key = key("row");
    // Both connections for commands, and no subscription.
    process.redis.get(&key).await.unwrap();
    process.redis.reset(&key).await.unwrap();
    let before = proxy.connections();
    proxy.black_hole();
    assert!(
        tokio::time::timeout(50 * MILLI, process.redis.get(&key))
            .await
            .is_err()
    );
    assert!(
        tokio::time::timeout(50 * MILLI, process.redis.reset(&key))
            .await
            .is_err()
    );
    soon("new connections", async {
        while proxy.connections() < before + 2 {
            let _ = tokio::time::timeout(50 * MILLI, process.redis.get(&key)).await;
            let _ = tokio::time::timeout(50 * MILLI, process.redis.reset(&key)).await;
        }
    })
    .await;
    proxy.resume();
    soon("an answer", async {
        while process.redis.get(&key).await.is_err() {}
    })
    .await;
}

#[tokio::test]
async fn c7_a_server_that_answers_errors_costs_a_budget_at_most() {
    let args = ["--rename-command", "GET", "NOTGET"];
    let mut builder = Server::builder();
    for arg in args {
        builder = builder.arg(arg);
    }
    let server = builder.spawn();
    let cachify = common::builder(&server.url()).connect_lazy().unwrap();
    computes_within_the_backend_timeout(&cachify).await;
}

#[tokio::test]
async fn c7_callers_who_give_up_do_not_cost_the_connection() {
    let server = Server::start();
    let proxy = Proxy::start(&server.url());
    let process = Process::new(&proxy.url());
    process.redis.check().await.unwrap();
    let before = proxy.connections();
    proxy.delay(20 * MILLI);
    let key = key("row");
    for _ in 0..20 {
        assert!(
            tokio::time::timeout(MILLI, process.redis.get(&key))
                .await
                .is_err()
        );
    }
    process.redis.get(&key).await.unwrap();
    assert_eq!(proxy.connections(), before);
}

#[tokio::test]
async fn l7_without_redis_no_lock() {
    let server = Server::start();
    let cachify = connect(&server.url()).await;
    server.pause();
    let start = Instant::now();
    let error = cachify.lock(&key("door")).acquire().await.unwrap_err();
    assert!(error.is_unavailable(), "{error}");
    assert!(start.elapsed() < BACKEND_TIMEOUT + SLACK);
    server.resume();
    server.kill();
    let start = Instant::now();
    for _ in 0..10 {
        let error = cachify.lock(&key("door")).acquire().await.unwrap_err();
        assert!(error.is_unavailable(), "{error}");
    }
    assert!(start.elapsed() < 4 * BACKEND_TIMEOUT);
}

#[tokio::test]
async fn c8_s7_a_reset_that_was_applied_but_not_acknowledged_is_repeated() {
    let server = Server::start();
    let proxy = Proxy::start(&server.url());
    let cachify = connect(&proxy.url()).await;
    let key = key("row");
    // Loads the script.
    cachify.reset(&key).await.unwrap();
    cachify.cached(&key).set(1).await.unwrap();

    proxy.hold_replies();
    let error = cachify.reset(&key).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unconfirmed);
    assert!(server.command(&["GET", "test:cached:{row}"]).is_nil());
    proxy.resume();
    gone_after_recovery(&server, &cachify).await;
}

#[tokio::test]
async fn c8_s7_a_reset_that_got_lost_is_repeated() {
    let server = Server::start();
    let proxy = Proxy::start(&server.url());
    let cachify = connect(&proxy.url()).await;
    let key = key("row");
    cachify.cached(&key).set(1).await.unwrap();

    proxy.black_hole();
    let error = cachify.reset(&key).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unconfirmed);
    assert!(!server.command(&["GET", "test:cached:{row}"]).is_nil());
    // The old value is still there, but not trusted.
    assert_eq!(cachify.cached(&key).get::<i32>().await.ok().flatten(), None);
    proxy.resume();
    gone_after_recovery(&server, &cachify).await;
}

async fn gone_after_recovery(server: &Server, cachify: &Cachify) {
    until("the reset is repeated", async || {
        server.command(&["GET", "test:cached:{row}"]).is_nil()
    })
    .await;
    cachify.close(5 * SECOND).await.unwrap();
}

#[tokio::test]
async fn c8_a_set_that_timed_out_does_not_come_later() {
    let server = Server::start();
    let cachify = connect(&server.url()).await;
    let key = key("row");
    cachify.cached(&key).set(1).await.unwrap();
    server.pause();
    let error = cachify.cached(&key).set(2).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unconfirmed);
    server.resume();
    gone_after_recovery(&server, &cachify).await;
    assert!(server.command(&["GET", "test:cached:{row}"]).is_nil());
}

#[tokio::test]
async fn l6_s6_an_acquire_that_timed_out_takes_nothing() {
    let server = Server::start();
    let process = Process::new(&server.url());
    process.redis.check().await.unwrap();
    // Loads the script.
    let first = process.node.token();
    assert!(is_granted(
        process.acquire(&lock("other"), &first, None).await
    ));
    let slot = lock("door");
    let token = process.node.token();
    let acquire = cachify_core::backend::Acquire::new(&token, 30 * SECOND, 100 * MILLI);
    let fence = server.command(&["GET", "test:fence"]).text();
    server.command(&["CONFIG", "RESETSTAT"]);
    server.pause();
    let start = Instant::now();
    // Polled once: the request is on its way, and no future waits for its answer.
    assert!(
        tokio::time::timeout(20 * MILLI, process.redis.acquire(&slot, acquire))
            .await
            .is_err()
    );
    tokio::time::sleep_until(start + 120 * MILLI).await;
    server.resume();
    until("the server gets it", async || {
        let stats = server.command(&["INFO", "commandstats"]);
        stats.text().contains("cmdstat_evalsha")
    })
    .await;
    assert_eq!(process.redis.inspect(&slot).await.unwrap().holders, 0);
    assert_eq!(server.command(&["GET", "test:fence"]).text(), fence);
}

#[tokio::test]
async fn l6_s6_after_a_hang_the_lock_is_free_within_a_round_trip() {
    let server = Server::start();
    let (a, b) = (connect(&server.url()).await, connect(&server.url()).await);
    server.pause();
    let error = a.lock(&key("door")).acquire().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    server.resume();
    soon("it is free", async {
        while let Err(error) = b.lock(&key("door")).acquire().await {
            assert_ne!(error.kind(), ErrorKind::Held);
        }
    })
    .await;
}

#[tokio::test]
async fn l3_a_lock_survives_a_broken_connection() {
    let server = Server::start();
    let proxy = Proxy::start(&server.url());
    let cachify = connect(&proxy.url()).await;
    let other = connect(&server.url()).await;
    let guard = cachify
        .lock(&key("door"))
        .ttl(SECOND)
        .acquire()
        .await
        .unwrap();
    proxy.cut();
    tokio::time::sleep(1500 * MILLI).await;
    assert!(!guard.is_lost());
    assert!(other.lock(&key("door")).is_locked().await.unwrap());
    guard.release().await.unwrap();
}

/// For example by the idle limit of a proxy.
#[tokio::test]
async fn l6_a_connection_that_broke_meanwhile_costs_neither_an_acquire_nor_a_release() {
    let server = Server::start();
    let proxy = Proxy::start(&server.url());
    let cachify = connect(&proxy.url()).await;
    let other = connect(&server.url()).await;
    for kill in [true, false].repeat(5) {
        let cut = || {
            if kill {
                server.command(&["CLIENT", "KILL", "TYPE", "normal"]);
            } else {
                proxy.cut();
            }
        };
        cut();
        let guard = cachify.lock(&key("door")).acquire().await.unwrap();
        cut();
        let held = cachify.lock(&key("door")).acquire().await.unwrap_err();
        assert_eq!(held.kind(), ErrorKind::Held);
        cut();
        guard.release().await.unwrap();
        assert!(!other.lock(&key("door")).is_locked().await.unwrap());
    }
}

/// It is unknown whether this request released the lock, or whether it had been lost before.
#[tokio::test]
async fn l6_a_release_whose_answer_got_lost_is_not_called_a_loss() {
    let server = Server::start();
    let proxy = Proxy::start(&server.url());
    let cachify = builder(&proxy.url())
        .backend_timeout(10 * SECOND)
        .connect()
        .await;
    let cachify = cachify.unwrap();
    let other = connect(&server.url()).await;
    // Loads the script.
    let guard = cachify.lock(&key("other")).acquire().await.unwrap();
    guard.release().await.unwrap();
    let guard = cachify.lock(&key("door")).acquire().await.unwrap();
    proxy.hold_replies();
    let release = tokio::spawn(guard.release());
    until("it is released", async || {
        proxy.held_bytes() > 0 && !other.lock(&key("door")).is_locked().await.unwrap()
    })
    .await;
    proxy.cut();
    proxy.resume();
    let error = release.await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
}

#[tokio::test]
async fn l5_after_a_restart_without_data_the_guard_is_lost_and_tokens_grow() {
    let server = Server::start();
    let cachify = connect(&server.url()).await;
    let mut last = 0;
    for _ in 0..3 {
        let lock = cachify.lock(&key("door")).ttl(SECOND);
        let guard = lock.acquire().await.unwrap();
        assert!(guard.fencing_token() > last);
        last = guard.fencing_token();
        server.restart();
        let next = soon("somebody else has it", async {
            loop {
                match lock.acquire().await {
                    Ok(next) => return next,
                    Err(error) => assert!(error.is_unavailable(), "{error}"),
                }
                tokio::time::sleep(5 * MILLI).await;
            }
        })
        .await;
        assert!(next.fencing_token() > last);
        last = next.fencing_token();
        soon("the loss is told", guard.lost()).await;
        assert_eq!(guard.release().await.unwrap_err().kind(), ErrorKind::Lost);
        assert!(!next.is_lost());
        next.release().await.unwrap();
    }
}

#[tokio::test]
async fn c4_after_a_restart_entries_are_gone_and_nothing_sticks() {
    let server = Server::start();
    let cachify = connect(&server.url()).await;
    cachify.cached(&key("row")).set(1).await.unwrap();
    server.restart();
    caches_again(&cachify).await;
    assert_eq!(
        cachify.cached(&key("row")).get::<i32>().await.unwrap(),
        None
    );
    assert!(!matches!(server.command(&["PING"]), Reply::Error(_)));
    let guard = cachify
        .lock(&key("door"))
        .wait(SECOND)
        .acquire()
        .await
        .unwrap();
    guard.release().await.unwrap();
}

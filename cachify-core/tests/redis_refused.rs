//! A server that refuses a handle it once accepted, because of its user or its rights.
#![cfg(all(feature = "redis", unix))]
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;
#[path = "common/log.rs"]
mod log;

use std::time::Duration;

use cachify_core::{Cachify, ErrorKind};
use common::{MILLI, SECOND, builder, key, until};
use log::Log;
use redis_fixture::{Proxy, Reply, Server};
use tokio::time::Instant;

fn run(server: &Server, command: &[&str]) {
    let reply = server.command(command);
    assert!(!matches!(reply, Reply::Error(_)), "{reply:?}");
}

/// Allows the user `app` everything except the commands that `rights` remove.
fn permit(server: &Server, rights: &[&str]) {
    let user = ["ACL", "SETUSER", "app", "reset", "on", ">s3cret"];
    let all = ["+@all", "~test:*", "resetchannels", "&test:*"];
    run(server, &[&user[..], &all[..], rights].concat());
}

fn as_app(url: &str) -> String {
    url.replace("redis://", "redis://app:s3cret@")
}

async fn caches(cachify: &Cachify) -> bool {
    let cached = cachify.cached(&key("row"));
    cached.get_or_compute(async || 1).await;
    matches!(cached.get::<i32>().await, Ok(Some(1)))
}

async fn is_left_alone(cachify: &Cachify) -> bool {
    let stored = cachify.cached(&key("other")).get::<i32>().await;
    stored.is_err_and(|error| error.to_string().contains("circuit breaker is open"))
}

#[tokio::test]
async fn c7_a_missing_subscription_does_not_keep_the_cache_off() {
    let log = Log::start();
    let server = Server::start();
    permit(&server, &["resetchannels"]);
    let cachify = builder(&as_app(&server.url())).connect_lazy().unwrap();
    assert!(caches(&cachify).await);
    server.pause();
    until("the breaker opens", async || is_left_alone(&cachify).await).await;
    server.resume();
    until("it caches again", async || caches(&cachify).await).await;

    // The waiter has to work without messages, and the log says so once.
    for _ in 0..3 {
        let held = cachify.lock(&key("door")).acquire().await.unwrap();
        let lock = cachify.lock(&key("door")).wait(5 * SECOND);
        let waiting = tokio::spawn(async move { lock.acquire().await });
        until("it waits", async || {
            server.command(&["EXISTS", "test:lock:{door}:queue"]).int() == 1
        })
        .await;
        held.release().await.unwrap();
        waiting.await.unwrap().unwrap().release().await.unwrap();
    }
    let warnings = log.warnings();
    let told: Vec<_> = warnings
        .iter()
        .filter(|warning| warning.contains("no subscription"))
        .collect();
    assert_eq!(told.len(), 1, "{warnings:?}");
    assert!(told[0].contains("right `&test:*`"), "{told:?}");
}

/// The command that removes the handle's access, and the one that restores it.
struct Refusal {
    name: &'static str,
    refuse: fn(&Server),
    admit: fn(&Server),
    says: &'static str,
}

const REFUSALS: [Refusal; 5] = [
    Refusal {
        name: "another password",
        refuse: |server| {
            run(server, &["ACL", "SETUSER", "app", "resetpass", ">other"]);
            cut(server);
        },
        admit: |server| permit(server, &[]),
        says: "password",
    },
    Refusal {
        name: "a user that was deleted",
        refuse: |server| run(server, &["ACL", "DELUSER", "app"]),
        admit: |server| permit(server, &[]),
        says: "password",
    },
    Refusal {
        name: "a user that is off",
        refuse: |server| {
            run(server, &["ACL", "SETUSER", "app", "off"]);
            cut(server);
        },
        admit: |server| permit(server, &[]),
        says: "password",
    },
    Refusal {
        name: "a user without commands, on connections that stay",
        refuse: |server| run(server, &["ACL", "SETUSER", "app", "-@all"]),
        admit: |server| permit(server, &[]),
        says: "right `+get`",
    },
    Refusal {
        name: "a user without keys, on connections that stay",
        refuse: |server| run(server, &["ACL", "SETUSER", "app", "resetkeys"]),
        admit: |server| permit(server, &[]),
        says: "right `~test:*`",
    },
];

fn cut(server: &Server) {
    for kind in ["normal", "pubsub"] {
        server.command(&["CLIENT", "KILL", "TYPE", kind]);
    }
}

#[tokio::test]
async fn c7_a_server_that_refuses_the_user_is_left_alone() {
    for Refusal {
        name,
        refuse,
        admit,
        says,
    } in REFUSALS
    {
        let log = Log::start();
        let server = Server::start();
        permit(&server, &[]);
        let proxy = Proxy::start(&server.url());
        let cachify = builder(&as_app(&proxy.url())).connect().await.unwrap();
        assert!(caches(&cachify).await);
        // Renewals bypass the breaker.
        let lock = cachify.lock(&key("door")).ttl(SECOND);
        let _guard = lock.acquire().await.unwrap();
        let before = proxy.connections();
        refuse(&server);

        let until_then = Instant::now() + 1500 * MILLI;
        let mut calls = 0;
        while Instant::now() < until_then {
            let value = cachify.cached(&key("row")).get_or_compute(async || 1).await;
            assert_eq!(value, 1);
            let _ = cachify.lock(&key("other")).acquire().await;
            drop(cachify.reset(&key("row")).await);
            calls += 1;
            tokio::task::yield_now().await;
        }
        let connections = proxy.connections() - before;
        assert!(
            connections <= 30,
            "{name}: {connections} connections for {calls} calls"
        );
        assert!(is_left_alone(&cachify).await, "{name}");
        let error = cachify.lock(&key("other")).acquire().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{name}: {error}");
        let warnings = log.warnings();
        let told = warnings.iter().filter(|warning| warning.contains(says));
        assert!((1..=3).contains(&told.count()), "{name}: {warnings:#?}");
        assert!(!log.text().contains("s3cret"), "{name}");

        admit(&server);
        until(name, async || caches(&cachify).await).await;
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

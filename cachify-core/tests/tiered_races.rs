//! C10: the races between a read and the word of a reset.
#![cfg(all(feature = "redis", unix))]
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;
#[path = "common/tier.rs"]
mod tier;

use std::sync::Arc;
use std::time::Duration;

use cachify_core::backend::Backend;
use cachify_core::backend::tiered::TierOptions;
use cachify_core::clock::Clock;
use common::{MILLI, SECOND, connect, key, soon, until};
use redis_fixture::{Proxy, Server};
use tier::Tier;
use tokio::sync::Notify;
use tokio::time::Instant;

const MINUTE: Duration = Duration::from_mins(1);

/// Larger than all other answers that are held.
fn old() -> String {
    "old".repeat(1000)
}

async fn answered(proxy: &Proxy) {
    until("the server answered", async || proxy.held_bytes() > 1000).await;
}

#[tokio::test]
async fn c10_s23_a_get_that_a_word_overtook_is_not_kept() {
    let server = Server::start();
    let proxy = Proxy::start(&server.url());
    let (a, b) = (
        Tier::connect(&proxy.url()).await,
        connect(&server.url()).await,
    );
    for (name, overtaken) in [("row", true), ("other", false)] {
        let row = key(name);
        b.cached(&row).set(old()).await.unwrap();
        a.backend.heard().await;
        proxy.hold_answers();
        let cached = a.cachify.cached(&row);
        let read = tokio::spawn(async move { cached.get::<String>().await.unwrap() });
        answered(&proxy).await;
        if overtaken {
            b.reset(&row).await.unwrap();
        }
        soon("the word is heard", a.backend.heard()).await;
        proxy.resume();
        assert_eq!(read.await.unwrap(), Some(old()));
        until("memory is used", async || a.has(&row) != overtaken).await;
        assert_eq!(a.has(&row), !overtaken, "{name}");
    }
}

#[tokio::test]
async fn c10_a_get_after_the_word_finds_no_old_value() {
    let server = Server::start();
    let (a, b) = (
        Tier::connect(&server.url()).await,
        connect(&server.url()).await,
    );
    let row = key("row");
    a.copy(&row, "old").await;
    b.reset(&row).await.unwrap();
    soon("the word is heard", a.backend.heard()).await;
    assert!(!a.has(&row));
    let cached = a.cachify.cached(&row);
    assert_eq!(cached.get::<String>().await.unwrap(), None);
    a.copy(&row, "new").await;
    assert_eq!(cached.get::<String>().await.unwrap().unwrap(), "new");
}

#[tokio::test]
async fn c10_a_fill_that_a_word_overtook_is_not_kept() {
    let server = Server::start();
    let proxy = Proxy::start(&server.url());
    let (a, b) = (
        Tier::connect(&proxy.url()).await,
        connect(&server.url()).await,
    );
    // The server learns the script, so that one request is enough.
    a.copy(&key("first"), "x").await;
    for (name, overtaken) in [("row", true), ("other", false)] {
        let row = key(name);
        let (started, go) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let read = tokio::spawn({
            let (cached, started, go) = (a.cachify.cached(&row), started.clone(), go.clone());
            async move {
                let compute = async || {
                    started.notify_one();
                    go.notified().await;
                    "old".to_owned()
                };
                cached.get_or_compute(compute).await
            }
        });
        started.notified().await;
        proxy.hold_answers();
        go.notify_one();
        let entry = format!("test:cached:{{{name}}}");
        until("it is stored", async || {
            server.command(&["EXISTS", &entry]).int() == 1
        })
        .await;
        if overtaken {
            b.reset(&row).await.unwrap();
        }
        soon("the word is heard", a.backend.heard()).await;
        proxy.resume();
        assert_eq!(read.await.unwrap(), "old");
        until("memory is used", async || a.has(&row) != overtaken).await;
        assert_eq!(a.has(&row), !overtaken, "{name}");
    }
}

#[tokio::test]
async fn c10_a_cut_connection_voids_all_copies_at_once() {
    let server = Server::start();
    let proxy = Proxy::start(&server.url());
    // The bound would allow the old value for a minute.
    let (a, b) = (
        Tier::bound(&proxy.url(), MINUTE).await,
        connect(&server.url()).await,
    );
    let (row, forever) = (key("row"), key("forever"));
    a.copy(&row, "old").await;
    let cached = a.cachify.cached(&forever).ttl(cachify_core::Ttl::NEVER);
    cached.get_or_compute(async || "old".to_owned()).await;
    assert!(a.has(&forever));
    proxy.refuse();
    server.command(&["CLIENT", "KILL", "TYPE", "pubsub"]);
    until("memory is bypassed", async || !a.has(&row)).await;
    // The reset messages are lost: the process is not subscribed.
    b.reset([&row, &forever]).await.unwrap();
    proxy.resume();
    soon("it is back", a.backend.heard()).await;
    assert!(!a.has(&row) && !a.has(&forever));
    a.copy(&row, "new").await;
    let found = a.cachify.cached(&row).get::<String>().await.unwrap();
    assert_eq!(found.unwrap(), "new");
}

#[tokio::test]
async fn c10_what_was_asked_for_before_a_connection_was_cut_is_not_kept() {
    let server = Server::start();
    let proxy = Proxy::start(&server.url());
    let a = Tier::connect(&proxy.url()).await;
    let row = key("row");
    a.cachify.cached(&row).set(old()).await.unwrap();
    soon("its own word", a.backend.heard()).await;
    server.command(&["CLIENT", "KILL", "TYPE", "pubsub"]);
    soon("it is back", a.backend.heard()).await;
    assert!(!a.has(&row));
    let witness = key("witness");
    a.copy(&witness, "copied").await;
    proxy.hold_answers();
    let cached = a.cachify.cached(&row);
    let read = tokio::spawn(async move { cached.get::<String>().await.unwrap() });
    answered(&proxy).await;
    // A reset whose message got lost with the connection.
    server.command(&["DEL", "test:cached:{row}"]);
    server.command(&["CLIENT", "KILL", "TYPE", "pubsub"]);
    until("the loss is noticed", async || !a.has(&witness)).await;
    proxy.resume();
    assert_eq!(read.await.unwrap(), Some(old()));
    soon("it is back again", a.backend.heard()).await;
    assert!(!a.has(&row));
}

#[tokio::test]
async fn c10_s22_a_silent_channel_costs_the_bound_at_most() {
    const BOUND: Duration = Duration::from_millis(500);
    let server = Server::start();
    let proxy = Proxy::start(&server.url());
    let (a, b) = (
        Tier::bound(&proxy.url(), BOUND).await,
        connect(&server.url()).await,
    );
    let row = key("row");
    a.copy(&row, "old").await;
    proxy.deafen();
    b.reset(&row).await.unwrap();
    let reset = Instant::now();
    loop {
        let asked = reset.elapsed();
        if !a.has(&row) {
            break;
        }
        assert!(asked <= BOUND, "an old value after {asked:?}");
        tokio::time::sleep(MILLI).await;
    }
    // It does not depend on noticing that the connection is dead.
    assert!(reset.elapsed() < SECOND);
    let cached = a.cachify.cached(&row);
    let value = cached.get_or_compute(async || "new".to_owned()).await;
    assert_eq!(value, "new");
    assert!(!a.has(&row), "memory is bypassed");
    proxy.resume();
    soon("it is back", a.backend.heard()).await;
    a.copy(&row, "newer").await;
    assert_eq!(cached.get::<String>().await.unwrap().unwrap(), "new");
}

#[tokio::test]
async fn c10_a_starved_listener_costs_the_bound_at_most() {
    const BOUND: Duration = Duration::from_millis(300);
    let server = Server::start();
    let a = Tier::bound(&server.url(), BOUND).await;
    let row = key("row");
    a.copy(&row, "old").await;
    // This thread is the only one that could hear the word.
    let url = server.url();
    let elsewhere = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async { connect(&url).await.reset(&key("row")).await.unwrap() });
    });
    elsewhere.join().unwrap();
    std::thread::sleep(BOUND);
    assert!(!a.has(&row));
}

#[tokio::test]
async fn c10_s24_after_a_suspend_nothing_from_before_is_believed() {
    let server = Server::start();
    let proxy = Proxy::start(&server.url());
    let clock = Clock::test();
    let a = Tier::lazy(&proxy.url(), TierOptions::default(), clock.clone());
    a.backend.check().await.unwrap();
    let b = connect(&server.url()).await;
    let row = key("row");
    a.copy(&row, "old").await;
    let guard = a.cachify.lock(&key("door")).acquire().await.unwrap();
    proxy.hold_replies();
    // A heartbeat that was sent before comes back afterwards.
    until("a heartbeat is on its way", async || proxy.held_bytes() > 0).await;
    b.reset(&row).await.unwrap();
    clock.advance(MINUTE);
    assert!(!a.has(&row));
    assert!(guard.is_lost());
    proxy.resume();
    for _ in 0..100 {
        assert!(!a.has(&row));
        tokio::task::yield_now().await;
    }
    soon("it is back", a.backend.heard()).await;
    assert!(!a.has(&row));
    let cached = a.cachify.cached(&row);
    let value = cached.get_or_compute(async || "new".to_owned()).await;
    assert_eq!(value, "new");
}

#[tokio::test]
async fn c10_in_the_process_that_resets_no_read_is_older() {
    let server = Server::start();
    let proxy = Proxy::start(&server.url());
    let a = Tier::bound(&proxy.url(), MINUTE).await;
    let row = key("row");
    // Its own words do not reach it either.
    a.copy(&row, "old").await;
    proxy.deafen();
    a.cachify.reset(&row).await.unwrap();
    assert!(!a.has(&row));
    let cached = a.cachify.cached(&row);
    assert_eq!(
        cached.get_or_compute(async || "new".to_owned()).await,
        "new"
    );
    cached.set("newer".to_owned()).await.unwrap();
    assert_eq!(cached.get::<String>().await.unwrap().unwrap(), "newer");
    a.backend.expire(&row).await.unwrap();
    assert!(!a.has(&row));
}

//! C10: what memory in front of Redis keeps, and how processes tell one another.
#![cfg(all(feature = "redis", unix))]
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;
#[path = "common/tier.rs"]
mod tier;

use cachify_core::backend::Backend;
use cachify_core::backend::memory::Memory;
use cachify_core::backend::redis::RedisOptions;
use cachify_core::backend::tiered::{TierOptions, Tiered};
use cachify_core::clock::Clock;
use cachify_core::{Cachify, ErrorKind, Ttl};
use common::{MILLI, Process, SECOND, connect, key, soon, until};
use redis_fixture::Server;
use tier::Tier;

/// Returns the number of `GET`s since the last `CONFIG RESETSTAT`.
fn gets(server: &Server) -> usize {
    let stats = server.command(&["INFO", "commandstats"]).text();
    let get = stats.split("cmdstat_get:calls=").nth(1);
    get.map_or(0, |rest| rest.split(',').next().unwrap().parse().unwrap())
}

#[tokio::test]
async fn c10_a_hit_asks_nobody() {
    let server = Server::start();
    let cachify = Cachify::builder()
        .tiered(server.url())
        .prefix("test")
        .connect()
        .await
        .unwrap();
    let cached = cachify.cached(&key("row"));
    assert_eq!(cached.get_or_compute(async || 7).await, 7);
    server.command(&["CONFIG", "RESETSTAT"]);
    for _ in 0..100 {
        assert_eq!(cached.get_or_compute(async || 0).await, 7);
    }
    assert_eq!(gets(&server), 0);

    // With `local(false)`, every read asks Redis.
    let cached = cached.local(false);
    for _ in 0..100 {
        assert_eq!(cached.get::<i32>().await.unwrap(), Some(7));
    }
    assert_eq!(gets(&server), 100);
}

#[tokio::test]
async fn c10_an_entry_that_is_not_to_be_local_is_not_kept() {
    let server = Server::start();
    let a = Tier::connect(&server.url()).await;
    let row = key("row");
    let cached = a.cachify.cached(&row).local(false);
    assert_eq!(cached.get_or_compute(async || 1).await, 1);
    assert!(!a.has(&row));
    cached.set(2).await.unwrap();
    assert!(!a.has(&row));
    assert_eq!(cached.get::<i32>().await.unwrap(), Some(2));
    assert!(!a.has(&row));
}

#[tokio::test]
async fn c10_every_process_tells_of_resets_and_none_of_fills() {
    let server = Server::start();
    let a = Tier::connect(&server.url()).await;
    let plain = connect(&server.url()).await;
    let other = Tier::connect(&server.url()).await;
    let process = Process::new(&server.url());
    let row = key("row");
    let mut listener = server.client().unwrap();
    listener.command(&["SUBSCRIBE", "test:reset"]).unwrap();
    let mut told = || listener.read().unwrap().items()[2].text();
    for n in 0..6 {
        a.copy(&row, "old").await;
        match n {
            0 => plain.reset(&row).await.unwrap(),
            1 => plain.cached(&row).set("new".to_owned()).await.unwrap(),
            2 => process.redis.expire(&row).await.unwrap(),
            3 => other.cachify.reset(&row).await.unwrap(),
            4 => other
                .cachify
                .cached(&row)
                .set("new".to_owned())
                .await
                .unwrap(),
            _ => other.backend.expire(&row).await.unwrap(),
        }
        soon("the word is heard", a.backend.heard()).await;
        assert!(!a.has(&row), "{n}");
        // One word, although entries were filled: by `copy`, and by a set.
        assert_eq!(told(), "row", "{n}");
    }
    plain.reset(&key("last")).await.unwrap();
    assert_eq!(told(), "last");
}

#[tokio::test]
async fn c10_a_copy_lives_no_longer_than_its_entry_or_its_share() {
    let server = Server::start();
    for (share, lives) in [(1.0, 10 * SECOND), (0.5, 5 * SECOND)] {
        let clock = Clock::test();
        let options = TierOptions::default().share(share);
        let a = Tier::lazy(&server.url(), options, clock.clone());
        a.backend.check().await.unwrap();
        let b = connect(&server.url()).await;
        // Filled by this process, and read from another one's.
        let (filled, read) = (key("filled"), key("read"));
        b.cached(&read).ttl(10 * SECOND).set(1).await.unwrap();
        a.backend.heard().await;
        let cached = a.cachify.cached(&filled).ttl(10 * SECOND);
        assert_eq!(cached.get_or_compute(async || 1).await, 1);
        assert_eq!(a.cachify.cached(&read).get::<i32>().await.unwrap(), Some(1));
        // Heartbeats go on while the clock runs, as they would.
        clock.advance(lives.saturating_sub(SECOND));
        soon("a heartbeat", a.backend.heard()).await;
        assert!(a.has(&filled) && a.has(&read));
        clock.advance(SECOND);
        soon("a heartbeat", a.backend.heard()).await;
        assert!(!a.has(&filled) && !a.has(&read));
        b.reset([&filled, &read]).await.unwrap();
    }
}

#[tokio::test]
async fn c10_c11_memory_in_front_is_bounded() {
    let server = Server::start();
    let redis = RedisOptions::new(server.url()).prefix("test");
    let memory = Memory::builder().capacity(10);
    let tier = Tiered::lazy(redis, memory, TierOptions::default()).unwrap();
    tier.check().await.unwrap();
    let tier = std::sync::Arc::new(tier);
    let cachify = Cachify::builder().backend(tier.clone());
    let cachify = cachify.connect_lazy().unwrap();
    let keys: Vec<_> = (0..100).map(|n| key(&format!("row-{n}"))).collect();
    for key in &keys {
        cachify
            .cached(key)
            .ttl(Ttl::NEVER)
            .get_or_compute(async || 1)
            .await;
    }
    let kept = keys.iter().filter(|key| tier.local(key).is_some()).count();
    assert!((1..=10).contains(&kept), "{kept}");
}

#[tokio::test]
async fn c10_a_prefix_is_listened_to_for_as_long_as_there_are_copies() {
    let server = Server::start();
    let a = Tier::connect(&server.url()).await;
    // Not by `with_prefix`, which would keep the prefix in use here, too.
    let b = Cachify::builder().redis(server.url()).prefix("tenant");
    let b = b.connect().await.unwrap();
    let row = key("row");
    let read = async |ttl| {
        let tenant = a.cachify.with_prefix("tenant").unwrap();
        let cached = tenant.cached(&row).ttl(ttl);
        let before = gets(&server);
        cached.get_or_compute(async || "old".to_owned()).await;
        gets(&server) == before
    };
    until("memory has it", async || read(60 * SECOND).await).await;
    let subscribed = || {
        let count = server.command(&["PUBSUB", "NUMSUB", "tenant:reset"]);
        count.items()[1].int()
    };
    // No handle has the prefix now. The connection is tended once a second.
    tokio::time::sleep(2 * SECOND).await;
    assert_eq!(subscribed(), 1);
    b.reset(&row).await.unwrap();
    soon("the word is heard", a.backend.heard()).await;
    let tenant = a.cachify.with_prefix("tenant").unwrap();
    assert_eq!(tenant.cached(&row).get::<String>().await.unwrap(), None);
    drop(tenant);

    let fleeting = a.cachify.with_prefix("fleeting").unwrap();
    let cached = fleeting.cached(&row).ttl(500 * MILLI);
    until("it is listened to", async || {
        cached.get_or_compute(async || 1).await;
        server
            .command(&["PUBSUB", "NUMSUB", "fleeting:reset"])
            .items()[1]
            .int()
            == 1
    })
    .await;
    drop((cached, fleeting));
    until("it is given up", async || {
        server
            .command(&["PUBSUB", "NUMSUB", "fleeting:reset"])
            .items()[1]
            .int()
            == 0
    })
    .await;
}

#[tokio::test]
async fn c10_a_forged_word_costs_a_miss_at_most() {
    let server = Server::start();
    let a = Tier::connect(&server.url()).await;
    let (row, other) = (key("row"), key("other"));
    a.copy(&row, "mine").await;
    a.copy(&other, "mine").await;
    let channels = server.command(&["PUBSUB", "CHANNELS", "test:wake:*"]);
    let wake = channels.items()[0].text();
    for (channel, word) in [
        ("test:reset", ""),
        ("test:reset", "a{b"),
        ("test:reset", "a\nb"),
        ("test:reset", "\u{1f}"),
        ("test:reset", &"x".repeat(600)),
        (wake.as_str(), "H "),
        (wake.as_str(), "H x"),
        (wake.as_str(), "H 1.0000000000000000@test.0000000000000000"),
        ("test:reset", "row"),
    ] {
        server.command(&["PUBLISH", channel, word]);
    }
    soon("all is heard", a.backend.heard()).await;
    assert!(!a.has(&row) && a.has(&other));
    a.copy(&row, "other").await;
    let found = a.cachify.cached(&row).get::<String>().await.unwrap();
    assert_eq!(found.unwrap(), "mine");
}

#[tokio::test]
async fn s4_dropping_the_last_tiered_handle_ends_its_tasks() {
    let server = Server::start();
    let clients = || server.command(&["CLIENT", "LIST"]).text().lines().count();
    let before = clients();
    let a = Tier::connect(&server.url()).await;
    a.copy(&key("row"), "x").await;
    assert_eq!(clients(), before + 3);
    drop(a);
    until("they are closed", async || clients() == before).await;
    let tasks = || {
        tokio::runtime::Handle::current()
            .metrics()
            .num_alive_tasks()
    };
    until("no task is left", async || tasks() == 0).await;
}

#[tokio::test]
async fn s5_a_tier_that_cannot_work_is_refused_with_the_fix() {
    let server = Server::start();
    let url = server.url();
    let tiered = || Cachify::builder().tiered(&url);
    for (builder, fix) in [
        (tiered().tier_staleness(0), "10 ms"),
        (tiered().tier_share(0.0), "more than 0"),
        (tiered().tier_share(f64::NAN), "more than 0"),
        (Cachify::builder().url("tiered+memory://"), "`memory://`"),
        (Cachify::builder().tiered("memory://"), "`memory://`"),
        (Cachify::builder().url("tiered+ftp://x"), "redis://"),
    ] {
        let error = builder.connect_lazy().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Configuration, "{error}");
        assert!(error.to_string().contains(fix), "{error}");
    }
    // Longer than a time to live: then that is the bound.
    let long = tiered().default_ttl(SECOND).tier_staleness("1h");
    long.connect().await.unwrap();
}

#[tokio::test]
async fn s5_s20_a_tier_without_rights_to_channels_is_told_so() {
    let server = Server::start();
    let user = |rights: &[&str]| {
        let mut command = vec!["ACL", "SETUSER", "app", "reset", "on", ">s3cret", "~test:*"];
        command.extend_from_slice(rights);
        server.command(&command);
        server.url().replace("redis://", "redis://app:s3cret@")
    };
    for (rights, fix) in [
        (&["+@all", "resetchannels"][..], "&test:*"),
        (&["+@all", "resetchannels", "&test:wake:*"], "&test:*"),
        (&["+@all", "&test:*", "-subscribe"], "+subscribe"),
        (&["+@all", "&test:*", "-publish"], "+publish"),
    ] {
        let url = user(rights);
        let builder = Cachify::builder().tiered(url.as_str()).prefix("test");
        let error = builder.connect().await.unwrap_err();
        assert_eq!(
            error.kind(),
            ErrorKind::Configuration,
            "{rights:?}: {error}"
        );
        assert!(error.to_string().contains(fix), "{rights:?}: {error}");

        // Made lazily, it works without memory, and no value is old.
        let a = Tier::lazy(&url, TierOptions::default(), Clock::default());
        let row = key("row");
        let cached = a.cachify.cached(&row);
        for _ in 0..3 {
            cached.get_or_compute(async || 1).await;
            tokio::time::sleep(20 * MILLI).await;
            assert!(!a.has(&row), "{rights:?}");
        }
        a.cachify.reset(&row).await.unwrap();
    }
}

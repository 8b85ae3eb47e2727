//! A request that is sent again after its connection broke, while the first copy is still on its
//! way.
#![cfg(all(feature = "redis", unix))]
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use std::sync::Arc;

use cachify_core::backend::{Acquire, Backend, Begin, Begun, Claim, Slot};
use common::{MILLI, Process, SECOND, is_granted, key, lock, pool, soon, until};
use redis_fixture::{Proxy, Server, Stranded};
use tokio::sync::Notify;

/// Returns the number of scripts that the server has run.
fn scripts(server: &Server) -> u64 {
    let stats = server.command(&["INFO", "commandstats"]).text();
    let calls = stats
        .lines()
        .filter(|line| line.starts_with("cmdstat_eval"));
    calls
        .filter_map(|line| {
            line.split("calls=")
                .nth(1)?
                .split(',')
                .next()?
                .parse::<u64>()
                .ok()
        })
        .sum()
}

struct Stage {
    server: Server,
    proxy: Proxy,
    /// The handle's process behind the proxy.
    process: Arc<Process>,
}

impl Stage {
    async fn new() -> Self {
        let server = Server::start();
        let proxy = Proxy::start(&server.url());
        let process = Arc::new(Process::new(&proxy.url()));
        // Connected, with all scripts loaded.
        for slot in [lock("other"), pool("other", 1)] {
            let token = process.node.token();
            assert!(is_granted(process.acquire(&slot, &token, None).await));
            assert!(process.release(&slot, &token).await);
        }
        let token = process.node.token();
        process.begin(&key("other"), &token, None).await;
        process
            .fill(&key("other"), &token, b"x", SECOND)
            .await
            .unwrap();
        process.set(&key("other"), b"x", SECOND).await;
        Self {
            server,
            proxy,
            process,
        }
    }

    /// Breaks the connection of the next script as soon as it has been sent.
    async fn strand(&self) -> Stranded {
        until("it is sent", async || self.proxy.kept_bytes() > 0).await;
        self.proxy.strand()
    }

    async fn arrives(&self, stranded: Stranded) {
        let before = scripts(&self.server);
        stranded.arrive();
        until("it arrives", async || scripts(&self.server) > before).await;
    }
}

async fn acquire_twice(stage: &Stage, slot: &Slot) -> (cachify_core::backend::Token, Stranded) {
    let token = stage.process.node.token();
    stage.proxy.keep_requests("EVALSHA");
    let (process, asked, mine) = (Arc::clone(&stage.process), slot.clone(), token.clone());
    let acquired = tokio::spawn(async move {
        let acquire = Acquire::new(&mine, 30 * SECOND, 5 * SECOND);
        process.redis.acquire(&asked, acquire).await
    });
    let stranded = stage.strand().await;
    assert!(is_granted(acquired.await.unwrap().unwrap()));
    (token, stranded)
}

#[tokio::test]
async fn l6_the_first_copy_of_a_request_takes_nothing_after_the_release() {
    let stage = Stage::new().await;
    for slot in [lock("door"), pool("door", 1)] {
        let (token, stranded) = acquire_twice(&stage, &slot).await;
        assert!(stage.process.release(&slot, &token).await);
        stage.arrives(stranded).await;
        let inspection = stage.process.redis.inspect(&slot).await.unwrap();
        assert_eq!(inspection.holders, 0, "by nobody");
    }
}

#[tokio::test]
async fn l6_the_first_copy_of_a_request_does_not_disturb_the_hold() {
    let stage = Stage::new().await;
    let slot = lock("door");
    let (token, stranded) = acquire_twice(&stage, &slot).await;
    stage.arrives(stranded).await;
    let inspection = stage.process.redis.inspect(&slot).await.unwrap();
    assert_eq!(inspection.first.unwrap().0, token.as_str());
    assert!(stage.process.release(&slot, &token).await);
    assert_eq!(stage.process.redis.inspect(&slot).await.unwrap().holders, 0);
}

#[tokio::test]
async fn c4_no_lease_comes_back_to_life_after_a_reset() {
    let stage = Stage::new().await;
    let (row, token) = (key("row"), stage.process.node.token());
    stage.proxy.keep_requests("EVALSHA");
    let (process, asked, mine) = (Arc::clone(&stage.process), row.clone(), token.clone());
    let begun = tokio::spawn(async move {
        let begin = Begin::new(&mine, 3 * SECOND, Claim::Wait);
        process.redis.begin(&asked, begin).await
    });
    let stranded = stage.strand().await;
    let begun = begun.await.unwrap();
    stage.process.redis.reset(&row).await.unwrap();
    stage.arrives(stranded).await;
    // The caller that received the lease computes now, and had begun before the reset.
    if matches!(begun, Ok(Begun::Granted)) {
        let stored = stage.process.fill(&row, &token, b"old", SECOND).await;
        assert!(!stored.unwrap());
    }
    assert_eq!(stage.process.bytes(&row).await, None);
}

#[tokio::test]
async fn c4_s8_no_copy_of_an_earlier_look_revives_the_lease_of_a_later_one() {
    let stage = Stage::new().await;
    let row = key("row");
    let cachify = common::builder(&stage.proxy.url()).backend_timeout(5 * SECOND);
    let cachify = cachify.connect().await.unwrap();
    cachify
        .cached(&key("warm"))
        .get_or_compute(async || 1)
        .await;
    // Another process has the lease, so the answer to the second copy is to wait.
    let (other, theirs) = (
        Process::new(&stage.server.url()),
        stage.process.node.token(),
    );
    assert!(matches!(
        other.begin(&row, &theirs, None).await,
        Begun::Granted
    ));
    stage.proxy.keep_requests("EVALSHA");
    let (computing, go) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let read = tokio::spawn({
        let (cached, computing, go) = (cachify.cached(&row), computing.clone(), go.clone());
        async move {
            let compute = async || {
                computing.notify_one();
                go.notified().await;
                1
            };
            cached.get_or_compute(compute).await
        }
    });
    let stranded = stage.strand().await;
    other.redis.release_lease(&row, &theirs).await.unwrap();
    soon("it computes", computing.notified()).await;
    other.redis.reset(&row).await.unwrap();
    stage.arrives(stranded).await;
    go.notify_one();
    assert_eq!(soon("the value", read).await.unwrap(), 1);
    assert_eq!(other.bytes(&row).await, None);
}

#[tokio::test]
async fn l6_a_forced_release_that_comes_late_frees_no_later_holder() {
    for (slot, request) in [
        (lock("door"), "the first"),
        (pool("door", 1), "the first"),
        (lock("gate"), "the last"),
    ] {
        let stage = Stage::new().await;
        let (first, second) = (stage.process.node.token(), stage.process.node.token());
        let other = Process::new(&stage.server.url());
        assert!(is_granted(other.acquire(&slot, &first, None).await));
        assert!(!stage.process.redis.evict(&lock("other")).await.unwrap());
        let word = match request {
            "the first" => "EVALSHA",
            _ => first.as_str().to_owned().leak(),
        };
        stage.proxy.keep_requests(word);
        let (process, asked) = (Arc::clone(&stage.process), slot.clone());
        let evicted = tokio::spawn(async move { process.redis.evict(&asked).await });
        let stranded = stage.strand().await;
        assert!(evicted.await.unwrap().unwrap());
        assert!(is_granted(other.acquire(&slot, &second, None).await));
        stage.arrives(stranded).await;
        let inspection = other.redis.inspect(&slot).await.unwrap();
        assert_eq!(inspection.first.unwrap().0, second.as_str(), "{request}");
    }
}

#[tokio::test]
async fn c4_a_set_that_was_given_up_does_not_land_after_a_later_reset() {
    // Stranded at its first request, and at the one that carries the value.
    for word in ["EVALSHA", "THE NEW ONE"] {
        let stage = Stage::new().await;
        let row = key("row");
        let writer = common::connect(&stage.proxy.url()).await;
        let reader = common::connect(&stage.server.url()).await;
        let set = async |text: &str| writer.cached(&row).set(text.to_owned()).await;
        set("the old one").await.unwrap();
        stage.proxy.keep_requests(word);
        let given_up = tokio::time::timeout(60 * MILLI, set("THE NEW ONE")).await;
        assert!(given_up.is_err(), "{word}: {given_up:?}");
        let stranded = stage.strand().await;
        writer.reset(&row).await.unwrap();
        stage.arrives(stranded).await;
        // When a later request is answered, every earlier one that arrived has been executed.
        stage.server.command(&["PING"]);
        let found = reader.cached(&row).get::<String>().await.unwrap();
        assert_eq!(found, None, "{word}");
        let cached = reader.cached(&row);
        let read = cached.get_or_compute(async || "computed".to_owned());
        assert_eq!(soon("a read", read).await, "computed");
    }
}

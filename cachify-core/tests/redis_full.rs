//! A server that is out of memory, and one that has lost all data.
#![cfg(all(feature = "redis", unix))]
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use cachify_core::backend::Backend;
use cachify_core::{Cachify, ErrorKind};
use common::{Process, SECOND, connect, is_granted, key, lock, soon, until};
use redis_fixture::{Reply, Server};

fn fill_up(server: &Server) {
    server.command(&["CONFIG", "SET", "maxmemory", "1"]);
}

#[tokio::test]
async fn c7_s19_a_full_server_costs_nobody_a_value_and_loses_no_reset() {
    let server = Server::start();
    let handle = connect(&server.url()).await;
    handle.cached(&key("old")).set(1).await.unwrap();
    handle.cached(&key("kept")).set(1).await.unwrap();
    let cached = handle.cached(&key("row"));
    let value = cached
        .get_or_compute(async || {
            fill_up(&server);
            7
        })
        .await;
    assert_eq!(value, 7);
    assert_eq!(
        server.command(&["EXISTS", "test:cached:{row}:lease"]).int(),
        0
    );
    for i in 0..10 {
        assert_eq!(cached.get_or_compute(async || i).await, i);
    }
    handle.reset(&key("old")).await.unwrap();
    assert_eq!(handle.cached(&key("old")).get::<i32>().await.unwrap(), None);
    // It still answers, so its entries are still used.
    let kept = handle.cached(&key("kept"));
    assert_eq!(kept.get_or_compute(async || 0).await, 1);
    // Neither the new value nor the old one.
    let error = kept.set(2).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unconfirmed);
    assert!(server.command(&["GET", "test:cached:{kept}"]).is_nil());

    server.command(&["CONFIG", "SET", "maxmemory", "0"]);
    until("it stores again", async || {
        cached.get_or_compute(async || 7).await;
        cached.get::<i32>().await.unwrap() == Some(7)
    })
    .await;
}

#[tokio::test]
async fn l6_s19_on_a_full_server_locks_can_be_given_back_and_handed_over() {
    let server = Server::start();
    let process = Process::new(&server.url());
    let slot = lock("door");
    let (holder, waiter) = (process.node.token(), process.node.token());
    assert!(is_granted(process.acquire(&slot, &holder, None).await));
    let listener = process.redis.signals().listen(waiter.as_str());
    process.acquire(&slot, &waiter, Some(60 * SECOND)).await;
    // A refused request is refused as a whole.
    fill_up(&server);
    let late = process.node.token();
    let error = process
        .try_acquire(&lock("other"), &late, None)
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.to_string().contains("maxmemory"), "{error}");
    assert_eq!(server.command(&["EXISTS", "test:lock:{other}"]).int(), 0);

    assert!(process.release(&slot, &holder).await);
    soon("the waiter is told", listener.signalled()).await;
    let inspection = process.redis.inspect(&slot).await.unwrap();
    assert_eq!(inspection.first.unwrap().0, waiter.as_str());
    let wait = Some(60 * SECOND);
    assert!(is_granted(process.acquire(&slot, &waiter, wait).await));
    assert!(process.release(&slot, &waiter).await);
    assert_eq!(process.redis.inspect(&slot).await.unwrap().holders, 0);
}

/// Refuses locks on `server` as unavailable, for this reason, and keeps answering from the cache.
async fn refuses_locks_and_hits(server: &Server, handle: &Cachify, reason: &str) {
    for id in 0..10 {
        // A new lock each time: one that was just released may have left data to overwrite.
        let door = key(&format!("door-{}-{id}", reason.len()));
        let taken = handle.lock(&door).acquire().await;
        let error = taken.map(drop).expect_err(reason);
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
        assert!(error.to_string().contains(reason), "{error}");
    }
    let kept = handle.cached(&key("kept"));
    assert_eq!(kept.get::<i32>().await.unwrap(), Some(1));
    assert!(!server.command(&["GET", "test:cached:{kept}"]).is_nil());
}

#[tokio::test]
async fn c7_a_server_that_cannot_store_is_unavailable_for_locks_and_goes_on_to_be_read() {
    let server = Server::start();
    server.command(&["CONFIG", "SET", "save", "900 1000000"]);
    let handle = connect(&server.url()).await;
    handle.cached(&key("kept")).set(1).await.unwrap();

    // It can't replace a directory with the file.
    let socket = server.unix_url();
    let socket = std::path::Path::new(socket.strip_prefix("redis+unix://").unwrap());
    let file = socket.with_file_name("dump.rdb");
    std::fs::create_dir(&file).unwrap();
    let answers = async |command: &'static str, error: &'static str| {
        until(error, async || {
            server.command(&[command]);
            let answer = server.command(&["SET", "probe", ""]);
            matches!(answer, Reply::Error(text) if text.contains(error))
        })
        .await;
    };
    answers("BGSAVE", "MISCONF").await;
    refuses_locks_and_hits(&server, &handle, "save to disk").await;
    server.command(&["CONFIG", "SET", "stop-writes-on-bgsave-error", "no"]);

    fill_up(&server);
    answers("PING", "OOM").await;
    refuses_locks_and_hits(&server, &handle, "maxmemory").await;
}

#[tokio::test]
async fn l3_on_a_full_server_a_lock_is_renewed() {
    let server = Server::start();
    let process = Process::new(&server.url());
    let (slot, holder) = (lock("door"), process.node.token());
    assert!(is_granted(process.acquire(&slot, &holder, None).await));
    fill_up(&server);
    assert!(
        process
            .redis
            .extend(&slot, &holder, 90 * SECOND)
            .await
            .unwrap()
    );
    let left = process.redis.inspect(&slot).await.unwrap().first.unwrap().1;
    assert!(left > 80 * SECOND);
}

#[tokio::test]
async fn p2_s16_when_everything_is_flushed_every_holder_hears_it() {
    let server = Server::start();
    let handle = connect(&server.url()).await;
    let mut permits = Vec::new();
    for _ in 0..10 {
        let pool = handle.pool(&key("desk"), 10).ttl(SECOND);
        permits.push(pool.acquire().await.unwrap());
    }
    assert_eq!(
        handle.pool(&key("desk"), 10).status().await.unwrap().in_use,
        10
    );
    server.command(&["FLUSHALL"]);
    for permit in &permits {
        soon("the loss", permit.lost()).await;
        assert!(permit.is_lost());
    }
    for permit in permits {
        assert_eq!(permit.release().await.unwrap_err().kind(), ErrorKind::Lost);
    }
}

#[tokio::test]
async fn l7_entries_leave_locks_their_share_of_the_memory() {
    let server = Server::builder()
        .arg("--maxmemory")
        .arg("64mb")
        .arg("--maxmemory-policy")
        .arg("noeviction")
        .spawn();
    // A loaded machine must not lose entries to the backend timeout.
    let builder = common::builder(&server.url()).backend_timeout(10 * SECOND);
    let handle = builder.entries_share(0.5).connect().await.unwrap();
    let value = || "x".repeat(100_000);
    // Entries whose number a client chooses: twice as many as fit.
    for n in 0..1300 {
        let cached = handle.cached(&key(&format!("page-{n}")));
        assert_eq!(cached.get_or_compute(async || value()).await, value());
    }
    let info = server.command(&["INFO", "memory"]).text();
    let used = info
        .lines()
        .find_map(|line| line.strip_prefix("used_memory:"))
        .unwrap();
    let used: u64 = used.trim().parse().unwrap();
    assert!(used > 28 << 20 && used < 40 << 20, "{used}");
    for n in 0..100 {
        let lock = handle.lock(&key(&format!("door-{n}")));
        lock.acquire().await.unwrap().release().await.unwrap();
    }
    // Stored entries are still read, and a reset still resets. The room of one entry must not be
    // enough, however often the memory is checked meanwhile.
    server.command(&["CONFIG", "SET", "maxmemory", "60mb"]);
    let first = handle.cached(&key("page-0"));
    assert!(first.get::<String>().await.unwrap().is_some());
    handle.reset(&key("page-0")).await.unwrap();
    assert!(first.get::<String>().await.unwrap().is_none());
    assert_eq!(first.get_or_compute(async || value()).await, value());
    assert!(first.get::<String>().await.unwrap().is_none());
    assert_eq!(
        server
            .command(&["EXISTS", "test:cached:{page-0}:lease"])
            .int(),
        0
    );

    server.command(&["CONFIG", "SET", "maxmemory", "256mb"]);
    until("it stores again", async || {
        first.get_or_compute(async || value()).await;
        first.get::<String>().await.unwrap().is_some()
    })
    .await;
}

#[tokio::test]
async fn a_share_is_more_than_nothing_and_no_more_than_all() {
    for share in [0.0, -1.0, 1.1, f64::NAN] {
        let builder = Cachify::builder().redis("redis://localhost");
        let error = builder.entries_share(share).connect_lazy().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Configuration, "{share}");
    }
}

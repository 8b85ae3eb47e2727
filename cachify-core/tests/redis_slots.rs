//! Locks and pools: the effect of each script, on a real server.
#![cfg(all(feature = "redis", unix))]
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use cachify_core::ErrorKind;
use cachify_core::backend::{Acquired, Backend};
use common::{MILLI, Process, SECOND, fence, is_granted, lock, pool, soon, until};
use redis_fixture::Server;
use std::time::Duration;
use tokio::time::Instant;

const WAIT: Option<Duration> = Some(Duration::from_mins(1));

fn is_held(acquired: Acquired) -> bool {
    matches!(acquired, Acquired::Held { .. })
}

fn is_queued(acquired: Acquired) -> bool {
    matches!(acquired, Acquired::Queued { .. })
}

/// Returns the keys that remain on the server, except for the counter of fencing tokens.
fn left(server: &Server) -> Vec<String> {
    let keys = server.command(&["KEYS", "*"]);
    let keys = keys.items().iter().map(redis_fixture::Reply::text);
    keys.filter(|key| key != "test:fence").collect()
}

fn server_micros(server: &Server) -> u64 {
    let reply = server.command(&["TIME"]);
    let [seconds, micros] = [0, 1].map(|i| reply.items()[i].text().parse::<u64>().unwrap());
    seconds * 1_000_000 + micros
}

#[tokio::test]
async fn l1_only_the_owner_releases_and_extends() {
    let server = Server::start();
    let (a, b) = (Process::new(&server.url()), Process::new(&server.url()));
    let (slot, mine, other) = (lock("door"), a.node.token(), b.node.token());

    assert!(is_granted(a.acquire(&slot, &mine, None).await));
    match b.acquire(&slot, &other, None).await {
        Acquired::Held { retry_in } => {
            assert!(
                retry_in <= 30 * SECOND && retry_in > 29 * SECOND,
                "{retry_in:?}"
            );
        }
        other => panic!("{other:?}"),
    }
    assert!(!b.release(&slot, &other).await);
    assert!(!b.redis.extend(&slot, &other, SECOND).await.unwrap());
    assert!(a.redis.extend(&slot, &mine, 90 * SECOND).await.unwrap());
    let first = b.redis.inspect(&slot).await.unwrap().first.unwrap();
    assert_eq!(first.0, mine.as_str());
    assert!(first.1 > 89 * SECOND && first.1 <= 90 * SECOND);

    assert!(a.release(&slot, &mine).await);
    assert!(!a.release(&slot, &mine).await);
    assert!(!a.redis.extend(&slot, &mine, SECOND).await.unwrap());
    assert_eq!(b.redis.inspect(&slot).await.unwrap().holders, 0);
    assert!(is_granted(b.acquire(&slot, &b.node.token(), None).await));
}

#[tokio::test]
async fn l1_asking_again_holds_anew() {
    let server = Server::start();
    let process = Process::new(&server.url());
    for slot in [lock("door"), pool("door", 1)] {
        let token = process.node.token();
        assert!(is_granted(process.acquire(&slot, &token, None).await));
        process.redis.extend(&slot, &token, SECOND).await.unwrap();
        assert!(is_granted(process.acquire(&slot, &token, None).await));
        let inspection = process.redis.inspect(&slot).await.unwrap();
        assert_eq!(inspection.holders, 1);
        assert!(inspection.first.unwrap().1 > 29 * SECOND);
        assert!(process.release(&slot, &token).await);
    }
    assert_eq!(left(&server), [""; 0]);
}

#[tokio::test]
async fn l5_s17_tokens_grow_whatever_the_clock_does_and_when_the_counter_is_lost() {
    let server = Server::start();
    let process = Process::new(&server.url());
    let slot = lock("door");
    let mut last = 0;
    for _ in 0..50 {
        let token = process.node.token();
        let fence = fence(process.acquire(&slot, &token, None).await);
        assert!(fence > last);
        last = fence;
        assert!(process.release(&slot, &token).await);
    }
    assert!(last > 1_700_000_000_000_000, "{last}");

    let again = async || {
        let token = process.node.token();
        let fence = fence(process.acquire(&slot, &token, None).await);
        assert!(process.release(&slot, &token).await);
        fence
    };
    server.command(&["DEL", "test:fence"]);
    assert!(again().await > last);

    // As if the clock had been a day ahead.
    let ahead = last + 86_400_000_000;
    let ahead_text = ahead.to_string();
    server.command(&["SET", "test:fence", &ahead_text]);
    for next in 1..=20 {
        assert_eq!(again().await, ahead + next);
    }
}

#[tokio::test]
async fn l5_tokens_grow_across_a_restart_that_loses_everything() {
    let server = Server::start();
    let mut last = 0;
    for _ in 0..3 {
        let process = Process::new(&server.url());
        let token = process.node.token();
        let fence = fence(process.acquire(&lock("door"), &token, None).await);
        assert!(fence > last);
        last = fence;
        server.restart();
        server.wait_ready();
    }
}

#[tokio::test]
async fn l5_no_lock_key_leaves_its_fencing_token_behind() {
    let server = Server::start();
    let process = Process::new(&server.url());
    let mut last = 0;
    for order in 0..50 {
        let (slot, token) = (lock(&format!("charge-{order}")), process.node.token());
        let fence = fence(process.acquire(&slot, &token, None).await);
        assert!(fence > last);
        last = fence;
        assert!(process.release(&slot, &token).await);
    }
    assert_eq!(server.command(&["DBSIZE"]).int(), 1);
    // It never expires, so no clock can restart it.
    assert_eq!(server.command(&["PTTL", "test:fence"]).int(), -1);
}

#[tokio::test]
async fn l2_a_release_hands_over_in_order() {
    let server = Server::start();
    let (a, b) = (Process::new(&server.url()), Process::new(&server.url()));
    let slot = lock("door");
    let holder = a.node.token();
    assert!(is_granted(a.acquire(&slot, &holder, None).await));

    let mut waiters = Vec::new();
    for i in 0..12 {
        let process = [&a, &b][i % 2];
        let token = process.node.token();
        let listener = process.redis.signals().listen(token.as_str());
        assert!(is_queued(process.acquire(&slot, &token, WAIT).await));
        waiters.push((process, token, listener));
    }
    // Polling again does not change the order.
    for (process, token, _) in waiters.iter().rev() {
        assert!(is_queued(process.acquire(&slot, token, WAIT).await));
    }
    assert_eq!(a.redis.inspect(&slot).await.unwrap().waiters, 12);

    assert!(a.release(&slot, &holder).await);
    for (process, token, listener) in &waiters {
        soon("the next is told", listener.signalled()).await;
        // Handed over, it is not available to others.
        assert!(is_held(a.acquire(&slot, &a.node.token(), None).await));
        assert!(is_granted(process.acquire(&slot, token, WAIT).await));
        assert!(process.release(&slot, token).await);
    }
    assert_eq!(left(&server), [""; 0]);
}

#[tokio::test]
async fn l2_s11_who_does_not_claim_in_a_second_is_passed_over() {
    let server = Server::start();
    let (a, b) = (Process::new(&server.url()), Process::new(&server.url()));
    let slot = lock("door");
    let holder = a.node.token();
    assert!(is_granted(a.acquire(&slot, &holder, None).await));
    let [stopped, next] = [a.node.token(), b.node.token()];
    // It is subscribed, so it counts as alive, and does nothing.
    let _listener = a.redis.signals().listen(stopped.as_str());
    let listener = b.redis.signals().listen(next.as_str());
    assert!(is_queued(a.acquire(&slot, &stopped, WAIT).await));
    assert!(is_queued(b.acquire(&slot, &next, WAIT).await));

    let start = Instant::now();
    assert!(a.release(&slot, &holder).await);
    soon("the next gets it", async {
        loop {
            match b.acquire(&slot, &next, WAIT).await {
                Acquired::Granted { .. } => return,
                Acquired::Queued { recheck, .. } => {
                    assert!(recheck <= SECOND);
                    let _ = tokio::time::timeout(recheck, listener.signalled()).await;
                }
                other => panic!("who waits is queued, not {other:?}"),
            }
        }
    })
    .await;
    let took = start.elapsed();
    assert!(took > 900 * MILLI && took < 1500 * MILLI, "{took:?}");
    // A waiter that comes too late queues again.
    assert!(is_queued(a.acquire(&slot, &stopped, WAIT).await));
}

#[tokio::test]
async fn l2_what_is_handed_to_nobody_goes_on_at_once() {
    let server = Server::start();
    let (a, b) = (Process::new(&server.url()), Process::new(&server.url()));
    let slot = lock("door");
    let holder = a.node.token();
    assert!(is_granted(a.acquire(&slot, &holder, None).await));
    let [gone, next] = [a.node.token(), b.node.token()];
    assert!(is_queued(a.acquire(&slot, &gone, WAIT).await));
    assert!(is_queued(b.acquire(&slot, &next, WAIT).await));
    let listener = b.redis.signals().listen(next.as_str());

    let start = Instant::now();
    assert!(a.release(&slot, &holder).await);
    soon("the next is told", listener.signalled()).await;
    assert!(start.elapsed() < 800 * MILLI);
    assert!(is_granted(b.acquire(&slot, &next, WAIT).await));
}

#[tokio::test]
async fn l1_a_late_word_does_not_take_a_claimed_hold_away() {
    let server = Server::start();
    let process = Process::new(&server.url());
    process.redis.check().await.unwrap();
    let slot = lock("door");
    let token = process.node.token();
    assert!(is_granted(process.acquire(&slot, &token, None).await));

    assert!(!process.release(&lock("other"), &process.node.token()).await);
    let before = scripts(&server);

    // As if it had been handed over once and claimed by polling, and the message had been delayed:
    // no waiter listens for it any more.
    let channel = format!("test:wake:{}", process.node.as_str());
    let word = format!("1800000000000000 {} L door", token.as_str());
    assert_eq!(server.command(&["PUBLISH", &channel, &word]).int(), 1);
    until("it is given back in vain", async || {
        scripts(&server) > before
    })
    .await;
    assert_eq!(process.redis.inspect(&slot).await.unwrap().holders, 1);
}

#[tokio::test]
async fn l6_a_request_that_comes_after_its_release_takes_nothing() {
    let server = Server::start();
    let process = Process::new(&server.url());
    for slot in [lock("door"), pool("door", 3)] {
        let token = process.node.token();
        assert!(!process.release(&slot, &token).await);
        for wait in [None, WAIT] {
            let error = process.try_acquire(&slot, &token, wait).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Timeout);
        }
        let inspection = process.redis.inspect(&slot).await.unwrap();
        assert_eq!((inspection.holders, inspection.waiters), (0, 0));

        // The same for a holder that waited.
        let holder = process.node.token();
        let mut slot = slot;
        slot.max = 1;
        assert!(is_granted(process.acquire(&slot, &holder, None).await));
        let token = process.node.token();
        assert!(is_queued(process.acquire(&slot, &token, WAIT).await));
        assert!(process.release(&slot, &token).await);
        assert!(process.try_acquire(&slot, &token, WAIT).await.is_err());
        assert!(process.release(&slot, &holder).await);
    }
}

#[tokio::test]
async fn l2_s15_a_newcomer_does_not_overtake_the_living_nor_wait_for_the_dead() {
    let server = Server::start();
    let (a, b) = (Process::new(&server.url()), Process::new(&server.url()));
    let slot = lock("door");
    let holder = a.node.token();
    assert!(is_granted(a.acquire(&slot, &holder, None).await));
    let waiter = b.node.token();
    let _listener = b.redis.signals().listen(waiter.as_str());
    assert!(is_queued(b.acquire(&slot, &waiter, WAIT).await));
    // The holder dies: its hold expires without a release.
    server.command(&["DEL", "test:lock:{door}"]);
    assert!(is_held(a.acquire(&slot, &a.node.token(), None).await));
    assert!(is_granted(b.acquire(&slot, &waiter, WAIT).await));

    let dead = Process::new(&server.url());
    for _ in 0..3 {
        let token = dead.node.token();
        assert!(is_queued(dead.acquire(&slot, &token, WAIT).await));
    }
    drop(dead);
    let subscribers = || {
        let reply = server.command(&["PUBSUB", "CHANNELS", "test:wake:*"]);
        reply.items().len()
    };
    until("its subscription ends", async || subscribers() == 1).await;
    server.command(&["DEL", "test:lock:{door}"]);
    assert!(is_granted(a.acquire(&slot, &a.node.token(), None).await));
    assert_eq!(a.redis.inspect(&slot).await.unwrap().waiters, 0);
}

#[tokio::test]
async fn p1_never_more_than_the_callers_max() {
    let server = Server::start();
    let process = Process::new(&server.url());
    let (wide, narrow) = (pool("desk", 3), pool("desk", 1));
    let tokens: Vec<_> = (0..4).map(|_| process.node.token()).collect();
    for token in &tokens[..3] {
        assert!(is_granted(process.acquire(&wide, token, None).await));
    }
    assert!(is_held(process.acquire(&wide, &tokens[3], None).await));
    assert_eq!(process.redis.inspect(&wide).await.unwrap().holders, 3);

    // Two waiters, of which the first wants the pool for itself: the other does not overtake it.
    let (alone, second) = (process.node.token(), process.node.token());
    let listener = process.redis.signals().listen(alone.as_str());
    let _listening = process.redis.signals().listen(second.as_str());
    assert!(is_queued(process.acquire(&narrow, &alone, WAIT).await));
    assert!(is_queued(process.acquire(&wide, &second, WAIT).await));
    for token in &tokens[..2] {
        assert!(process.release(&wide, token).await);
        assert!(is_queued(process.acquire(&narrow, &alone, WAIT).await));
        assert!(is_queued(process.acquire(&wide, &second, WAIT).await));
    }
    assert!(process.release(&wide, &tokens[2]).await);
    soon("it has the pool", listener.signalled()).await;
    assert!(is_granted(process.acquire(&narrow, &alone, WAIT).await));
    // A caller that accepts others may then come in.
    assert!(is_granted(process.acquire(&wide, &second, WAIT).await));
}

#[tokio::test]
async fn p1_a_dead_process_is_not_in_the_way_of_those_who_accept_more() {
    let server = Server::start();
    let (process, dead) = (Process::new(&server.url()), Process::new(&server.url()));
    let (wide, narrow) = (pool("desk", 3), pool("desk", 1));
    let first = process.node.token();
    assert!(is_granted(process.acquire(&wide, &first, None).await));
    let alone = dead.node.token();
    let listener = dead.redis.signals().listen(alone.as_str());
    assert!(is_queued(dead.acquire(&narrow, &alone, WAIT).await));
    for _ in 0..3 {
        let newcomer = process.node.token();
        assert!(is_held(process.acquire(&wide, &newcomer, None).await));
    }
    assert_eq!(process.redis.inspect(&wide).await.unwrap().waiters, 1);
    // Its process dies.
    drop((dead, listener));
    until("its subscription ends", async || {
        let reply = server.command(&["PUBSUB", "CHANNELS", "test:wake:*"]);
        reply.items().is_empty()
    })
    .await;
    let next = process.node.token();
    assert!(is_granted(process.acquire(&wide, &next, None).await));

    // The same for one that has expired.
    let late = process.node.token();
    let _listener = process.redis.signals().listen(late.as_str());
    let moment = Some(MILLI);
    assert!(is_queued(process.acquire(&narrow, &late, moment).await));
    tokio::time::sleep(5 * MILLI).await;
    let next = process.node.token();
    assert!(is_granted(process.acquire(&wide, &next, None).await));
}

#[tokio::test]
async fn p2_expired_permits_come_back_and_live_ones_stay() {
    let server = Server::start();
    let process = Process::new(&server.url());
    let slot = pool("desk", 2);
    let (short, long, next) = (
        process.node.token(),
        process.node.token(),
        process.node.token(),
    );
    assert!(is_granted(process.acquire(&slot, &long, None).await));
    assert!(is_granted(process.acquire(&slot, &short, None).await));
    assert!(
        process
            .redis
            .extend(&slot, &short, 50 * MILLI)
            .await
            .unwrap()
    );
    match process.acquire(&slot, &next, None).await {
        Acquired::Held { retry_in } => tokio::time::sleep(retry_in).await,
        other => panic!("{other:?}"),
    }
    until("it expires", async || {
        process.redis.inspect(&slot).await.unwrap().holders == 1
    })
    .await;
    assert!(!process.redis.extend(&slot, &short, SECOND).await.unwrap());
    assert!(is_granted(process.acquire(&slot, &next, None).await));
    assert!(!process.release(&slot, &short).await);
    // The latest deadline counts, even though the shortest came last.
    assert!(server.command(&["PTTL", "test:pool:{desk}"]).int() > 28_000);
    assert!(process.release(&slot, &long).await);
    assert!(process.release(&slot, &next).await);
}

#[tokio::test]
async fn l8_forced_release_hands_over() {
    let server = Server::start();
    let process = Process::new(&server.url());
    for slot in [lock("door"), pool("door", 2)] {
        assert!(!process.redis.evict(&slot).await.unwrap());
        let holders: Vec<_> = (0..slot.max).map(|_| process.node.token()).collect();
        for holder in &holders {
            assert!(is_granted(process.acquire(&slot, holder, None).await));
        }
        let waiter = process.node.token();
        let listener = process.redis.signals().listen(waiter.as_str());
        assert!(is_queued(process.acquire(&slot, &waiter, WAIT).await));
        assert!(process.redis.evict(&slot).await.unwrap());
        soon("the waiter is told", listener.signalled()).await;
        assert!(is_granted(process.acquire(&slot, &waiter, WAIT).await));
        assert!(!process.release(&slot, &holders[0]).await);
        assert!(process.release(&slot, &waiter).await);
    }
}

#[tokio::test]
async fn k3_locks_pools_and_entries_never_meet() {
    let server = Server::start();
    let process = Process::new(&server.url());
    let (a, b) = (process.node.token(), process.node.token());
    assert!(is_granted(process.acquire(&lock("x"), &a, None).await));
    assert!(is_granted(process.acquire(&pool("x", 1), &b, None).await));
    process.set(&common::key("x"), b"v", SECOND).await;
    process.redis.reset(&common::key("x")).await.unwrap();
    assert_eq!(process.redis.inspect(&lock("x")).await.unwrap().holders, 1);
    assert_eq!(
        process.redis.inspect(&pool("x", 1)).await.unwrap().holders,
        1
    );
}

#[tokio::test]
async fn k3_two_prefixes_on_one_server_never_meet() {
    let server = Server::start();
    let handle = async |prefix: &str| {
        let builder = common::builder(&server.url()).prefix(prefix);
        builder.connect().await.unwrap()
    };
    let (a, b) = (handle("shop").await, handle("shop:lock").await);
    let x = common::key("x");
    a.cached(&x).set(1).await.unwrap();
    assert_eq!(b.cached(&x).get::<i32>().await.unwrap(), None);
    b.reset(&x).await.unwrap();
    assert_eq!(a.cached(&x).get::<i32>().await.unwrap(), Some(1));
    let _held = a.lock(&x).acquire().await.unwrap();
    let _other = b.lock(&x).acquire().await.unwrap();
    let (full, _permit) = (a.pool(&x, 1), a.pool(&x, 1).acquire().await.unwrap());
    assert_eq!(
        full.acquire().await.map(drop).unwrap_err().kind(),
        ErrorKind::Full
    );
    let _another = b.pool(&x, 1).acquire().await.unwrap();
}

#[tokio::test]
async fn l7_what_some_other_program_put_there_is_an_error_and_stays() {
    let server = Server::start();
    let process = Process::new(&server.url());
    server.command(&["SET", "test:lock:{door}", "something"]);
    let slot = lock("door");
    let token = process.node.token();
    let error = process.try_acquire(&slot, &token, None).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Configuration);
    assert!(error.to_string().contains("prefix"), "{error}");
    assert_eq!(
        server.command(&["GET", "test:lock:{door}"]).text(),
        "something"
    );
}

#[tokio::test]
async fn l6_s14_whoever_waits_and_goes_leaves_nothing_behind() {
    let server = Server::start();
    let process = Process::new(&server.url());
    let slot = lock("door");
    let holder = process.node.token();
    assert!(is_granted(process.acquire(&slot, &holder, None).await));
    for _ in 0..20 {
        let token = process.node.token();
        assert!(is_queued(process.acquire(&slot, &token, WAIT).await));
        assert!(process.release(&slot, &token).await);
    }
    assert!(process.release(&slot, &holder).await);
    assert_eq!(left(&server), ["test:lock:{door}:ended"]);
    assert!(server.command(&["PTTL", "test:lock:{door}:ended"]).int() <= 10_000);
}

#[tokio::test]
async fn l6_a_claim_that_nobody_made_leaves_nothing_behind() {
    let server = Server::start();
    let process = Process::new(&server.url());
    let slot = lock("door");
    let (holder, gone) = (process.node.token(), process.node.token());
    assert!(is_granted(process.acquire(&slot, &holder, None).await));
    let listener = process.redis.signals().listen(gone.as_str());
    assert!(is_queued(process.acquire(&slot, &gone, WAIT).await));
    assert!(process.release(&slot, &holder).await);
    soon("it is told", listener.signalled()).await;
    // Its process dies: the claim expires.
    server.command(&["DEL", "test:lock:{door}"]);
    let next = process.node.token();
    assert!(is_granted(process.acquire(&slot, &next, None).await));
    assert!(process.release(&slot, &next).await);
    assert_eq!(left(&server), [""; 0]);
}

fn micros_until(server: &Server, hash: &str, field: &str) -> u64 {
    let until = server.command(&["HGET", hash, field]).text();
    let until: u64 = until.split(' ').next().unwrap().parse().unwrap();
    until.saturating_sub(server_micros(server))
}

#[tokio::test]
async fn l2_s11_a_waiter_of_a_process_that_stopped_asking_is_skipped() {
    let server = Server::start();
    let (a, b) = (Process::new(&server.url()), Process::new(&server.url()));
    let slot = lock("door");
    let holder = a.node.token();
    assert!(is_granted(a.acquire(&slot, &holder, None).await));
    // They are subscribed, as a stopped process is, whose connections stay open.
    let stopped: Vec<_> = (0..3).map(|_| b.node.token()).collect();
    let _listeners: Vec<_> = (stopped.iter())
        .map(|token| b.redis.signals().listen(token.as_str()))
        .collect();
    for token in &stopped {
        assert!(is_queued(b.acquire(&slot, token, WAIT).await));
    }
    let next = a.node.token();
    let listener = a.redis.signals().listen(next.as_str());
    assert!(is_queued(a.acquire(&slot, &next, WAIT).await));

    // The place is kept for the whole wait, and the process counts as alive for several of its
    // polling intervals.
    let (nodes, places) = ("test:lock:{door}:nodes", "test:lock:{door}:places");
    let stands = micros_until(&server, places, stopped[0].as_str());
    assert!((50_000_000..=60_000_000).contains(&stands), "{stands}");
    let asks = micros_until(&server, nodes, b.node.as_str());
    assert!((4_000_000..=8_000_000).contains(&asks), "{asks}");
    let past = (server_micros(&server) - 1).to_string();
    server.command(&["HSET", nodes, b.node.as_str(), &past]);

    let start = Instant::now();
    assert!(a.release(&slot, &holder).await);
    soon("the next is told", listener.signalled()).await;
    assert!(start.elapsed() < 800 * MILLI, "{:?}", start.elapsed());
    assert!(is_granted(a.acquire(&slot, &next, WAIT).await));
    assert!(a.release(&slot, &next).await);
    assert_eq!(left(&server), [""; 0]);
}

/// Returns the number of scripts that the server has run.
fn scripts(server: &Server) -> u64 {
    let stats = server.command(&["INFO", "commandstats"]).text();
    let line = stats
        .lines()
        .find_map(|line| line.strip_prefix("cmdstat_evalsha:calls="));
    line.map_or(0, |line| {
        line.split(',').next().unwrap().parse::<u64>().unwrap()
    })
}

/// Queues `count` waiters whose process is gone afterwards.
async fn dead_waiters(server: &Server, slot: &cachify_core::backend::Slot, count: usize) {
    let dead = Process::new(&server.url());
    for _ in 0..count {
        let token = dead.node.token();
        assert!(is_queued(dead.acquire(slot, &token, WAIT).await));
    }
    let channel = format!("test:wake:{}", dead.node.as_str());
    drop(dead);
    until("its subscription ends", async || {
        server.command(&["PUBSUB", "NUMSUB", &channel]).items()[1].int() == 0
    })
    .await;
}

#[tokio::test]
async fn l2_no_script_clears_more_than_a_hundred_waiters() {
    let server = Server::start();
    let process = Process::new(&server.url());
    let slot = lock("door");
    let holder = process.node.token();
    assert!(is_granted(process.acquire(&slot, &holder, None).await));

    // The release notifies the waiters behind the dead ones.
    dead_waiters(&server, &slot, 1000).await;
    let next = process.node.token();
    let listener = process.redis.signals().listen(next.as_str());
    assert!(is_queued(process.acquire(&slot, &next, WAIT).await));
    let before = scripts(&server);
    assert!(process.release(&slot, &holder).await);
    soon("the next is told", listener.signalled()).await;
    let ran = scripts(&server) - before;
    assert!((10..=12).contains(&ran), "{ran}");
    assert!(is_granted(process.acquire(&slot, &next, WAIT).await));

    // A newcomer gets past them.
    dead_waiters(&server, &slot, 1000).await;
    server.command(&["DEL", "test:lock:{door}"]);
    let before = scripts(&server);
    let newcomer = process.node.token();
    assert!(is_granted(process.acquire(&slot, &newcomer, None).await));
    let ran = scripts(&server) - before;
    assert!((10..=12).contains(&ran), "{ran}");

    // A forced release reaches the waiters behind them.
    dead_waiters(&server, &slot, 250).await;
    let next = process.node.token();
    let listener = process.redis.signals().listen(next.as_str());
    assert!(is_queued(process.acquire(&slot, &next, WAIT).await));
    let before = scripts(&server);
    assert!(process.redis.evict(&slot).await.unwrap());
    soon("the next is told", listener.signalled()).await;
    let ran = scripts(&server) - before;
    assert!((3..=4).contains(&ran), "{ran}");
    // It did not evict the waiter that it handed the lock to.
    assert!(is_granted(process.acquire(&slot, &next, WAIT).await));
}

#[tokio::test]
async fn p1_no_script_clears_more_than_a_hundred_holders() {
    let server = Server::start();
    let process = Process::new(&server.url());
    let wide = pool("desk", 1000);
    let stays = process.node.token();
    assert!(is_granted(process.acquire(&wide, &stays, None).await));
    for _ in 0..250 {
        let token = process.node.token();
        assert!(is_granted(process.acquire(&wide, &token, None).await));
        assert!(
            process
                .redis
                .extend(&wide, &token, 400 * MILLI)
                .await
                .unwrap()
        );
    }
    tokio::time::sleep(500 * MILLI).await;
    let before = scripts(&server);
    let second = process.node.token();
    let acquired = process.acquire(&pool("desk", 2), &second, None).await;
    assert!(is_granted(acquired));
    let ran = scripts(&server) - before;
    assert!((2..=3).contains(&ran), "{ran}");
    assert_eq!(server.command(&["ZCARD", "test:pool:{desk}"]).int(), 2);
}

/// A release is remembered for ten seconds: no request may take effect after that.
#[tokio::test]
async fn l6_however_patient_a_request_is_not_in_force_for_long() {
    let server = Server::start();
    let process = Process::new(&server.url());
    process.redis.check().await.unwrap();
    let mut monitor = server.client().unwrap();
    monitor.command(&["MONITOR"]).unwrap();
    let token = process.node.token();
    let acquire = cachify_core::backend::Acquire::new(&token, 30 * SECOND, Duration::from_mins(1));
    let before = server_micros(&server);
    let acquired = process.redis.acquire(&lock("door"), acquire).await;
    assert!(is_granted(acquired.unwrap()));
    let call = loop {
        let line = monitor.read().unwrap().text();
        if line.contains("\"L door\"") {
            break line;
        }
    };
    let not_after = call
        .split('"')
        .find(|arg| arg.len() == 16 && arg.parse::<u64>().is_ok());
    let not_after: u64 = not_after.unwrap().parse().unwrap();
    let in_force = not_after - before;
    assert!((5_000_000..10_000_000).contains(&in_force), "{in_force}");
}

#[tokio::test]
async fn locks_survive_a_server_that_forgets_its_scripts() {
    let server = Server::start();
    let handle = common::connect(&server.url()).await;
    let door = common::key("door");
    let flush = || assert_eq!(server.command(&["SCRIPT", "FLUSH"]).text(), "OK");
    for _ in 0..3 {
        flush();
        let guard = handle.lock(&door).ttl(SECOND).acquire().await.unwrap();
        let waiter = handle.lock(&door).wait(10 * SECOND);
        let waiter = tokio::spawn(async move { waiter.acquire().await });
        until("it waits", async || {
            flush();
            server.command(&["EXISTS", "test:lock:{door}:queue"]).int() == 1
        })
        .await;
        // Renewed meanwhile.
        tokio::time::sleep(400 * MILLI).await;
        flush();
        guard.release().await.unwrap();
        let next = soon("the waiter", waiter).await.unwrap().unwrap();
        flush();
        assert!(handle.lock(&door).force_release().await.unwrap());
        flush();
        assert_eq!(next.release().await.unwrap_err().kind(), ErrorKind::Lost);
    }
}

#[tokio::test]
async fn a_pool_of_nobody_is_refused() {
    let server = Server::start();
    let process = Process::new(&server.url());
    let token = process.node.token();
    let error = process.try_acquire(&pool("x", 0), &token, None).await;
    assert_eq!(error.unwrap_err().kind(), ErrorKind::Configuration);
}

//! Lost messages between processes.
#![cfg(all(feature = "redis", unix))]
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use cachify_core::backend::{Acquired, Backend};
use common::{MILLI, Process, SECOND, builder, connect, is_granted, key, lock, soon, until};
use redis_fixture::{Proxy, Server};
use tokio::sync::Notify;
use tokio::time::Instant;

fn kill_subscribers(server: &Server) -> i64 {
    server.command(&["CLIENT", "KILL", "TYPE", "pubsub"]).int()
}

async fn waiting(process: &Process, slot: &cachify_core::backend::Slot) -> usize {
    process.redis.inspect(slot).await.unwrap().waiters
}

#[tokio::test]
async fn c4_s1_a_reset_wins_though_its_word_never_comes() {
    let server = Server::start();
    let proxy = Proxy::start(&server.url());
    let (a, b) = (connect(&proxy.url()).await, connect(&server.url()).await);
    let (started, go) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let row = key("row");
    let old = tokio::spawn({
        let (a, row, started, go) = (a.clone(), row.clone(), started.clone(), go.clone());
        async move {
            let compute = async || {
                started.notify_one();
                go.notified().await;
                "old".to_owned()
            };
            a.cached(&row).get_or_compute(compute).await
        }
    });
    started.notified().await;
    kill_subscribers(&server);
    proxy.hold_replies();
    b.reset(&row).await.unwrap();
    proxy.resume();
    // Joins the flight, but must not get a value whose computation began before the reset.
    let new = tokio::spawn({
        let (a, row) = (a.clone(), row.clone());
        async move {
            a.cached(&row)
                .get_or_compute(async || "new".to_owned())
                .await
        }
    });
    // It sends its GET. An answer that comes after the other caller's finds it in the flight.
    tokio::task::yield_now().await;
    a.cached(&key("other")).get::<i32>().await.unwrap();
    go.notify_one();
    assert_eq!(old.await.unwrap(), "old");
    assert_eq!(new.await.unwrap(), "new");
    let other = b.cached(&row).get::<String>().await.unwrap();
    assert!(other.is_none_or(|value| value == "new"));
}

#[tokio::test]
async fn l2_s10_waiters_survive_the_loss_of_all_subscriptions() {
    let server = Server::start();
    let handles = [connect(&server.url()).await, connect(&server.url()).await];
    let observer = Process::new(&server.url());
    let guard = handles[0].lock(&key("door")).acquire().await.unwrap();
    let inside = Arc::new(AtomicUsize::new(0));
    let mut waiters = Vec::new();
    for i in 0..32 {
        let (handle, inside) = (handles[i % 2].clone(), Arc::clone(&inside));
        waiters.push(tokio::spawn(async move {
            let guard = handle
                .lock(&key("door"))
                .wait(20 * SECOND)
                .acquire()
                .await
                .unwrap();
            assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0);
            tokio::task::yield_now().await;
            inside.fetch_sub(1, Ordering::SeqCst);
            guard.release().await.unwrap();
        }));
    }
    until("all wait", async || {
        waiting(&observer, &lock("door")).await == 32
    })
    .await;
    assert_eq!(kill_subscribers(&server), 2);
    let start = Instant::now();
    guard.release().await.unwrap();
    for waiter in waiters {
        soon("each proceeds", waiter).await.unwrap();
    }
    assert!(start.elapsed() < 3 * SECOND, "{:?}", start.elapsed());
}

#[tokio::test]
async fn l2_a_subscription_that_died_silently_costs_a_second_and_comes_back() {
    let server = Server::start();
    let proxy = Proxy::start(&server.url());
    let (a, b) = (connect(&proxy.url()).await, connect(&server.url()).await);
    let observer = Process::new(&server.url());
    for _ in 0..2 {
        let guard = b.lock(&key("door")).acquire().await.unwrap();
        let waiter = tokio::spawn({
            let a = a.clone();
            async move {
                a.lock(&key("door"))
                    .wait(20 * SECOND)
                    .acquire()
                    .await
                    .unwrap()
            }
        });
        until("it waits", async || {
            waiting(&observer, &lock("door")).await == 1
        })
        .await;
        // The message is swallowed, and the connection does not notice.
        proxy.black_hole();
        let start = Instant::now();
        guard.release().await.unwrap();
        until("the word is swallowed", async || {
            proxy.swallowed_bytes() > 0
        })
        .await;
        proxy.resume();
        let guard = soon("it proceeds", waiter).await.unwrap();
        assert!(start.elapsed() < 2 * SECOND, "{:?}", start.elapsed());
        guard.release().await.unwrap();
    }
}

#[tokio::test]
async fn l2_s12_exactly_one_follows_a_dead_holder_in_order() {
    let server = Server::start();
    let handle = connect(&server.url()).await;
    let dead = Process::new(&server.url());
    let slot = lock("door");
    let token = dead.node.token();
    let acquire = cachify_core::backend::Acquire::new(&token, SECOND, SECOND);
    assert!(is_granted(
        dead.redis.acquire(&slot, acquire).await.unwrap()
    ));

    let order = Arc::new(std::sync::Mutex::new(Vec::new()));
    let inside = Arc::new(AtomicUsize::new(0));
    let mut waiters = Vec::new();
    for i in 0..4 {
        let (handle, order, inside) = (handle.clone(), Arc::clone(&order), Arc::clone(&inside));
        waiters.push(tokio::spawn(async move {
            let guard = handle
                .lock(&key("door"))
                .wait(20 * SECOND)
                .acquire()
                .await
                .unwrap();
            assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0);
            order.lock().unwrap().push(i);
            tokio::time::sleep(10 * MILLI).await;
            inside.fetch_sub(1, Ordering::SeqCst);
            guard.release().await.unwrap();
        }));
        until("it waits", async || waiting(&dead, &slot).await == i + 1).await;
    }
    let start = Instant::now();
    for waiter in waiters {
        soon("each proceeds", waiter).await.unwrap();
    }
    assert!(start.elapsed() < 2 * SECOND, "{:?}", start.elapsed());
    assert_eq!(*order.lock().unwrap(), [0, 1, 2, 3]);
}

#[tokio::test]
async fn l2_s11_a_dead_process_at_the_head_is_passed_over_at_once() {
    let server = Server::start();
    let (holder, next) = (connect(&server.url()).await, connect(&server.url()).await);
    let observer = Process::new(&server.url());
    let guard = holder.lock(&key("door")).acquire().await.unwrap();
    let dead = Process::new(&server.url());
    let token = dead.node.token();
    let queued = dead.acquire(&lock("door"), &token, Some(60 * SECOND)).await;
    assert!(matches!(queued, Acquired::Queued { .. }));
    let waiter = tokio::spawn(async move {
        next.lock(&key("door"))
            .wait(20 * SECOND)
            .acquire()
            .await
            .unwrap()
    });
    until("both wait", async || {
        waiting(&observer, &lock("door")).await == 2
    })
    .await;
    drop(dead);
    until("its subscription ends", async || {
        server
            .command(&["PUBSUB", "CHANNELS", "test:wake:*"])
            .items()
            .len()
            == 2
    })
    .await;
    let start = Instant::now();
    guard.release().await.unwrap();
    let _guard = soon("the next proceeds", waiter).await.unwrap();
    assert!(start.elapsed() < 500 * MILLI, "{:?}", start.elapsed());
}

#[tokio::test]
async fn c3_who_waits_for_a_computation_elsewhere_is_told_at_once() {
    let server = Server::start();
    let (a, b) = (connect(&server.url()).await, connect(&server.url()).await);
    let (started, go) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let leader = tokio::spawn({
        let (started, go) = (started.clone(), go.clone());
        async move {
            let compute = async || {
                started.notify_one();
                go.notified().await;
                7
            };
            a.cached(&key("row")).get_or_compute(compute).await
        }
    });
    started.notified().await;
    let waiter =
        tokio::spawn(async move { b.cached(&key("row")).get_or_compute(async || 0).await });
    until("the other waits", async || {
        server.command(&["HLEN", "test:cached:{row}:lease"]).int() == 2
    })
    .await;
    let start = Instant::now();
    go.notify_one();
    assert_eq!(waiter.await.unwrap(), 7);
    assert!(start.elapsed() < 200 * MILLI, "{:?}", start.elapsed());
    assert_eq!(leader.await.unwrap(), 7);
}

#[tokio::test]
async fn s4_dropping_the_last_handle_closes_all_connections() {
    let server = Server::start();
    let clients = || server.command(&["CLIENT", "LIST"]).text().lines().count();
    let before = clients();
    let handle = builder(&server.url()).connect().await.unwrap();
    handle.cached(&key("row")).set(1).await.unwrap();
    assert_eq!(clients(), before + 3);
    drop(handle);
    until("they are closed", async || clients() == before).await;
}

/// Spawns `count` waiters in the given order. Each records its number when it acquires the lock.
async fn crowd(
    cachify: &cachify_core::Cachify,
    observer: &Process,
    order: &Arc<std::sync::Mutex<Vec<usize>>>,
    count: usize,
) -> Vec<tokio::task::JoinHandle<()>> {
    let mut waiters = Vec::new();
    for n in 0..count {
        let (door, order) = (cachify.lock(&key("door")), Arc::clone(order));
        waiters.push(tokio::spawn(async move {
            let guard = door.wait(60 * SECOND).acquire().await.unwrap();
            order.lock().unwrap().push(n);
            guard.release().await.unwrap();
        }));
        until("it waits", async || {
            waiting(observer, &lock("door")).await == n + 1
        })
        .await;
    }
    waiters
}

#[tokio::test]
async fn l2_waiters_whose_places_were_lost_queue_again_at_once_and_in_order() {
    let server = Server::start();
    let (a, b) = (connect(&server.url()).await, connect(&server.url()).await);
    let observer = Process::new(&server.url());
    let _guard = b.lock(&key("door")).acquire().await.unwrap();
    let order = Arc::default();
    let waiters = crowd(&a, &observer, &order, 50).await;
    server.command(&["FLUSHALL"]);
    let start = Instant::now();
    for waiter in waiters {
        soon("each proceeds", waiter).await.unwrap();
    }
    assert!(start.elapsed() < 3 * SECOND, "{:?}", start.elapsed());
    assert!(order.lock().unwrap().is_sorted(), "{order:?}");
}

#[tokio::test]
async fn l2_waiters_passed_over_while_they_did_not_listen_queue_again() {
    let server = Server::start();
    let proxy = Proxy::start(&server.url());
    let (a, b) = (connect(&proxy.url()).await, connect(&server.url()).await);
    let observer = Process::new(&server.url());
    let guard = b.lock(&key("door")).acquire().await.unwrap();
    let order = Arc::default();
    let waiters = crowd(&a, &observer, &order, 50).await;
    proxy.refuse();
    assert_eq!(kill_subscribers(&server), 2);
    guard.release().await.unwrap();
    until("the queue is empty", async || {
        waiting(&observer, &lock("door")).await == 0
    })
    .await;
    proxy.resume();
    let start = Instant::now();
    for waiter in waiters {
        soon("each proceeds", waiter).await.unwrap();
    }
    assert!(start.elapsed() < 5 * SECOND, "{:?}", start.elapsed());
}

#[tokio::test]
async fn l1_no_message_ends_a_hold_or_a_place_in_the_queue() {
    let server = Server::start();
    let process = Process::new(&server.url());
    let rules = "on >word resetkeys resetchannels &test:* -@all +publish +auth";
    let mut rule = vec!["ACL", "SETUSER", "mallory"];
    rule.extend(rules.split(' '));
    assert_eq!(server.command(&rule).text(), "OK");
    let mut mallory = server.client().unwrap();
    let login = mallory.command(&["AUTH", "mallory", "word"]);
    assert_eq!(login.unwrap().text(), "OK");

    for slot in [lock("door"), common::pool("door", 1)] {
        let letter = if slot.max == 1 && slot.kind == cachify_core::backend::SlotKind::Lock {
            'L'
        } else {
            'P'
        };
        let (holder, waiter) = (process.node.token(), process.node.token());
        assert!(is_granted(process.acquire(&slot, &holder, None).await));
        let listener = process.redis.signals().listen(waiter.as_str());
        let wait = Some(60 * SECOND);
        let queued = process.acquire(&slot, &waiter, wait).await;
        let Acquired::Queued { place, .. } = queued else {
            panic!("{queued:?}");
        };
        let name = match letter {
            'L' => "test:lock:{door}",
            _ => "test:pool:{door}",
        };
        // More than an attacker can know: the tokens and the deadline.
        let (held, waits) = (holder.as_str(), waiter.as_str());
        let deadline = server.command(&["ZSCORE", name, held]).text();
        let node = process.node.as_str();
        let channel = format!("test:wake:{node}");
        for word in [
            format!("again {held} {letter} door"),
            format!("claim {held} {letter} door"),
            format!("{deadline} {held} {letter} door"),
            format!("{deadline}.0 {held} {letter} door"),
            format!("0 {held} {letter} door"),
            format!("-0 {held} {letter} door"),
            format!("nan {held} {letter} door"),
            format!("inf {held} {letter} door"),
            format!("again {waits} {letter} door"),
            format!("0 {waits} {letter} door"),
            format!("0 0@{node} {letter} door"),
            format!("0 {held} {letter} door extra"),
            format!("0 {held} {letter} {{door}}"),
            format!("{held} {letter} door"),
            format!("C {held}"),
            "C door".to_owned(),
            "C ".to_owned(),
            " ".repeat(1000),
        ] {
            let heard = mallory.command(&["PUBLISH", &channel, &word]).unwrap();
            assert_eq!(heard.int(), 1, "{word}");
        }
        // Once this message is received, so are the earlier ones, and the scripts that they caused
        // ran first.
        let last = mallory.command(&["PUBLISH", &channel, &format!("0 {waits} {letter} door")]);
        assert_eq!(last.unwrap().int(), 1);
        soon("a spurious wake-up", listener.signalled()).await;
        tokio::time::sleep(50 * MILLI).await;

        let inspection = process.redis.inspect(&slot).await.unwrap();
        assert_eq!(inspection.first.unwrap().0, held);
        match process.acquire(&slot, &waiter, wait).await {
            Acquired::Queued { place: same, .. } => assert_eq!(same, place),
            other => panic!("{other:?}"),
        }
        assert!(process.release(&slot, &holder).await);
        assert!(is_granted(process.acquire(&slot, &waiter, wait).await));
        assert!(process.release(&slot, &waiter).await);
    }
}

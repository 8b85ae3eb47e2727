//! Handles with their own prefixes share the connections of one process.
#![cfg(all(feature = "redis", unix))]
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use std::collections::BTreeSet;

use cachify_core::{Cachify, ErrorKind};
use common::{MILLI, SECOND, key, soon, until};
use futures_util::future::join_all;
use redis_fixture::{Proxy, Server};

/// Returns the number of connections besides the test's own.
fn connections(server: &Server) -> usize {
    server.command(&["CLIENT", "LIST"]).text().lines().count() - 1
}

/// Returns the prefixes of the subscribed channels.
fn channels(server: &Server) -> BTreeSet<String> {
    let channels = server.command(&["PUBSUB", "CHANNELS"]);
    let prefix = |name: String| name.split(":wake:").next().map(str::to_owned);
    channels
        .items()
        .iter()
        .filter_map(|channel| prefix(channel.text()))
        .collect()
}

fn tenants(cachify: &Cachify, count: usize) -> Vec<Cachify> {
    let tenant = |n| cachify.with_prefix(&format!("tenant-{n}")).unwrap();
    (0..count).map(tenant).collect()
}

/// Makes two waiters queue for a lock. They must get it in order and by a message, which is much
/// sooner than their next poll.
async fn waits_in_order(cachify: &Cachify) {
    let lock = cachify.lock(&key("door")).wait(30 * SECOND);
    let guard = lock.acquire().await.unwrap();
    let take = async || {
        let guard = lock.acquire().await.unwrap();
        let fence = guard.fencing_token();
        guard.release().await.unwrap();
        fence
    };
    let mut first = std::pin::pin!(take());
    // It is in the queue before the second one asks.
    tokio::select! {
        biased;
        _ = first.as_mut() => unreachable!("the lock is held"),
        () = tokio::time::sleep(300 * MILLI) => {}
    }
    let second = take();
    let release = async { guard.release().await.unwrap() };
    let (first, second, ()) = tokio::join!(first, second, release);
    assert!(first < second);
}

#[tokio::test]
async fn k3_two_hundred_prefixes_share_three_connections() {
    let server = Server::start();
    let cachify = common::connect(&server.url()).await;
    let tenants = tenants(&cachify, 200);
    let row = key("row");
    let work = tenants.iter().enumerate().map(async |(n, tenant)| {
        let cached = tenant.cached(&row);
        assert_eq!(cached.get_or_compute(async || n).await, n);
        assert_eq!(cached.get::<usize>().await.unwrap(), Some(n));
        if n % 2 == 1 {
            tenant.reset(&row).await.unwrap();
        }
        waits_in_order(tenant).await;
        let held = tenant.lock(&row).acquire().await.unwrap();
        let refused = tenant.lock(&row).acquire().await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Held);
        held
    });
    let held = soon("all prefixes work", join_all(work)).await;
    assert!(connections(&server) <= 3, "{}", connections(&server));
    assert_eq!(channels(&server).len(), 201);
    for (n, tenant) in tenants.iter().enumerate() {
        let left = tenant.cached(&row).get::<usize>().await.unwrap();
        assert_eq!(left, (n % 2 == 0).then_some(n));
        let name = format!("tenant-{n}:lock:{{row}}");
        assert_eq!(server.command(&["EXISTS", &name]).int(), 1);
    }
    drop(held);
    drop(tenants);
    until("their channels are given up", async || {
        channels(&server) == BTreeSet::from(["test".to_owned()])
    })
    .await;
    waits_in_order(&cachify).await;
}

#[tokio::test]
async fn l2_a_prefix_is_subscribed_to_as_long_as_one_handle_has_it() {
    let server = Server::start();
    let cachify = common::connect(&server.url()).await;
    let (one, other) = (
        tenants(&cachify, 1).remove(0),
        tenants(&cachify, 1).remove(0),
    );
    assert!(
        !channels(&server).contains("tenant-0"),
        "it is not needed yet"
    );
    waits_in_order(&one).await;
    assert!(channels(&server).contains("tenant-0"));
    drop(one);
    // The connection is checked once a second.
    tokio::time::sleep(2 * SECOND).await;
    assert!(channels(&server).contains("tenant-0"));
    drop(other);
    until("it is given up", async || {
        !channels(&server).contains("tenant-0")
    })
    .await;
    waits_in_order(&tenants(&cachify, 1)[0]).await;
}

#[tokio::test]
async fn l2_a_new_connection_subscribes_to_all_prefixes_again() {
    let server = Server::start();
    let proxy = Proxy::start(&server.url());
    let cachify = common::connect(&proxy.url()).await;
    let there = common::connect(&server.url()).await;
    let (here, there) = (tenants(&cachify, 20), tenants(&there, 20));
    join_all(here.iter().map(waits_in_order)).await;
    let before = channels(&server);
    assert_eq!(before.len(), 21);
    proxy.refuse();
    proxy.cut();
    // The other process has its own.
    until("none of them stands", async || channels(&server).len() == 1).await;
    proxy.resume();
    until("all stand again", async || channels(&server) == before).await;
    // Each of them hears the other process's messages.
    let woken = here.iter().zip(&there).map(async |(here, there)| {
        let guard = there.lock(&key("door")).acquire().await.unwrap();
        let lock = here.lock(&key("door")).wait(30 * SECOND);
        let waiting = lock.acquire();
        let release = async {
            tokio::time::sleep(300 * MILLI).await;
            guard.release().await.unwrap();
        };
        drop(tokio::join!(waiting, release).0.unwrap());
    });
    soon("all are woken", join_all(woken)).await;
}

#[tokio::test]
async fn k3_a_prefix_names_the_same_place_as_that_of_a_builder() {
    let server = Server::start();
    let built = common::builder(&server.url()).prefix("tenant-0");
    let built = built.connect().await.unwrap();
    let made = tenants(&common::connect(&server.url()).await, 1).remove(0);
    let row = key("row");
    built.cached(&row).set(1).await.unwrap();
    assert_eq!(made.cached(&row).get::<i32>().await.unwrap(), Some(1));
    made.reset(&row).await.unwrap();
    assert_eq!(built.cached(&row).get::<i32>().await.unwrap(), None);
    for (holds, waits) in [(&built, &made), (&made, &built)] {
        let guard = holds.lock(&row).acquire().await.unwrap();
        let lock = waits.lock(&row).wait(30 * SECOND);
        let release = async {
            tokio::time::sleep(300 * MILLI).await;
            guard.release().await.unwrap();
        };
        let start = std::time::Instant::now();
        drop(tokio::join!(lock.acquire(), release).0.unwrap());
        assert!(start.elapsed() < 900 * MILLI, "{:?}", start.elapsed());
    }
    // `with_prefix` with the handle's own prefix makes another handle with that prefix.
    let again = built.with_prefix("tenant-0").unwrap();
    let guard = built.lock(&row).acquire().await.unwrap();
    let lock = again.lock(&row).wait(30 * SECOND);
    let release = async { guard.release().await.unwrap() };
    drop(tokio::join!(lock.acquire(), release).0.unwrap());
}

#[tokio::test]
async fn l7_a_prefix_without_rights_costs_the_others_nothing() {
    let server = Server::start();
    let rights = "on >s3cret ~test:* ~tenant-0:* resetchannels &test:* &tenant-0:* +@all";
    let mut command = vec!["ACL", "SETUSER", "app"];
    command.extend(rights.split(' '));
    server.command(&command);
    let url = server.url().replace("redis://", "redis://app:s3cret@");
    let cachify = common::connect(&url).await;
    let tenants = tenants(&cachify, 2);
    let row = key("row");
    for _ in 0..10 {
        let lock = tenants[1].lock(&row).wait(10 * MILLI);
        let error = lock.acquire().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Configuration, "{error}");
        let cached = tenants[1].cached(&row);
        assert_eq!(cached.get_or_compute(async || 1).await, 1);
        for other in [&cachify, &tenants[0]] {
            let guard = other.lock(&row).acquire().await.unwrap();
            guard.release().await.unwrap();
        }
    }
    waits_in_order(&tenants[0]).await;
}

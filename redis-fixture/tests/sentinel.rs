//! Sentinels do what their handle says, seen by clients.
#![cfg(not(feature = "containers"))]
#![allow(clippy::expect_used)]

use std::thread;
use std::time::{Duration, Instant};

use redis_fixture::{Client, Sentinels, Server};

fn until(what: &str, mut done: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(20);
    while !done() {
        assert!(Instant::now() < end, "{what} did not come true");
        thread::sleep(Duration::from_millis(1));
    }
}

fn address(server: &Server) -> String {
    server.url().split_once("://").expect("a scheme").1.into()
}

/// Returns the address of the master, as a client asks for it.
fn master_at(sentinels: &Sentinels, url: &str) -> String {
    let mut client =
        Client::connect(url.strip_prefix("redis://").expect("scheme")).expect("connect");
    let command = [
        "SENTINEL",
        "GET-MASTER-ADDR-BY-NAME",
        sentinels.master_name(),
    ];
    let reply = client.command(&command).expect("answered");
    let address: Vec<String> = reply
        .items()
        .iter()
        .map(redis_fixture::Reply::text)
        .collect();
    address.join(":")
}

/// Writes at the master, and returns how many replicas have it.
fn write(sentinels: &Sentinels) -> i64 {
    let mut client = sentinels.nodes()[sentinels.master()]
        .client()
        .expect("connect");
    let reply = client.command(&["SET", "k", "v"]).expect("answered");
    assert_eq!(reply.text(), "OK");
    client
        .command(&["WAIT", "2", "1000"])
        .expect("answered")
        .int()
}

#[test]
fn started_sentinels_agree_and_know_one_another() {
    let sentinels = Sentinels::start();
    assert_eq!(
        (
            sentinels.urls().len(),
            sentinels.nodes().len(),
            sentinels.master()
        ),
        (3, 3, 0)
    );
    for url in sentinels.urls() {
        assert_eq!(master_at(&sentinels, &url), address(&sentinels.nodes()[0]));
    }
    for sentinel in sentinels.sentinels() {
        let others = sentinel.command(&["SENTINEL", "SENTINELS", sentinels.master_name()]);
        let mut others: Vec<String> = others
            .items()
            .iter()
            .map(|other| format!("redis://127.0.0.1:{}", other.field("port").text()))
            .collect();
        others.push(sentinel.url());
        others.sort();
        let mut all = sentinels.urls();
        all.sort();
        assert_eq!(others, all);
        let quorum = sentinel.command(&["SENTINEL", "CKQUORUM", sentinels.master_name()]);
        assert!(quorum.text().starts_with("OK 3"), "{quorum:?}");
    }
    assert_eq!(write(&sentinels), 2);
}

#[test]
fn a_failover_names_another_master_and_tells() {
    let sentinels = Sentinels::start();
    assert_eq!(write(&sentinels), 2);
    let mut events = sentinels.subscribe("+switch-master");
    let promoted = sentinels.failover();
    assert!([1, 2].contains(&promoted));
    let [old, new] = [0, promoted].map(|node| address(&sentinels.nodes()[node]).replace(':', " "));
    let event = events.read().expect("an event");
    let texts: Vec<String> = event
        .items()
        .iter()
        .map(redis_fixture::Reply::text)
        .collect();
    assert_eq!(
        texts,
        ["message", "+switch-master", &format!("main {old} {new}")]
    );
    for url in sentinels.urls() {
        assert_eq!(
            master_at(&sentinels, &url),
            address(&sentinels.nodes()[promoted])
        );
    }
    assert_eq!(
        sentinels.nodes()[promoted].command(&["GET", "k"]).text(),
        "v"
    );
    assert_eq!(write(&sentinels), 2, "the old one follows, too");
}

#[test]
fn a_killed_master_is_replaced_and_returns_as_a_replica() {
    let sentinels = Sentinels::builder()
        .down_after(Duration::from_secs(1))
        .start();
    assert_eq!(write(&sentinels), 2);
    sentinels.sentinels()[0].kill();
    let promoted = sentinels.kill_master();
    assert!([1, 2].contains(&promoted));
    assert_eq!(
        sentinels.nodes()[promoted].command(&["GET", "k"]).text(),
        "v"
    );
    assert_eq!(write(&sentinels), 1);
    sentinels.nodes()[0].restart();
    sentinels.sentinels()[0].restart();
    sentinels.wait_ready();
    assert_eq!(sentinels.master(), promoted);
    assert_eq!(write(&sentinels), 2);
}

#[test]
fn a_proxy_fails_clients_and_no_sentinel() {
    let sentinels = Sentinels::builder().proxied().start();
    let master = &sentinels.nodes()[0];
    assert_ne!(master.url(), format!("redis://127.0.0.1:{}", master.port()));
    for url in sentinels.urls() {
        assert_eq!(
            master_at(&sentinels, &url),
            address(master),
            "the proxy is announced"
        );
    }
    master.proxy().black_hole();
    let mut client = Client::connect(address(master)).expect("accepted");
    client.send(&["PING"]).expect("the sender notices nothing");
    until("the loss", || master.proxy().swallowed_bytes() == 14);
    if cfg!(target_os = "linux") {
        assert_eq!(write(&sentinels), 2);
        let commands = || {
            let info = master.command(&["INFO", "commandstats"]).text();
            let calls = info
                .lines()
                .find_map(|line| line.strip_prefix("cmdstat_publish:calls="));
            let calls = calls.and_then(|line| line.split(',').next());
            calls.map_or(0, |calls| calls.parse::<u64>().expect("a number"))
        };
        let before = commands();
        until("the Sentinels' next words", || commands() >= before + 6);
        sentinels.wait_ready();
        assert_eq!(
            (sentinels.master(), master.proxy().swallowed_bytes()),
            (0, 14)
        );
    }
}

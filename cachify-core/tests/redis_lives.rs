//! A server that lost acknowledged resets: it comes back with older data, or another one takes its
//! place.
#![cfg(all(feature = "redis", unix))]
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;
#[path = "common/log.rs"]
mod log;

use cachify_core::{Cachify, ErrorKind, Key};
use common::{builder, connect, key, until};
use log::Log;
use redis_fixture::{Proxy, Reply, Server};

const ANOTHER: &str = "came back as another one";

/// Connects at the first call, and has no subscription until a call waits.
fn lazy(url: &str) -> Cachify {
    builder(url).connect_lazy().unwrap()
}

fn run(server: &Server, command: &[&str]) {
    let reply = server.command(command);
    assert!(!matches!(reply, Reply::Error(_)), "{command:?}: {reply:?}");
}

fn has_row(server: &Server) -> bool {
    server.command(&["EXISTS", "test:cached:{row}"]).int() == 1
}

async fn row_is_gone(server: &Server) {
    until("the reset is repeated", async || !has_row(server)).await;
}

async fn get(cachify: &Cachify, key: &Key) -> Option<i32> {
    cachify.cached(key).get::<i32>().await.unwrap()
}

/// Resets `row`, and restarts the server with the data from before.
async fn lose_a_reset(server: &Server, cachify: &Cachify) {
    let row = key("row");
    cachify.cached(&row).set(1).await.unwrap();
    assert_eq!(get(cachify, &row).await, Some(1));
    run(server, &["SAVE"]);
    cachify.reset(&row).await.unwrap();
    server.restart();
}

/// Starts a primary with `row` and a replica that has it too, and no longer follows.
async fn pair(of: impl Fn(&Server) -> String) -> (Server, Server, Cachify) {
    let primary = Server::start();
    let replica = Server::builder().arg("--replicaof").arg("127.0.0.1");
    let replica = replica.arg(primary.port().to_string()).spawn();
    let cachify = lazy(&of(&primary));
    cachify.cached(&key("row")).set(1).await.unwrap();
    until("it is replicated", async || has_row(&replica)).await;
    run(&replica, &["REPLICAOF", "NO", "ONE"]);
    (primary, replica, cachify)
}

#[tokio::test]
async fn c8_c4_no_read_gets_what_a_lost_reset_removed() {
    let server = Server::start();
    // Each of the two connections is the first to meet the server again.
    for begin in ["get", "compute", "lock", "reset"] {
        let log = Log::start();
        let cachify = lazy(&server.url());
        lose_a_reset(&server, &cachify).await;
        assert!(has_row(&server), "the reset is lost");
        match begin {
            "lock" => drop(cachify.lock(&key("door")).acquire().await.unwrap()),
            "reset" => cachify.reset(&key("other")).await.unwrap(),
            "compute" => {
                let value = cachify.cached(&key("row")).get_or_compute(async || 2).await;
                assert_eq!(value, 2);
            }
            _ => {}
        }
        assert_eq!(get(&cachify, &key("row")).await, None, "{begin}");
        row_is_gone(&server).await;
        until("it is trusted again", async || {
            cachify.cached(&key("row")).get_or_compute(async || 3).await;
            get(&cachify, &key("row")).await == Some(3)
        })
        .await;
        assert_eq!(log.lines_with(ANOTHER), 1, "{begin}: {}", log.text());
    }
}

#[tokio::test]
async fn c8_a_process_that_does_nothing_repeats_what_was_lost() {
    let server = Server::start();
    let cachify = connect(&server.url()).await;
    lose_a_reset(&server, &cachify).await;
    row_is_gone(&server).await;
}

#[tokio::test]
async fn c8_without_info_each_new_connection_may_lead_to_another_server() {
    let mut builder = Server::builder();
    for arg in "--user default on nopass ~* &* +@all -info".split(' ') {
        builder = builder.arg(arg);
    }
    let server = builder.spawn();
    for _ in 0..2 {
        let cachify = lazy(&server.url());
        lose_a_reset(&server, &cachify).await;
        assert!(has_row(&server), "the reset is lost");
        assert_eq!(get(&cachify, &key("row")).await, None);
        row_is_gone(&server).await;
    }
}

#[tokio::test]
async fn c8_a_promoted_replica_is_told_what_it_missed() {
    let log = Log::start();
    let proxy = std::cell::OnceCell::new();
    let (primary, replica, cachify) = pair(|primary| {
        let proxy = proxy.get_or_init(|| Proxy::start(&primary.url()));
        proxy.url()
    })
    .await;
    cachify.reset(&key("row")).await.unwrap();
    proxy.get().unwrap().retarget(&replica.url());
    primary.kill();
    assert!(has_row(&replica), "the reset is lost");
    assert_eq!(get(&cachify, &key("row")).await, None);
    row_is_gone(&replica).await;
    assert_eq!(log.lines_with(ANOTHER), 1, "{}", log.text());
}

#[tokio::test]
async fn c8_c4_a_connection_to_the_old_server_is_not_used_beside_one_to_the_new() {
    let proxy = std::cell::OnceCell::new();
    let (old, new, _there) = pair(Server::url).await;
    let proxy = proxy.get_or_init(|| Proxy::start(&old.url()));
    let cachify = lazy(&proxy.url());
    cachify.reset(&key("other")).await.unwrap();
    assert_eq!(get(&cachify, &key("row")).await, Some(1));

    // Only the connection for resets breaks.
    proxy.retarget(&new.url());
    let clients = old.command(&["CLIENT", "LIST"]).text();
    let last_ran_a_script = clients.lines().filter(|line| line.contains("cmd=eval"));
    for client in last_ran_a_script {
        let id = client.strip_prefix("id=").unwrap().split(' ').next();
        run(&old, &["CLIENT", "KILL", "ID", id.unwrap()]);
    }
    cachify.reset(&key("other")).await.unwrap();
    // Acknowledged by the new server alone.
    cachify.reset(&key("row")).await.unwrap();
    assert!(has_row(&old) && !has_row(&new));
    assert_eq!(get(&cachify, &key("row")).await, None);
}

#[tokio::test]
async fn c8_a_primary_that_followed_another_server_meanwhile_is_told_what_it_lost() {
    let (server, other, cachify) = pair(Server::url).await;
    cachify.reset(&key("row")).await.unwrap();
    let port = other.port().to_string();
    run(&server, &["REPLICAOF", "127.0.0.1", &port]);
    until("the reset is lost", async || has_row(&server)).await;
    // The same process, a primary as before.
    run(&server, &["REPLICAOF", "NO", "ONE"]);
    run(&server, &["CLIENT", "KILL", "TYPE", "normal"]);
    assert_eq!(get(&cachify, &key("row")).await, None);
    row_is_gone(&server).await;
}

#[tokio::test]
async fn c8_a_primary_that_was_demoted_is_not_read() {
    let log = Log::start();
    let (server, other, cachify) = pair(Server::url).await;
    cachify.reset(&key("row")).await.unwrap();
    let port = other.port().to_string();
    run(&server, &["REPLICAOF", "127.0.0.1", &port]);
    until("the reset is lost", async || has_row(&server)).await;
    // All connections are still open; the write shows it.
    let error = cachify.reset(&key("other")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unconfirmed, "{error}");
    for _ in 0..10 {
        let value = cachify.cached(&key("row")).get_or_compute(async || 2).await;
        assert_eq!(value, 2);
    }
    assert_eq!(log.lines_with("became a replica"), 1, "{}", log.text());
    run(&server, &["REPLICAOF", "NO", "ONE"]);
    row_is_gone(&server).await;
}

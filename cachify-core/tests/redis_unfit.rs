//! Servers that cannot work as they are set up, and what is said about them.
#![cfg(all(feature = "redis", unix))]
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use cachify_core::{Cachify, Error, ErrorKind};
use common::{SECOND, builder, connect, key};
use redis_fixture::{Reply, Server};
use tokio::sync::Notify;

fn server(args: &[&str]) -> Server {
    let builder = args
        .iter()
        .fold(Server::builder(), |builder, arg| builder.arg(*arg));
    builder.spawn()
}

/// The address with a user `app` of these rights.
fn user(server: &Server, rights: &[&str]) -> String {
    let mut command = vec![
        "ACL",
        "SETUSER",
        "app",
        "reset",
        "resetchannels",
        "on",
        ">s3cret",
    ];
    command.extend(rights);
    let reply = server.command(&command);
    assert!(!matches!(reply, Reply::Error(_)), "{reply:?}");
    server.url().replace("redis://", "redis://app:s3cret@")
}

async fn refused(url: &str) -> Error {
    let error = builder(url).connect().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Configuration, "{error}");
    for shown in [error.to_string(), format!("{error:?}")] {
        assert!(!shown.contains("s3cret"), "{shown}");
    }
    error
}

#[tokio::test]
async fn l1_s18_locks_are_refused_where_they_may_be_evicted() {
    for policy in ["volatile-ttl", "allkeys-lru", "volatile-random"] {
        let server = server(&["--maxmemory", "64mb", "--maxmemory-policy", policy]);
        let connected = builder(&server.url()).connect().await.unwrap();
        let lazy = builder(&server.url()).connect_lazy().unwrap();
        for handle in [&connected, &lazy] {
            let error = handle.lock(&key("door")).acquire().await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Configuration);
            assert!(error.to_string().contains("noeviction"), "{error}");
            let error = handle.pool(&key("desk"), 3).acquire().await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Configuration);
            // Entries are fine.
            handle.cached(&key("row")).set(1).await.unwrap();
        }
        let allowed = builder(&server.url())
            .allow_evicting_locks()
            .connect()
            .await
            .unwrap();
        allowed
            .lock(&key("door"))
            .acquire()
            .await
            .unwrap()
            .release()
            .await
            .unwrap();

        // Put right, and looked at anew.
        server.command(&["CONFIG", "SET", "maxmemory-policy", "noeviction"]);
        server.command(&["CLIENT", "KILL", "TYPE", "normal"]);
        common::until("locks are fine", async || {
            lazy.lock(&key("door")).acquire().await.is_ok()
        })
        .await;
    }
}

#[tokio::test]
async fn s5_s20_a_user_without_channels_is_told_so() {
    let server = Server::start();
    let url = user(&server, &["~test:*", "+@all", "resetchannels"]);
    let error = refused(&url).await;
    assert!(error.to_string().contains("&test:*"), "{error}");

    let url = user(&server, &["~test:*", "+@all", "&test:*", "-subscribe"]);
    let error = refused(&url).await;
    assert!(error.to_string().contains("subscribe"), "{error}");

    let url = user(&server, &["~test:*", "+@all", "&test:*", "-publish"]);
    let error = refused(&url).await;
    assert!(error.to_string().contains("publish"), "{error}");
}

#[tokio::test]
async fn s5_a_user_without_a_command_or_the_keys_is_told_so() {
    let server = Server::start();
    let url = user(&server, &["~test:*", "&test:*", "+@all", "-evalsha"]);
    assert!(refused(&url).await.to_string().contains("+evalsha"));
    let url = user(&server, &["~other:*", "&test:*", "+@all"]);
    assert!(refused(&url).await.to_string().contains("~test:*"));
    for command in [
        "get",
        "set",
        "del",
        "pttl",
        "pexpire",
        "pexpireat",
        "hset",
        "hget",
        "hmget",
        "hexists",
        "hkeys",
        "hdel",
        "exists",
        "zadd",
        "zscore",
        "zcard",
        "zcount",
        "zrange",
        "zrangebyscore",
        "zrangebyscore",
        "zrem",
    ] {
        let url = user(
            &server,
            &["~test:*", "&test:*", "+@all", &format!("-{command}")],
        );
        let error = refused(&url).await;
        assert!(
            error.to_string().contains(&format!("+{command}")),
            "{error}"
        );
    }
}

#[tokio::test]
async fn c4_a_word_that_may_not_be_said_does_not_undo_a_reset() {
    let server = Server::start();
    let url = user(&server, &["~test:*", "&test:*", "+@all"]);
    let (here, there) = (connect(&url).await, connect(&server.url()).await);
    let (started, go) = (Notify::new(), Notify::new());
    let row = key("row");
    let compute = async || {
        started.notify_one();
        go.notified().await;
        1
    };
    let cached = there.cached(&row);
    let leader = cached.get_or_compute(compute);
    let reset = async {
        started.notified().await;
        // Somebody waits for the lease, and would have to be told.
        server.command(&["HSET", "test:cached:{row}:lease", "w:somebody", ""]);
        server.command(&["ACL", "SETUSER", "app", "resetchannels"]);
        here.reset(&row).await.unwrap();
        go.notify_one();
    };
    tokio::join!(leader, reset);
    assert_eq!(cached.peek::<i32>().await.unwrap(), None);
}

#[tokio::test]
async fn s5_the_rights_that_the_book_names_are_enough() {
    let server = Server::start();
    let rights = [
        "~test:*",
        "&test:*",
        "+@read",
        "+@write",
        "+@scripting",
        "+@pubsub",
        "+@connection",
        "+time",
        "+info",
    ];
    let handle = builder(&user(&server, &rights)).connect().await.unwrap();
    everything_works(&handle).await;
    // Without INFO, some things stay unknown.
    let url = user(&server, &[&rights[..], &["-info"]].concat());
    everything_works(&builder(&url).connect().await.unwrap()).await;
}

async fn everything_works(handle: &Cachify) {
    let cached = handle.cached(&key("row"));
    assert_eq!(cached.get_or_compute(async || 1).await, 1);
    assert_eq!(cached.peek::<i32>().await.unwrap(), Some(1));
    handle.reset(&key("row")).await.unwrap();
    let guard = handle
        .lock(&key("door"))
        .wait(SECOND)
        .acquire()
        .await
        .unwrap();
    let error = handle
        .lock(&key("door"))
        .wait(SECOND / 10)
        .acquire()
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Held);
    guard.release().await.unwrap();
    let permit = handle.pool(&key("desk"), 2).acquire().await.unwrap();
    permit.release().await.unwrap();
}

#[tokio::test]
async fn s5_a_wrong_password_is_told_and_not_shown() {
    let server = server(&["--requirepass", "right"]);
    for user in ["", ":wr0ng-s3cret@", "nobody:wr0ng-s3cret@"] {
        let url = server.url().replace("redis://", &format!("redis://{user}"));
        let error = refused(&url).await;
        assert!(error.to_string().contains("password"), "{error}");
        let handle = builder(&url).connect_lazy().unwrap();
        assert!(!format!("{handle:?}").contains("s3cret"));
        let shown = format!("{:?}", handle.reset(&key("row")).await.unwrap_err());
        assert!(!shown.contains("s3cret"), "{shown}");
        assert_eq!(
            handle.cached(&key("row")).get_or_compute(async || 1).await,
            1
        );
    }
    let url = server.url().replace("redis://", "redis://:right@");
    everything_works(&builder(&url).connect().await.unwrap()).await;
}

/// Speaks as little as Redis does until it is refused.
fn older_server() -> String {
    use std::io::{BufRead, BufReader, Write};

    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("redis://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || {
                let mut out = stream.try_clone().unwrap();
                // Of `*1\r\n$4\r\nTIME\r\n` the last line says what is asked.
                for line in BufReader::new(stream).lines().map_while(Result::ok) {
                    let answer = match line.as_str() {
                        "TIME" => "*2\r\n$10\r\n1700000000\r\n$1\r\n0\r\n",
                        "server" => "$20\r\nredis_version:6.0.16\r\n",
                        "memory" | "replication" => "$0\r\n\r\n",
                        _ => continue,
                    };
                    if out.write_all(answer.as_bytes()).is_err() {
                        return;
                    }
                }
            });
        }
    });
    url
}

#[tokio::test]
async fn s5_a_server_that_is_too_old_is_refused() {
    let url = older_server();
    let error = refused(&url).await;
    assert!(error.to_string().contains("6.2"), "{error}");
    let lazy = builder(&url).connect_lazy().unwrap();
    let error = lazy.lock(&key("door")).acquire().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Configuration, "{error}");
}

#[tokio::test]
async fn s5_a_replica_is_refused() {
    let primary = Server::start();
    let replica = Server::start();
    replica.command(&["REPLICAOF", "127.0.0.1", &primary.port().to_string()]);
    let error = refused(&replica.url()).await;
    assert!(error.to_string().contains("primary"), "{error}");

    // A primary that becomes one: nothing is written, and nobody gets a lock.
    let handle = builder(&primary.url()).connect().await.unwrap();
    replica.command(&["REPLICAOF", "NO", "ONE"]);
    primary.command(&["REPLICAOF", "127.0.0.1", &replica.port().to_string()]);
    assert!(handle.lock(&key("door")).acquire().await.is_err());
    assert_eq!(
        handle.reset(&key("row")).await.unwrap_err().kind(),
        ErrorKind::Unconfirmed
    );
    assert_eq!(
        handle.cached(&key("row")).get_or_compute(async || 1).await,
        1
    );
}

#[tokio::test]
async fn s1_no_url_shows_its_password() {
    for url in [
        "redis://user:s3cret@",
        "redis://user:s3cret@host:port",
        "http://user:s3cret@host",
        "redis://user:s3cret@host/db",
        "redis://:s3cret@[::1",
        "s3cret",
    ] {
        let error = builder(url).connect_lazy().map(drop).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Configuration, "{url}");
        assert!(
            !format!("{error} {error:?}").contains("s3cret"),
            "{error:?}"
        );
    }
    let handle = builder("redis://user:s3cret@localhost:1/2")
        .connect_lazy()
        .unwrap();
    assert!(!format!("{handle:?}").contains("s3cret"), "{handle:?}");
}

#[cfg(not(feature = "tls"))]
#[tokio::test]
async fn s5_tls_without_its_feature_is_told() {
    let error = builder("rediss://localhost")
        .connect_lazy()
        .map(drop)
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Configuration);
    assert!(error.to_string().contains("`tls`"), "{error}");
}

#[tokio::test]
async fn every_form_of_address_works() {
    let server = Server::start();
    let url = user(&server, &["~test:*", "&test:*", "+@all"]);
    for url in [
        format!("{}/3", server.url()),
        server.unix_url(),
        server.unix_url().replace("redis+unix://", "unix://"),
        format!("{}?db=3&user=app&pass=s3cret", server.unix_url()),
        url,
    ] {
        everything_works(&builder(&url).connect().await.unwrap()).await;
    }
    let keys = server.command(&["INFO", "keyspace"]).text();
    assert!(keys.contains("db0:") && keys.contains("db3:"), "{keys}");
}

#[tokio::test]
async fn a_server_that_is_not_there_is_unavailable() {
    let server = Server::start();
    let url = server.url();
    server.kill();
    let error = builder(&url).connect().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    builder(&url).connect_lazy().unwrap();
}

#[test]
fn a_handle_can_be_made_before_there_is_a_runtime() {
    let server = Server::start();
    let handle = builder(&server.url()).connect_lazy().unwrap();
    // And it outlives one.
    for _ in 0..3 {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(everything_works(&handle));
    }
}

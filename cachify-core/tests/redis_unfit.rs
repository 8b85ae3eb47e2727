//! Servers whose configuration is unfit, and the errors about them.
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

/// Returns the address with a user `app` of these rights.
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
            // Entries work.
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

        // Fixed, and checked again.
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
    assert!(refused(&url).await.to_string().contains("right `+evalsha`"));
    let url = user(&server, &["~other:*", "&test:*", "+@all"]);
    assert!(refused(&url).await.to_string().contains("right `~test:*`"));
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
        "eval",
        "time",
        "ping",
    ] {
        let url = user(
            &server,
            &["~test:*", "&test:*", "+@all", &format!("-{command}")],
        );
        let error = refused(&url).await;
        let right = format!("lacks the right `+{command}`");
        assert!(error.to_string().contains(&right), "{error}");
    }
    let url = user(&server, &["~test:*", "&test:*", "+@all", "-select"]) + "/3";
    let error = refused(&url).await;
    assert!(error.to_string().contains("+select"), "{error}");
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
        // Another caller waits for the lease, and would need a message.
        server.command(&["HSET", "test:cached:{row}:lease", "w:somebody", ""]);
        server.command(&["ACL", "SETUSER", "app", "resetchannels"]);
        here.reset(&row).await.unwrap();
        go.notify_one();
    };
    tokio::join!(leader, reset);
    assert_eq!(cached.get::<i32>().await.unwrap(), None);
}

#[tokio::test]
async fn s5_without_info_the_policy_stays_unknown_and_everything_works() {
    let server = Server::start();
    let url = user(&server, &["~test:*", "&test:*", "+@all", "-info"]);
    everything_works(&builder(&url).connect().await.unwrap()).await;
}

async fn everything_works(handle: &Cachify) {
    let cached = handle.cached(&key("row"));
    assert_eq!(cached.get_or_compute(async || 1).await, 1);
    assert_eq!(cached.get::<i32>().await.unwrap(), Some(1));
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

/// Speaks just enough Redis to be refused.
fn older_server() -> String {
    use std::io::{BufRead, BufReader, Write};

    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("redis://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || {
                let mut out = stream.try_clone().unwrap();
                // The third line of `*1\r\n$5\r\nHELLO\r\n` is the command.
                for line in BufReader::new(stream).lines().map_while(Result::ok) {
                    let answer = match line.as_str() {
                        "HELLO" => "*2\r\n$7\r\nversion\r\n$6\r\n6.0.16\r\n",
                        "TIME" => "*2\r\n$10\r\n1700000000\r\n$1\r\n0\r\n",
                        "INFO" => "$0\r\n\r\n",
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

/// A server that `connect` refuses, and the words of the error.
struct Unfit {
    server: Server,
    /// The end of its URL.
    end: &'static str,
    words: &'static [&'static str],
}

fn unfit(args: &[&str], end: &'static str, words: &'static [&'static str]) -> Unfit {
    let server = server(args);
    Unfit { server, end, words }
}

fn renamed(command: &str, words: &'static [&'static str]) -> Unfit {
    unfit(&["--rename-command", command, ""], "", words)
}

#[tokio::test]
async fn s5_a_setting_that_cannot_work_is_told_with_its_fix() {
    let sentinel = Unfit {
        server: Server::builder().sentinel().spawn(),
        end: "",
        words: &["Sentinel", "primary"],
    };
    let cases = [
        unfit(&[], "/16", &["no database 16", "`databases`"]),
        unfit(&["--databases", "1"], "/1", &["no database 1"]),
        unfit(
            &["--cluster-enabled", "yes"],
            "",
            &["cluster", "single server"],
        ),
        unfit(
            &["--cluster-enabled", "yes"],
            "/1",
            &["cluster", "single server"],
        ),
        sentinel,
        renamed("HELLO", &["`HELLO`", "rename-command"]),
        renamed("TIME", &["`TIME`", "rename-command"]),
        renamed("PING", &["`PING`", "rename-command"]),
        renamed("INFO", &["`INFO`", "rename-command"]),
        renamed("EVAL", &["`EVAL`", "rename-command"]),
        renamed("EVALSHA", &["`EVALSHA`", "rename-command"]),
        renamed("SUBSCRIBE", &["`SUBSCRIBE`", "rename-command"]),
        renamed("PUBLISH", &["`PUBLISH`", "rename-command"]),
        renamed("GET", &["`GET`", "rename-command"]),
        renamed("ZADD", &["`ZADD`", "rename-command"]),
    ];
    for Unfit { server, end, words } in cases {
        let error = refused(&format!("{}{end}", server.url())).await;
        for word in words {
            assert!(error.to_string().contains(word), "{word}: {error}");
        }
    }
}

#[tokio::test]
async fn s5_a_node_of_a_cluster_is_refused_whatever_it_holds() {
    let server = server(&["--cluster-enabled", "yes"]);
    // With half of the slots, the node could look like any other server.
    server.command(&["CLUSTER", "ADDSLOTSRANGE", "0", "8191"]);
    let url = user(
        &server,
        &["~test:*", "&test:*", "+@all", "-info", "-cluster"],
    );
    for _ in 0..10 {
        assert!(refused(&url).await.to_string().contains("cluster"));
    }
    let lazy = builder(&server.url()).connect_lazy().unwrap();
    for id in 0..10 {
        let row = key(&format!("row-{id}"));
        let error = lazy.cached(&row).get::<i32>().await.unwrap_err();
        assert!(error.kind() == ErrorKind::Configuration || error.is_unavailable());
        assert_eq!(lazy.cached(&row).get_or_compute(async || id).await, id);
        assert!(lazy.lock(&row).acquire().await.is_err());
    }
    assert_eq!(server.command(&["DBSIZE"]).int(), 0);
}

#[tokio::test]
async fn s5_a_url_that_cannot_work_is_told_with_its_fix() {
    let without_tls = cfg!(not(feature = "tls"));
    for (url, word) in [
        ("redis+sentinel://u:s3cret@host/primary/0", "Sentinel"),
        (
            "rediss://u:s3cret@host#insecure",
            if without_tls {
                "feature `tls`"
            } else {
                "tls_authorities"
            },
        ),
    ] {
        let error = builder(url).connect_lazy().map(drop).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Configuration, "{error}");
        let shown = format!("{error} {error:?}");
        assert!(shown.contains(word) && !shown.contains("s3cret"), "{shown}");
    }
}

#[tokio::test]
async fn s5_a_policy_that_changes_is_noticed() {
    let server = server(&["--maxmemory", "64mb"]);
    let handle = builder(&server.url()).connect().await.unwrap();
    let take = async || handle.lock(&key("door")).acquire().await;
    take().await.unwrap().release().await.unwrap();

    server.command(&["CONFIG", "SET", "maxmemory-policy", "allkeys-lru"]);
    tokio::time::pause();
    tokio::time::advance(31 * SECOND).await;
    tokio::time::resume();
    // One caller checks.
    let _ = take().await;
    assert_eq!(take().await.unwrap_err().kind(), ErrorKind::Configuration);

    server.command(&["CONFIG", "SET", "maxmemory-policy", "noeviction"]);
    common::until("locks are fine", async || take().await.is_ok()).await;
}

#[tokio::test]
async fn s5_a_replica_is_refused() {
    let primary = Server::start();
    let replica = Server::start();
    replica.command(&["REPLICAOF", "127.0.0.1", &primary.port().to_string()]);
    let error = refused(&replica.url()).await;
    assert!(error.to_string().contains("primary"), "{error}");

    // A primary that becomes a replica: nothing is written, and no caller gets a lock.
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
async fn s5_every_failure_to_connect_says_its_own_reason() {
    let server = Server::start();
    let tcp = server.url();
    let unix = server.unix_url();
    let full = Server::builder().arg("--maxclients").arg("1").spawn();
    // The fixture's own connection may still be there.
    let mut only = full.client().unwrap();
    while !matches!(only.command(&["PING"]), Ok(Reply::Status(_))) {
        only = full.client().unwrap();
    }
    let mute = Server::start();
    mute.pause();
    server.kill();
    let away = ErrorKind::Unavailable;
    for (url, kind, reason) in [
        (tcp, away, "the connection was refused"),
        (unix, away, "the connection was refused"),
        (
            "unix:///nowhere/redis.sock".to_owned(),
            away,
            "no such socket",
        ),
        (
            format!("unix:///{}", "long/".repeat(50)),
            ErrorKind::Configuration,
            "path",
        ),
        (
            "redis://no-such-host.invalid".to_owned(),
            away,
            "host name cannot be resolved",
        ),
        (full.url(), away, "maxclients"),
        (mute.url(), away, "did not answer in time"),
        (closing(), away, "the connection was closed"),
    ] {
        let url = match url.strip_prefix("redis://") {
            Some(place) => format!("redis://app:s3cret@{place}"),
            None => format!("{url}?user=app&pass=s3cret"),
        };
        let error = builder(&url).connect().await.unwrap_err();
        assert_eq!(error.kind(), kind, "{url}: {error}");
        let shown = format!("{error} {error:?}");
        assert!(shown.contains(reason), "{url}: {shown}");
        assert!(
            !shown.contains("s3cret") && !shown.contains("app:"),
            "{shown}"
        );
        builder(&url).connect_lazy().unwrap();
    }
    drop(only);
}

/// Returns an address where every connection is accepted and closed.
fn closing() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("redis://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || listener.incoming().for_each(drop));
    url
}

#[test]
fn a_handle_can_be_made_before_there_is_a_runtime() {
    let server = Server::start();
    let handle = builder(&server.url()).connect_lazy().unwrap();
    // And it survives one.
    for _ in 0..3 {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(everything_works(&handle));
    }
}

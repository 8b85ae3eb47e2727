//! The minimal rights of a Redis user, and that they are minimal.
#![cfg(all(feature = "redis", unix))]
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use cachify_core::{Cachify, ErrorKind};
use common::{SECOND, key, until};
use redis_fixture::{Client, Reply, Server};

/// Returns the command, with `NAME` in it, that the error for a user without rights advises for
/// `prefix`; and checks the error of `connect`.
async fn advice(server: &Server, prefix: &str, database: &str) -> Vec<String> {
    server.command(&["ACL", "SETUSER", "app", "reset", "on", ">s3cret"]);
    let url = format!("{}{database}", url(server));
    let builder = Cachify::builder().redis(url).prefix(prefix);
    let error = builder.connect().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Configuration, "{error}");
    let text = error.to_string();
    let command = text.split('`').find(|part| part.starts_with("ACL SETUSER"));
    let words = command.unwrap().split(' ').map(str::to_owned);
    words.collect()
}

/// Follows the advice.
fn follow(server: &Server, advice: &[String]) {
    let mut command = advice.to_vec();
    assert_eq!(command[2], "NAME");
    "app".clone_into(&mut command[2]);
    let reply = server.command(&command);
    assert!(!matches!(reply, Reply::Error(_)), "{command:?}: {reply:?}");
}

fn url(server: &Server) -> String {
    server.url().replace("redis://", "redis://app:s3cret@")
}

async fn connect(server: &Server, prefix: &str) -> Result<Cachify, cachify_core::Error> {
    let builder = Cachify::builder().redis(url(server)).prefix(prefix);
    builder.connect().await
}

fn as_app(server: &Server) -> Client {
    let mut client = server.client().unwrap();
    let reply = client.command(&["AUTH", "app", "s3cret"]).unwrap();
    assert!(matches!(reply, Reply::Status(_)), "{reply:?}");
    client
}

#[tokio::test]
async fn s5_with_the_least_rights_everything_works() {
    let server = Server::start();
    let advice = advice(&server, "shop", "").await;
    follow(&server, &advice);
    let (here, there) = (
        connect(&server, "shop").await,
        connect(&server, "shop").await,
    );
    let (here, there) = (here.unwrap(), there.unwrap());

    // Entries, and a computation in one process that another waits for.
    let (row, release) = (key("row"), tokio::sync::Notify::new());
    let slow = async || {
        release.notified().await;
        1
    };
    let cached = (here.cached(&row), there.cached(&row));
    let leads = cached.0.get_or_compute(slow);
    let waits = async {
        until("it is computed", async || {
            server.command(&["EXISTS", "shop:cached:{row}:lease"]).int() == 1
        })
        .await;
        let waiting = cached.1.get_or_compute(async || 2);
        tokio::join!(waiting, async {
            until("it waits", async || {
                let fields = server.command(&["HLEN", "shop:cached:{row}:lease"]);
                fields.int() == 2
            })
            .await;
            release.notify_one();
        })
        .0
    };
    assert_eq!(tokio::join!(leads, waits), (1, 1));
    there.cached(&row).set(3).await.unwrap();
    assert_eq!(here.cached(&row).get::<i32>().await.unwrap(), Some(3));
    here.reset(&row).await.unwrap();

    // Locks: waiting, renewal, inspection, forced release.
    let lock = here.lock(&key("door")).ttl(SECOND);
    let guard = lock.acquire().await.unwrap();
    let waiting = there.lock(&key("door")).ttl(SECOND).wait(10 * SECOND);
    let waiting = tokio::spawn(async move { waiting.acquire().await });
    until("it waits", async || {
        server.command(&["EXISTS", "shop:lock:{door}:queue"]).int() == 1
    })
    .await;
    // A renewal keeps it longer than its time to live.
    tokio::time::sleep(SECOND + SECOND / 2).await;
    assert!(lock.is_locked().await.unwrap() && !guard.is_lost());
    assert!(lock.status().await.unwrap().holder.is_some());
    guard.release().await.unwrap();
    let guard = waiting.await.unwrap().unwrap();
    assert!(lock.force_release().await.unwrap());
    guard.lost().await;
    here.once(&key("job")).run(async {}).await.unwrap();

    let pool = here.pool(&key("desk"), 2);
    let permit = pool.acquire().await.unwrap();
    assert_eq!(pool.status().await.unwrap().in_use, 1);
    permit.release().await.unwrap();
}

#[tokio::test]
async fn s5_with_the_least_rights_nothing_else_works() {
    let server = Server::start();
    follow(&server, &advice(&server, "shop", "").await);
    connect(&server, "shop").await.unwrap();
    assert!(connect(&server, "shop2").await.is_err());
    let mut client = as_app(&server);
    for command in [
        &["FLUSHALL"][..],
        &["FLUSHDB"],
        &["KEYS", "*"],
        &["SCAN", "0"],
        &["CLIENT", "KILL", "TYPE", "normal"],
        &["CLIENT", "LIST"],
        &["SWAPDB", "0", "1"],
        &["SELECT", "1"],
        &["CONFIG", "GET", "*"],
        &["ACL", "LIST"],
        &["SHUTDOWN"],
        &["REPLICAOF", "NO", "ONE"],
        &["SCRIPT", "FLUSH"],
        &["MONITOR"],
        &["GET", "other:cached:{row}"],
        &["GET", "shop2:cached:{row}"],
        &["DEL", "shop"],
        &["PUBLISH", "other:wake:node", ""],
        &["SUBSCRIBE", "other:wake:node"],
        &["EVAL", "return redis.call('FLUSHALL')", "0"],
        &["EVAL", "return redis.call('GET', 'other:row')", "0"],
        &[
            "EVAL",
            "return redis.call('GET', KEYS[1])",
            "1",
            "other:row",
        ],
    ] {
        let reply = client.command(command).unwrap();
        let words = ["NOPERM", "can't", "ACL"];
        let is_refused = matches!(
            &reply,
            Reply::Error(text) if words.iter().any(|word| text.contains(word))
        );
        assert!(is_refused, "{command:?}: {reply:?}");
    }
}

#[tokio::test]
async fn s5_each_of_the_least_rights_is_needed_and_told_by_name() {
    let server = Server::start();
    for (prefix, database) in [("shop", ""), ("shop:eu", "/3")] {
        let advice = advice(&server, prefix, database).await;
        let names = |right: &&String| right.starts_with(['+', '~', '&']);
        for right in advice
            .iter()
            .filter(names)
            .filter(|right| *right != "+info")
        {
            let less: Vec<_> = advice
                .iter()
                .filter(|have| *have != right)
                .cloned()
                .collect();
            follow(&server, &less);
            let builder = Cachify::builder()
                .redis(url(&server) + database)
                .prefix(prefix);
            let error = builder.connect().await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Configuration, "{right}: {error}");
            let told = error.to_string();
            let (lacks, _) = told.split_once("; ").unwrap();
            assert!(lacks.contains(&format!("`{right}")), "{right}: {lacks}");
            // The advice does not depend on the missing right.
            assert!(told.contains(&advice.join(" ")), "{told}");
        }
        follow(&server, &advice);
        let builder = Cachify::builder()
            .redis(url(&server) + database)
            .prefix(prefix);
        builder.connect().await.unwrap();
    }
}

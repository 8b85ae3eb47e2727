//! Entries and leases: the effect of each script, on a real server.
#![cfg(all(feature = "redis", unix))]
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use cachify_core::backend::{Backend, Begun, Claim, Found, Stored};
use cachify_core::{Error, ErrorKind, Ttl};
use common::{MILLI, Process, SECOND, key, soon};
use redis_fixture::{Reply, Server};

fn is_granted(begun: &Begun) -> bool {
    matches!(begun, Begun::Granted)
}

fn is_busy(begun: &Begun) -> bool {
    matches!(begun, Begun::Busy { .. })
}

fn found(begun: Begun) -> Vec<u8> {
    match begun {
        Begun::Found(Found {
            value: Stored::Bytes(bytes),
            ..
        }) => bytes,
        other => panic!("{other:?}"),
    }
}

fn bytes(bytes: &[u8]) -> Found {
    Found::bytes(bytes.to_vec())
}

#[tokio::test]
async fn c3_one_lease_stands_at_a_time() {
    let server = Server::start();
    let (a, b) = (Process::new(&server.url()), Process::new(&server.url()));
    let (key, mine, other) = (key("row"), a.node.token(), b.node.token());

    assert!(is_granted(&a.begin(&key, &mine, None).await));
    assert!(is_granted(&a.begin(&key, &mine, None).await));
    match b.begin(&key, &other, None).await {
        Begun::Busy { recheck } => assert!(recheck <= 3 * SECOND && recheck > MILLI),
        other => panic!("{other:?}"),
    }
    assert!(!b.fill(&key, &other, b"b", 60 * SECOND).await.unwrap());
    assert!(!b.redis.release_lease(&key, &other).await.unwrap());
    assert!(!b.redis.extend_lease(&key, &other, SECOND).await.unwrap());
    assert!(
        a.redis
            .extend_lease(&key, &mine, 100 * SECOND)
            .await
            .unwrap()
    );
    assert!(server.command(&["PTTL", "test:cached:{row}:lease"]).int() > 90_000);

    assert!(a.fill(&key, &mine, b"a", 60 * SECOND).await.unwrap());
    assert_eq!(found(b.begin(&key, &other, None).await), b"a");
    assert!(!a.fill(&key, &mine, b"again", 60 * SECOND).await.unwrap());
    assert_eq!(b.bytes(&key).await.unwrap(), b"a");
    assert_eq!(
        server.command(&["EXISTS", "test:cached:{row}:lease"]).int(),
        0
    );
}

#[tokio::test]
async fn c3_a_lease_without_an_end_is_given_one() {
    let server = Server::start();
    let process = Process::new(&server.url());
    let (key, token) = (key("row"), process.node.token());
    server.command(&["HSET", "test:cached:{row}:lease", "t", "somebody"]);
    match process.begin(&key, &token, None).await {
        Begun::Busy { recheck } => assert!(recheck <= 3 * SECOND, "{recheck:?}"),
        other => panic!("{other:?}"),
    }
    let left = server.command(&["PTTL", "test:cached:{row}:lease"]).int();
    assert!((1..=3000).contains(&left), "{left}");
}

#[tokio::test]
async fn c4_a_reset_or_set_ends_the_lease() {
    let server = Server::start();
    let process = Process::new(&server.url());
    let (key, token) = (key("row"), process.node.token());

    assert!(is_granted(&process.begin(&key, &token, None).await));
    process.redis.reset(&key).await.unwrap();
    assert!(
        !process
            .fill(&key, &token, b"old", Ttl::NEVER)
            .await
            .unwrap()
    );
    assert_eq!(process.bytes(&key).await, None);

    assert!(is_granted(&process.begin(&key, &token, None).await));
    process.set(&key, b"set", Ttl::NEVER).await;
    assert!(
        !process
            .fill(&key, &token, b"old", Ttl::NEVER)
            .await
            .unwrap()
    );
    assert_eq!(process.bytes(&key).await.unwrap(), b"set");

    process.redis.reset(&key).await.unwrap();
    assert_eq!(server.command(&["DBSIZE"]).int(), 0);
}

#[tokio::test]
async fn c3_those_who_wait_are_told_however_the_lease_ends() {
    let server = Server::start();
    let (a, b) = (Process::new(&server.url()), Process::new(&server.url()));
    b.redis.check().await.unwrap();
    let key = key("row with a space");
    for end in ["fill", "release_lease", "set", "reset"] {
        let (mine, other) = (a.node.token(), b.node.token());
        assert!(is_granted(&a.begin(&key, &mine, None).await));
        let listener = b.redis.signals().listen(key.as_str());
        assert!(is_busy(&b.begin(&key, &other, None).await));
        match end {
            "fill" => assert!(a.fill(&key, &mine, b"v", SECOND).await.unwrap()),
            "release_lease" => assert!(a.redis.release_lease(&key, &mine).await.unwrap()),
            "set" => a.set(&key, b"v", SECOND).await,
            _ => a.redis.reset(&key).await.unwrap(),
        }
        soon(end, listener.signalled()).await;
        a.redis.reset(&key).await.unwrap();
    }
}

#[tokio::test]
async fn c3_a_lease_that_is_not_filled_can_be_joined_in_rounds() {
    let server = Server::start();
    let (a, b) = (Process::new(&server.url()), Process::new(&server.url()));
    let (row, after) = (key("row"), 400 * MILLI);
    assert!(is_granted(&a.begin(&row, &a.node.token(), None).await));
    let mut joined = Vec::new();
    let start = tokio::time::Instant::now();
    while joined.len() < 3 {
        let token = b.node.token();
        match b.claim(&row, &token, Claim::Join(after)).await {
            Begun::Granted => joined.push((token, start.elapsed())),
            Begun::Busy { recheck } => {
                assert!(recheck <= after, "{recheck:?}");
                tokio::time::sleep(recheck).await;
            }
            other => panic!("nothing is stored, but {other:?}"),
        }
    }
    // One, then two.
    let at: Vec<_> = joined.iter().map(|(_, at)| *at).collect();
    assert!(at[1] >= at[0] + after / 2, "{at:?}");
    assert!(is_busy(
        &b.claim(&row, &b.node.token(), Claim::Join(after)).await
    ));
    // Without `Join` the caller is told to wait, as before.
    assert!(is_busy(&b.begin(&row, &b.node.token(), None).await));

    let [first, second, third] = [0, 1, 2].map(|n: usize| &joined[n].0);
    assert!(b.redis.release_lease(&row, first).await.unwrap());
    assert!(!b.fill(&row, first, b"given back", SECOND).await.unwrap());
    assert!(b.redis.extend_lease(&row, second, SECOND).await.unwrap());
    assert!(b.fill(&row, second, b"second", SECOND).await.unwrap());
    assert!(!b.fill(&row, third, b"third", SECOND).await.unwrap());
    assert_eq!(b.bytes(&row).await.unwrap(), b"second");
}

#[tokio::test]
async fn c4_a_set_or_reset_ends_a_lease_for_all_that_joined() {
    let server = Server::start();
    let process = Process::new(&server.url());
    let row = key("row");
    for set in [false, true] {
        let tokens = [process.node.token(), process.node.token()];
        assert!(is_granted(&process.begin(&row, &tokens[0], None).await));
        let join = Claim::Join(std::time::Duration::ZERO);
        assert!(is_granted(&process.claim(&row, &tokens[1], join).await));
        if set {
            process.set(&row, b"set", SECOND).await;
        } else {
            process.redis.reset(&row).await.unwrap();
        }
        for token in &tokens {
            assert!(!process.fill(&row, token, b"old", SECOND).await.unwrap());
        }
        process.redis.reset(&row).await.unwrap();
    }
}

#[tokio::test]
async fn c3_who_cannot_listen_yet_looks_again_when_it_can() {
    let server = Server::start();
    let (a, b) = (Process::new(&server.url()), Process::new(&server.url()));
    let key = key("row");
    let listener = b.redis.signals().listen(key.as_str());
    assert!(is_granted(&a.begin(&key, &a.node.token(), None).await));
    // This starts the subscription but does not wait for it.
    assert!(is_busy(&b.begin(&key, &b.node.token(), None).await));
    soon("a reason to look again", listener.signalled()).await;
}

#[tokio::test]
async fn c6_what_is_unreadable_counts_as_missing_until_it_changes() {
    let server = Server::start();
    let process = Process::new(&server.url());
    let (key, token) = (key("row"), process.node.token());
    process.set(&key, b"foreign", Ttl::NEVER).await;

    let unreadable = bytes(b"other");
    assert_eq!(
        found(process.begin(&key, &token, Some(&unreadable)).await),
        b"foreign"
    );
    let unreadable = bytes(b"foreign");
    assert!(is_granted(
        &process.begin(&key, &token, Some(&unreadable)).await
    ));
    assert!(
        process
            .fill(&key, &token, b"ours", Ttl::NEVER)
            .await
            .unwrap()
    );
    assert_eq!(process.bytes(&key).await.unwrap(), b"ours");
}

#[tokio::test]
async fn c6_an_empty_entry_is_an_entry() {
    let server = Server::start();
    let process = Process::new(&server.url());
    let (key, token) = (key("row"), process.node.token());
    process.set(&key, b"", Ttl::NEVER).await;
    assert_eq!(found(process.begin(&key, &token, None).await), b"");
    assert!(is_granted(
        &process.begin(&key, &token, Some(&bytes(b""))).await
    ));
}

#[tokio::test]
async fn c6_a_key_of_another_type_is_replaced() {
    let server = Server::start();
    let process = Process::new(&server.url());
    let (key, token) = (key("row"), process.node.token());
    server.command(&["RPUSH", "test:cached:{row}", "a list"]);
    server.command(&["SET", "test:cached:{row}:lease", "a string"]);

    assert_eq!(process.bytes(&key).await.unwrap(), b"");
    assert!(is_granted(&process.begin(&key, &token, None).await));
    assert!(
        process
            .fill(&key, &token, b"ours", Ttl::NEVER)
            .await
            .unwrap()
    );
    assert_eq!(process.bytes(&key).await.unwrap(), b"ours");

    for end in ["set", "reset", "fill"] {
        server.command(&["SET", "test:cached:{row}:lease", "a string"]);
        match end {
            "set" => process.set(&key, b"v", SECOND).await,
            "reset" => process.redis.reset(&key).await.unwrap(),
            _ => assert!(!process.fill(&key, &token, b"v", SECOND).await.unwrap()),
        }
    }
}

#[tokio::test]
async fn c1_the_server_counts_the_time_to_live() {
    let server = Server::start();
    let process = Process::new(&server.url());
    let (key, token) = (key("row"), process.node.token());
    let pttl = || server.command(&["PTTL", "test:cached:{row}"]).int();

    process.set(&key, b"v", 500 * MILLI).await;
    assert!((1..=500).contains(&pttl()));
    process.set(&key, b"v", Ttl::NEVER).await;
    assert_eq!(pttl(), -1);
    process.redis.reset(&key).await.unwrap();
    assert!(is_granted(&process.begin(&key, &token, None).await));
    assert!((2000..=3000).contains(&server.command(&["PTTL", "test:cached:{row}:lease"]).int()));
    assert!(process.fill(&key, &token, b"v", 500 * MILLI).await.unwrap());
    assert!((1..=500).contains(&pttl()));
}

#[tokio::test]
async fn c5_a_value_that_cannot_be_encoded_ends_the_lease() {
    let server = Server::start();
    let process = Process::new(&server.url());
    let (key, token) = (key("row"), process.node.token());
    assert!(is_granted(&process.begin(&key, &token, None).await));
    let value: cachify_core::backend::Typed = std::sync::Arc::new(());
    let encode = |_| Err(Error::new(ErrorKind::Codec, "no"));
    let entry = cachify_core::backend::NewEntry::new(&value, &encode, &|| 0, Ttl::NEVER);
    let error = process.redis.fill(&key, &token, entry).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Codec);
    assert_eq!(server.command(&["DBSIZE"]).int(), 0);
}

#[tokio::test]
async fn the_backend_tells_the_servers_time() {
    let server = Server::start();
    let process = Process::new(&server.url());
    process.redis.check().await.unwrap();
    let ours = process.redis.now(&key("time")).as_micros();
    let reply = server.command(&["TIME"]);
    let [seconds, micros] = [0, 1].map(|i| reply.items()[i].text().parse::<u64>().unwrap());
    let theirs = seconds * 1_000_000 + micros;
    assert!(ours.abs_diff(theirs) < 1_000_000, "{ours} {theirs}");
}

#[tokio::test]
async fn scripts_are_loaded_again_when_the_server_forgot_them() {
    let server = Server::start();
    let process = Process::new(&server.url());
    let key = key("row");
    process.redis.reset(&key).await.unwrap();
    assert!(!matches!(
        server.command(&["SCRIPT", "FLUSH"]),
        Reply::Error(_)
    ));
    process.redis.reset(&key).await.unwrap();
}

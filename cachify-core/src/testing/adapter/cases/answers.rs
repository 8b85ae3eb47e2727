//! Headers of responses, conditions, ranges, and forged entries.

use std::sync::Arc;
use std::time::Duration;

use super::{Adapter, HIT, MISS, STORED, check, key};
use crate::backend::{Begin, Begun, Claim, Found, NewEntry, Stored, Typed};
use crate::{Cachify, Key};

#[rustfmt::skip] // A row is a line.
pub async fn h3_s31_head_is_answered_from_the_entry_and_never_fills(adapter: &Adapter) {
    let app = adapter.start().await;
    let length = [("content-length", Some("3"))];
    check(
        &app,
        &[
            ("HEAD /page/a", &[], 200, MISS, "", &[]),
            ("HEAD /page/a", &[], 200, MISS, "", &[]),
            ("GET /page/a", &[], 200, STORED, "a 3", &length),
            ("HEAD /page/a", &[], 200, HIT, "", &length),
            ("HEAD /page/a", &[("if-none-match", "*")], 304, HIT, "", &[]),
            ("HEAD /page/a", &[("range", "bytes=0-0")], 200, HIT, "", &length),
            ("GET /page/a", &[], 200, HIT, "a 3", &length),
        ],
    )
    .await;
}

#[rustfmt::skip] // A row is a line.
pub async fn h3_conditions_and_ranges_are_answered_from_the_entry(adapter: &Adapter) {
    const DATE: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    let app = adapter.start().await;
    let told = [
        ("x-answer-etag", "W/\"v1\""),
        ("x-answer-last-modified", DATE),
        ("x-answer-cache-control", "max-age=60"),
        ("x-answer-connection", "x-hop"),
        ("x-answer-x-hop", "1"),
        ("x-answer-x-end", "1"),
        ("x-answer-cache-status", "closer; hit"),
        ("range", "bytes=0-0"),
        ("if-none-match", "\"v0\""),
    ];
    let stays = [
        ("etag", Some("W/\"v1\"")),
        ("last-modified", Some(DATE)),
        ("cache-control", Some("max-age=60")),
        ("cache-status", Some("closer; hit")),
        ("x-hop", None),
        ("x-end", Some("1")),
    ];
    let bodiless = [
        ("content-type", None),
        ("content-length", None),
        ("etag", Some("W/\"v1\"")),
    ];
    let none = [("content-range", Some("bytes */3")), ("content-type", None)];
    let end = [("content-range", Some("bytes 1-2/3"))];
    let last = [("content-length", Some("1"))];
    let (weak, date) = (("if-range", "W/\"v1\""), ("if-range", DATE));
    let first = ("range", "bytes=0-0");
    check(
        &app,
        &[
            // The first client's condition and range are evaluated on a response that was made for
            // all.
            ("GET /page/c", &told, 206, STORED, "c", &stays),
            ("GET /page/c", &[], 200, HIT, "c 1", &stays),
            ("GET /page/c", &[("if-none-match", "\"v1\"")], 304, HIT, "", &bodiless),
            ("GET /page/c", &[("if-none-match", "\"v0\", W/\"v1\"")], 304, HIT, "", &bodiless),
            ("GET /page/c", &[("if-none-match", "\"v2\"")], 200, HIT, "c 1", &stays),
            ("GET /page/c", &[("if-modified-since", DATE)], 304, HIT, "", &bodiless),
            ("GET /page/c", &[("if-modified-since", "never")], 200, HIT, "c 1", &stays),
            ("GET /page/c", &[("range", "bytes=1-")], 206, HIT, " 1", &end),
            ("GET /page/c", &[("range", "bytes=-1")], 206, HIT, "1", &last),
            ("GET /page/c", &[("range", "bytes=0-0,2-2")], 200, HIT, "c 1", &stays),
            ("GET /page/c", &[("range", "bytes=9-")], 416, HIT, "", &none),
            // A weak tag must not match `If-Range`.
            ("GET /page/c", &[first, weak], 200, HIT, "c 1", &stays),
            ("GET /page/c", &[first, date], 206, HIT, "c", &[]),
        ],
    )
    .await;
}

pub async fn h3_s28_a_leaders_condition_is_answered_to_nobody_else(adapter: &Adapter) {
    let app = adapter.start().await;
    app.probe.shut("s");
    let condition = [("if-none-match", "*")];
    let leader = app.server.send("GET /page/s", &condition).await;
    app.probe.until_called("s", 1).await;
    let mut waiters = Vec::new();
    for _ in 0..10 {
        waiters.push(app.server.send("GET /page/s", &[]).await);
    }
    app.until_waiting("page-s", 10).await;
    app.probe.open("s", 11);
    assert_eq!(leader.answer().await.brief(), (304, ""));
    for waiter in waiters {
        assert_eq!(waiter.answer().await.brief(), (200, "s 1"));
    }
}

#[rustfmt::skip] // A row is a line.
pub async fn h3_a_reload_is_heard_where_the_route_honors_it(adapter: &Adapter) {
    let app = adapter.start().await;
    let fresh = "cachify; fwd=request; stored";
    let unstored = "cachify; fwd=request";
    check(
        &app,
        &[
            ("GET /listen/l", &[], 200, STORED, "l 1", &[]),
            ("GET /listen/l", &[("cache-control", "no-cache")], 200, fresh, "l 2", &[]),
            ("GET /listen/l", &[("cache-control", "max-age=0")], 200, fresh, "l 3", &[]),
            ("GET /listen/l", &[("cache-control", "no-store")], 200, unstored, "l 4", &[]),
            ("GET /listen/l", &[], 200, HIT, "l 3", &[]),
        ],
    )
    .await;
}

pub async fn h3_an_answer_says_how_long_it_will_be_kept(adapter: &Adapter) {
    let app = adapter.start().await;
    for (at, (name, value, most)) in [
        ("x-answer-x", "x", 300),
        ("x-answer-cache-control", "max-age=60", 60),
        ("x-answer-cache-control", "max-age=60, s-maxage=30", 30),
        ("x-answer-cache-control", "max-age=6000", 300),
    ]
    .into_iter()
    .enumerate()
    {
        let line = format!("GET /page/ttl{at}");
        app.server.ask(&line, &[(name, value)]).await;
        let hit = app.server.ask(&line, &[]).await;
        let said = hit.header("cache-status").unwrap();
        let left = said.strip_prefix("cachify; hit; ttl=").expect(said);
        let left: u64 = left.parse().unwrap();
        assert!((most - 10..=most).contains(&left), "{value}: {said}");
    }
}

/// Another program that may write to Redis must not decide where a response ends on the wire.
pub async fn c6_forged_framing_splits_no_response(adapter: &Adapter) {
    let app = adapter.start().await;
    let headers = [
        ("x-answer-x-content-leng", "5"),
        ("x-answer-x-transfer-encodi", "chunked"),
        ("x-answer-x-nnection", "close"),
        ("x-body", "split"),
    ];
    let stored = app.server.ask("GET /page/f", &headers).await;
    assert_eq!(stored.cache(), STORED);
    forge(&app.cachify, &key("page-f")).await;

    let requests = "GET /page/f HTTP/1.1\r\nhost: test\r\n\r\n\
        PUT /plain/other HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n";
    let answers = app.server.raw(requests).await;
    let (head, rest) = answers.split_once("\r\n\r\n").unwrap();
    let head = head.to_ascii_lowercase();
    assert!(head.contains("cache-status: cachify; hit"), "{answers}");
    let length = format!("\r\ncontent-length: {}\r\n", stored.body.len());
    assert!((head + "\r\n").contains(&length), "{answers}");
    assert!(!answers.contains("transfer-encoding"), "{answers}");
    let other = rest.strip_prefix(stored.text()).expect(&answers);
    assert!(other.starts_with("HTTP/1.1 200 OK"), "{answers}");
    assert!(!other.contains("set-cookie"), "{answers}");
    assert!(other.ends_with("\r\n\r\nother 1"), "{answers}");
}

/// Renames headers of a stored response. A backend that keeps values in memory is left alone, since
/// no other program can change it.
async fn forge(cachify: &Cachify, key: &Key) {
    // Names of the same length, so that all offsets stay valid.
    const NAMES: [(&str, &str); 3] = [
        ("x-content-leng", "content-length"),
        ("x-transfer-encodi", "transfer-encoding"),
        ("x-nnection", "connection"),
    ];
    let (backend, key) = (&cachify.inner.engine.backend, &cachify.own(key));
    let Some(Found {
        value: Stored::Bytes(mut bytes),
        ..
    }) = backend.get(key).await.unwrap()
    else {
        return;
    };
    for (name, forged) in NAMES {
        let mut windows = bytes.windows(name.len());
        let at = windows.position(|text| text == name.as_bytes()).unwrap();
        bytes[at..at + forged.len()].copy_from_slice(forged.as_bytes());
    }
    let token = cachify.inner.engine.node.token();
    let begin = Begin::new(&token, Duration::from_secs(10), Claim::Overwrite);
    let begun = backend.begin(key, begin).await.unwrap();
    assert!(matches!(begun, Begun::Granted), "{begun:?}");
    let value: Typed = Arc::new(());
    let encode = |_| Ok(bytes.clone());
    let ttl = Duration::from_mins(5).into();
    let entry = NewEntry::new(&value, &encode, &|| 0, ttl);
    assert!(backend.fill(key, &token, entry).await.unwrap());
}

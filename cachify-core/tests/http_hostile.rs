//! C6 and H2 over a real Redis: responses that another program wrote there, and variants that are
//! no longer needed.
#![cfg(all(feature = "http", feature = "json", feature = "redis", unix))]
#![allow(clippy::unwrap_used)]

mod common;
mod http_support;

use cachify_core::{Cachify, Encoding};
use common::{builder, key, until};
use http_support::{Route, body, header, rules, status, text, with};
use redis_fixture::{Reply, Server};
use serde_json::{Value, json};

const NAME: &str = "test:cached:{page}";

/// The bytes before the payload; the last four of them are its length.
const ENVELOPE: usize = 44;

/// A route whose entry is in Redis, and that entry.
async fn stored(server: &Server) -> (Cachify, Route, Vec<u8>) {
    let builder = builder(&server.url()).encoding(Encoding::Json);
    let cachify = builder.connect().await.unwrap();
    let route = Route::new(rules(&cachify, "page"), |_| {
        std::future::ready(with(text("hello"), &[("x-kept", "1")]))
    });
    route.get(&[]).await;
    let Reply::Bulk(entry) = server.command(&["GET", NAME]) else {
        panic!("nothing was stored");
    };
    (cachify, route, entry)
}

/// Stores the entry again, with a change to its response.
fn forge(server: &Server, entry: &[u8], change: impl FnOnce(&mut Value)) {
    let mut payload: Value = serde_json::from_slice(&entry[ENVELOPE..]).unwrap();
    change(&mut payload["Answer"]);
    let payload = serde_json::to_vec(&payload).unwrap();
    let length = u32::try_from(payload.len()).unwrap().to_le_bytes();
    let forged = [&entry[..ENVELOPE - 4], &length, &payload].concat();
    server.command(&[b"SET", NAME.as_bytes(), &forged]);
}

fn add(response: &mut Value, name: &str, value: &str) {
    let line = json!([name, value.as_bytes()]);
    response["headers"].as_array_mut().unwrap().push(line);
}

#[tokio::test]
async fn c6_a_forged_response_is_a_miss() {
    let server = Server::start();
    let (_cachify, route, entry) = stored(&server).await;
    let mut runs = route.runs();
    for status in [0, 99, 100, 101, 103, 199, 206, 304, 600, 999, 1000, 65535] {
        forge(&server, &entry, |response| {
            response["status"] = status.into();
        });
        assert_eq!(body(&route.get(&[]).await), "hello", "{status}");
        runs += 1;
        assert_eq!(route.runs(), runs, "{status}");
    }
    for status in [204, 205] {
        forge(&server, &entry, |response| {
            response["status"] = status.into();
        });
        assert_eq!(route.get(&[]).await.status(), 200, "{status}");
        runs += 1;
    }
    for (name, value) in [
        ("set-cookie", "id=1"),
        ("Set-Cookie", "id=1"),
        ("content-range", "bytes 0-4/9"),
        ("x y", "1"),
        ("x-split", "1\r\nset-cookie: id=1"),
        ("x-split\r\nset-cookie", "id=1"),
        ("", "1"),
    ] {
        forge(&server, &entry, |response| add(response, name, value));
        let answer = route.get(&[]).await;
        assert_eq!(header(&answer, "set-cookie"), None, "{name}: {value}");
        runs += 1;
        assert_eq!(route.runs(), runs, "{name}: {value}");
    }
    for (field, value) in [
        ("status", json!("200")),
        ("headers", json!([["a"]])),
        ("headers", json!([["x", [300]]])),
        ("headers", json!(vec![("x", [0x61]); 5000])),
        ("body", json!({"a": 1})),
        ("age", json!(-1)),
        ("ttl", json!("never")),
    ] {
        forge(&server, &entry, |response| response[field] = value);
        assert_eq!(body(&route.get(&[]).await), "hello", "{field}");
        runs += 1;
        assert_eq!(route.runs(), runs, "{field}");
    }
    // And the miss has replaced it.
    assert!(status(&route.get(&[]).await).starts_with("cachify; hit"));
}

#[tokio::test]
async fn c6_what_a_stored_response_says_of_its_framing_is_not_believed() {
    let server = Server::start();
    let (_cachify, route, entry) = stored(&server).await;
    let runs = route.runs();
    for lines in [
        &[("content-length", "2")][..],
        &[("content-length", "99"), ("Content-Length", "0")],
        &[("content-length", "5, 9")],
        &[("transfer-encoding", "chunked"), ("trailer", "x")],
        &[
            ("upgrade", "h2c"),
            ("connection", "upgrade, x-hop"),
            ("x-hop", "1"),
        ],
        &[("connection", "content-length, close"), ("keep-alive", "1")],
        &[
            ("proxy-authenticate", "x"),
            ("proxy-connection", "x"),
            ("te", "x"),
        ],
        &[("age", "7"), ("age", "9")],
    ] {
        forge(&server, &entry, |response| {
            for (name, value) in lines {
                add(response, name, value);
            }
        });
        let hit = route.get(&[]).await;
        assert_eq!(body(&hit), "hello");
        let lengths: Vec<_> = hit.headers().get_all("content-length").iter().collect();
        assert_eq!(lengths, ["5"], "{lines:?}");
        assert_eq!(hit.headers().get_all("age").iter().count(), 1);
        assert_eq!(header(&hit, "x-kept"), Some("1"));
        for (name, _) in lines
            .iter()
            .filter(|(name, _)| !["age", "content-length"].contains(&&*name.to_lowercase()))
        {
            assert_eq!(header(&hit, name), None, "{lines:?}");
        }
    }
    forge(&server, &entry, |response| {
        response["body"] = json!([]);
        response["status"] = 204.into();
        add(response, "content-length", "9");
    });
    let hit = route.get(&[]).await;
    assert_eq!(
        (hit.status().as_u16(), header(&hit, "content-length")),
        (204, None)
    );
    for (field, value) in [
        ("age", json!(u64::MAX)),
        ("at", json!(0)),
        ("at", json!(u64::MAX)),
    ] {
        forge(&server, &entry, |response| response[field] = value);
        let hit = route.get(&[]).await;
        let age: u64 = header(&hit, "age").unwrap().parse().unwrap();
        assert!(age <= 1 << 31, "{field}: {age}");
    }
    assert_eq!(route.runs(), runs);
}

/// One client, one URL.
#[tokio::test]
async fn h2_reloads_and_resets_leave_a_bounded_number_of_entries() {
    let server = Server::start();
    let cachify = builder(&server.url()).connect().await.unwrap();
    let mut rules = rules(&cachify, "page");
    rules.honor_request_cache_control(true);
    let route = Route::new(rules, |_| {
        std::future::ready(with(text("hello"), &[("vary", "accept-language")]))
    });
    for n in 0..200 {
        let language = format!("x-{}", n % 4);
        let reload = [
            ("accept-language", &*language),
            ("cache-control", "no-cache"),
        ];
        route.get(&reload).await;
        if n % 10 == 9 {
            cachify.reset(&key("page")).await.unwrap();
        }
    }
    until("the old variants are removed", async || {
        server.command(&["DBSIZE"]).int() <= 5
    })
    .await;
}

//! What is stored, and what passes through.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use super::{BYPASS, HIT, MISS, STORED, ask, check, probe};
use crate::Launch;

#[rustfmt::skip] // A row is a line.
pub async fn h1_what_may_be_cached_is(launch: Launch) {
    let app = probe(launch).await;
    check(
        &app,
        &[
            ("GET /page/a", &[], 200, STORED, "a 1", &[("age", None)]),
            ("GET /page/a", &[], 200, HIT, "a 1", &[("age", Some("0"))]),
            ("GET /page/a?x=1", &[], 200, HIT, "a 1", &[]),
            ("GET /page/a", &[("cookie", "a=b")], 200, BYPASS, "a 2", &[]),
            ("GET /page/a", &[("authorization", "x")], 200, BYPASS, "a 3", &[]),
            ("GET /page/a", &[("if-match", "\"x\"")], 200, BYPASS, "a 4", &[]),
            ("POST /page/a", &[], 200, "cachify; fwd=method", "a 5", &[]),
            ("POST /page/a", &[("x-http-method-override", "GET")], 200, "cachify; fwd=method", "a 6", &[]),
            ("GET /page/a", &[("x-http-method-override", "POST")], 200, HIT, "a 1", &[]),
            ("GET /page/a", &[("cache-control", "no-cache")], 200, HIT, "a 1", &[]),
            ("GET /page/a%20b", &[("x-body", "empty")], 200, STORED, "", &[]),
            ("GET /page/a%20b", &[], 200, HIT, "", &[]),
            ("GET /page/m", &[("x-status", "301"), ("x-answer-location", "/x")], 301, STORED, "m 1", &[]),
            ("GET /page/m", &[], 301, HIT, "m 1", &[("location", Some("/x")), ("etag", None)]),
            ("GET /page/n", &[("x-status", "203")], 203, STORED, "n 1", &[]),
            ("GET /missing/o", &[("x-status", "404")], 404, STORED, "o 1", &[]),
            ("GET /missing/o", &[], 404, HIT, "o 1", &[]),
        ],
    )
    .await;
}

pub async fn h1_what_may_not_be_cached_is_not(launch: Launch) {
    let app = probe(launch).await;
    for (at, (name, value)) in [
        ("x-answer-set-cookie", "id=1"),
        ("x-answer-cache-control", "no-store"),
        ("x-answer-cache-control", "private"),
        ("x-answer-cache-control", "no-cache"),
        ("x-answer-cache-control", "max-age=60, s-maxage=0"),
        ("x-answer-cache-control", "private; max-age=60"),
        ("x-answer-cdn-cache-control", "no-store"),
        ("x-answer-pragma", "no-cache"),
        ("x-answer-expires", "0"),
        ("x-answer-vary", "accept, *"),
        ("x-answer-content-range", "bytes 0-1/2"),
        ("x-status", "201"),
        ("x-status", "302"),
        ("x-status", "404"),
        ("x-status", "500"),
    ]
    .into_iter()
    .enumerate()
    {
        let line = format!("GET /page/{at}");
        let status = if name == "x-status" {
            value.parse().unwrap()
        } else {
            200
        };
        for n in 1..=2 {
            let (body, told) = (format!("{at} {n}"), [(name, value)]);
            check(
                &app,
                &[(&line, &told, status, MISS, &body, &[("etag", None)])],
            )
            .await;
        }
        // What is storable again is stored at once.
        let body = format!("{at} 3");
        check(&app, &[(&line, &[], 200, STORED, &body, &[])]).await;
    }
}

#[rustfmt::skip] // A row is a line.
pub async fn h1_a_key_may_tell_users_and_queries_apart(launch: Launch) {
    let app = probe(launch).await;
    let (ann, bob) = ([("authorization", "ann")], [("authorization", "bob")]);
    check(
        &app,
        &[
            ("GET /mine", &ann, 200, STORED, "mine 1", &[]),
            ("GET /mine", &bob, 200, STORED, "mine 2", &[]),
            ("GET /mine", &ann, 200, HIT, "mine 1", &[]),
            ("GET /query?b=2&a=1", &[], 200, STORED, "query 1", &[]),
            ("GET /query?a=1&b=2", &[], 200, HIT, "query 1", &[]),
            ("GET /query?a=1&&b=2&", &[], 200, HIT, "query 1", &[]),
            ("GET /query?a=1&a=2", &[], 200, STORED, "query 2", &[]),
            ("GET /query?a=2&a=1", &[], 200, STORED, "query 3", &[]),
            ("GET /query?a=1%262", &[], 200, STORED, "query 4", &[]),
            ("GET /query?a", &[], 200, STORED, "query 5", &[]),
            ("GET /query?", &[], 200, STORED, "query 6", &[]),
            ("GET /query", &[], 200, HIT, "query 6", &[]),
        ],
    )
    .await;
}

pub async fn h1_s29_cookies_are_shared_with_nobody_and_slow_for_nobody(launch: Launch) {
    let app = probe(launch).await;
    let begin = Instant::now();
    let mut clients = JoinSet::new();
    for _ in 0..50 {
        let told = [("x-delay", "300"), ("x-answer-set-cookie", "id=#")];
        let request = ask(&app, "GET /page/cookie", &told);
        clients.spawn(async {
            let response = request.send().await.unwrap();
            response.headers()["set-cookie"]
                .to_str()
                .unwrap()
                .to_owned()
        });
    }
    let cookies: HashSet<_> = clients.join_all().await.into_iter().collect();
    assert_eq!(cookies.len(), 50);
    // One after the other would be 15 s; the first and then the others are 0.6 s.
    assert!(
        begin.elapsed() < Duration::from_secs(5),
        "{:?}",
        begin.elapsed()
    );
}

#[rustfmt::skip] // A row is a line.
pub async fn h4_what_is_large_or_a_stream_passes_through_whole(launch: Launch) {
    let app = probe(launch).await;
    let large = "x".repeat(2 << 20);
    let stream = [("x-body", "stream")];
    check(
        &app,
        &[
            ("GET /page/l", &[("x-body", "large")], 200, MISS, &large, &[]),
            ("GET /page/l", &[("x-body", "large")], 200, MISS, &large, &[]),
            ("GET /page/s", &stream, 200, MISS, "s 1", &[("content-length", None)]),
            ("GET /page/s", &stream, 200, MISS, "s 2", &[]),
            ("GET /small/123456789", &[], 200, MISS, "123456789 1", &[]),
            ("GET /small/12345678", &[], 200, STORED, "12345678 1", &[]),
        ],
    )
    .await;
}

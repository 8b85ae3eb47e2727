//! Answers that are stored, and answers that pass through.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use super::{HIT, STORED, ask, check, probe, until};
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
            ("GET /page/a", &[("cookie", "a=b")], 200, "cachify; fwd=bypass; detail=cookie", "a 2", &[]),
            ("GET /page/a", &[("authorization", "x")], 200, "cachify; fwd=bypass; detail=authorization", "a 3", &[]),
            ("GET /page/a", &[("if-match", "\"x\"")], 200, "cachify; fwd=bypass; detail=precondition", "a 4", &[]),
            ("POST /page/p", &[("x-http-method-override", "GET")], 200, "cachify; fwd=method", "p 1", &[]),
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
    for (at, (name, value, why)) in [
        ("x-answer-set-cookie", "id=1", "set-cookie"),
        ("x-answer-cache-control", "no-store", "cache-control"),
        ("x-answer-cache-control", "private", "cache-control"),
        ("x-answer-cache-control", "no-cache", "cache-control"),
        (
            "x-answer-cache-control",
            "max-age=60, s-maxage=0",
            "expired",
        ),
        (
            "x-answer-cache-control",
            "private; max-age=60",
            "cache-control",
        ),
        ("x-answer-cdn-cache-control", "no-store", "cache-control"),
        ("x-answer-pragma", "no-cache", "cache-control"),
        ("x-answer-expires", "0", "expired"),
        ("x-answer-vary", "accept, *", "vary"),
        ("x-answer-content-range", "bytes 0-1/2", "part"),
        ("x-status", "201", "status"),
        ("x-status", "302", "status"),
        ("x-status", "404", "status"),
        ("x-status", "500", "status"),
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
            let said = format!("cachify; fwd=bypass; detail={why}");
            check(
                &app,
                &[(&line, &told, status, &said, &body, &[("etag", None)])],
            )
            .await;
        }
        // A storable answer is stored again at once.
        let body = format!("{at} 3");
        check(&app, &[(&line, &[], 200, STORED, &body, &[])]).await;
    }
}

#[rustfmt::skip] // A row is a line.
pub async fn h7_an_unsafe_method_resets_the_key_of_its_route(launch: Launch) {
    let app = probe(launch).await;
    let method = "cachify; fwd=method";
    check(
        &app,
        &[
            ("GET /page/u", &[], 200, STORED, "u 1", &[]),
            ("GET /page/other", &[], 200, STORED, "other 1", &[]),
            ("POST /page/u", &[("x-status", "404")], 404, method, "u 2", &[]),
            ("GET /page/u", &[], 200, HIT, "u 1", &[]),
            ("POST /page/u", &[("x-status", "201")], 201, method, "u 3", &[]),
            ("GET /page/u", &[], 200, STORED, "u 4", &[]),
            ("POST /page/u", &[("x-status", "303")], 303, method, "u 5", &[]),
            ("GET /page/u", &[], 200, STORED, "u 6", &[]),
            ("GET /page/other", &[], 200, HIT, "other 1", &[]),
        ],
    )
    .await;
}

pub async fn h7_c12_an_abandoned_change_resets_the_key_of_its_route(launch: Launch) {
    let app = probe(launch).await;
    ask(&app, "GET /page/u", &[]).send().await.unwrap();
    let change = ask(&app, "POST /page/u", &[("x-delay", "60000")]);
    let change = tokio::spawn(change.send());
    until(&app, "u", 2).await;
    change.abort();
    let begin = Instant::now();
    loop {
        let read = ask(&app, "GET /page/u", &[]).send().await.unwrap();
        if read.text().await.unwrap() != "u 1" {
            return;
        }
        assert!(begin.elapsed() < Duration::from_secs(20), "it is not reset");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[rustfmt::skip] // A row is a line.
pub async fn h9_hosts_and_paths_are_apart_where_the_key_names_them(launch: Launch) {
    let app = probe(launch).await;
    let (a, b) = ([("host", "A.example:80")], [("host", "b.example")]);
    check(
        &app,
        &[
            ("GET /host", &a, 200, STORED, "host 1", &[]),
            ("GET /host", &b, 200, STORED, "host 2", &[]),
            ("GET /host", &[("host", "a.example")], 200, HIT, "host 1", &[]),
            ("GET /files/a%2Fb", &[], 200, STORED, "files 1", &[]),
            ("GET /files/a/b", &[], 200, STORED, "files 2", &[]),
            ("GET /files/a%2Fb", &[], 200, HIT, "files 1", &[]),
        ],
    )
    .await;
}

#[rustfmt::skip] // A row is a line.
pub async fn h9_two_users_are_apart_by_a_cookie_that_the_key_names(launch: Launch) {
    let app = probe(launch).await;
    let (ann, bob) = ([("cookie", "session=ann")], [("cookie", "session=bob")]);
    check(
        &app,
        &[
            ("GET /session", &ann, 200, STORED, "session 1", &[]),
            ("GET /session", &bob, 200, STORED, "session 2", &[]),
            ("GET /session", &ann, 200, HIT, "session 1", &[]),
        ],
    )
    .await;
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
    // One after another would take 15 s; the first one and then all others take 0.6 s.
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
    let (long, endless) = (
        "cachify; fwd=bypass; detail=too-large",
        "cachify; fwd=bypass; detail=streaming",
    );
    check(
        &app,
        &[
            ("GET /page/l", &[("x-body", "large")], 200, long, &large, &[]),
            ("GET /page/l", &[("x-body", "large")], 200, long, &large, &[]),
            ("GET /page/s", &stream, 200, endless, "s 1", &[("content-length", None)]),
            ("GET /page/s", &stream, 200, endless, "s 2", &[]),
            ("GET /small/123456789", &[], 200, long, "123456789 1", &[]),
            ("GET /small/12345678", &[], 200, STORED, "12345678 1", &[]),
        ],
    )
    .await;
}

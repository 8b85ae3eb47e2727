//! Responses that are stored, and responses that pass through.

use std::collections::HashSet;

use super::{Adapter, HIT, METHOD, STORED, check, soon};

#[rustfmt::skip] // A row is a line.
pub async fn h1_what_may_be_cached_is(adapter: &Adapter) {
    let app = adapter.start().await;
    let cookie = "cachify; fwd=bypass; detail=cookie";
    let user = "cachify; fwd=bypass; detail=authorization";
    let changed = "cachify; fwd=bypass; detail=precondition";
    let moved = [("x-status", "301"), ("x-answer-location", "/x")];
    check(
        &app,
        &[
            ("GET /page/a", &[], 200, STORED, "a 1", &[("age", None)]),
            ("GET /page/a", &[], 200, HIT, "a 1", &[("age", Some("0"))]),
            ("GET /page/a?x=1", &[], 200, HIT, "a 1", &[]),
            ("GET /page/a", &[("cookie", "a=b")], 200, cookie, "a 2", &[]),
            ("GET /page/a", &[("authorization", "x")], 200, user, "a 3", &[]),
            ("GET /page/a", &[("if-match", "\"x\"")], 200, changed, "a 4", &[]),
            ("POST /page/p", &[("x-http-method-override", "GET")], 200, METHOD, "p 1", &[]),
            ("GET /page/a", &[("x-http-method-override", "POST")], 200, HIT, "a 1", &[]),
            ("GET /page/a", &[("cache-control", "no-cache")], 200, HIT, "a 1", &[]),
            ("GET /page/a%20b", &[("x-body", "empty")], 200, STORED, "", &[]),
            ("GET /page/a%20b", &[], 200, HIT, "", &[]),
            ("GET /page/m", &moved, 301, STORED, "m 1", &[]),
            ("GET /page/m", &[], 301, HIT, "m 1", &[("location", Some("/x")), ("etag", None)]),
            ("GET /page/n", &[("x-status", "203")], 203, STORED, "n 1", &[]),
            ("GET /missing/o", &[("x-status", "404")], 404, STORED, "o 1", &[]),
            ("GET /missing/o", &[], 404, HIT, "o 1", &[]),
        ],
    )
    .await;
}

#[rustfmt::skip] // A row is a line.
pub async fn h1_what_may_not_be_cached_is_not(adapter: &Adapter) {
    let app = adapter.start().await;
    for (at, (name, value, why)) in [
        ("x-answer-set-cookie", "id=1", "set-cookie"),
        ("x-answer-cache-control", "no-store", "cache-control"),
        ("x-answer-cache-control", "private", "cache-control"),
        ("x-answer-cache-control", "no-cache", "cache-control"),
        ("x-answer-cache-control", "max-age=60, s-maxage=0", "expired"),
        ("x-answer-cache-control", "private; max-age=60", "cache-control"),
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
        let status = if name == "x-status" { value.parse().unwrap() } else { 200 };
        for n in 1..=2 {
            let (body, told) = (format!("{at} {n}"), [(name, value)]);
            let said = format!("cachify; fwd=bypass; detail={why}");
            check(&app, &[(&line, &told, status, &said, &body, &[("etag", None)])]).await;
        }
        // A storable response is stored again at once.
        let body = format!("{at} 3");
        check(&app, &[(&line, &[], 200, STORED, &body, &[])]).await;
    }
}

#[rustfmt::skip] // A row is a line.
pub async fn h1_a_key_may_tell_users_and_queries_apart(adapter: &Adapter) {
    let app = adapter.start().await;
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

pub async fn h1_other_methods_pass_through_with_their_bodies(adapter: &Adapter) {
    let app = adapter.start().await;
    for body in ["hello", "world"] {
        let echo = [("x-body", "echo")];
        let answer = app.server.ask_with("POST /page/e", &echo, body).await;
        assert_eq!(answer.brief(), (200, body));
        assert_eq!(answer.cache(), METHOD);
    }
}

pub async fn h1_s29_cookies_are_shared_with_nobody_and_slow_for_nobody(adapter: &Adapter) {
    let app = adapter.start().await;
    app.probe.shut("c");
    let mut clients = Vec::new();
    for _ in 0..50 {
        let told = [("x-answer-set-cookie", "id=#")];
        clients.push(app.server.send("GET /page/c", &told).await);
    }
    app.until_waiting("page-c", 49).await;
    app.probe.open("c", 1);
    // All run at once: in sequence, the second would have to end before the third is called.
    app.probe.until_called("c", 50).await;
    app.probe.open("c", 49);
    let mut cookies = HashSet::new();
    for client in clients {
        let answer = client.answer().await;
        cookies.insert(answer.header("set-cookie").unwrap().to_owned());
    }
    assert_eq!(cookies.len(), 50);
}

#[rustfmt::skip] // A row is a line.
pub async fn h7_an_unsafe_method_resets_the_key_of_its_route(adapter: &Adapter) {
    let app = adapter.start().await;
    check(
        &app,
        &[
            ("GET /page/u", &[], 200, STORED, "u 1", &[]),
            ("GET /page/other", &[], 200, STORED, "other 1", &[]),
            ("POST /page/u", &[("x-status", "404")], 404, METHOD, "u 2", &[]),
            ("GET /page/u", &[], 200, HIT, "u 1", &[]),
            ("POST /page/u", &[("x-status", "201")], 201, METHOD, "u 3", &[]),
            ("GET /page/u", &[], 200, STORED, "u 4", &[]),
            ("DELETE /page/u", &[("x-status", "303")], 303, METHOD, "u 5", &[]),
            ("GET /page/u", &[], 200, STORED, "u 6", &[]),
            ("GET /page/other", &[], 200, HIT, "other 1", &[]),
        ],
    )
    .await;
}

pub async fn h7_c12_an_abandoned_change_resets_the_key_of_its_route(adapter: &Adapter) {
    let app = adapter.start().await;
    app.server.get("/page/u").await;
    app.probe.shut("u");
    let change = app.server.send("POST /page/u", &[]).await;
    app.probe.until_called("u", 2).await;
    drop(change);
    app.probe.until_dropped("u", 1).await;
    app.probe.open("u", 100);
    // The reset happens in the background.
    soon("a reset", async {
        while app.server.get("/page/u").await.text() == "u 1" {}
    })
    .await;
}

#[rustfmt::skip] // A row is a line.
pub async fn h9_hosts_and_paths_are_apart_where_the_key_names_them(adapter: &Adapter) {
    let app = adapter.start().await;
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

/// HTTP/2 has no `Host` field: the host is a part of each request's URI.
pub async fn h9_hosts_are_apart_over_http2_too(adapter: &Adapter) {
    let app = adapter.start().await;
    let vary = ("x-answer-vary", "host");
    for (path, a, b) in [("/host", "host 1", "host 2"), ("/page/x", "x 1", "x 2")] {
        for (host, text) in [("a.example", a), ("b.example", b), ("A.example", a)] {
            let body = app.server.get_over_http2(host, path, vary).await;
            assert_eq!(body, text, "{host}{path}");
        }
        for (host, text) in [("a.example", a), ("b.example", b)] {
            let line = format!("GET {path}");
            check(
                &app,
                &[(&line, &[("host", host), vary], 200, HIT, text, &[])],
            )
            .await;
        }
    }
}

#[rustfmt::skip] // A row is a line.
pub async fn h9_two_users_are_apart_by_a_cookie_that_the_key_names(adapter: &Adapter) {
    let app = adapter.start().await;
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

pub async fn c4_a_reset_is_seen_by_the_route(adapter: &Adapter) {
    let app = adapter.start().await;
    check(&app, &[("GET /page/7", &[], 200, STORED, "7 1", &[])]).await;
    app.reset("page-7").await;
    check(&app, &[("GET /page/7", &[], 200, STORED, "7 2", &[])]).await;
}

#[rustfmt::skip] // A row is a line.
pub async fn h4_what_is_large_or_a_stream_passes_through_whole(adapter: &Adapter) {
    let app = adapter.start().await;
    let large = "x".repeat(2 << 20);
    let stream = [("x-body", "stream")];
    let long = "cachify; fwd=bypass; detail=too-large";
    let streaming = "cachify; fwd=bypass; detail=streaming";
    check(
        &app,
        &[
            ("GET /page/l", &[("x-body", "large")], 200, long, &large, &[]),
            ("GET /page/l", &[("x-body", "large")], 200, long, &large, &[]),
            ("GET /page/s", &stream, 200, streaming, "s 1", &[("content-length", None)]),
            ("GET /page/s", &stream, 200, streaming, "s 2", &[]),
            ("GET /small/123456789", &[], 200, long, "123456789 1", &[]),
            ("GET /small/12345678", &[], 200, STORED, "12345678 1", &[]),
        ],
    )
    .await;
}

#[rustfmt::skip] // A row is a line.
pub async fn h4_a_stream_that_announces_its_length_is_stored(adapter: &Adapter) {
    let app = adapter.start().await;
    check(
        &app,
        &[
            ("GET /page/t", &[("x-body", "told")], 200, STORED, "t 1", &[]),
            ("GET /page/t", &[], 200, HIT, "t 1", &[("content-length", Some("3"))]),
        ],
    )
    .await;
}

pub async fn h4_a_stream_passes_through_as_it_comes(adapter: &Adapter) {
    let app = adapter.start().await;
    let endless = [("x-body", "endless")];
    let mut client = app.server.send("GET /page/e", &endless).await;
    client.until("e ").await;
}

pub async fn h4_a_body_that_breaks_off_breaks_off_for_the_client_too(adapter: &Adapter) {
    let app = adapter.start().await;
    for n in 1..=2 {
        let broken = app.server.ask("GET /page/b", &[("x-body", "broken")]).await;
        assert!(!broken.is_whole, "{broken:?}");
        assert_eq!(app.probe.calls("b"), n);
    }
}

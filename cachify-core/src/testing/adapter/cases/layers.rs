//! Adapters that wrap a handler, and so make keys of requests and read bodies themselves.

use super::{Adapter, HIT, LOCKED, Problem, STORED, assert_problem, check, key};

const BAD: Problem = (
    400,
    "Bad request",
    "A part of the request that is needed here is missing or not of the expected form.",
);
const OURS: Problem = (
    500,
    "Internal server error",
    "The server is not set up for this request.",
);
const SLOW: Problem = (408, "Request timeout", "The body did not arrive in time.");
const LONG: Problem = (
    413,
    "Content too large",
    "The body is longer than what is accepted here.",
);

#[rustfmt::skip] // A row is a line.
pub async fn h1_a_request_that_does_not_fill_the_key_passes_through(adapter: &Adapter) {
    let app = adapter.start().await;
    let unkeyed = "cachify; fwd=bypass; detail=no-key";
    check(
        &app,
        &[
            ("GET /paged", &[], 200, unkeyed, "paged 1", &[]),
            ("GET /paged", &[], 200, unkeyed, "paged 2", &[]),
            ("GET /paged?page=7", &[], 200, STORED, "paged 3", &[]),
            ("GET /paged?page=7", &[], 200, HIT, "paged 3", &[]),
        ],
    )
    .await;
}

pub async fn h3_s28_a_handler_sees_no_condition(adapter: &Adapter) {
    let app = adapter.start().await;
    let told = [("if-none-match", "*"), ("range", "bytes=0-0"), ("x-a", "b")];
    assert_eq!(app.server.ask("GET /page/s", &told).await.status, 304);
    let seen = app.probe.headers("s");
    assert_eq!(seen.get("x-a").unwrap(), "b");
    for (name, _) in &told[..2] {
        assert_eq!(seen.get(*name), None);
    }
}

pub async fn h5_a_request_that_does_not_fill_the_key_is_refused(adapter: &Adapter) {
    let app = adapter.start().await;
    // No request can fill the last one: the route has no such parameter.
    for (part, problem) in [("query", BAD), ("header", BAD), ("path", OURS)] {
        let line = format!("PUT /unfilled/{part}");
        assert_problem(&app.server.ask(&line, &[]).await, problem);
    }
    assert_eq!(app.probe.calls("unfilled"), 0);
    for (line, headers) in [
        ("PUT /unfilled/query?page=1", &[][..]),
        ("PUT /unfilled/header", &[("x-tenant", "a")]),
    ] {
        assert_eq!(app.server.ask(line, headers).await.status, 200);
    }
}

pub async fn h5_a_path_that_is_not_utf8_is_the_clients_mistake(adapter: &Adapter) {
    let app = adapter.start().await;
    assert_problem(&app.server.ask("PUT /lock/%ff", &[]).await, BAD);
}

pub async fn h5_what_makes_no_typed_key_is_the_clients_mistake(adapter: &Adapter) {
    let app = adapter.start().await;
    for path in ["/item/seven?part=a", "/item/7", "/item/7?part=a&part=b"] {
        let answer = app.server.ask(&format!("PUT {path}"), &[]).await;
        assert_problem(&answer, BAD);
    }
    // The path takes precedence over the query, which a client chooses freely.
    let answer = app.server.ask("PUT /item/7?id=8&part=a%26b", &[]).await;
    assert_eq!(answer.brief(), (200, "7 a&b"));
}

#[rustfmt::skip] // A row is a line.
pub async fn h9_one_layer_over_several_routes_answers_one_of_them(adapter: &Adapter) {
    let app = adapter.start().await;
    let route = "cachify; fwd=bypass; detail=route";
    check(
        &app,
        &[
            ("GET /users/7", &[], 200, STORED, "/users/7 1", &[]),
            ("GET /orders/7", &[], 200, route, "/orders/7 1", &[]),
            ("GET /users/7", &[], 200, HIT, "/users/7 1", &[]),
        ],
    )
    .await;
}

#[rustfmt::skip] // A row is a line.
pub async fn h9_the_path_of_a_nested_route_is_whole(adapter: &Adapter) {
    let app = adapter.start().await;
    check(
        &app,
        &[
            ("GET /nested/a/7", &[], 200, STORED, "7 1", &[]),
            ("GET /nested/b/7", &[], 200, STORED, "7 2", &[]),
            ("GET /nested/a/7", &[], 200, HIT, "7 1", &[]),
            ("GET /nested/b/7", &[], 200, HIT, "7 2", &[]),
        ],
    )
    .await;
    app.reset("path-/nested/a/7").await;
    check(&app, &[("GET /nested/a/7", &[], 200, STORED, "7 3", &[])]).await;
}

pub async fn p1_l6_a_stalled_or_long_upload_is_refused(adapter: &Adapter) {
    let app = adapter.start().await;
    let line = "PUT /limited/u";
    let chunked = ("transfer-encoding", "chunked");
    for framing in [None, Some(chunked)] {
        let stalled = app.server.upload(line, framing).await;
        // No permit was acquired for the stalled upload, so the pool of one has room.
        assert_eq!(app.server.ask(line, &[]).await.status, 200);
        assert_problem(&stalled.answer().await, SLOW);
    }
    let framing = Some(("content-length", "101"));
    let mut long = app.server.upload(line, framing).await;
    long.write(&"x".repeat(93)).await;
    assert_problem(&long.answer().await, LONG);
    let mut long = app.server.upload(line, Some(chunked)).await;
    long.write(&format!("64\r\n{}\r\n", "x".repeat(100))).await;
    assert_problem(&long.answer().await, LONG);
    // A body within the limit arrives unchanged.
    let body = "x".repeat(100);
    let whole = app.server.ask_with(line, &[("x-body", "echo")], &body);
    assert_eq!(whole.await.brief(), (200, body.as_str()));
    let _permit = app.cachify.lock(&key("hold-u")).acquire().await.unwrap();
    assert_problem(&app.server.ask("PUT /lock/u", &[]).await, LOCKED);
}

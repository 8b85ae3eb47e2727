//! H7, H8 and H9: requests that change a route, bypass its cache, or are for another route or host.
#![cfg(feature = "http")]
#![allow(clippy::unwrap_used)]

mod http_support;
#[path = "common/log.rs"]
mod log;

use std::future::{pending, ready};
use std::sync::{Arc, Mutex, PoisonError};

use cachify_core::http::{CacheRules, Routed};
use http::Request;
use http_support::{Body, Route, backends, body, get, made, memory, rules, status, text, with};
use log::Log;

fn numbered() -> impl Fn(http::request::Parts) -> std::future::Ready<http::Response<Body>> {
    let count = Mutex::new(0);
    move |parts| {
        let mut count = count.lock().unwrap_or_else(PoisonError::into_inner);
        *count += 1;
        let mut response = text(count.to_string());
        if let Some(status) = parts.headers.get("x-status") {
            *response.status_mut() = status.to_str().unwrap().parse().unwrap();
        }
        ready(response)
    }
}

fn ask(method: &str, headers: &[(&str, &str)]) -> Request<()> {
    let mut request = get("/page", headers);
    *request.method_mut() = method.parse().unwrap();
    request
}

#[tokio::test(start_paused = true)]
async fn h7_an_unsafe_method_resets_the_key_unless_it_fails() {
    for cachify in backends() {
        let route = Route::new(rules(&cachify, "page"), numbered());
        for (method, code, resets) in [
            ("POST", "200", true),
            ("PUT", "204", true),
            ("PATCH", "303", true),
            ("DELETE", "200", true),
            ("M-SEARCH", "200", true),
            ("POST", "404", false),
            ("DELETE", "500", false),
            ("OPTIONS", "200", false),
            ("TRACE", "200", false),
        ] {
            route.get(&[]).await;
            assert!(status(&route.get(&[]).await).starts_with("cachify; hit"));
            let answer = route.ask(ask(method, &[("x-status", code)])).await.unwrap();
            assert_eq!(status(&answer), "cachify; fwd=method");
            let again = route.get(&[]).await;
            assert_eq!(
                status(&again).starts_with("cachify; hit"),
                !resets,
                "{method} {code}"
            );
        }
    }
}

#[tokio::test(start_paused = true)]
async fn h7_c12_a_change_whose_client_goes_away_resets_the_key() {
    for cachify in backends() {
        let route = Route::new(rules(&cachify, "page"), |parts| async move {
            if parts.method == "PUT" {
                pending::<()>().await;
            }
            text("page")
        });
        route.get(&[]).await;
        let change = route.ask(ask("PUT", &[]));
        let within = std::time::Duration::from_secs(1);
        assert!(tokio::time::timeout(within, change).await.is_err());
        // The reset happens in the background.
        tokio::time::sleep(within).await;
        assert_eq!(
            status(&route.get(&[]).await),
            "cachify; fwd=uri-miss; stored"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn h8_a_bypass_says_why() {
    for cachify in backends() {
        let route = Route::new(rules(&cachify, "page"), numbered());
        for (headers, why) in [
            ([("cookie", "_ga=1")], "cookie"),
            ([("authorization", "x")], "authorization"),
            ([("content-length", "3")], "request-body"),
            ([("transfer-encoding", "chunked")], "request-body"),
            ([("if-match", "*")], "precondition"),
            ([("upgrade", "websocket")], "upgrade"),
            ([("x-status", "404")], "status"),
            ([("x-status", "500")], "status"),
        ] {
            let answer = route.get(&headers).await;
            let expected = format!("cachify; fwd=bypass; detail={why}");
            assert_eq!(status(&answer), expected, "{headers:?}");
        }
        let mut small = rules(&cachify, "small");
        small.limit(1);
        for (response, why) in [
            (with(text("x"), &[("set-cookie", "id=1")]), "set-cookie"),
            (
                with(text("x"), &[("cache-control", "no-store")]),
                "cache-control",
            ),
            (with(text("x"), &[("expires", "0")]), "expired"),
            (with(text("x"), &[("vary", "*")]), "vary"),
            (with(text("x"), &[("trailer", "sum")]), "part"),
            (text("xx"), "too-large"),
            (stream(), "streaming"),
        ] {
            let response = Mutex::new(Some(response));
            let route = Route::new(small.clone(), move |_| {
                ready(response.lock().unwrap().take().unwrap())
            });
            let expected = format!("cachify; fwd=bypass; detail={why}");
            assert_eq!(status(&route.get(&[]).await), expected);
        }
        let unfilled = Route::new(rules(&cachify, "x-{query.page}"), numbered());
        let expected = "cachify; fwd=bypass; detail=no-key";
        assert_eq!(status(&unfilled.get(&[]).await), expected);
    }
}

fn stream() -> http::Response<Body> {
    http::Response::new(Body::Stream {
        length: None,
        pieces: vec!["x"],
        breaks: false,
    })
}

/// Builds a request with its own scheme, host and path.
struct At<'a>(Option<&'a str>, &'a str);

impl Routed for At<'_> {
    fn route(&self) -> Option<&str> {
        self.0
    }

    fn path(&self) -> &str {
        self.1
    }

    fn params(&self) -> impl Iterator<Item = (&str, &str)> {
        [("id", "7")].into_iter()
    }
}

async fn at(rules: &Arc<CacheRules>, place: At<'_>, answer: &'static str) -> (String, String) {
    let (parts, ()) = get(place.1, &[]).into_parts();
    let plan = rules.plan(&parts, &place);
    let call = move |_| async move { Ok::<_, String>(text(answer)) };
    let response = rules.serve(plan, parts, made, call);
    let response = response.await.unwrap();
    let said = status(&response).split("; ttl").next().unwrap().to_owned();
    (body(&response).to_owned(), said)
}

#[tokio::test]
async fn h9_one_route_is_never_answered_with_anothers_body() {
    let (stored, hit) = ("cachify; fwd=uri-miss; stored", "cachify; hit");
    let bypass = "cachify; fwd=bypass; detail=route";
    let users = || At(Some("/users/{id}"), "/users/7");
    let orders = || At(Some("/orders/{id}"), "/orders/7");
    let untold = || At(None, "/users/7");
    for cachify in backends() {
        let rules = Arc::new(rules(&cachify, "row-{id}"));
        for (place, answer, said) in [
            (users(), "user", stored),
            (orders(), "order", bypass),
            (untold(), "untold", bypass),
            (users(), "user", hit),
        ] {
            let expected = (answer.to_owned(), said.to_owned());
            assert_eq!(at(&rules, place, answer).await, expected);
        }
        let rules = Arc::new(http_support::rules(&cachify, "path-{path}"));
        assert_eq!(at(&rules, users(), "user").await.1, stored);
        assert_eq!(at(&rules, orders(), "order").await.1, stored);
        assert_eq!(at(&rules, untold(), "user").await.0, "user");
        let mut rules = http_support::rules(&cachify, "alike-{id}");
        rules.same_on_every_route();
        let rules = Arc::new(rules);
        assert_eq!(at(&rules, untold(), "a").await.1, stored);
        assert_eq!(at(&rules, orders(), "b").await.1, hit);
    }
}

#[tokio::test]
async fn h9_what_varies_by_host_is_apart_over_http2_too() {
    for cachify in backends() {
        let host = |parts: http::request::Parts| {
            ready(with(
                text(parts.uri.authority().unwrap().to_string()),
                &[("vary", "host")],
            ))
        };
        let route = Route::new(rules(&cachify, "page"), host);
        for _ in 0..2 {
            for host in ["a.example", "b.example"] {
                let request = get(&format!("https://{host}/page"), &[]);
                assert_eq!(body(&route.ask(request).await.unwrap()), host);
            }
        }
        assert_eq!(route.runs(), 2);
    }
}

#[tokio::test]
async fn h9_two_users_are_apart_by_a_cookie_that_the_key_names() {
    for cachify in backends() {
        let mut rules = rules(&cachify, "page-{cookie.session}");
        rules.ignore_cookies(["_ga"]);
        let route = Route::new(rules, |parts: http::request::Parts| {
            ready(text(parts.headers["cookie"].as_bytes().to_vec()))
        });
        for (cookie, seen, said) in [
            (
                "session=ann; _ga=1",
                "session=ann",
                "cachify; fwd=uri-miss; stored",
            ),
            (
                "session=bob",
                "session=bob",
                "cachify; fwd=uri-miss; stored",
            ),
            ("_ga=2; session=ann", "session=ann", "cachify; hit"),
            (
                "session=ann; theme=dark",
                "session=ann; theme=dark",
                "cachify; fwd=bypass; detail=cookie",
            ),
            ("_ga=2", "_ga=2", "cachify; fwd=bypass; detail=no-key"),
        ] {
            let answer = route.get(&[("cookie", cookie)]).await;
            let word = status(&answer).split("; ttl").next().unwrap();
            assert_eq!((body(&answer), word), (seen, said), "{cookie}");
        }
    }
}

#[tokio::test]
async fn h8_the_log_says_once_why_a_route_does_not_hit() {
    let log = Log::start();
    let route = Route::new(rules(&memory(), "logged-bypass"), numbered());
    for _ in 0..3 {
        route.get(&[("cookie", "theme=s3cret")]).await;
    }
    assert_eq!(log.lines_with("ignore_cookies"), 1, "{:?}", log.text());
    assert_eq!(log.lines_with("s3cret"), 0);
}

#[tokio::test]
async fn h9_a_second_host_is_told_once_with_both_names() {
    let log = Log::start();
    let ask = async |route: &Route, hosts: &[&str]| {
        for host in hosts {
            route.get(&[("host", host)]).await;
        }
    };
    let cachify = memory();
    let route = Route::new(rules(&cachify, "one-host"), numbered());
    ask(
        &route,
        &[
            "10.0.0.1",
            "localhost:80",
            "[::1]:8080",
            "A.example",
            "a.example:80",
        ],
    )
    .await;
    assert_eq!(log.lines_with("hosts"), 0, "{:?}", log.text());
    ask(&route, &["b.example", "c.example", "b.example"]).await;
    assert_eq!(log.lines_with("hosts"), 1, "{:?}", log.text());
    assert_eq!(
        log.lines_with("first=\"a.example\" host=\"b.example\""),
        1,
        "{:?}",
        log.text()
    );

    let named = Route::new(rules(&cachify, "named-{host}"), numbered());
    let mut alike = rules(&cachify, "alike-hosts");
    alike.same_on_every_host();
    let alike = Route::new(alike, numbered());
    for route in [&named, &alike] {
        ask(route, &["a.example", "b.example"]).await;
    }
    assert_eq!((named.runs(), alike.runs()), (2, 1));
    assert_eq!(log.lines_with("hosts"), 1, "{:?}", log.text());
}

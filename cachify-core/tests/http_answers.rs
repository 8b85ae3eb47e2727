//! H3 and H6: conditions, ranges, HEAD, and clients that disconnect.
#![cfg(feature = "http")]
#![allow(clippy::unwrap_used)]

mod http_support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use http::{Method, StatusCode};
use http_support::{Body, Route, backends, body, get, header, memory, rules, status, text, with};

/// A handler that would answer 304 and 206 itself if it were asked to.
fn versioned(cachify: &cachify_core::Cachify) -> Route {
    Route::new(rules(cachify, "page"), |request| async move {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let mut answer = with(
            text("0123456789"),
            &[("etag", "\"v1\""), ("x-custom", "kept")],
        );
        if request.headers.contains_key("if-none-match") {
            *answer.body_mut() = Body::Full("".into());
            *answer.status_mut() = StatusCode::NOT_MODIFIED;
        }
        if request.headers.contains_key("range") {
            *answer.body_mut() = Body::Full("01".into());
            *answer.status_mut() = StatusCode::PARTIAL_CONTENT;
        }
        answer
    })
}

const KNOWN: &[(&str, &str)] = &[("if-none-match", "\"v1\"")];

#[tokio::test(start_paused = true)]
async fn h3_s28_a_leaders_condition_is_its_own() {
    for cachify in backends() {
        let route = versioned(&cachify);
        let mut asked = vec![tokio::spawn(route.ask(get("/", KNOWN)))];
        tokio::time::sleep(Duration::from_millis(10)).await;
        asked.extend((0..10).map(|_| tokio::spawn(route.ask(get("/", &[])))));
        let answers = join_all(asked).await;
        let answers: Vec<_> = answers.into_iter().map(|a| a.unwrap().unwrap()).collect();
        assert_eq!(answers[0].status(), StatusCode::NOT_MODIFIED);
        assert_eq!(body(&answers[0]), "");
        for answer in &answers[1..] {
            assert_eq!(
                (answer.status(), body(answer)),
                (StatusCode::OK, "0123456789")
            );
        }
        assert_eq!(route.runs(), 1);
        // Waiters and hits get an answer to their own condition.
        let hit = route.get(KNOWN).await;
        assert_eq!(hit.status(), StatusCode::NOT_MODIFIED);
        assert_eq!(header(&hit, "etag"), Some("\"v1\""));
    }
}

#[tokio::test(start_paused = true)]
async fn h3_a_leaders_range_is_its_own() {
    for cachify in backends() {
        let route = versioned(&cachify);
        let part = route.get(&[("range", "bytes=2-4")]).await;
        assert_eq!(
            (part.status(), body(&part)),
            (StatusCode::PARTIAL_CONTENT, "234")
        );
        assert_eq!(header(&part, "content-range"), Some("bytes 2-4/10"));
        assert_eq!(status(&part), "cachify; fwd=uri-miss; stored");
        assert_eq!(body(&route.get(&[]).await), "0123456789");
        assert_eq!(route.runs(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn h3_s31_head_first_then_get_in_full() {
    for cachify in backends() {
        let route = Route::new(rules(&cachify, "page"), |request| {
            let text = match request.method {
                Method::HEAD => text(""),
                _ => text("0123456789"),
            };
            std::future::ready(with(text, &[("x-custom", "kept")]))
        });
        let head = || {
            let mut request = get("/", &[]);
            *request.method_mut() = Method::HEAD;
            route.ask(request)
        };
        assert_eq!(status(&head().await.unwrap()), "cachify; fwd=uri-miss");
        assert_eq!(status(&head().await.unwrap()), "cachify; fwd=uri-miss");
        assert_eq!(body(&route.get(&[]).await), "0123456789");
        assert_eq!(route.runs(), 3);
        let hit = head().await.unwrap();
        assert_eq!((body(&hit), status(&hit)), ("", "cachify; hit; ttl=300"));
        assert_eq!(header(&hit, "content-length"), Some("10"));
        assert_eq!(header(&hit, "x-custom"), Some("kept"));
        assert_eq!(route.runs(), 3);
    }
}

#[tokio::test(start_paused = true)]
async fn h3_headers_and_body_come_back_byte_for_byte() {
    for cachify in backends() {
        let route = Route::new(rules(&cachify, "page"), |_| {
            let mut answer = with(
                text(&b"\0\x01body"[..]),
                &[
                    ("x-twice", "1"),
                    ("x-twice", "2"),
                    ("connection", "x-hop"),
                    ("x-hop", "1"),
                ],
            );
            let bytes = http::HeaderValue::from_bytes(b"caf\xe9").unwrap();
            answer.headers_mut().insert("x-bytes", bytes);
            std::future::ready(answer)
        });
        for _ in 0..2 {
            let answer = route.get(&[]).await;
            let twice: Vec<_> = answer.headers().get_all("x-twice").iter().collect();
            assert_eq!(twice, ["1", "2"]);
            assert_eq!(answer.headers()["x-bytes"], &b"caf\xe9"[..]);
            assert_eq!(body(&answer), "\0\x01body");
            assert!(!answer.headers().contains_key("x-hop"));
            assert!(!answer.headers().contains_key("connection"));
        }
        assert_eq!(route.runs(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn h3_caches_closer_to_the_origin_keep_their_word() {
    for cachify in backends() {
        let route = Route::new(rules(&cachify, "page"), |_| {
            std::future::ready(with(text(""), &[("cache-status", "origin; hit")]))
        });
        for last in ["cachify; fwd=uri-miss; stored", "cachify; hit; ttl=300"] {
            let answer = route.get(&[]).await;
            let told: Vec<_> = answer.headers().get_all("cache-status").iter().collect();
            assert_eq!(told, ["origin; hit", last]);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn h3_what_passes_through_keeps_its_conditions() {
    for cachify in backends() {
        let route = Route::new(rules(&cachify, "file"), |request| {
            let range = request.headers.get("range").cloned();
            let mut answer = with(text("x"), &[("cache-control", "no-store")]);
            answer
                .headers_mut()
                .extend(range.map(|range| (http::HeaderName::from_static("x-range"), range)));
            std::future::ready(answer)
        });
        route.get(&[]).await;
        let answer = route.get(&[("range", "bytes=0-1")]).await;
        assert_eq!(header(&answer, "x-range"), Some("bytes=0-1"));
    }
}

#[tokio::test(start_paused = true)]
async fn h3_a_reload_is_ignored_unless_the_rules_honor_it() {
    for cachify in backends() {
        for (honor, runs) in [(false, 1), (true, 3)] {
            let mut rules = rules(&cachify, if honor { "honors" } else { "ignores" });
            rules.honor_request_cache_control(honor);
            let route = Route::new(rules, |_| std::future::ready(text("x")));
            route.get(&[]).await;
            let fresh = route.get(&[("cache-control", "no-cache")]).await;
            let unstored = route.get(&[("cache-control", "no-store")]).await;
            assert_eq!(route.runs(), runs);
            if honor {
                assert_eq!(status(&fresh), "cachify; fwd=request; stored");
                assert_eq!(status(&unstored), "cachify; fwd=request");
            }
            assert!(status(&route.get(&[]).await).starts_with("cachify; hit"));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn h3_a_client_says_what_it_accepts_where_the_rules_honor_it() {
    for cachify in backends() {
        let mut rules = rules(&cachify, "choosy");
        rules.honor_request_cache_control(true);
        let count = AtomicUsize::new(0);
        let route = Route::new(rules, move |_| {
            let n = count.fetch_add(1, Ordering::SeqCst);
            std::future::ready(text(n.to_string()))
        });
        let hit = "cachify; hit; ttl=280";
        let fresh = "cachify; fwd=request; stored";
        let only = "cachify; detail=only-if-cached";
        for (told, method, code, said) in [
            ("only-if-cached", Method::GET, 504, only),
            ("only-if-cached", Method::HEAD, 504, only),
            (
                "max-age=20",
                Method::GET,
                200,
                "cachify; fwd=uri-miss; stored",
            ),
            ("max-age=20", Method::GET, 200, hit),
            ("max-age=20, max-stale", Method::GET, 200, hit),
            ("min-fresh=280", Method::GET, 200, hit),
            ("only-if-cached", Method::GET, 200, hit),
            ("only-if-cached, no-store", Method::HEAD, 200, hit),
            ("only-if-cached, max-age=19", Method::GET, 504, only),
            ("only-if-cached, no-cache", Method::GET, 504, only),
            ("max-age=19, max-stale=9", Method::GET, 200, fresh),
            ("min-fresh=281", Method::GET, 200, fresh),
            ("max-age=soon", Method::GET, 200, fresh),
            ("no-cache; x", Method::GET, 200, "cachify; fwd=request"),
            ("max-age=20", Method::HEAD, 200, hit),
            ("max-age=19", Method::HEAD, 200, "cachify; fwd=request"),
        ] {
            let mut request = get("/", &[("cache-control", told)]);
            *request.method_mut() = method;
            let answer = route.ask(request).await.unwrap();
            assert_eq!(
                (answer.status().as_u16(), status(&answer)),
                (code, said),
                "{told}"
            );
            if said.ends_with("stored") {
                tokio::time::advance(Duration::from_secs(20)).await;
            }
        }
    }
}

/// A handler that takes 100 ms and records whether it finished.
fn slow(cachify: &cachify_core::Cachify, finish: bool) -> (Route, Arc<AtomicBool>) {
    let ended = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&ended);
    let mut rules = rules(cachify, "slow");
    rules.finish_after_disconnect(usize::from(finish));
    let route = Route::new(rules, move |_| {
        let ended = Arc::clone(&ended);
        async move {
            tokio::time::sleep(Duration::from_millis(100)).await;
            ended.store(true, Ordering::SeqCst);
            text("slow")
        }
    });
    (route, seen)
}

#[tokio::test(start_paused = true)]
async fn h6_a_client_that_goes_away_takes_its_computation_along() {
    for cachify in backends() {
        let (route, ended) = slow(&cachify, false);
        let client = tokio::time::timeout(Duration::from_millis(50), route.get(&[]));
        assert!(client.await.is_err());
        tokio::time::sleep(Duration::from_millis(200)).await;
        assert!(!ended.load(Ordering::SeqCst));
        assert_eq!(
            status(&route.get(&[]).await),
            "cachify; fwd=uri-miss; stored"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn h6_a_computation_finishes_and_fills_after_a_disconnect() {
    for cachify in backends() {
        let (route, ended) = slow(&cachify, true);
        let client = tokio::time::timeout(Duration::from_millis(50), route.get(&[]));
        assert!(client.await.is_err());
        tokio::time::sleep(Duration::from_millis(51)).await;
        assert!(ended.load(Ordering::SeqCst));
        let hit = route.get(&[]).await;
        assert_eq!((body(&hit), route.runs()), ("slow", 1));
        assert!(status(&hit).starts_with("cachify; hit"));
    }
}

#[tokio::test(start_paused = true)]
async fn h6_no_more_computations_outlive_their_clients_than_may() {
    for cachify in backends() {
        let ended = Arc::new(AtomicUsize::new(0));
        let seen = Arc::clone(&ended);
        let mut rules = rules(&cachify, "slow-{query}");
        rules.finish_after_disconnect(2);
        let route = Route::new(rules, move |_| {
            let ended = Arc::clone(&ended);
            async move {
                tokio::time::sleep(Duration::from_millis(100)).await;
                ended.fetch_add(1, Ordering::SeqCst);
                text("slow")
            }
        });
        // Twice, since finished computations make room.
        for round in 1..=2 {
            let clients = (0..5).map(|n| route.ask(get(&format!("/?{round}{n}"), &[])));
            let clients = tokio::time::timeout(Duration::from_millis(50), join_all(clients));
            assert!(clients.await.is_err());
            tokio::time::sleep(Duration::from_millis(200)).await;
            assert_eq!(seen.load(Ordering::SeqCst), 2 * round);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn h6_a_panic_of_a_computation_that_may_outlive_its_client_reaches_it() {
    let mut rules = rules(&memory(), "panics");
    rules.finish_after_disconnect(1);
    let route = Route::new(rules, |_| async { panic!("on purpose") });
    let panic = tokio::spawn(route.ask(get("/", &[]))).await.unwrap_err();
    let message = panic.into_panic();
    assert_eq!(message.downcast_ref::<&str>(), Some(&"on purpose"));
}

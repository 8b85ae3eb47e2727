//! H1 and H4: responses that are stored, and responses that pass through.
#![cfg(feature = "http")]
#![allow(clippy::unwrap_used)]

mod http_support;

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use cachify_core::Cachify;
use cachify_core::backend::memory::Memory;
use cachify_core::clock::Clock;
use futures_util::future::join_all;
use http::StatusCode;
use http_support::{
    Body, Route, backends, body, far, get, header, memory, rules, status, text, with,
};
use tokio::sync::Semaphore;
use tokio::time::Instant;

/// Answers each call with a new number.
fn numbered(response: impl Fn(usize) -> http::Response<Body> + Send + Sync + 'static) -> Handler {
    let count = AtomicUsize::new(0);
    Box::new(move |_| std::future::ready(response(count.fetch_add(1, Ordering::SeqCst))))
}

type Handler =
    Box<dyn Fn(http::request::Parts) -> std::future::Ready<http::Response<Body>> + Send + Sync>;

/// Waits until the lease is released. If nothing was stored, that happens in the background, and no
/// other request can store before.
async fn lease_given_back() {
    for _ in 0..4 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn h1_a_get_is_answered_from_the_cache() {
    for cachify in backends() {
        let route = Route::new(rules(&cachify, "page"), numbered(|n| text(n.to_string())));
        let first = route.get(&[]).await;
        assert_eq!(
            (body(&first), status(&first)),
            ("0", "cachify; fwd=uri-miss; stored")
        );
        assert_eq!(header(&first, "age"), None);

        for (age, told) in [
            ("10", "cachify; hit; ttl=290"),
            ("20", "cachify; hit; ttl=280"),
        ] {
            tokio::time::advance(Duration::from_secs(10)).await;
            let hit = route.get(&[]).await;
            assert_eq!((body(&hit), status(&hit)), ("0", told));
            assert_eq!(header(&hit, "age"), Some(age));
            assert_eq!(header(&hit, "etag"), header(&first, "etag"));
        }

        tokio::time::advance(Duration::from_secs(280)).await;
        assert_eq!(body(&route.get(&[]).await), "1");
    }
}

#[tokio::test(start_paused = true)]
async fn h1_what_must_not_be_stored_is_not() {
    for cachify in backends() {
        for (name, value) in [
            ("set-cookie", "id=1"),
            ("cache-control", "no-store"),
            ("cache-control", "private, max-age=60"),
            ("vary", "*"),
        ] {
            let handler = numbered(move |n| with(text(n.to_string()), &[(name, value)]));
            let route = Route::new(rules(&cachify, "never"), handler);
            for n in 0..3 {
                let answer = route.get(&[]).await;
                assert_eq!(body(&answer), n.to_string(), "{name}: {value}");
                let expected = format!("cachify; fwd=bypass; detail={name}");
                assert_eq!(status(&answer), expected);
                assert_eq!(header(&answer, name), Some(value));
                assert_eq!(header(&answer, "etag"), None);
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn h1_other_statuses_are_stored_by_choice() {
    for cachify in backends() {
        let not_found = || {
            numbered(|n| {
                let mut response = text(n.to_string());
                *response.status_mut() = StatusCode::NOT_FOUND;
                response
            })
        };
        let route = Route::new(rules(&cachify, "no-404"), not_found());
        assert_eq!(body(&route.get(&[]).await), "0");
        assert_eq!(body(&route.get(&[]).await), "1");

        let mut rules = rules(&cachify, "404");
        rules.statuses([StatusCode::OK, StatusCode::NOT_FOUND]);
        let route = Route::new(rules, not_found());
        assert_eq!(body(&route.get(&[]).await), "0");
        let hit = route.get(&[]).await;
        assert_eq!((body(&hit), hit.status()), ("0", StatusCode::NOT_FOUND));
    }
}

#[tokio::test(start_paused = true)]
async fn h1_what_is_storable_again_is_stored_at_once() {
    for cachify in backends() {
        let route = Route::new(
            rules(&cachify, "later"),
            numbered(|n| {
                let mut response = text(n.to_string());
                if n == 0 {
                    *response.status_mut() = StatusCode::NOT_FOUND;
                }
                response
            }),
        );
        assert_eq!(body(&route.get(&[]).await), "0");
        lease_given_back().await;
        assert_eq!(
            status(&route.get(&[]).await),
            "cachify; fwd=uri-miss; stored"
        );
        assert_eq!(body(&route.get(&[]).await), "1");
    }
}

#[tokio::test(start_paused = true)]
async fn h1_requests_of_a_person_are_passed_through_unless_the_key_tells_them_apart() {
    for cachify in backends() {
        for (name, template) in [
            ("authorization", "token-{header.authorization}"),
            ("cookie", "cookie-{header.cookie}"),
        ] {
            let route = Route::new(rules(&cachify, "all"), numbered(|n| text(n.to_string())));
            for n in ["0", "1"] {
                let answer = route.get(&[(name, "ann")]).await;
                let expected = format!("cachify; fwd=bypass; detail={name}");
                assert_eq!((body(&answer), status(&answer)), (n, &*expected));
            }

            let route = Route::new(rules(&cachify, template), numbered(|n| text(n.to_string())));
            assert_eq!(body(&route.get(&[(name, "ann")]).await), "0");
            assert_eq!(body(&route.get(&[(name, "bob")]).await), "1");
            assert_eq!(body(&route.get(&[(name, "ann")]).await), "0");
            // A request without credentials does not fill the key.
            assert_eq!(body(&route.get(&[]).await), "2");
            assert_eq!(body(&route.get(&[]).await), "3");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn h1_other_methods_and_bodies_pass_through() {
    let route = Route::new(rules(&memory(), "page"), numbered(|n| text(n.to_string())));
    route.get(&[]).await;
    let mut post = get("/page", &[]);
    *post.method_mut() = http::Method::POST;
    let answer = route.ask(post).await.unwrap();
    assert_eq!(
        (body(&answer), status(&answer)),
        ("1", "cachify; fwd=method")
    );
    let answer = route.get(&[("content-length", "2")]).await;
    assert_eq!(
        (body(&answer), status(&answer)),
        ("2", "cachify; fwd=bypass; detail=request-body")
    );
}

#[tokio::test(start_paused = true)]
async fn h1_an_answers_own_time_shortens_that_of_the_rules() {
    for cachify in backends() {
        let short = numbered(|n| with(text(n.to_string()), &[("cache-control", "max-age=10")]));
        let route = Route::new(rules(&cachify, "short"), short);
        route.get(&[]).await;
        assert_eq!(status(&route.get(&[]).await), "cachify; hit; ttl=10");
        tokio::time::advance(Duration::from_secs(10)).await;
        assert_eq!(body(&route.get(&[]).await), "1");

        let lines = [("cache-control", "max-age=10000"), ("age", "9990")];
        let long = numbered(move |n| with(text(n.to_string()), &lines));
        let route = Route::new(rules(&cachify, "long"), long);
        assert_eq!(header(&route.get(&[]).await, "age"), Some("9990"));
        assert_eq!(status(&route.get(&[]).await), "cachify; hit; ttl=10");
    }
}

#[tokio::test(start_paused = true)]
async fn h9_what_cannot_be_parsed_is_not_stored() {
    for cachify in backends() {
        for value in [
            "private; max-age=60",
            "no-store;max-age=9",
            "no-cache no-store",
            "max-age=60, \"no-store",
        ] {
            let handler = numbered(move |n| with(text(n.to_string()), &[("cache-control", value)]));
            let route = Route::new(rules(&cachify, "malformed"), handler);
            assert_eq!(body(&route.get(&[]).await), "0", "{value}");
            assert_eq!(body(&route.get(&[]).await), "1", "{value}");
        }
    }
}

/// Formats a date this many seconds ago.
fn ago(seconds: u64) -> String {
    httpdate::fmt_http_date(std::time::SystemTime::now() - Duration::from_secs(seconds))
}

#[tokio::test(start_paused = true)]
async fn h1_an_old_date_counts_as_age() {
    for cachify in backends() {
        let route = |max_age: &str| {
            let (date, max_age) = (ago(3600), max_age.to_owned());
            let handler = numbered(move |n| {
                let lines = [("date", &*date), ("cache-control", &*max_age)];
                with(text(n.to_string()), &lines)
            });
            Route::new(rules(&cachify, "old"), handler)
        };
        let stale = route("max-age=3600");
        assert_eq!(body(&stale.get(&[]).await), "0");
        assert_eq!(body(&stale.get(&[]).await), "1");

        let fresh = route("max-age=3700");
        let first = fresh.get(&[]).await;
        tokio::time::advance(Duration::from_secs(10)).await;
        let hit = fresh.get(&[]).await;
        assert_eq!(
            (body(&hit), header(&hit, "date")),
            ("0", header(&first, "date"))
        );
        let age: u64 = header(&hit, "age").unwrap().parse().unwrap();
        assert!((3610..3620).contains(&age), "{age}");
        tokio::time::advance(Duration::from_secs(90)).await;
        assert_eq!(body(&fresh.get(&[]).await), "1");
    }
}

#[tokio::test(start_paused = true)]
async fn h3_a_stored_answer_keeps_the_date_it_was_made() {
    for cachify in backends() {
        let route = Route::new(rules(&cachify, "dated"), numbered(|_| text("x")));
        let first = route.get(&[]).await;
        let date = httpdate::parse_http_date(header(&first, "date").unwrap()).unwrap();
        assert!(date.elapsed().unwrap() < Duration::from_mins(1));
        tokio::time::advance(Duration::from_secs(100)).await;
        let hit = route.get(&[]).await;
        assert_eq!(header(&hit, "date"), header(&first, "date"));
        assert_eq!(header(&hit, "age"), Some("100"));
    }
}

#[tokio::test(start_paused = true)]
async fn h1_only_what_says_how_long_it_is_fresh_is_stored_by_choice() {
    for cachify in backends() {
        for (name, value, runs) in [
            ("x-none", "x", 2),
            ("cache-control", "public", 2),
            ("cache-control", "max-age=60", 1),
            ("cdn-cache-control", "max-age=60", 1),
        ] {
            let mut rules = rules(&cachify, &format!("explicit-{name}-{value}"));
            rules.only_explicit(true);
            let handler = numbered(move |n| with(text(n.to_string()), &[(name, value)]));
            let route = Route::new(rules, handler);
            route.get(&[]).await;
            route.get(&[]).await;
            assert_eq!(route.runs(), runs, "{name}: {value}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn h1_requests_with_authorization_share_what_is_open() {
    const ANN: &[(&str, &str)] = &[("authorization", "ann")];
    const BOB: &[(&str, &str)] = &[("authorization", "bob")];
    for cachify in backends() {
        for value in ["public", "s-maxage=60", "max-age=60, must-revalidate"] {
            let handler = numbered(move |n| with(text(n.to_string()), &[("cache-control", value)]));
            let route = Route::new(rules(&cachify, &format!("open-{value}")), handler);
            let first = route.get(ANN).await;
            assert_eq!(
                (body(&first), status(&first)),
                ("0", "cachify; fwd=uri-miss; stored")
            );
            for headers in [ANN, BOB, &[]] {
                let hit = route.get(headers).await;
                assert_eq!(body(&hit), "0", "{value}");
                assert!(status(&hit).starts_with("cachify; hit"));
            }
        }
        // A response to an anonymous request does not answer them, unless it says so.
        for (value, shared) in [
            ("max-age=60", false),
            ("max-age=60, must-revalidate", false),
            ("public", true),
        ] {
            let handler = numbered(move |n| with(text(n.to_string()), &[("cache-control", value)]));
            let route = Route::new(rules(&cachify, &format!("made-{value}")), handler);
            assert_eq!(body(&route.get(&[]).await), "0");
            let answer = route.get(ANN).await;
            assert_eq!(body(&answer) == "0", shared, "{value}");
            if !shared {
                let expected = "cachify; fwd=bypass; detail=authorization";
                assert_eq!(status(&answer), expected);
            }
            assert_eq!(body(&route.get(&[]).await), "0");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn h1_what_is_not_open_is_shared_with_nobody_and_keeps_nobody_waiting() {
    for cachify in backends() {
        let route = Route::new(rules(&cachify, "mixed"), |request| async move {
            tokio::time::sleep(Duration::from_millis(100)).await;
            match request.headers.get("authorization") {
                Some(user) => text(user.as_bytes().to_vec()),
                None => text("nobody"),
            }
        });
        let users = ["ann", "bob", "cid"].map(|user| [("authorization", user)]);
        let users = users.iter().map(|headers| route.get(headers));
        let others = (0..3).map(|_| route.get(&[]));
        let start = Instant::now();
        let (users, others) = tokio::join!(join_all(users), join_all(others));
        let users: Vec<_> = users.iter().map(body).collect();
        assert_eq!(users, ["ann", "bob", "cid"]);
        assert!(others.iter().all(|answer| body(answer) == "nobody"));
        assert!(start.elapsed() < Duration::from_millis(210));
    }
}

#[tokio::test(start_paused = true)]
async fn h1_ignored_cookies_do_not_matter_and_do_not_show() {
    for cachify in backends() {
        let cookies = |names: &[&str], template| {
            let mut rules = rules(&cachify, template);
            rules.ignore_cookies(names.iter().copied());
            Route::new(rules, |request| {
                let cookie = request.headers.get("cookie");
                let cookie = cookie.map_or(&b"none"[..], |cookie| cookie.as_bytes());
                std::future::ready(text(cookie.to_vec()))
            })
        };
        let route = cookies(&["_ga*", "theme"], "some");
        let tracked = [("cookie", "_ga=1; _gat=2; theme=dark")];
        assert_eq!(body(&route.get(&tracked).await), "none");
        for headers in [&tracked[..], &[], &[("cookie", "theme=light")]] {
            assert!(status(&route.get(headers).await).starts_with("cachify; hit"));
        }
        let session = route.get(&[("cookie", "theme=dark; id=7")]).await;
        assert_eq!(
            (body(&session), status(&session)),
            ("theme=dark; id=7", "cachify; fwd=bypass; detail=cookie")
        );
        let route = cookies(&["*"], "none");
        for _ in 0..2 {
            assert_eq!(body(&route.get(&[("cookie", "id=7")]).await), "none");
        }
        assert_eq!(route.runs(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn h1_no_status_that_cannot_be_an_entry_is_stored() {
    for cachify in backends() {
        let statuses =
            [204, 205, 206, 304, 600, 999].map(|code| StatusCode::from_u16(code).unwrap());
        for status in statuses {
            for full in [false, true] {
                let mut rules = rules(&cachify, &format!("{status}-{full}"));
                rules.statuses(statuses);
                let handler = numbered(move |_| {
                    let mut response = text(if full { "body" } else { "" });
                    *response.status_mut() = status;
                    response
                });
                let route = Route::new(rules, handler);
                route.get(&[]).await;
                route.get(&[]).await;
                let stored = !full && [204, 205].contains(&status.as_u16());
                assert_eq!(route.runs() == 1, stored, "{status} {full}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn h1_s29_a_route_that_sets_cookies_is_shared_with_nobody_and_slow_for_nobody() {
    for cachify in backends() {
        let count = AtomicUsize::new(0);
        let route = Route::new(rules(&cachify, "cookies"), move |_| {
            let n = count.fetch_add(1, Ordering::SeqCst);
            async move {
                tokio::time::sleep(Duration::from_millis(100)).await;
                with(text("hello"), &[("set-cookie", &n.to_string())])
            }
        });
        let mut cookies = HashSet::new();
        for (round, least, most) in [(1, 200, 210), (2, 100, 105), (3, 100, 105)] {
            let start = Instant::now();
            for answer in join_all((0..50).map(|_| route.get(&[]))).await {
                cookies.insert(header(&answer, "set-cookie").unwrap().to_owned());
            }
            let took = start.elapsed().as_millis();
            assert!(
                (least..=most).contains(&took),
                "round {round} took {took} ms"
            );
            assert_eq!(cookies.len(), 50 * round);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn h1_errors_of_the_moment_are_shared_with_nobody_and_forgotten() {
    let statuses = [
        StatusCode::INTERNAL_SERVER_ERROR,
        StatusCode::TOO_MANY_REQUESTS,
        StatusCode::LOCKED,
    ];
    let each = |status| backends().into_iter().map(move |cachify| (cachify, status));
    for (cachify, status) in statuses.into_iter().flat_map(each) {
        let count = AtomicUsize::new(0);
        let route = Route::new(rules(&cachify, "broken"), move |_| {
            let n = count.fetch_add(1, Ordering::SeqCst);
            async move {
                tokio::time::sleep(Duration::from_millis(100)).await;
                let mut response = text(n.to_string());
                if n < 50 {
                    *response.status_mut() = status;
                }
                response
            }
        });
        let start = Instant::now();
        let answers = join_all((0..50).map(|_| route.get(&[]))).await;
        let bodies: HashSet<_> = answers.iter().map(body).collect();
        assert_eq!(bodies.len(), 50);
        assert!(start.elapsed() < Duration::from_millis(210));
        // The next requests are one computation again.
        join_all((0..50).map(|_| route.get(&[]))).await;
        assert_eq!(route.runs(), 51);
    }
}

#[tokio::test(start_paused = true)]
async fn h1_errors_of_the_inner_service_reach_each_caller() {
    let route = Route::fallible(rules(&memory(), "fails"), |_| async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        Err("broken".to_owned())
    });
    let start = Instant::now();
    for answer in join_all((0..10).map(|_| route.ask(get("/", &[])))).await {
        assert_eq!(answer.unwrap_err(), "broken");
    }
    assert_eq!(route.runs(), 10);
    assert!(start.elapsed() < Duration::from_millis(210));
}

#[tokio::test(start_paused = true)]
async fn c2_concurrent_requests_are_one_call() {
    for cachify in backends() {
        let gate = Arc::new(Semaphore::new(0));
        let inside = Arc::clone(&gate);
        let route = Route::new(rules(&cachify, "one"), move |_| {
            let gate = Arc::clone(&inside);
            async move {
                gate.acquire().await.unwrap().forget();
                text("one")
            }
        });
        let callers: Vec<_> = (0..100)
            .map(|_| tokio::spawn(route.ask(get("/", &[]))))
            .collect();
        while route.runs() == 0 {
            tokio::task::yield_now().await;
        }
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
        gate.add_permits(100);
        let mut statuses = HashSet::new();
        for caller in callers {
            let answer = caller.await.unwrap().unwrap();
            assert_eq!(body(&answer), "one");
            statuses.insert(status(&answer).to_owned());
        }
        assert_eq!(route.runs(), 1);
        assert!(
            statuses.contains("cachify; fwd=uri-miss; collapsed"),
            "{statuses:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn h4_what_is_too_large_passes_through_whole() {
    for cachify in backends() {
        let mut small = rules(&cachify, "small");
        small.limit(10);
        let route = Route::new(small, numbered(|n| text("x".repeat(10 + n % 2))));
        assert_eq!(body(&route.get(&[]).await).len(), 10);
        assert_eq!(body(&route.get(&[]).await).len(), 10);
        assert_eq!(route.runs(), 1);

        let default = rules(&cachify, "large");
        let route = Route::new(default, numbered(|n| text(vec![b'x'; (1 << 20) + 1 - n])));
        assert_eq!(body(&route.get(&[]).await).len(), (1 << 20) + 1);
        lease_given_back().await;
        assert_eq!(body(&route.get(&[]).await).len(), 1 << 20);
        assert_eq!(status(&route.get(&[]).await), "cachify; hit; ttl=300");
    }
}

#[tokio::test(start_paused = true)]
async fn h4_a_stream_is_stored_only_if_its_length_is_known() {
    for cachify in backends() {
        let stream = |length| {
            numbered(move |_| {
                http::Response::new(Body::Stream {
                    length,
                    pieces: vec!["a", "b"],
                    breaks: false,
                })
            })
        };
        let route = Route::new(rules(&cachify, "endless"), stream(None));
        for _ in 0..2 {
            let answer = route.get(&[]).await;
            assert!(matches!(answer.body(), Body::Stream { .. }));
            assert_eq!(status(&answer), "cachify; fwd=bypass; detail=streaming");
        }
        assert_eq!(route.runs(), 2);

        let route = Route::new(rules(&cachify, "known"), stream(Some(2)));
        route.get(&[]).await;
        assert_eq!(body(&route.get(&[]).await), "ab");
        assert_eq!(route.runs(), 1);

        let told = numbered(|_| {
            let stream = http::Response::new(Body::Stream {
                length: None,
                pieces: vec!["a", "b"],
                breaks: false,
            });
            with(stream, &[("content-length", "2")])
        });
        let route = Route::new(rules(&cachify, "told"), told);
        route.get(&[]).await;
        assert_eq!(body(&route.get(&[]).await), "ab");
        assert_eq!(route.runs(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn h4_a_body_that_breaks_off_or_lies_about_its_length_is_not_stored() {
    for cachify in backends() {
        for (length, breaks) in [(2, true), (3, false)] {
            let handler = numbered(move |_| {
                http::Response::new(Body::Stream {
                    length: Some(length),
                    pieces: vec!["a", "b"],
                    breaks,
                })
            });
            let route = Route::new(rules(&cachify, "broken"), handler);
            route.get(&[]).await;
            route.get(&[]).await;
            assert_eq!(route.runs(), 2);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn h1_a_route_known_to_pass_through_costs_one_get() {
    let (cachify, gets) = far();
    let cookie = numbered(|_| with(text("x"), &[("set-cookie", "a")]));
    let route = Route::new(rules(&cachify, "pass"), cookie);
    route.get(&[]).await;
    let before = gets.load(Ordering::SeqCst);
    route.get(&[]).await;
    assert_eq!(gets.load(Ordering::SeqCst) - before, 1);
}

#[tokio::test(start_paused = true)]
async fn c11_answers_count_by_their_size_and_one_client_exhausts_nothing() {
    let clock = Clock::test();
    let memory = Memory::builder()
        .capacity_bytes(32 << 20)
        .clock(clock.clone())
        .build();
    let builder = Cachify::builder().backend(Arc::new(memory.clone()));
    let cachify = builder.clock(clock).connect_lazy().unwrap();
    let answer = |_| {
        let answer = with(text(vec![b'x'; 100_000]), &[("x-note", &"y".repeat(1000))]);
        std::future::ready(answer)
    };
    let route = Route::new(rules(&cachify, "search-{query}"), answer);
    let ask = |n| route.ask(get(&format!("/search?n={n}"), &[]));
    ask(0).await.unwrap();
    // Headers count twice: a hit keeps its own copy.
    let bytes = memory.bytes();
    assert!((102_000..104_500).contains(&bytes), "{bytes}");
    for n in 0..2000 {
        ask(n).await.unwrap();
        assert!(memory.bytes() <= 32 << 20);
    }
    assert!(memory.len() > 250, "{}", memory.len());
    assert_eq!(route.runs(), 2000);
}

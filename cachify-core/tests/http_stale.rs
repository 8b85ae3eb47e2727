//! C9 over HTTP: responses that are served after their lifetime (RFC 5861; RFC 9111, 4.2.4).
#![cfg(feature = "http")]
#![allow(clippy::unwrap_used)]

mod http_support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use cachify_core::http::CacheRules;
use cachify_core::{Cachify, KeyTemplate};
use http::{Method, Request, Response, StatusCode};
use http_support::{Body, Route, backends, body, get, header, memory, rules, status, text, with};
use tokio::sync::Semaphore;

const MINUTE: Duration = Duration::from_mins(1);

/// Handlers that number their responses. A request with `x-status` gets that status, or an error if
/// it is `error`, and one with `x-vary` a response that varies by language. While the gate is shut,
/// calls wait.
struct Site {
    cachify: Cachify,
    route: Route,
    gate: Arc<Semaphore>,
}

impl Site {
    fn new(
        cachify: &Cachify,
        headers: &'static [(&'static str, &'static str)],
        change: impl FnOnce(&mut CacheRules),
    ) -> Self {
        let mut rules = rules(cachify, "page");
        rules.ttl(MINUTE.into());
        change(&mut rules);
        let gate = Arc::new(Semaphore::new(Semaphore::MAX_PERMITS));
        let (open, count) = (Arc::clone(&gate), Arc::<AtomicUsize>::default());
        let route = Route::fallible(rules, move |request| {
            let n = count.fetch_add(1, Ordering::SeqCst) + 1;
            let open = Arc::clone(&open);
            async move {
                open.acquire().await.unwrap().forget();
                let mut answer = with(text(n.to_string()), headers);
                if request.headers.contains_key("x-vary") {
                    answer = with(answer, &[("vary", "accept-language")]);
                }
                match request.headers.get("x-status") {
                    Some(status) if status == "error" => return Err("failed".into()),
                    Some(status) => {
                        *answer.status_mut() = status.to_str().unwrap().parse().unwrap();
                    }
                    None => {}
                }
                Ok(answer)
            }
        });
        let cachify = cachify.clone();
        Self {
            cachify,
            route,
            gate,
        }
    }

    fn shut(&self) {
        self.gate.forget_permits(Semaphore::MAX_PERMITS);
    }

    fn open(&self) {
        self.gate.add_permits(100);
    }

    async fn get(&self, headers: &[(&str, &str)]) -> Response<Body> {
        self.route.get(headers).await
    }

    /// Returns the `Cache-Status` and the body.
    async fn brief(&self, headers: &[(&str, &str)]) -> (String, String) {
        let answer = self.get(headers).await;
        (status(&answer).to_owned(), body(&answer).to_owned())
    }

    async fn reset(&self) {
        let key = KeyTemplate::parse("page").unwrap().render(&[]);
        self.cachify.reset(&key).await.unwrap();
    }
}

fn said(status: &str, body: &str) -> (String, String) {
    (status.to_owned(), body.to_owned())
}

async fn pass(seconds: u64) {
    tokio::time::sleep(Duration::from_secs(seconds)).await;
}

/// Lets tasks in the background run until they wait for something.
async fn settle() {
    tokio::time::sleep(Duration::from_millis(1)).await;
}

const FAILS: &[(&str, &str)] = &[("x-status", "503")];
const STORED: &str = "cachify; fwd=uri-miss; stored";

#[tokio::test(start_paused = true)]
async fn c9_h3_a_stale_response_is_served_at_once_while_one_refresh_runs() {
    for cachify in backends() {
        let site = Site::new(&cachify, &[], |rules| rules.stale(MINUTE));
        assert_eq!(site.brief(&[]).await, said(STORED, "1"));
        pass(72).await;
        site.shut();
        for _ in 0..5 {
            let answer = site.get(&[]).await;
            assert_eq!(status(&answer), "cachify; hit; ttl=-12");
            assert_eq!((body(&answer), header(&answer, "age")), ("1", Some("72")));
            tokio::task::yield_now().await;
        }
        assert_eq!(site.route.runs(), 2, "one refresh");
        site.open();
        settle().await;
        assert_eq!(site.brief(&[]).await, said("cachify; hit; ttl=59", "2"));
        pass(200).await;
        assert_eq!(site.brief(&[]).await, said(STORED, "3"), "past its window");
    }
}

#[tokio::test(start_paused = true)]
async fn c9_h6_a_refresh_goes_on_without_its_client() {
    let site = Site::new(&memory(), &[], |rules| rules.stale(MINUTE));
    site.get(&[]).await;
    pass(61).await;
    site.shut();
    assert_eq!(site.brief(&[]).await.1, "1");
    settle().await;
    site.open();
    settle().await;
    assert_eq!(site.brief(&[]).await.1, "2");
}

/// The response to a failing handler's client some seconds after the end of a response's lifetime.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Served {
    AtOnce,
    OnError,
    No,
}
use Served::{AtOnce, No, OnError};

#[rustfmt::skip] // A row is a line.
#[tokio::test(start_paused = true)]
async fn c9_h1_a_response_says_how_long_it_may_be_stale() {
    let swr: &[_] = &[("cache-control", "max-age=10, stale-while-revalidate=30")];
    let sie: &[_] = &[("cache-control", "max-age=10, stale-if-error=30")];
    let both: &[_] = &[(
        "cache-control",
        "max-age=10, stale-while-revalidate=5, stale-if-error=30",
    )];
    let short: &[_] = &[("cache-control", "max-age=10, stale-while-revalidate=5")];
    let never: &[_] = &[(
        "cache-control",
        "max-age=10, stale-while-revalidate=5, stale-if-error=0",
    )];
    let long: &[_] = &[("cache-control", "max-age=10, stale-while-revalidate=9999999")];
    let malformed: &[_] = &[("cache-control", "max-age=10, stale-while-revalidate=soon")];
    let must: &[_] = &[("cache-control", "max-age=10, must-revalidate, stale-while-revalidate=30")];
    let proxy: &[_] = &[("cache-control", "max-age=10, proxy-revalidate, stale-if-error=30")];
    let shared: &[_] = &[("cache-control", "s-maxage=10, stale-while-revalidate=30")];
    let cdn: &[_] = &[
        ("cache-control", "max-age=10, must-revalidate"),
        ("cdn-cache-control", "max-age=10, stale-while-revalidate=30"),
    ];
    let ours: &[_] = &[
        ("cachify-cache-control", "max-age=10, must-revalidate"),
        ("cdn-cache-control", "max-age=10, stale-while-revalidate=30"),
    ];
    let plain: &[_] = &[("cache-control", "max-age=10")];
    let minute = Some(60);
    for (headers, option, over, served) in [
        (plain, None, 1, No),
        (swr, None, 29, AtOnce), (swr, None, 31, No),
        (sie, None, 29, OnError), (sie, None, 31, No),
        (both, None, 4, AtOnce), (both, None, 6, OnError), (both, None, 31, No),
        (plain, minute, 59, AtOnce), (plain, minute, 61, No),
        (short, minute, 6, OnError), (never, minute, 6, No),
        (long, minute, 59, AtOnce), (long, minute, 61, No), (long, None, 61, AtOnce),
        (malformed, minute, 1, OnError), (malformed, None, 1, No),
        (must, None, 1, No), (must, minute, 1, No),
        (proxy, None, 1, No), (proxy, minute, 1, No),
        (shared, None, 1, No), (shared, minute, 1, No),
        (cdn, None, 1, AtOnce), (ours, None, 1, No), (ours, minute, 1, No),
    ] {
        for cachify in backends() {
            let site = Site::new(&cachify, headers, |rules| {
                if let Some(window) = option {
                    rules.stale(Duration::from_secs(window));
                }
            });
            site.get(&[]).await;
            pass(10 + over).await;
            let expected = match served {
                AtOnce => said(&format!("cachify; hit; ttl=-{over}"), "1"),
                OnError => said(&format!("cachify; fwd=stale; fwd-status=503; ttl=-{over}"), "1"),
                No => said("cachify; fwd=bypass; detail=status", "2"),
            };
            assert_eq!(site.brief(FAILS).await, expected, "{headers:?} {option:?} {over}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn c9_a_failure_is_an_error_or_one_of_four_statuses() {
    let sie = &[("cache-control", "max-age=10, stale-if-error=60")];
    for cachify in backends() {
        for failure in ["500", "502", "503", "504", "error"] {
            let site = Site::new(&cachify, sie, |_| {});
            site.reset().await;
            site.get(&[]).await;
            pass(15).await;
            let detail = match failure {
                "error" => "detail=error".to_owned(),
                status => format!("fwd-status={status}"),
            };
            let stale = format!("cachify; fwd=stale; {detail}; ttl=-5");
            let failing = [("x-status", failure)];
            assert_eq!(site.brief(&failing).await, said(&stale, "1"));
            // The process pauses before it tries again.
            let paused = said("cachify; hit; ttl=-5", "1");
            assert_eq!(site.brief(&failing).await, paused);
            assert_eq!(site.route.runs(), 2);
            pass(1).await;
            assert_eq!(site.brief(&[]).await, said(STORED, "3"));
        }
        for passed in ["400", "404", "409", "429", "501"] {
            let site = Site::new(&cachify, sie, |_| {});
            site.reset().await;
            site.get(&[]).await;
            pass(15).await;
            let answer = site.get(&[("x-status", passed)]).await;
            assert_eq!(answer.status().as_str(), passed);
            assert_eq!(status(&answer), "cachify; fwd=bypass; detail=status");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn c9_a_page_that_is_gone_is_not_served_any_more() {
    for cachify in backends() {
        let site = Site::new(&cachify, &[], |rules| rules.stale(MINUTE));
        site.get(&[]).await;
        pass(61).await;
        assert_eq!(site.brief(&[("x-status", "404")]).await.1, "1");
        settle().await;
        // The refresh found it gone.
        let next = site.get(FAILS).await;
        assert_eq!(next.status(), StatusCode::SERVICE_UNAVAILABLE);
    }
}

#[tokio::test(start_paused = true)]
async fn c9_s9_after_a_reset_an_error_is_an_error() {
    let sie = &[("cache-control", "max-age=10, stale-if-error=60")];
    for cachify in backends() {
        for (headers, change) in [(sie.as_slice(), None), (&[], Some(MINUTE))] {
            let site = Site::new(&cachify, headers, |rules| {
                if let Some(window) = change {
                    rules.stale(window);
                    // Without a task, the request refreshes in its own call.
                    rules.finish_after_disconnect(0);
                }
            });
            site.reset().await;
            site.get(&[]).await;
            pass(65).await;
            site.shut();
            let slow = tokio::spawn(site.route.ask(get("/page", FAILS)));
            settle().await;
            assert_eq!(site.route.runs(), 2);
            site.reset().await;
            site.open();
            let slow = slow.await.unwrap().unwrap();
            assert_eq!(slow.status(), StatusCode::SERVICE_UNAVAILABLE);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn c9_past_the_limit_of_tasks_a_request_refreshes_in_its_own_call() {
    let site = Site::new(&memory(), &[], |rules| {
        rules.stale(MINUTE);
        rules.finish_after_disconnect(0);
    });
    site.get(&[]).await;
    pass(61).await;
    site.shut();
    let refreshes = tokio::spawn(site.route.ask(get("/page", &[])));
    settle().await;
    assert!(!refreshes.is_finished());
    assert_eq!(site.brief(&[]).await, said("cachify; hit; ttl=-2", "1"));
    site.open();
    let answer = refreshes.await.unwrap().unwrap();
    assert_eq!((status(&answer), body(&answer)), (STORED, "2"));
}

#[rustfmt::skip] // A row is a line.
#[tokio::test(start_paused = true)]
async fn c9_h3_a_client_says_what_stale_response_it_accepts() {
    let swr: &[_] = &[(
        "cache-control",
        "max-age=10, stale-while-revalidate=20, stale-if-error=60",
    )];
    let fresh = said("cachify; fwd=request; stored", "2");
    let stale = |over| said(&format!("cachify; hit; ttl=-{over}"), "1");
    let none = said("cachify; detail=only-if-cached", "");
    for (over, asked, expected) in [
        (5, "max-stale", stale(5)), (5, "max-stale=5", stale(5)), (6, "max-stale=5", fresh.clone()),
        (50, "max-stale", stale(50)), (50, "max-stale=50", stale(50)),
        (61, "max-stale", said(STORED, "2")),
        (5, "max-stale=9, max-age=60", stale(5)), (5, "max-stale=9, max-age=12", fresh.clone()),
        (5, "max-age=60", fresh.clone()), (5, "min-fresh=1", fresh.clone()),
        (5, "no-cache", fresh.clone()),
        (5, "only-if-cached", stale(5)), (25, "only-if-cached", none.clone()),
        (25, "only-if-cached, max-stale", stale(25)), (5, "only-if-cached, max-stale=1", none),
    ] {
        for cachify in backends() {
            let site = Site::new(&cachify, swr, |rules| rules.honor_request_cache_control(true));
            site.get(&[]).await;
            pass(10 + over).await;
            let found = site.brief(&[("cache-control", asked)]).await;
            assert_eq!(found, expected, "{over} {asked}");
        }
    }
}

fn language(language: &str) -> [(&str, &str); 2] {
    [("x-vary", ""), ("accept-language", language)]
}

#[tokio::test(start_paused = true)]
async fn c9_h2_an_index_outlives_the_stale_time_of_its_variants() {
    for cachify in backends() {
        let site = Site::new(&cachify, &[], |rules| rules.stale(MINUTE));
        let (en, de) = (language("en"), language("de"));
        site.get(&en).await;
        site.get(&de).await;
        for _ in 0..20 {
            pass(70).await;
            for asked in [&en, &de] {
                let answer = site.get(asked).await;
                let said = status(&answer);
                assert!(said.starts_with("cachify; hit; ttl=-"), "{said}");
            }
            settle().await;
        }
        assert_eq!(site.route.runs(), 42);
        // Just refreshed, and the handler fails from now on.
        pass(70).await;
        let failing = [en[0], en[1], FAILS[0]];
        site.get(&en).await;
        settle().await;
        pass(118).await;
        let said_en = site.brief(&failing).await.0;
        assert!(said_en.starts_with("cachify; hit; ttl=-59"), "{said_en}");
        site.reset().await;
        for asked in [&en, &de] {
            let asked = [asked[0], asked[1], FAILS[0]];
            let answer = site.get(&asked).await;
            assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn c9_h2_expired_variants_are_served_if_the_refresh_fails() {
    let site = Site::new(&memory(), &[], |rules| rules.stale(MINUTE));
    let en = language("en");
    site.get(&en).await;
    let key = KeyTemplate::parse("page").unwrap().render(&[]);
    site.cachify.expire(&key).await.unwrap();
    pass(5).await;
    let failing = [en[0], en[1], FAILS[0]];
    let stale = "cachify; fwd=stale; fwd-status=503; ttl=-5";
    assert_eq!(site.brief(&failing).await, said(stale, "1"));
    assert_eq!(
        site.brief(&failing).await,
        said("cachify; hit; ttl=-5", "1")
    );
    let unknown = [en[0], ("accept-language", "fr"), FAILS[0]];
    let answer = site.get(&unknown).await;
    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
    pass(60).await;
    assert_eq!(
        site.get(&failing).await.status(),
        StatusCode::SERVICE_UNAVAILABLE
    );
    assert_eq!(site.brief(&en).await.0, STORED);
}

fn head(headers: &[(&str, &str)]) -> Request<()> {
    let mut request = get("/page", headers);
    *request.method_mut() = Method::HEAD;
    request
}

#[tokio::test(start_paused = true)]
async fn c9_h3_head_and_conditions_are_answered_from_a_stale_response() {
    let headers = &[
        ("etag", "\"v1\""),
        (
            "cache-control",
            "max-age=10, stale-while-revalidate=20, stale-if-error=60",
        ),
    ];
    for cachify in backends() {
        let site = Site::new(&cachify, headers, |_| {});
        site.get(&[]).await;
        pass(15).await;
        let answer = site.route.ask(head(&[])).await.unwrap();
        assert_eq!(
            (status(&answer), body(&answer)),
            ("cachify; hit; ttl=-5", "")
        );
        assert_eq!(header(&answer, "content-length"), Some("1"));
        settle().await;
        assert_eq!(site.route.runs(), 1, "HEAD starts no refresh");
        site.shut();
        let answer = site.get(&[("if-none-match", "\"v1\"")]).await;
        assert_eq!(answer.status(), StatusCode::NOT_MODIFIED);
        assert_eq!(status(&answer), "cachify; hit; ttl=-6");
        site.open();
        settle().await;
        assert_eq!(site.brief(&[]).await, said("cachify; hit; ttl=9", "2"));
        pass(40).await;
        let answer = site.route.ask(head(FAILS)).await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        let stale = "cachify; fwd=stale; fwd-status=503; ttl=-31";
        assert_eq!(status(&answer), stale);
        let answer = site.route.ask(head(&[])).await.unwrap();
        assert_eq!(status(&answer), "cachify; fwd=uri-miss");
    }
}

#[tokio::test(start_paused = true)]
async fn c9_h1_authorized_requests_get_only_what_is_open() {
    let closed: &[_] = &[("cache-control", "max-age=10, stale-while-revalidate=60")];
    let open: &[_] = &[(
        "cache-control",
        "public, max-age=10, stale-while-revalidate=60",
    )];
    let user = [("authorization", "x"), FAILS[0]];
    for cachify in backends() {
        let site = Site::new(&cachify, closed, |_| {});
        site.reset().await;
        site.get(&[]).await;
        pass(15).await;
        let answer = site.get(&user).await;
        assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(site.brief(&[]).await, said("cachify; hit; ttl=-5", "1"));

        let site = Site::new(&cachify, open, |_| {});
        site.reset().await;
        site.get(&[]).await;
        pass(15).await;
        assert_eq!(
            site.brief(&user[..1]).await,
            said("cachify; hit; ttl=-5", "1")
        );
        settle().await;
        assert_eq!(site.brief(&[]).await, said("cachify; hit; ttl=9", "2"));
    }
}

#[tokio::test(start_paused = true)]
async fn c9_h7_an_unsafe_method_leaves_nothing_stale() {
    for cachify in backends() {
        let site = Site::new(&cachify, &[], |rules| rules.stale(MINUTE));
        site.get(&[]).await;
        pass(61).await;
        let mut post = get("/page", &[]);
        *post.method_mut() = Method::POST;
        site.route.ask(post).await.unwrap();
        let answer = site.get(FAILS).await;
        assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
    }
}

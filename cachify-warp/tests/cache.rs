//! Cached routes: wherever `cached` stands, and whatever warp does around it.
#![allow(clippy::unwrap_used)]

mod support;

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use cachify_warp::{CacheOptions, Cachify, FilterExt, get_or_head, key, query};
use futures_util::future::join_all;
use futures_util::stream::{self, StreamExt as _};
use http_body_util::BodyExt as _;
use support::{App, Door, app, backends, get as fetch, plain, request, send, soon};
use tower_service::Service as _;
use warp::http::{HeaderMap, Request, header};
use warp::reply::{Reply, Response, with_header};
use warp::{Filter, Rejection, reject};

/// Says which call this is.
fn counter() -> impl Fn() -> Ready<String> + Clone + Send + Sync + 'static {
    let count = Arc::new(AtomicUsize::new(0));
    move || ready(count.fetch_add(1, Ordering::SeqCst).to_string())
}

fn cache(cachify: &Cachify) -> CacheOptions {
    CacheOptions::new(cachify).ttl(Duration::from_mins(5))
}

/// A route without parameters, under the key `page`.
fn page<H, Fut>(cachify: &Cachify, handler: H) -> App
where
    H: Fn() -> Fut + Send + Sync + 'static,
    Fut: Future<Output: Reply> + Send + 'static,
{
    let route = warp::path::end().and(get_or_head());
    app(route.cached(cache(cachify), |()| key!("page"), handler))
}

#[tokio::test]
async fn h1_a_route_is_cached_wherever_it_stands() {
    for cachify in backends() {
        let users = |name: &'static str| {
            let count = counter();
            let handler = move |id: String| {
                let count = count();
                async move { format!("{id} {}", count.await) }
            };
            warp::path!("users" / String).and(warp::get()).cached(
                cache(&cachify),
                move |(id,)| key!("{name}-{id}"),
                handler,
            )
        };
        let other = || warp::path!("other").and(warp::get()).map(|| "other");
        let header = warp::reply::with::header("x-with", "1");
        let apps = [
            ("alone", plain(users("alone"))),
            ("first", plain(users("first").or(other()))),
            ("last", plain(other().or(users("last")))),
            ("boxed", plain(other().or(users("boxed").boxed()))),
            ("with", plain(users("with").with(header))),
            ("recovered", app(other().or(users("recovered")))),
            (
                "nested",
                plain(warp::any().and(other().or(users("nested").or(other())))),
            ),
        ];
        for (name, app) in apps {
            for (uri, text, cache) in [
                ("/users/a", "a 0", "cachify; fwd=uri-miss; stored"),
                ("/users/b", "b 1", "cachify; fwd=uri-miss; stored"),
                ("/users/a", "a 0", "cachify; hit"),
                ("/users/b?x=1", "b 1", "cachify; hit"),
            ] {
                let answer = fetch(&app, uri).await;
                assert_eq!(
                    (answer.text(), answer.cache()),
                    (text, cache),
                    "{name} {uri}"
                );
            }
        }
    }
}

#[tokio::test]
async fn h1_a_filter_as_a_service_is_cached_too() {
    for cachify in backends() {
        let mut service = warp::service(page(&cachify, counter()));
        for cache in ["cachify; fwd=uri-miss; stored", "cachify; hit; ttl="] {
            let request = Request::get("/").body(String::new()).unwrap();
            let answer = service.call(request).await.unwrap();
            let status = answer.headers()["cache-status"].to_str().unwrap();
            assert!(status.starts_with(cache), "{status}");
            let body = answer.into_body().collect().await.unwrap();
            assert_eq!(body.to_bytes(), "0");
        }
    }
}

#[tokio::test]
async fn h1_what_no_route_takes_is_no_error_of_the_server() {
    async fn find(id: u64) -> Result<String, Rejection> {
        match id {
            7 => Ok("seven".to_owned()),
            _ => Err(reject::not_found()),
        }
    }
    for cachify in backends() {
        let read = warp::path!("users" / u64).and(warp::get()).cached(
            cache(&cachify),
            |(id,)| key!("user-{id}"),
            find,
        );
        let eight = warp::path!("users" / u64).and_then(async |id| match id {
            8 => Ok("eight"),
            _ => Err(reject::not_found()),
        });
        for app in [plain(read.clone().or(eight)), app(read.or(eight))] {
            for (method, uri, brief) in [
                ("GET", "/users/7", (200, "seven")),
                ("GET", "/users/8", (200, "eight")),
                ("GET", "/users/9", (404, "")),
                ("GET", "/users/seven", (404, "")),
                ("GET", "/", (404, "")),
            ] {
                for _ in 0..2 {
                    let answer = send(&app, request(method, uri, &[])).await;
                    assert_eq!(answer.brief(), brief, "{method} {uri}");
                }
            }
        }
    }
}

#[tokio::test]
async fn h1_a_handler_answers_and_rejects_as_it_does_without_a_cache() {
    type Three = (u8, u8, u8);
    async fn all(first: Three, rest: (u8, u8), last: u8) -> Result<String, Response> {
        match first.0 {
            0 => Err("zero".into_response()),
            _ => Ok(format!("{first:?} {rest:?} {last}")),
        }
    }
    for cachify in backends() {
        let three = warp::path!(u8 / u8 / u8).map(|a, b, c| (a, b, c));
        let more = warp::any().map(|| ((4, 5), 6)).untuple_one();
        let route = three.and(more).and(warp::get()).cached(
            cache(&cachify),
            |((first, ..), .., last)| key!("{first}-{last}"),
            all,
        );
        let app = app(route);
        for (uri, text) in [("/0/2/3", "zero"), ("/1/2/3", "(1, 2, 3) (4, 5) 6")] {
            for cache in ["cachify; fwd=uri-miss; stored", "cachify; hit"] {
                let answer = fetch(&app, uri).await;
                assert_eq!((answer.text(), answer.cache()), (text, cache));
            }
        }
    }
}

#[tokio::test]
async fn h1_a_key_is_made_of_the_query_and_headers_too() {
    for cachify in backends() {
        let count = counter();
        let route = warp::path!("list")
            .and(query())
            .and(warp::header::optional::<String>("x-tenant"))
            .and(warp::get())
            .cached(
                cache(&cachify),
                |(query, tenant)| {
                    key!(
                        "list-{tenant}-{query}",
                        tenant = tenant.as_deref().unwrap_or("")
                    )
                },
                move |_, _| count(),
            );
        let app = app(route);
        let ask = |uri, tenant| send(&app, request("GET", uri, &[("x-tenant", tenant)]));
        assert_eq!(ask("/list?a=1&b=2", "x").await.text(), "0");
        assert_eq!(ask("/list?b=2&a=1", "x").await.text(), "0");
        assert_eq!(ask("/list?b=2&a=1", "y").await.text(), "1");
        assert_eq!(ask("/list?b=2", "x").await.text(), "2");
        assert_eq!(fetch(&app, "/list").await.text(), "3");
        assert_eq!(fetch(&app, "/list").await.text(), "3");
    }
}

#[tokio::test]
async fn h1_requests_of_a_person_pass_through_unless_the_key_tells_them_apart() {
    for cachify in backends() {
        let route = |name: &'static str, cache: CacheOptions| {
            let count = counter();
            let route = warp::path::end().and(warp::header::<String>("authorization"));
            app(route.cached(
                cache,
                move |(token,)| key!("{name}-{token}"),
                move |_| count(),
            ))
        };
        let told = cache(&cachify).keyed_by([header::AUTHORIZATION]);
        let (untold, told) = (route("untold", cache(&cachify)), route("told", told));
        let ask = async |app, token| {
            let answer = send(app, request("GET", "/", &[("authorization", token)])).await;
            (answer.text().to_owned(), answer.cache().to_owned())
        };
        for n in ["0", "1"] {
            let bypass = (
                n.to_owned(),
                "cachify; fwd=bypass; detail=authorization".to_owned(),
            );
            assert_eq!(ask(&untold, "ann").await, bypass);
        }
        for (token, n) in [("ann", "0"), ("bob", "1"), ("ann", "0"), ("bob", "1")] {
            assert_eq!(ask(&told, token).await.0, n);
        }
    }
}

#[tokio::test]
async fn h1_other_methods_of_the_route_pass_through_with_their_bodies() {
    for cachify in backends() {
        let route = warp::path::end().and(warp::body::bytes()).cached(
            cache(&cachify),
            |_| key!("echo"),
            async |body: Bytes| body.to_vec(),
        );
        let app = app(route);
        for body in ["hello", "world"] {
            let answer = send(&app, request("POST", "/", &[]).body(body)).await;
            assert_eq!(
                (answer.text(), answer.cache()),
                (body, "cachify; fwd=method")
            );
        }
    }
}

#[tokio::test]
async fn h1_rejections_are_shared_with_nobody() {
    for cachify in backends() {
        let count = counter();
        let handler = move || {
            let count = count();
            async move {
                match count.await.as_str() {
                    "2" => Ok("found"),
                    _ => Err(reject::not_found()),
                }
            }
        };
        let route = warp::path::end().cached(cache(&cachify), |()| key!("page"), handler);
        let app = app(route);
        for brief in [(404, ""), (404, ""), (200, "found"), (200, "found")] {
            assert_eq!(fetch(&app, "/").await.brief(), brief);
        }
    }
}

#[tokio::test]
async fn c4_a_reset_is_seen_by_the_route() {
    for cachify in backends() {
        let app = page(&cachify, counter());
        assert_eq!(fetch(&app, "/").await.text(), "0");
        cachify.reset(&key!("page")).await.unwrap();
        assert_eq!(fetch(&app, "/").await.text(), "1");
    }
}

#[tokio::test]
async fn c2_requests_at_once_are_one_call() {
    for cachify in backends() {
        let door = Door::shut();
        let inside = door.clone();
        let app = page(&cachify, move || {
            let inside = inside.clone();
            async move {
                inside.pass().await;
                "one"
            }
        });
        let asked = join_all((0..32).map(|_| fetch(&app, "/")));
        let (answers, ()) = tokio::join!(asked, async {
            door.until_came(1).await;
            door.open(32);
        });
        assert!(answers.iter().all(|answer| answer.text() == "one"));
        assert_eq!(door.came(), 1);
    }
}

#[tokio::test]
async fn h1_s29_cookies_are_shared_with_nobody() {
    for cachify in backends() {
        let count = counter();
        let app = page(&cachify, move || {
            let count = count();
            async move { with_header("hello", "set-cookie", count.await) }
        });
        let answers = join_all((0..50).map(|_| fetch(&app, "/"))).await;
        let mut cookies: Vec<_> = answers
            .iter()
            .map(|a| a.header("set-cookie").unwrap())
            .collect();
        cookies.sort_unstable();
        cookies.dedup();
        assert_eq!(cookies.len(), 50);
    }
}

#[tokio::test]
async fn h2_s30_languages_are_apart_and_one_reset_clears_both() {
    for cachify in backends() {
        let count = counter();
        let handler = move |headers: HeaderMap| {
            let count = count();
            async move {
                let language = headers["accept-language"].to_str().unwrap();
                let text = format!("{language} {}", count.await);
                with_header(text, "vary", "accept-language")
            }
        };
        let route = warp::path::end()
            .and(warp::header::headers_cloned())
            .cached(cache(&cachify), |_| key!("page"), handler);
        let app = app(route);
        let ask = |language| send(&app, request("GET", "/", &[("accept-language", language)]));
        for round in 0..2 {
            for (language, n) in [("en", 0), ("de", 1), ("en", 0), ("de", 1)] {
                let text = format!("{language} {}", 2 * round + n);
                assert_eq!(ask(language).await.text(), text);
            }
            cachify.reset(&key!("page")).await.unwrap();
        }
    }
}

#[tokio::test]
async fn h3_s31_head_is_answered_from_the_entry_of_get() {
    for cachify in backends() {
        let app = page(&cachify, counter());
        let head = async || send(&app, request("HEAD", "/", &[])).await;
        let first = head().await;
        assert_eq!(
            (first.status, first.cache()),
            (warp::http::StatusCode::OK, "cachify; fwd=uri-miss")
        );
        assert_eq!(fetch(&app, "/").await.text(), "1");
        let hit = head().await;
        assert_eq!((hit.brief(), hit.cache()), ((200, ""), "cachify; hit"));
        assert_eq!(hit.header("content-length"), Some("1"));
        assert_eq!(fetch(&app, "/").await.text(), "1");
    }
}

#[tokio::test]
async fn h3_conditions_and_ranges_are_answered_from_the_entry() {
    for cachify in backends() {
        let app = page(&cachify, || {
            ready(with_header("0123456789", "etag", "\"v1\""))
        });
        let ask = |name, value| send(&app, request("GET", "/", &[(name, value)]));
        for _ in 0..2 {
            assert_eq!(ask("if-none-match", "\"v1\"").await.brief(), (304, ""));
            assert_eq!(
                ask("if-none-match", "\"v2\"").await.brief(),
                (200, "0123456789")
            );
            let part = ask("range", "bytes=2-3").await;
            assert_eq!(
                (part.brief(), part.header("content-length")),
                ((206, "23"), Some("2"))
            );
            assert_eq!(ask("range", "bytes=10-").await.brief(), (416, ""));
        }
    }
}

#[tokio::test]
async fn h3_a_condition_that_the_handler_answers_is_its_clients_alone() {
    // A filter can extract what `cached` takes off no request: the handler then answers 304 by itself.
    for cachify in backends() {
        let handler = |known: Option<String>| {
            ready(match known {
                Some(_) => warp::http::StatusCode::NOT_MODIFIED.into_response(),
                None => "whole".into_response(),
            })
        };
        let route = warp::path::end()
            .and(warp::header::optional::<String>("if-none-match"))
            .cached(cache(&cachify), |_| key!("page"), handler);
        let app = app(route);
        let known = send(&app, request("GET", "/", &[("if-none-match", "\"x\"")])).await;
        assert_eq!(known.brief(), (304, ""));
        for _ in 0..2 {
            assert_eq!(fetch(&app, "/").await.brief(), (200, "whole"));
        }
    }
}

#[tokio::test]
async fn h4_streams_and_large_bodies_pass_through_whole() {
    for cachify in backends() {
        let streaming = || {
            let pieces = ["a", "b", "c"].map(|piece| Ok::<_, Infallible>(Bytes::from(piece)));
            ready(warp::reply::stream(stream::iter(pieces)))
        };
        let large = || ready("x".repeat(11));
        let small = cache(&cachify).limit(10);
        let streaming =
            warp::path!("stream").cached(cache(&cachify), |()| key!("stream"), streaming);
        let large = warp::path!("large").cached(small, |()| key!("large"), large);
        let app = app(streaming.or(large));
        for _ in 0..2 {
            let answer = fetch(&app, "/stream").await;
            assert_eq!(
                (answer.text(), answer.cache()),
                ("abc", "cachify; fwd=bypass; detail=streaming")
            );
            let answer = fetch(&app, "/large").await;
            assert_eq!(
                (answer.body.len(), answer.cache()),
                (11, "cachify; fwd=bypass; detail=too-large")
            );
        }
    }
}

#[tokio::test]
async fn h4_a_stream_passes_through_as_it_comes() {
    for cachify in backends() {
        let app = page(&cachify, || {
            let first = stream::iter([Ok::<_, Infallible>(Bytes::from("first"))]);
            ready(warp::reply::stream(first.chain(stream::pending())))
        });
        let request = Request::get("/").body(String::new()).unwrap();
        let mut service = warp::service(app);
        let answer = soon(service.call(request)).await.unwrap();
        let piece = soon(answer.into_body().frame()).await.unwrap().unwrap();
        assert_eq!(piece.into_data().unwrap(), "first");
    }
}

#[tokio::test]
async fn h4_a_body_that_breaks_off_breaks_off_for_the_client_too() {
    for cachify in backends() {
        let app = page(&cachify, || {
            let pieces = [Ok(Bytes::from("a")), Err(std::io::Error::other("broken"))];
            let body = warp::reply::stream(stream::iter(pieces));
            ready(with_header(body, "content-length", "2"))
        });
        let mut service = warp::service(app);
        for _ in 0..2 {
            let request = Request::get("/").body(String::new()).unwrap();
            let answer = service.call(request).await.unwrap();
            assert_eq!(answer.headers()["content-length"], "2");
            assert!(answer.into_body().collect().await.is_err());
        }
    }
}

//! Cached routes: wherever the layer is put, and whatever axum does around it.
#![allow(clippy::unwrap_used)]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{OriginalUri, Path};
use axum::handler::Handler as _;
use axum::http::{HeaderMap, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get, post};
use cachify_axum::{CacheLayer, Cachify, key};
use futures_util::future::join_all;
use futures_util::stream;
use http_body_util::{BodyExt as _, Full};
use support::{Door, backends, get as fetch, request, send};

/// Says which call this is.
fn counter() -> impl Fn() -> std::future::Ready<String> + Clone + Send + Sync + 'static {
    let count = Arc::new(AtomicUsize::new(0));
    move || std::future::ready(count.fetch_add(1, Ordering::SeqCst).to_string())
}

fn page(cachify: &Cachify, template: &str) -> CacheLayer {
    CacheLayer::new(cachify, template).ttl(Duration::from_mins(5))
}

#[tokio::test]
async fn h1_a_layer_caches_wherever_it_is_put() {
    for cachify in backends() {
        let layer = |name: &str| page(&cachify, &format!("{name}-{{id}}"));
        let inner = || {
            let count = counter();
            move |Path(id): Path<String>| async move { format!("{id} {}", count().await) }
        };
        let apps = [
            (
                "handler",
                Router::new().route("/{id}", get(inner().layer(layer("handler")))),
            ),
            (
                "method",
                Router::new().route("/{id}", get(inner()).layer(layer("method"))),
            ),
            (
                "route",
                Router::new()
                    .route("/{id}", get(inner()))
                    .route_layer(layer("route")),
            ),
            (
                "router",
                Router::new()
                    .route("/{id}", get(inner()))
                    .layer(layer("router")),
            ),
            (
                "service",
                Router::new().route_service("/{id}", get(inner()).layer(layer("service"))),
            ),
        ];
        for (name, app) in apps {
            for (uri, text, cache) in [
                ("/a", "a 0", "cachify; fwd=uri-miss; stored"),
                ("/b", "b 1", "cachify; fwd=uri-miss; stored"),
                ("/a", "a 0", "cachify; hit"),
                ("/b?x=1", "b 1", "cachify; hit"),
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
async fn h1_nested_routers_and_fallbacks_are_cached_too() {
    for cachify in backends() {
        let users = Router::new().route(
            "/{id}",
            get(async |Path((team, id)): Path<(String, String)>| format!("{team} {id}"))
                .layer(page(&cachify, "{team}/{id}")),
        );
        let app = Router::new()
            .nest("/{team}", users)
            .fallback(async |uri: Uri| uri.path().to_owned())
            .layer(page(&cachify, "fallback-{path}"));
        let nested = Router::new()
            .nest(
                "/{team}",
                Router::new().route(
                    "/{id}",
                    get(async |Path((team, id)): Path<(String, String)>| format!("{team} {id}")),
                ),
            )
            .layer(page(&cachify, "outer-{team}/{id}"));
        for app in [&app, &nested] {
            assert_eq!(fetch(app, "/red/ann").await.text(), "red ann");
        }
        assert_eq!(fetch(&nested, "/blue/ann").await.text(), "blue ann");
        assert_eq!(fetch(&nested, "/red/ann").await.cache(), "cachify; hit");
        assert_eq!(fetch(&app, "/a/b/c?x").await.text(), "/a/b/c");
        assert_eq!(fetch(&app, "/a/b/c?x").await.cache(), "cachify; hit");
    }
}

#[tokio::test]
async fn k2_a_parameter_that_is_named_twice_fills_nothing() {
    for cachify in backends() {
        let inner = Router::new().route("/{id}", get(async |uri: Uri| uri.path().to_owned()));
        let app = Router::new()
            .nest("/{id}", inner)
            .layer(page(&cachify, "twice-{id}"));
        assert_eq!(fetch(&app, "/1/2").await.text(), "/2");
        assert_eq!(fetch(&app, "/1/3").await.text(), "/3");
    }
}

#[tokio::test]
async fn h9_one_layer_over_several_routes_answers_each_with_its_own() {
    let route = "cachify; fwd=bypass; detail=route";
    for cachify in backends() {
        let app = |template| {
            let inner = || Router::new().route("/{id}", get(original));
            Router::new()
                .route("/users/{id}", get(async || "user"))
                .route("/orders/{id}", get(async || "order"))
                .nest("/a", inner())
                .nest_service("/b", inner())
                .fallback(original)
                .layer(page(&cachify, template))
        };
        let by_id = app("row-{id}");
        for (uri, body, said) in [
            ("/users/7", "user", "cachify; fwd=uri-miss; stored"),
            ("/orders/7", "order", route),
            ("/a/7", "/a/7", route),
            ("/b/7", "/b/7", route),
            ("/none", "/none", route),
            ("/users/7", "user", "cachify; hit"),
        ] {
            let answer = fetch(&by_id, uri).await;
            assert_eq!((answer.text(), answer.cache()), (body, said), "{uri}");
        }
        let by_path = app("path-{path}");
        for (uri, body) in [
            ("/users/7", "user"),
            ("/orders/7", "order"),
            ("/a/7", "/a/7"),
            ("/b/7", "/b/7"),
            ("/none", "/none"),
        ] {
            fetch(&by_path, uri).await;
            let answer = fetch(&by_path, uri).await;
            assert_eq!((answer.text(), answer.cache()), (body, "cachify; hit"));
        }
    }
}

async fn original(OriginalUri(uri): OriginalUri) -> String {
    uri.to_string()
}

#[tokio::test]
async fn h9_a_nested_layer_names_the_whole_path() {
    for cachify in backends() {
        let cached = page(&cachify, "nested-{path}");
        let inner = || {
            Router::new()
                .route("/{id}", get(original))
                .layer(cached.clone())
        };
        let app = Router::new()
            .nest("/a", inner())
            .nest_service("/b", inner());
        for uri in ["/a/7", "/b/7", "/a/7", "/b/7"] {
            assert_eq!(fetch(&app, uri).await.text(), uri);
        }
    }
}

#[tokio::test]
async fn h1_a_request_that_does_not_fill_the_key_passes_through() {
    for cachify in backends() {
        let count = counter();
        let app = Router::new().route("/", get(count.layer(page(&cachify, "page-{query.page}"))));
        for n in ["0", "1"] {
            let answer = fetch(&app, "/").await;
            assert_eq!(
                (answer.text(), answer.cache()),
                (n, "cachify; fwd=bypass; detail=no-key")
            );
        }
        for _ in 0..2 {
            assert_eq!(fetch(&app, "/?page=7").await.text(), "2");
        }
    }
}

#[test]
#[should_panic(expected = "a `{` is not closed")]
fn k1_a_malformed_template_panics_when_the_layer_is_built() {
    let _ = CacheLayer::new(&Cachify::memory(), "user-{id");
}

#[tokio::test]
async fn c4_a_reset_is_seen_by_the_layer() {
    for cachify in backends() {
        let app = Router::new().route("/{id}", get(counter()).layer(page(&cachify, "user-{id}")));
        assert_eq!(fetch(&app, "/7").await.text(), "0");
        let id = 7;
        cachify.reset(&key!("user-{id}")).await.unwrap();
        assert_eq!(fetch(&app, "/7").await.text(), "1");
    }
}

#[tokio::test]
async fn c2_requests_at_once_are_one_call() {
    for cachify in backends() {
        let door = Door::shut();
        let inside = door.clone();
        let handler = async move || {
            inside.pass().await;
            "one"
        };
        let app = Router::new().route("/", get(handler).layer(page(&cachify, "one")));
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
        let handler = async move || ([(header::SET_COOKIE, count().await)], "hello");
        let app = Router::new().route("/", get(handler).layer(page(&cachify, "cookies")));
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
        let handler = async move |headers: HeaderMap| {
            let language = headers["accept-language"].to_str().unwrap();
            (
                [(header::VARY, "accept-language")],
                format!("{language} {}", count().await),
            )
        };
        let app = Router::new().route("/", get(handler).layer(page(&cachify, "page")));
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
        let app = Router::new().route("/", get(counter()).layer(page(&cachify, "page")));
        let head = async || send(&app, request("HEAD", "/", &[])).await;
        let first = head().await;
        assert_eq!(
            (first.brief(), first.cache()),
            ((200, ""), "cachify; fwd=uri-miss")
        );
        assert_eq!(fetch(&app, "/").await.text(), "1");
        let hit = head().await;
        assert_eq!((hit.brief(), hit.cache()), ((200, ""), "cachify; hit"));
        assert_eq!(hit.header("content-length"), Some("1"));
        assert_eq!(fetch(&app, "/").await.header("content-length"), Some("1"));
    }
}

#[tokio::test]
async fn h3_conditions_and_ranges_are_answered_from_the_entry() {
    for cachify in backends() {
        let handler = async || ([(header::ETAG, "\"v1\"")], "0123456789");
        let app = Router::new().route("/", get(handler).layer(page(&cachify, "page")));
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
async fn h4_streams_and_large_bodies_pass_through_whole() {
    for cachify in backends() {
        let streaming = async || {
            let pieces = ["a", "b", "c"].map(|piece| Ok::<_, std::io::Error>(Bytes::from(piece)));
            Body::from_stream(stream::iter(pieces))
        };
        let large = async || vec![b'x'; 11];
        let app = Router::new()
            .route("/stream", get(streaming.layer(page(&cachify, "stream"))))
            .route(
                "/large",
                get(large.layer(page(&cachify, "large").limit(10))),
            );
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
async fn h4_a_body_that_breaks_off_breaks_off_for_the_client_too() {
    for cachify in backends() {
        let handler = async || -> Response {
            let pieces = [Ok(Bytes::from("a")), Err(std::io::Error::other("broken"))];
            let body = Body::from_stream(stream::iter(pieces));
            ([(header::CONTENT_LENGTH, "2")], body).into_response()
        };
        let app = Router::new().route("/", get(handler).layer(page(&cachify, "broken")));
        for _ in 0..2 {
            let response = tower::ServiceExt::oneshot(app.clone(), request("GET", "/", &[]));
            let body = response.await.unwrap().into_body();
            assert!(axum::body::to_bytes(body, 10).await.is_err());
        }
    }
}

#[tokio::test]
async fn h1_trailers_are_not_lost() {
    for cachify in backends() {
        let handler = async || -> Response {
            let trailers = HeaderMap::from_iter([(header::ETAG, "\"1\"".parse().unwrap())]);
            let body = Full::new(Bytes::from("a")).with_trailers(async { Some(Ok(trailers)) });
            ([(header::CONTENT_LENGTH, "1")], Body::new(body)).into_response()
        };
        let app = Router::new().route("/", get(handler.layer(page(&cachify, "trailers"))));
        for _ in 0..2 {
            let response = tower::ServiceExt::oneshot(app.clone(), request("GET", "/", &[]));
            let read = response.await.unwrap().into_body().collect().await.unwrap();
            assert_eq!(read.trailers().unwrap()[header::ETAG], "\"1\"");
            assert_eq!(read.to_bytes(), "a");
        }
    }
}

#[tokio::test]
async fn h1_other_methods_of_the_route_pass_through_with_their_bodies() {
    for cachify in backends() {
        let echo = async |body: String| body;
        let app = Router::new()
            .route("/", post(echo).get(counter()))
            .route("/any", any(echo))
            .layer(page(&cachify, "echo-{query}"));
        let request = |uri| {
            axum::http::Request::post(uri)
                .body(Body::from("hello"))
                .unwrap()
        };
        for uri in ["/", "/any"] {
            let answer = send(&app, request(uri)).await;
            assert_eq!(
                (answer.text(), answer.cache()),
                ("hello", "cachify; fwd=method")
            );
        }
    }
}

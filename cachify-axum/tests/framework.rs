//! Features of axum alone: places for a layer, nested routers, fallbacks, rejections and trailers.
#![allow(clippy::unwrap_used)]

use std::future::IntoFuture as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{OriginalUri, Path, Request};
use axum::handler::Handler as _;
use axum::http::{HeaderMap, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get, put};
use cachify_axum::{BodyLayer, CacheKey, CacheLayer, Cachify, ErrorKind, Locked, Problem, key};
use cachify_core::testing::adapter::Server;
use http_body_util::{BodyExt as _, Full};
use serde::Deserialize;
use tower::ServiceExt as _;

const STORED: &str = "cachify; fwd=uri-miss; stored";
const HIT: &str = "cachify; hit";
const ROUTE: &str = "cachify; fwd=bypass; detail=route";

async fn serve(app: Router) -> Server {
    Server::start(|listener| axum::serve(listener, app).into_future()).await
}

fn page(template: &str) -> CacheLayer {
    CacheLayer::new(&Cachify::memory(), template).ttl(Duration::from_mins(5))
}

async fn original(OriginalUri(uri): OriginalUri) -> String {
    uri.to_string()
}

async fn check(app: Router, rows: &[(&str, &str, &str)]) {
    let server = serve(app).await;
    for (path, text, cache) in rows {
        let answer = server.get(path).await;
        assert_eq!((answer.text(), answer.cache()), (*text, *cache), "{path}");
    }
}

#[tokio::test]
async fn h1_a_layer_caches_wherever_it_is_put() {
    let inner = || {
        let count = Arc::new(AtomicUsize::new(0));
        async move |Path(id): Path<String>| format!("{id} {}", count.fetch_add(1, Ordering::SeqCst))
    };
    let layer = || page("{id}");
    for app in [
        Router::new().route("/{id}", get(inner().layer(layer()))),
        Router::new().route("/{id}", get(inner()).layer(layer())),
        Router::new()
            .route("/{id}", get(inner()))
            .route_layer(layer()),
        Router::new().route("/{id}", get(inner())).layer(layer()),
        Router::new().route_service("/{id}", get(inner().layer(layer()))),
        Router::new().route("/{id}", any(inner()).layer(layer())),
    ] {
        let rows = [
            ("/a", "a 0", STORED),
            ("/b", "b 1", STORED),
            ("/a", "a 0", HIT),
            ("/b?x=1", "b 1", HIT),
        ];
        check(app, &rows).await;
    }
}

#[tokio::test]
async fn h1_nested_routers_and_fallbacks_are_cached_too() {
    let users = async |Path((team, id)): Path<(String, String)>| format!("{team} {id}");
    let inside = Router::new().route("/{id}", get(users.layer(page("{team}/{id}"))));
    let app = Router::new()
        .nest("/{team}", inside)
        .fallback(async |uri: Uri| uri.path().to_owned())
        .layer(page("fallback-{path}"));
    let rows = [
        ("/red/ann", "red ann", STORED),
        ("/a/b/c?x", "/a/b/c", STORED),
        ("/a/b/c?x", "/a/b/c", HIT),
    ];
    check(app, &rows).await;
    let outside = Router::new().nest("/{team}", Router::new().route("/{id}", get(users)));
    let rows = [
        ("/red/ann", "red ann", STORED),
        ("/blue/ann", "blue ann", STORED),
        ("/red/ann", "red ann", HIT),
    ];
    check(outside.layer(page("{team}/{id}")), &rows).await;
}

#[tokio::test]
async fn k2_a_parameter_that_is_named_twice_fills_nothing() {
    let inner = Router::new().route("/{id}", get(async |uri: Uri| uri.path().to_owned()));
    let app = Router::new().nest("/{id}", inner).layer(page("twice-{id}"));
    let unkeyed = "cachify; fwd=bypass; detail=no-key";
    check(app, &[("/1/2", "/2", unkeyed), ("/1/3", "/3", unkeyed)]).await;
}

#[tokio::test]
async fn h9_one_layer_over_several_routes_answers_each_with_its_own() {
    let app = |template| {
        let inner = || Router::new().route("/{id}", get(original));
        Router::new()
            .route("/users/{id}", get(original))
            .route("/orders/{id}", get(original))
            .nest("/a", inner())
            .nest_service("/b", inner())
            .fallback(original)
            .layer(page(template))
    };
    let rows = [
        ("/users/7", "/users/7", STORED),
        ("/orders/7", "/orders/7", ROUTE),
        ("/a/7", "/a/7", ROUTE),
        ("/b/7", "/b/7", ROUTE),
        ("/none", "/none", ROUTE),
        ("/users/7", "/users/7", HIT),
    ];
    check(app("row-{id}"), &rows).await;
    let paths = rows.map(|(path, ..)| path);
    let stored = paths[..5].iter().map(|path| (*path, *path, STORED));
    let hits = paths[..5].iter().map(|path| (*path, *path, HIT));
    let rows: Vec<_> = stored.chain(hits).collect();
    check(app("path-{path}"), &rows).await;
}

#[tokio::test]
async fn h9_a_layer_inside_of_a_nested_service_names_the_whole_path() {
    let cached = page("nested-{path}");
    let inner = || {
        Router::new()
            .route("/{id}", get(original))
            .layer(cached.clone())
    };
    let app = Router::new()
        .nest("/a", inner())
        .nest_service("/b", inner());
    let rows = [
        ("/a/7", "/a/7", STORED),
        ("/b/7", "/b/7", STORED),
        ("/a/7", "/a/7", HIT),
        ("/b/7", "/b/7", HIT),
    ];
    check(app, &rows).await;
}

#[test]
#[should_panic(expected = "a `{` is not closed")]
fn k1_a_malformed_template_panics_when_the_layer_is_built() {
    let _ = page("user-{id");
}

/// Without a server, since HTTP/1.1 sends no trailers with a body of a known length.
#[tokio::test]
async fn h1_trailers_are_not_lost() {
    let handler = async || -> Response {
        let trailers = HeaderMap::from_iter([(header::ETAG, "\"1\"".parse().unwrap())]);
        let body = Full::new(Bytes::from("a")).with_trailers(async { Some(Ok(trailers)) });
        ([(header::CONTENT_LENGTH, "1")], Body::new(body)).into_response()
    };
    let app: Router = Router::new().route("/", get(handler.layer(page("trailers"))));
    for _ in 0..2 {
        let response = app
            .clone()
            .oneshot(Request::get("/").body(Body::empty()).unwrap());
        let read = response.await.unwrap().into_body().collect().await.unwrap();
        assert_eq!(read.trailers().unwrap()[header::ETAG], "\"1\"");
        assert_eq!(read.to_bytes(), "a");
    }
}

#[derive(Debug, Deserialize, CacheKey)]
#[key("x-{id}")]
struct Item {
    id: u64,
}

#[tokio::test]
async fn h5_a_handler_can_look_at_the_refusal() {
    async fn choosy(locked: Result<Locked<Item>, Problem>) -> String {
        match locked {
            Ok(locked) => locked.key.id.to_string(),
            Err(Problem(error)) => error.kind().to_string(),
        }
    }
    let cachify = Cachify::memory();
    let id = 7;
    let _guard = cachify.lock(&key!("x-{id}")).acquire().await.unwrap();
    let app = Router::new()
        .route("/{id}", get(choosy))
        .with_state(cachify);
    let rows = [("/7", "held", ""), ("/8", "8", ""), ("/x", "request", "")];
    check(app, &rows).await;
}

#[tokio::test]
async fn p1_l6_a_body_layer_keeps_a_stalled_upload_from_a_guard() {
    let handler = async |_: Locked<Item>, body: Bytes| body.len().to_string();
    let layer = BodyLayer::new().time(Duration::from_millis(500)).limit(100);
    let app = Router::new().route("/{id}", put(handler).layer(layer));
    let server = serve(app.with_state(Cachify::memory())).await;
    let stalled = server.upload("PUT /7", None).await;
    assert_eq!(server.ask("PUT /7", &[]).await.brief(), (200, "0"));
    assert_eq!(stalled.answer().await.status, 408);
    let long = server.ask_with("PUT /7", &[], &"x".repeat(101)).await;
    assert_eq!(long.status, 413);
}

#[test]
fn s1_a_rejection_tells_no_key() {
    let error = cachify_core::Error::new(ErrorKind::Held, "taken");
    assert_eq!(Problem(error.clone()).to_string(), error.to_string());
}

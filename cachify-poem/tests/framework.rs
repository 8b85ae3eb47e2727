//! Features of poem alone: places for a middleware, errors, `HEAD` as `GET`, trailers and data.
#![allow(clippy::unwrap_used)]

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use cachify_core::testing::adapter::{Answer, Probe, Server};
use cachify_poem::{
    CacheKey, CacheMiddleware, Cachify, ErrorKind, LockMiddleware, Locked, OnceMiddleware, Problem,
    RunOnce, ScopeMiddleware, key,
};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Full};
use poem::endpoint::{make, make_sync};
use poem::error::NotFoundError;
use poem::http::{HeaderMap, StatusCode, header};
use poem::listener::TcpAcceptor;
use poem::test::TestClient;
use poem::web::Data;
use poem::{
    Endpoint, EndpointExt as _, IntoEndpoint, Request, Response, Result, Route, get, handler, put,
};
use serde::Deserialize;

const STORED: &str = "cachify; fwd=uri-miss; stored";
const HIT: &str = "cachify; hit";
const ROUTE: &str = "cachify; fwd=bypass; detail=route";
const UNKEYED: &str = "cachify; fwd=bypass; detail=no-key";

async fn serve<E: IntoEndpoint<Endpoint: 'static>>(app: E) -> Server {
    let app = app.into_endpoint();
    Server::start(async |listener| {
        let acceptor = TcpAcceptor::from_tokio(listener)?;
        poem::Server::new_with_acceptor(acceptor).run(app).await
    })
    .await
}

fn page(template: &str) -> CacheMiddleware {
    CacheMiddleware::new(&Cachify::memory(), template).ttl(Duration::from_mins(5))
}

/// Answers with the path parameter and the number of the call.
fn numbered() -> impl Endpoint<Output = String> {
    let count = Arc::new(AtomicUsize::new(0));
    make_sync(move |request| {
        let n = count.fetch_add(1, Ordering::SeqCst);
        let id = request.raw_path_param("id").unwrap_or("none");
        format!("{id} {n}")
    })
}

async fn check<E: IntoEndpoint<Endpoint: 'static>>(app: E, rows: &[(&str, &str, &str)]) {
    let server = serve(app).await;
    for (path, text, cache) in rows {
        let answer = server.get(path).await;
        assert_eq!((answer.text(), answer.cache()), (*text, *cache), "{path}");
    }
}

#[tokio::test]
async fn h1_a_middleware_caches_wherever_it_is_put_inside_of_a_route() {
    let cached = || page("{id}");
    for route in [
        get(numbered().with(cached())).boxed(),
        get(numbered()).with(cached()).boxed(),
        get(numbered()
            .with(cached())
            .around(async |inner, request| inner.call(request).await))
        .boxed(),
        get(numbered().around(async |inner, request| inner.call(request).await))
            .with(cached())
            .boxed(),
    ] {
        let rows = [
            ("/a", "a 0", STORED),
            ("/b", "b 1", STORED),
            ("/a", "a 0", HIT),
            ("/b?x=1", "b 1", HIT),
        ];
        check(Route::new().at("/:id", route), &rows).await;
    }
}

#[tokio::test]
async fn h1_around_a_route_there_is_no_path_yet() {
    let users = || Route::new().at("/:id", get(numbered()));
    check(
        users().with(page("{id}").same_on_every_route()),
        &[("/7", "7 0", UNKEYED)],
    )
    .await;
    let rows = [
        ("/a?page=1", "a 0", STORED),
        ("/a?page=2", "a 1", STORED),
        ("/a?page=1", "a 0", HIT),
        // The path is not part of the key.
        ("/b?page=1", "a 0", HIT),
    ];
    check(
        users().with(page("{query.page}").same_on_every_route()),
        &rows,
    )
    .await;
}

#[tokio::test]
async fn k2_a_parameter_that_is_named_twice_fills_nothing() {
    // A nested route behind a parameter, which poem's own `nest` does not allow.
    let inner = Route::new().at("/:id", get(numbered().with(page("twice-{id}"))));
    let stripped = inner.before(|mut request: Request| async move {
        let path = request.uri().path()[1..].find('/').unwrap() + 1;
        *request.uri_mut() = request.uri().path()[path..].parse().unwrap();
        Ok(request)
    });
    let app = Route::new().at("/:id/<.*>", stripped);
    let client = TestClient::new(app);
    for (path, text) in [("/1/2", "1 0"), ("/1/3", "1 1")] {
        client.get(path).send().await.assert_text(text).await;
    }
}

#[test]
#[should_panic(expected = "a `{` is not closed")]
fn k1_a_malformed_template_panics_when_the_middleware_is_built() {
    let _ = page("user-{id");
}

#[tokio::test]
async fn h1_an_error_reaches_each_caller_as_it_is() {
    let probe = Probe::default();
    let inside = probe.clone();
    let endpoint = make(move |_| {
        let probe = inside.clone();
        async move {
            probe.call("e", &HeaderMap::new()).await;
            Err::<(), poem::Error>(NotFoundError.into())
        }
    });
    let cached = endpoint.with(page("missing").same_on_every_route());
    let caught = cached.catch_error(|NotFoundError| async { (StatusCode::GONE, "caught") });
    let server = serve(get(caught)).await;
    probe.shut("e");
    let mut clients = Vec::new();
    for _ in 0..10 {
        clients.push(server.send("GET /", &[]).await);
    }
    probe.open("e", 10);
    for client in clients {
        assert_eq!(client.answer().await.brief(), (410, "caught"));
    }
    assert_eq!(probe.calls("e"), 10);
}

/// `get` turns a HEAD into a GET, whose answer is whole.
#[tokio::test]
async fn h3_a_head_inside_of_get_fills() {
    let server = serve(get(numbered().with(page("inside").same_on_every_route()))).await;
    assert_eq!(server.ask("HEAD /", &[]).await.brief(), (200, ""));
    let hit = server.get("/").await;
    assert_eq!((hit.text(), hit.cache()), ("none 0", HIT));
}

/// Without a server, since HTTP/1.1 sends no trailers with a body of a known length.
#[tokio::test]
async fn h1_trailers_are_not_lost() {
    let endpoint = make_sync(|_| {
        let trailers = HeaderMap::from_iter([(header::ETAG, "\"1\"".parse().unwrap())]);
        let body = Full::new(Bytes::from("a")).with_trailers(async { Some(Ok(trailers)) });
        let never = |never: Infallible| -> io::Error { match never {} };
        let body = BoxBody::new(body.map_err(never));
        Response::builder()
            .header(header::CONTENT_LENGTH, 1)
            .body(body)
    });
    let client = TestClient::new(get(endpoint.with(page("trailers").same_on_every_route())));
    for _ in 0..2 {
        let body = client.get("/").send().await.0.into_body();
        let read = BoxBody::from(body).collect().await.unwrap();
        assert_eq!(read.trailers().unwrap()[header::ETAG], "\"1\"");
        assert_eq!(read.to_bytes(), "a");
    }
}

#[tokio::test]
async fn h9_one_middleware_over_several_routes_answers_each_with_its_own() {
    let original = || make_sync(|request| request.original_uri().to_string());
    let (row, one, path) = (page("row-{id}"), page("page"), page("path-{path}"));
    // Around a `Route`, only the path tells its routes apart.
    let inner = || Route::new().at("/a", original()).at("/b", original());
    let app = Route::new()
        .at("/users/:id", original().with(row.clone()))
        .at("/orders/:id<[^/]+>", original().with(row.clone()))
        .nest("/in", Route::new().at("/:id", original().with(row)))
        .nest("/page", inner().with(one))
        .nest("/path", inner().with(path.clone()))
        .nest("/also", inner().with(path));
    let rows = [
        ("/users/7", STORED),
        ("/orders/7", ROUTE),
        ("/in/7", ROUTE),
        ("/users/7", HIT),
        ("/page/a", ROUTE),
        ("/page/b", ROUTE),
        ("/path/a", STORED),
        ("/path/b", STORED),
        ("/also/a", STORED),
        ("/path/a", HIT),
    ];
    check(app, &rows.map(|(path, cache)| (path, path, cache))).await;
}

#[tokio::test]
async fn h5_a_middleware_works_around_nested_routes_and_functions() {
    let once = || OnceMiddleware::new(&Cachify::memory(), "x-{query.part}");
    let probe = Probe::default();
    let inside = probe.clone();
    let waiting = || {
        let probe = inside.clone();
        make(move |_| {
            let probe = probe.clone();
            async move {
                probe.call("in", &HeaderMap::new()).await;
                "done"
            }
        })
    };
    let nested = Route::new().nest("/in", Route::new().at("/:id", put(waiting())));
    let around = Route::new().at("/in/:id", put(waiting()));
    let around = around.around(|inner: Arc<Route>, request| async move {
        let response = inner.call(request).await?;
        Ok(response)
    });
    for app in [nested.with(once()).boxed(), around.with(once()).boxed()] {
        let (server, calls) = (serve(app).await, probe.calls("in"));
        probe.shut("in");
        let first = server.send("PUT /in/7?part=a", &[]).await;
        probe.until_called("in", calls + 1).await;
        assert_problem(&server.ask("PUT /in/8?part=a", &[]).await, 409);
        probe.open("in", 2);
        assert_eq!(server.ask("PUT /in/8?part=b", &[]).await.status, 200);
        assert_eq!(first.answer().await.brief(), (200, "done"));
    }
}

fn assert_problem(answer: &Answer, status: u16) {
    assert_eq!(answer.status, status, "{answer:?}");
    let content_type = answer.header("content-type");
    assert_eq!(content_type, Some("application/problem+json"));
}

#[tokio::test]
async fn h5_a_refusal_is_an_error_that_can_be_caught() {
    let cachify = Cachify::memory();
    let id = 7;
    let _guard = cachify.lock(&key!("x-{id}")).acquire().await.unwrap();
    let lock = LockMiddleware::new(&cachify, "x-{id}");
    let caught = put(numbered().with(lock.clone()))
        .catch_error(|problem: Problem| async move { problem.0.kind().as_str() });
    let server = serve(Route::new().at("/:id", caught)).await;
    assert_eq!(server.ask("PUT /7", &[]).await.brief(), (200, "held"));
    // Around the route, there are no path parameters yet.
    let outside = Route::new().at("/:id", put(numbered())).with(lock);
    assert_problem(&serve(outside).await.ask("PUT /7", &[]).await, 500);
}

#[derive(Debug, Deserialize, CacheKey)]
#[key("x-{id}")]
struct Item {
    id: u64,
}

/// A handler whose guard has no name, which holds the lock all the same.
#[handler]
async fn unnamed(Data(probe): Data<&Probe>, _: Locked<Item>) {
    probe.call("unnamed", &HeaderMap::new()).await;
}

#[handler]
fn choosy(locked: Result<Locked<Item>>) -> String {
    match locked {
        Ok(locked) => locked.key.id.to_string(),
        Err(error) => {
            let problem = error.downcast_ref::<Problem>().unwrap();
            problem.0.kind().to_string()
        }
    }
}

#[tokio::test]
async fn h5_a_guard_without_a_name_is_held_until_the_handler_is_done() {
    let (cachify, probe) = (Cachify::memory(), Probe::default());
    let app = Route::new().at("/:id", get(unnamed));
    let server = serve(app.data(cachify.clone()).data(probe.clone())).await;
    probe.shut("unnamed");
    let client = server.send("GET /7", &[]).await;
    probe.until_called("unnamed", 1).await;
    let lock = cachify.lock(&Item { id: 7 }.key());
    assert!(lock.is_locked().await.unwrap());
    probe.open("unnamed", 1);
    assert_eq!(client.answer().await.status, 200);
    let guard = lock.wait(Duration::from_secs(10)).acquire().await;
    guard.unwrap().release().await.unwrap();
}

#[tokio::test]
async fn h5_a_handler_can_look_at_the_refusal() {
    let cachify = Cachify::memory();
    let _guard = cachify.lock(&Item { id: 7 }.key()).acquire().await.unwrap();
    let app = Route::new().at("/:id", get(choosy)).data(cachify);
    check(
        app,
        &[("/7", "held", ""), ("/8", "8", ""), ("/x", "request", "")],
    )
    .await;
}

#[tokio::test]
async fn an_extractor_takes_the_handle_of_the_scope_and_says_when_there_is_none() {
    #[handler]
    fn once(_: RunOnce<Item>) {}
    let cachify = Cachify::memory();
    let route = || Route::new().at("/:id", get(once));
    let answer = serve(route()).await.get("/7").await;
    assert_eq!(answer.status, 500);
    assert!(answer.text().contains("Cachify"), "{answer:?}");

    let _guard = cachify.lock(&Item { id: 7 }.key()).acquire().await.unwrap();
    let server = serve(route().with(ScopeMiddleware::new(&cachify))).await;
    assert_problem(&server.get("/7").await, 409);
}

#[test]
fn s1_a_rejection_tells_no_key() {
    let error = cachify_core::Error::new(ErrorKind::Held, "taken");
    assert_eq!(Problem(error.clone()).to_string(), error.to_string());
}

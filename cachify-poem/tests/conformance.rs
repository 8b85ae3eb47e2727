//! The conformance suite over poem.
#![allow(clippy::expect_used)]

use std::time::Duration;

use cachify_core::testing::Stage;
use cachify_core::testing::adapter::{Content, Probe, TestApp};
use cachify_poem::{
    CacheKey, CacheMiddleware, Cachify, Error, HangupAcceptor, LockMiddleware, Locked,
    OnceMiddleware, PoolMiddleware, Pooled, Problem, RunOnce, ScopeMiddleware,
};
use poem::endpoint::BoxEndpoint;
use poem::http::{HeaderMap, StatusCode};
use poem::listener::TcpAcceptor;
use poem::web::{Data, Path};
use poem::{Body, EndpointExt as _, Request, Response, Result, Route, Server, get, handler, put};
use serde::Deserialize;

mod memory {
    use super::*;

    cachify_core::adapter_conformance!(tokio::test, Stage::memory(), serve, layers);
}

#[cfg(all(feature = "redis", unix))]
mod redis {
    use super::*;

    fn stage() -> Stage {
        Stage::redis(redis_fixture::shared())
    }

    cachify_core::adapter_conformance!(tokio::test, stage(), serve, layers);
}

async fn serve(app: TestApp) {
    let TestApp {
        listener,
        cachify,
        probe,
        ..
    } = app;
    let route = layers(&cachify, guarded(held(&cachify, cached(&cachify))));
    let route = route
        .with(ScopeMiddleware::new(&cachify))
        .data(cachify)
        .data(probe);
    if let Ok(acceptor) = TcpAcceptor::from_tokio(listener) {
        let server = Server::new_with_acceptor(HangupAcceptor::new(acceptor));
        drop(server.run(route).await);
    }
}

fn page(cachify: &Cachify, template: &str) -> CacheMiddleware {
    CacheMiddleware::new(cachify, template).ttl(Duration::from_mins(5))
}

fn cached(cachify: &Cachify) -> Route {
    let cached = |template| page(cachify, template);
    let any = get(named).post(named).delete(named);
    let missing = cached("missing-{name}").statuses([StatusCode::NOT_FOUND]);
    Route::new()
        .at("/page/:name", any.with(cached("page-{name}")))
        .at("/query", get(at("query")).with(cached("query-{query}")))
        .at(
            "/mine",
            get(at("mine")).with(cached("mine-{header.authorization}")),
        )
        .at(
            "/session",
            get(at("session")).with(cached("session-{cookie.session}")),
        )
        .at("/host", get(at("host")).with(cached("host-{host}")))
        .at(
            "/files/*rest",
            get(at("files")).with(cached("files-{rest}")),
        )
        .at(
            "/listen/:name",
            get(named).with(cached("listen-{name}").honor_request_cache_control()),
        )
        .at(
            "/detached/:name",
            get(named).with(cached("detached-{name}").finish_after_disconnect()),
        )
        .at(
            "/stale/:name",
            get(named).with(cached("stale-{name}").stale("1m")),
        )
        .at("/missing/:name", get(as_error).with(missing))
        .at(
            "/small/:name",
            get(named).with(cached("small-{name}").limit(10)),
        )
        .at("/plain/:name", put(named))
}

fn held(cachify: &Cachify, route: Route) -> Route {
    let lock = || LockMiddleware::new(cachify, "hold-{name}");
    let once = || OnceMiddleware::new(cachify, "hold-{name}");
    let pool = |max| PoolMiddleware::new(cachify, "hold-{name}", max);
    let busy = || (StatusCode::IM_USED, "busy");
    let failed = |error: Error| (StatusCode::BAD_GATEWAY, error.kind().as_str());
    let short = lock().ttl(Duration::from_secs(1));
    let streamed = lock().stream_body().max_hold(Duration::from_secs(1));
    route
        .at("/lock/:name", put(named).with(lock()))
        .at("/once/:name", put(named).with(once()))
        .at("/pool/:name", put(named).with(pool(2)))
        .at(
            "/patient/:name",
            put(named).with(lock().wait(Duration::from_mins(1))),
        )
        .at("/short/:name", put(named).with(short.clone()))
        .at("/streamed/:name", put(named).with(streamed))
        .at(
            "/replaced/lock/:name",
            put(named).with(short.on_locked(busy).on_error(failed)),
        )
        .at(
            "/replaced/once/:name",
            put(named).with(once().on_locked(busy).on_error(failed)),
        )
        .at(
            "/replaced/pool/:name",
            put(named).with(pool(1).on_full(busy).on_error(failed)),
        )
        .at("/own/:kind/:name", put(own).with(once().on_locked(busy)))
}

#[handler]
async fn own(
    Data(cachify): Data<&Cachify>,
    Data(probe): Data<&Probe>,
    Path((kind, name)): Path<(String, String)>,
) -> Result<(), Problem> {
    Ok(probe.own(cachify, &kind, &name).await?)
}

#[derive(Deserialize, CacheKey)]
#[key("hold-{name}")]
struct Hold {
    name: String,
}

fn guarded(route: Route) -> Route {
    route
        .at("/guard/lock/:name", put(guard_lock))
        .at("/guard/once/:name", put(guard_once))
        .at("/guard/pool/:name", put(guard_pool))
}

#[handler]
async fn guard_lock(
    Data(probe): Data<&Probe>,
    locked: Locked<Hold>,
    headers: &HeaderMap,
    body: Vec<u8>,
) -> Response {
    answer(probe, &locked.key.name, headers, body).await
}

#[handler]
async fn guard_once(
    Data(probe): Data<&Probe>,
    once: RunOnce<Hold>,
    headers: &HeaderMap,
    body: Vec<u8>,
) -> Response {
    answer(probe, &once.key.name, headers, body).await
}

#[handler]
async fn guard_pool(
    Data(probe): Data<&Probe>,
    pooled: Pooled<Hold, 2>,
    headers: &HeaderMap,
    body: Vec<u8>,
) -> Response {
    answer(probe, &pooled.key.name, headers, body).await
}

fn layers(cachify: &Cachify, route: Route) -> Route {
    let (row, path) = (page(cachify, "row-{name}"), page(cachify, "path-{path}"));
    let nested = Route::new()
        .at("/a/:name", get(named).with(path.clone()))
        .at("/b/:name", get(named).with(path));
    let unfilled = |template| put(at("unfilled")).with(LockMiddleware::new(cachify, template));
    let limited = PoolMiddleware::new(cachify, "hold-{name}", 1)
        .body_limit(100)
        .body_time(Duration::from_millis(500));
    route
        .at("/users/:name", get(by_path).with(row.clone()))
        .at("/orders/:name", get(by_path).with(row))
        .nest("/nested", nested)
        .at(
            "/paged",
            get(at("paged")).with(page(cachify, "paged-{query.page}")),
        )
        .at("/unfilled/query", unfilled("x-{query.page}"))
        .at("/unfilled/header", unfilled("x-{header.x-tenant}"))
        .at("/unfilled/path", unfilled("x-{other}"))
        .at("/limited/:name", put(named).with(limited))
        .at("/item/:id", put(item))
}

#[derive(Deserialize, CacheKey)]
#[key("item-{id}-{part}")]
struct Item {
    id: u64,
    part: String,
}

#[handler]
fn item(Locked { key, .. }: Locked<Item>) -> String {
    format!("{} {}", key.id, key.part)
}

#[handler]
async fn named(
    Data(probe): Data<&Probe>,
    Path(name): Path<String>,
    headers: &HeaderMap,
    body: Vec<u8>,
) -> Response {
    answer(probe, &name, headers, body).await
}

/// Answers with an error, as poem's own handlers do.
#[handler]
async fn as_error(
    Data(probe): Data<&Probe>,
    Path(name): Path<String>,
    headers: &HeaderMap,
) -> Result<Response> {
    let response = answer(probe, &name, headers, Vec::new()).await;
    Err(poem::Error::from_response(response))
}

#[handler]
async fn by_path(Data(probe): Data<&Probe>, request: &Request) -> Response {
    let path = request.original_uri().path();
    answer(probe, path, request.headers(), Vec::new()).await
}

fn at(name: &'static str) -> BoxEndpoint<'static> {
    let answer = move |request: Request| async move {
        let probe: &Probe = request.data().expect("the app has it");
        answer(probe, name, request.headers(), Vec::new()).await
    };
    poem::endpoint::make(answer).map_to_response().boxed()
}

async fn answer(probe: &Probe, name: &str, headers: &HeaderMap, body: Vec<u8>) -> Response {
    let answer = probe.answer(name, headers, body.into()).await;
    let (head, content) = answer.into_parts();
    let body = match content {
        Content::Whole(bytes) => Body::from(bytes),
        Content::Stream(pieces) => Body::from_bytes_stream(pieces),
    };
    let mut response = Response::builder().status(head.status).body(body);
    *response.headers_mut() = head.headers;
    response
}

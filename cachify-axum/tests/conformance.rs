//! The conformance suite over axum.

use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{FromRef, OriginalUri, Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use axum::routing::{get, put};
use cachify_axum::{
    BodyLayer, CacheKey, CacheLayer, Cachify, Error, LockLayer, Locked, OnceLayer, PoolLayer,
    Pooled, Problem, RunOnce, ScopeLayer,
};
use cachify_core::testing::Stage;
use cachify_core::testing::adapter::{Content, Probe, TestApp};
use futures_util::future::BoxFuture;
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

#[derive(Clone, FromRef)]
struct App {
    cachify: Cachify,
    probe: Probe,
}

async fn serve(app: TestApp) {
    let TestApp {
        listener,
        cachify,
        probe,
        ..
    } = app;
    let router = cached(&cachify)
        .merge(held(&cachify))
        .merge(guarded())
        .merge(layers(&cachify))
        .layer(ScopeLayer::new(&cachify))
        .with_state(App { cachify, probe });
    drop(axum::serve(listener, router).await);
}

fn page(cachify: &Cachify, template: &str) -> CacheLayer {
    CacheLayer::new(cachify, template).ttl(Duration::from_mins(5))
}

fn cached(cachify: &Cachify) -> Router<App> {
    let cached = |template| page(cachify, template);
    let any = get(named).post(named).delete(named);
    Router::new()
        .route("/page/{name}", any.layer(cached("page-{name}")))
        .route("/query", get(at("query")).layer(cached("query-{query}")))
        .route(
            "/mine",
            get(at("mine")).layer(cached("mine-{header.authorization}")),
        )
        .route(
            "/session",
            get(at("session")).layer(cached("session-{cookie.session}")),
        )
        .route("/host", get(at("host")).layer(cached("host-{host}")))
        .route(
            "/files/{*rest}",
            get(at("files")).layer(cached("files-{rest}")),
        )
        .route(
            "/listen/{name}",
            get(named).layer(cached("listen-{name}").honor_request_cache_control()),
        )
        .route(
            "/detached/{name}",
            get(named).layer(cached("detached-{name}").finish_after_disconnect()),
        )
        .route(
            "/stale/{name}",
            get(named).layer(cached("stale-{name}").stale("1m")),
        )
        .route(
            "/missing/{name}",
            get(named).layer(cached("missing-{name}").statuses([StatusCode::NOT_FOUND])),
        )
        .route(
            "/small/{name}",
            get(named).layer(cached("small-{name}").limit(10)),
        )
        .route("/plain/{name}", put(named))
}

fn held(cachify: &Cachify) -> Router<App> {
    let lock = || LockLayer::new(cachify, "hold-{name}");
    let once = || OnceLayer::new(cachify, "hold-{name}");
    let pool = |max| PoolLayer::new(cachify, "hold-{name}", max);
    let busy = || (StatusCode::IM_USED, "busy");
    let failed = |error: Error| (StatusCode::BAD_GATEWAY, error.kind().as_str());
    let short = lock().ttl(Duration::from_secs(1));
    let own = async |State(app): State<App>, Path((kind, name)): Path<(String, String)>| {
        let own = app.probe.own(&app.cachify, &kind, &name).await;
        own.map_err(Problem)
    };
    Router::new()
        .route("/lock/{name}", put(named).layer(lock()))
        .route("/once/{name}", put(named).layer(once()))
        .route("/pool/{name}", put(named).layer(pool(2)))
        .route(
            "/patient/{name}",
            put(named).layer(lock().wait(Duration::from_mins(1))),
        )
        .route("/short/{name}", put(named).layer(short.clone()))
        .route(
            "/streamed/{name}",
            put(named).layer(lock().stream_body().max_hold(Duration::from_secs(1))),
        )
        .route(
            "/replaced/lock/{name}",
            put(named).layer(short.on_locked(busy).on_error(failed)),
        )
        .route(
            "/replaced/once/{name}",
            put(named).layer(once().on_locked(busy).on_error(failed)),
        )
        .route(
            "/replaced/pool/{name}",
            put(named).layer(pool(1).on_full(busy).on_error(failed)),
        )
        .route("/own/{kind}/{name}", put(own).layer(once().on_locked(busy)))
}

#[derive(Deserialize, CacheKey)]
#[key("hold-{name}")]
struct Hold {
    name: String,
}

fn guarded() -> Router<App> {
    let lock = async |app, locked: Locked<Hold>, headers, body| {
        named(app, Path(locked.key.name.clone()), headers, body).await
    };
    let once = async |app, once: RunOnce<Hold>, headers, body| {
        named(app, Path(once.key.name.clone()), headers, body).await
    };
    let pool = async |app, pooled: Pooled<Hold, 2>, headers, body| {
        named(app, Path(pooled.key.name.clone()), headers, body).await
    };
    Router::new()
        .route("/guard/lock/{name}", put(lock))
        .route("/guard/once/{name}", put(once))
        .route("/guard/pool/{name}", put(pool))
        .layer(BodyLayer::new())
}

#[derive(Deserialize, CacheKey)]
#[key("item-{id}-{part}")]
struct Item {
    id: u64,
    part: String,
}

fn layers(cachify: &Cachify) -> Router<App> {
    let (row, path) = (page(cachify, "row-{name}"), page(cachify, "path-{path}"));
    let nested = Router::new()
        .route("/a/{name}", get(named))
        .route("/b/{name}", get(named))
        .layer(path);
    let unfilled = |template: &str| put(at("unfilled")).layer(LockLayer::new(cachify, template));
    let limited = PoolLayer::new(cachify, "hold-{name}", 1)
        .body_limit(100)
        .body_time(Duration::from_millis(500));
    let item = async |Locked { key, .. }: Locked<Item>| format!("{} {}", key.id, key.part);
    Router::new()
        .route("/users/{name}", get(by_path))
        .route("/orders/{name}", get(by_path))
        .layer(row)
        .nest("/nested", nested)
        .route(
            "/paged",
            get(at("paged")).layer(page(cachify, "paged-{query.page}")),
        )
        .route("/unfilled/query", unfilled("x-{query.page}"))
        .route("/unfilled/header", unfilled("x-{header.x-tenant}"))
        .route("/unfilled/path", unfilled("x-{other}"))
        .route("/limited/{name}", put(named).layer(limited))
        .route("/item/{id}", put(item))
}

async fn named(
    State(probe): State<Probe>,
    Path(name): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    probe
        .answer(&name, &headers, body)
        .await
        .map(|content| match content {
            Content::Whole(bytes) => Body::from(bytes),
            Content::Stream(pieces) => Body::from_stream(pieces),
        })
}

async fn by_path(
    app: State<Probe>,
    OriginalUri(uri): OriginalUri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    named(app, Path(uri.path().to_owned()), headers, body).await
}

fn at(
    name: &'static str,
) -> impl Fn(State<Probe>, HeaderMap, Bytes) -> BoxFuture<'static, Response> + Clone + Send + Sync {
    move |app, headers, body| Box::pin(named(app, Path(name.to_owned()), headers, body))
}

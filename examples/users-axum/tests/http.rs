//! The promises about HTTP, on routes behind cachify-axum.
#![allow(clippy::expect_used)]

use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use axum::http::{HeaderMap, Response, StatusCode};
use axum::response::IntoResponse;
use axum::routing::{get, post, put};
use cachify_axum::{CacheLayer, Cachify, LockLayer, OnceLayer, PoolLayer, Problem, key};
use tokio::net::TcpListener;
use users_contract::{Answer, Probe, Setup};

users_contract::http!(crate::serve);

async fn serve(setup: Setup) {
    let cachify = Cachify::builder().url(&setup.cache).prefix(&setup.prefix);
    let cachify = cachify.connect().await.expect("the backend answers");
    let cached = |template| CacheLayer::new(&cachify, template).ttl(Duration::from_mins(5));
    let app = Router::new()
        .route(
            "/page/{name}",
            get(named).post(named).layer(cached("page-{name}")),
        )
        .route("/query", get(query).layer(cached("query-{query}")))
        .route(
            "/mine",
            get(mine).layer(cached("mine-{header.authorization}")),
        )
        .route(
            "/session",
            get(session).layer(cached("session-{cookie.session}")),
        )
        .route("/host", get(host).layer(cached("host-{host}")))
        .route("/files/{*rest}", get(files).layer(cached("files-{rest}")))
        .route(
            "/listen/{name}",
            get(named).layer(cached("listen-{name}").honor_request_cache_control()),
        )
        .route(
            "/detached/{name}",
            get(named).layer(cached("detached-{name}").finish_after_disconnect()),
        )
        .route(
            "/missing/{name}",
            get(named).layer(cached("missing-{name}").statuses([StatusCode::NOT_FOUND])),
        )
        .route(
            "/small/{name}",
            get(named).layer(cached("small-{name}").limit(10)),
        )
        .route(
            "/lock/{name}",
            put(uploaded).layer(LockLayer::new(&cachify, "hold-{name}")),
        )
        .route(
            "/once/{name}",
            put(uploaded).layer(OnceLayer::new(&cachify, "hold-{name}")),
        )
        .route(
            "/pool/{name}",
            put(uploaded).layer(PoolLayer::new(&cachify, "hold-{name}", 2)),
        )
        .route(
            "/reset/{name}",
            post(async move |Path(name): Path<String>| {
                let reset = cachify.reset(&key!("page-{name}")).await;
                reset.map_err(Problem)
            }),
        )
        .route("/runs/{name}", get(runs))
        .with_state(setup.probe.clone());
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    setup.announce(listener.local_addr().expect("it is bound"));
    axum::serve(listener, app).await.expect("it runs");
}

async fn named(
    State(probe): State<Probe>,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> impl IntoResponse {
    response(probe.answer(&name, &headers).await)
}

async fn uploaded(
    State(probe): State<Probe>,
    Path(name): Path<String>,
    headers: HeaderMap,
    _: Bytes,
) -> impl IntoResponse {
    response(probe.answer(&name, &headers).await)
}

async fn query(State(probe): State<Probe>, headers: HeaderMap) -> impl IntoResponse {
    response(probe.answer("query", &headers).await)
}

async fn mine(State(probe): State<Probe>, headers: HeaderMap) -> impl IntoResponse {
    response(probe.answer("mine", &headers).await)
}

async fn session(State(probe): State<Probe>, headers: HeaderMap) -> impl IntoResponse {
    response(probe.answer("session", &headers).await)
}

async fn host(State(probe): State<Probe>, headers: HeaderMap) -> impl IntoResponse {
    response(probe.answer("host", &headers).await)
}

async fn files(State(probe): State<Probe>, headers: HeaderMap) -> impl IntoResponse {
    response(probe.answer("files", &headers).await)
}

async fn runs(State(probe): State<Probe>, Path(name): Path<String>) -> String {
    probe.runs(&name).to_string()
}

fn response(answer: Answer) -> Response<Body> {
    let body = if answer.stream {
        Body::from_stream(answer.stream())
    } else {
        Body::from(answer.body.concat())
    };
    let mut response = Response::new(body);
    *response.status_mut() = answer.status;
    *response.headers_mut() = answer.headers;
    response
}

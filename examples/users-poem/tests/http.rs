//! The promises about HTTP, on routes behind cachify-poem.
#![allow(clippy::expect_used)]

use std::time::Duration;

use cachify_poem::{
    CacheMiddleware, Cachify, HangupAcceptor, LockMiddleware, OnceMiddleware, PoolMiddleware,
    Problem, key,
};
use poem::http::{HeaderMap, StatusCode};
use poem::listener::{Acceptor, Listener, TcpListener};
use poem::web::{Data, Path};
use poem::{Body, EndpointExt, Response, Result, Route, Server, get, handler, post, put};
use users_contract::{Answer, Probe, Setup};

users_contract::http!(crate::serve);

async fn serve(setup: Setup) {
    let cachify = Cachify::builder().url(&setup.cache).prefix(&setup.prefix);
    let cachify = cachify.connect().await.expect("the backend answers");
    let cached = |template| CacheMiddleware::new(&cachify, template).ttl(Duration::from_mins(5));
    let app = Route::new()
        .at(
            "/page/:name",
            get(named).post(named).with(cached("page-{name}")),
        )
        .at("/query", get(query).with(cached("query-{query}")))
        .at(
            "/mine",
            get(mine).with(cached("mine-{header.authorization}")),
        )
        .at(
            "/session",
            get(session).with(cached("session-{cookie.session}")),
        )
        .at("/host", get(host).with(cached("host-{host}")))
        .at("/files/*rest", get(files).with(cached("files-{rest}")))
        .at(
            "/listen/:name",
            get(named).with(cached("listen-{name}").honor_request_cache_control()),
        )
        .at(
            "/detached/:name",
            get(named).with(cached("detached-{name}").finish_after_disconnect()),
        )
        .at(
            "/missing/:name",
            get(missing).with(cached("missing-{name}").statuses([StatusCode::NOT_FOUND])),
        )
        .at(
            "/small/:name",
            get(named).with(cached("small-{name}").limit(10)),
        )
        .at(
            "/lock/:name",
            put(uploaded).with(LockMiddleware::new(&cachify, "hold-{name}")),
        )
        .at(
            "/once/:name",
            put(uploaded).with(OnceMiddleware::new(&cachify, "hold-{name}")),
        )
        .at(
            "/pool/:name",
            put(uploaded).with(PoolMiddleware::new(&cachify, "hold-{name}", 2)),
        )
        .at("/reset/:name", post(reset))
        .at("/runs/:name", get(runs))
        .data(cachify)
        .data(setup.probe.clone());
    let acceptor = TcpListener::bind("127.0.0.1:0").into_acceptor().await;
    let acceptor = acceptor.expect("a free port");
    let address = acceptor.local_addr().remove(0);
    setup.announce(*address.as_socket_addr().expect("one of TCP"));
    let server = Server::new_with_acceptor(HangupAcceptor::new(acceptor));
    server.run(app).await.expect("it runs");
}

#[handler]
async fn named(
    Data(probe): Data<&Probe>,
    Path(name): Path<String>,
    headers: &HeaderMap,
) -> Response {
    response(probe.answer(&name, headers).await)
}

#[handler]
async fn uploaded(
    Data(probe): Data<&Probe>,
    Path(name): Path<String>,
    headers: &HeaderMap,
    _: Vec<u8>,
) -> Response {
    response(probe.answer(&name, headers).await)
}

/// Answers with an error, as poem's own handlers do.
#[handler]
async fn missing(
    Data(probe): Data<&Probe>,
    Path(name): Path<String>,
    headers: &HeaderMap,
) -> Result<Response> {
    let response = response(probe.answer(&name, headers).await);
    Err(poem::Error::from_response(response))
}

#[handler]
async fn query(Data(probe): Data<&Probe>, headers: &HeaderMap) -> Response {
    response(probe.answer("query", headers).await)
}

#[handler]
async fn mine(Data(probe): Data<&Probe>, headers: &HeaderMap) -> Response {
    response(probe.answer("mine", headers).await)
}

#[handler]
async fn session(Data(probe): Data<&Probe>, headers: &HeaderMap) -> Response {
    response(probe.answer("session", headers).await)
}

#[handler]
async fn host(Data(probe): Data<&Probe>, headers: &HeaderMap) -> Response {
    response(probe.answer("host", headers).await)
}

#[handler]
async fn files(Data(probe): Data<&Probe>, headers: &HeaderMap) -> Response {
    response(probe.answer("files", headers).await)
}

#[handler]
fn runs(Data(probe): Data<&Probe>, Path(name): Path<String>) -> String {
    probe.runs(&name).to_string()
}

#[handler]
async fn reset(Data(cachify): Data<&Cachify>, Path(name): Path<String>) -> Result<(), Problem> {
    cachify.reset(&key!("page-{name}")).await?;
    Ok(())
}

fn response(answer: Answer) -> Response {
    let body = if answer.stream {
        Body::from_bytes_stream(answer.stream())
    } else {
        Body::from(answer.body.concat())
    };
    let mut response = Response::builder().status(answer.status).body(body);
    *response.headers_mut() = answer.headers;
    response
}

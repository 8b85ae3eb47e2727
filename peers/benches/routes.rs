//! Measures a hit of a cached axum route, without a socket, through cachify and through other
//! libraries: `cargo bench --bench routes`.
#![allow(missing_docs)]

use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::Path;
use axum::handler::Handler as _;
use axum::http::{Request, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use cachify_axum::{CacheLayer, Cachify};
use hitbox::Config;
use hitbox::policy::PolicyConfig;
use hitbox_backend::format::BincodeFormat;
use hitbox_http::extractors::Path as PathKey;
use hitbox_http::predicates::{NeutralRequestPredicate, NeutralResponsePredicate};
use hitbox_moka::MokaBackend;
use tokio::runtime::{Builder, Runtime};
use tower_service::Service as _;

mod common;
use common::{Comparison, compute, computed, heading};

const HITS: u32 = 20_000;
const HOUR: Duration = Duration::from_hours(1);

static USER: Bytes = Bytes::from_static(&[b'.'; 256]);

async fn read_user(Path(_): Path<u64>) -> Response {
    compute();
    ([(header::CONTENT_TYPE, "application/json")], USER.clone()).into_response()
}

fn ours() -> Router {
    let layer = CacheLayer::new(&Cachify::memory(), "read_user-{user_id}").ttl(HOUR);
    Router::new().route("/users/{user_id}", get(read_user.layer(layer)))
}

/// Less work than cachify: no coalescing, no HTTP rules (`Vary`, `Cache-Control`, conditional
/// requests).
fn response_cache() -> Router {
    let layer = axum_response_cache::CacheLayer::with_lifespan(HOUR);
    Router::new().route("/users/{user_id}", get(read_user.layer(layer)))
}

/// As configured here, it does not coalesce, and no predicate looks at request or response. It
/// decodes the response on every hit.
fn hitbox_tower() -> Router {
    let config = Config::builder()
        .request_predicate(NeutralRequestPredicate::new())
        .response_predicate(NeutralResponsePredicate::new())
        .extractor(PathKey::new("/users/{user_id}"))
        .policy(PolicyConfig::builder().ttl(HOUR).build())
        .build();
    let backend = MokaBackend::builder()
        .max_entries(10_000)
        .value_format(BincodeFormat)
        .build();
    let layer = hitbox_tower::Cache::builder()
        .backend(backend)
        .config(config)
        .build();
    Router::new().route("/users/{user_id}", get(read_user.layer(layer)))
}

fn main() {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let _context = runtime.enter();
    heading();
    compare("axum-response-cache", &runtime, response_cache());
    compare("hitbox-tower, moka, bincode", &runtime, hitbox_tower());
}

fn compare(name: &'static str, runtime: &Runtime, mut theirs: Router) {
    let mut ours = ours();
    runtime.block_on(hits(&mut theirs, 1));
    runtime.block_on(hits(&mut ours, 1));
    assert_eq!(computed(), 2, "{name}: nothing was cached yet");
    let comparison = Comparison::new(name, 0.5, HITS).run(
        || runtime.block_on(hits(&mut theirs, HITS)),
        || runtime.block_on(hits(&mut ours, HITS)),
    );
    assert_eq!(computed(), 0, "{name}: every hit was a hit");
    comparison.print();
}

/// Builds requests and reads each response to its end, as a server does.
async fn hits(app: &mut Router, count: u32) {
    for _ in 0..count {
        let request = Request::get("/users/7").body(Body::empty()).unwrap();
        let response = app.call(request).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
        assert_eq!(body.len(), USER.len());
    }
}

//! Operations of poem-openapi: guards among their arguments, middleware around them, and refusals
//! in their documentation.
#![cfg(feature = "openapi")]
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use cachify_core::testing::adapter::{Probe, Server};
use cachify_poem::{
    CacheKey, CacheMiddleware, Cachify, Error, ErrorKind, Locked, Pooled, Problem, RunOnce,
    ScopeMiddleware, key, problem,
};
use poem::http::HeaderMap;
use poem::listener::TcpAcceptor;
use poem::web::Data;
use poem::{Endpoint, EndpointExt as _, Route};
use poem_openapi::param::{Path, Query};
use poem_openapi::payload::PlainText;
use poem_openapi::{OpenApi, OpenApiService};
use serde::Deserialize;
use serde_json::Value;

#[derive(Deserialize, CacheKey)]
#[key("x-{team}-{id}-{part}")]
struct Item {
    #[serde(alias = "param0")]
    team: String,
    #[serde(alias = "param1")]
    id: u64,
    part: String,
}

struct Api(Probe);

impl Api {
    async fn wait(&self) {
        self.0.call("api", &HeaderMap::new()).await;
    }
}

#[OpenApi]
impl Api {
    #[oai(path = "/locked/:team/:id", method = "get")]
    async fn locked(
        &self,
        team: Path<String>,
        id: Path<u64>,
        part: Query<String>,
        guard: Locked<Item>,
    ) -> Result<PlainText<String>, Problem> {
        self.wait().await;
        assert_eq!(guard.key.part, part.0);
        assert_eq!((&guard.key.team, guard.key.id), (&team.0, id.0));
        Ok(PlainText("done".to_owned()))
    }

    #[oai(path = "/once/:team/:id", method = "get")]
    async fn once(&self, guard: RunOnce<Item>) -> Result<PlainText<String>, Problem> {
        self.wait().await;
        drop(guard);
        Ok(PlainText("done".to_owned()))
    }

    #[oai(path = "/permit/:team/:id", method = "get")]
    async fn permit(&self, permit: Pooled<Item, 1>) -> Result<PlainText<String>, Problem> {
        self.wait().await;
        drop(permit);
        Ok(PlainText("done".to_owned()))
    }

    #[oai(path = "/typed/:team/:id", method = "get")]
    async fn typed(
        &self,
        Data(cachify): Data<&Cachify>,
        team: Path<String>,
        id: Path<u64>,
        part: Query<String>,
    ) -> Result<PlainText<String>, Problem> {
        let key = key!(
            "x-{team}-{id}-{part}",
            team = team.0,
            id = id.0,
            part = part.0
        );
        let _guard = cachify.lock(&key).acquire().await?;
        self.wait().await;
        Ok(PlainText("done".to_owned()))
    }

    #[oai(path = "/cached/:team/:id", method = "get", transform = "cached")]
    async fn cached(&self, team: Path<String>, id: Path<u64>) -> PlainText<String> {
        self.wait().await;
        PlainText(format!("{} {}", team.0, id.0))
    }
}

/// Adds the cache to an operation. It runs when the routes are built.
fn cached(endpoint: impl Endpoint + 'static) -> impl Endpoint {
    let cachify = Cachify::current().unwrap();
    endpoint.with(CacheMiddleware::new(&cachify, "{param0}/{param1}"))
}

fn service(probe: &Probe) -> OpenApiService<Api, ()> {
    OpenApiService::new(Api(probe.clone()), "Items", "1.0")
}

async fn serve(cachify: &Cachify, probe: &Probe) -> Server {
    let app = cachify.sync_scope(|| {
        Route::new()
            .nest("/api", service(probe))
            .with(ScopeMiddleware::new(cachify))
            .data(cachify.clone())
    });
    Server::start(async |listener| {
        let acceptor = TcpAcceptor::from_tokio(listener)?;
        poem::Server::new_with_acceptor(acceptor).run(app).await
    })
    .await
}

#[tokio::test]
async fn h5_a_guard_among_the_arguments_refuses_what_is_taken() {
    let (cachify, probe) = (Cachify::memory(), Probe::default());
    let server = serve(&cachify, &probe).await;
    for (route, status) in [
        ("locked", 423),
        ("once", 409),
        ("permit", 429),
        ("typed", 423),
    ] {
        let (line, calls) = (
            format!("GET /api/{route}/red/7?part={route}"),
            probe.calls("api"),
        );
        probe.shut("api");
        let first = server.send(&line, &[]).await;
        probe.until_called("api", calls + 1).await;
        let refused = server.ask(&line, &[]).await;
        assert_eq!(refused.status, status, "{refused:?}");
        let content_type = refused.header("content-type");
        assert_eq!(content_type, Some("application/problem+json"));
        probe.open("api", 2);
        let other = server
            .get(&format!("/api/{route}/blue/7?part={route}"))
            .await;
        assert_eq!(other.brief(), (200, "done"));
        assert_eq!(first.answer().await.brief(), (200, "done"));
    }
    let unkeyed = server.get("/api/once/red/seven?part=a").await;
    assert_eq!(unkeyed.status, 400, "{unkeyed:?}");
}

#[tokio::test]
async fn h1_an_operation_is_cached_by_the_numbers_of_its_parameters() {
    let (cachify, probe) = (Cachify::memory(), Probe::default());
    let server = serve(&cachify, &probe).await;
    for (path, text, cache) in [
        (
            "/api/cached/red/7",
            "red 7",
            "cachify; fwd=uri-miss; stored",
        ),
        (
            "/api/cached/red/8",
            "red 8",
            "cachify; fwd=uri-miss; stored",
        ),
        ("/api/cached/red/7", "red 7", "cachify; hit"),
    ] {
        let answer = server.get(path).await;
        assert_eq!((answer.text(), answer.cache()), (text, cache));
    }
}

#[test]
fn h5_refusals_are_documented() {
    let spec = service(&Probe::default()).spec();
    let spec: Value = serde_json::from_str(&spec).unwrap();
    let responses = &spec["paths"]["/locked/{team}/{id}"]["get"]["responses"];
    let refused = [
        ErrorKind::Held,
        ErrorKind::Full,
        ErrorKind::Lost,
        ErrorKind::Unavailable,
        ErrorKind::Timeout,
        ErrorKind::Unconfirmed,
        ErrorKind::NotQueued,
        ErrorKind::Request,
        ErrorKind::SlowBody,
        ErrorKind::LongBody,
    ];
    let mut answers: BTreeMap<_, _> = refused
        .into_iter()
        .map(|kind| {
            let (status, headers, _) = problem(&Error::new(kind, "refused"));
            (
                status.as_str().to_owned(),
                headers.contains_key("retry-after"),
            )
        })
        .collect();
    // `Held`, of `Cachify::once`.
    answers.insert("409".to_owned(), true);
    for (status, again) in &answers {
        let response = &responses[status];
        let schema = &response["content"]["application/problem+json"]["schema"];
        assert!(schema.is_object(), "{status} is not documented");
        assert_eq!(
            schema["required"].as_array().unwrap().len(),
            4,
            "{response}"
        );
        let header = response["headers"].get("Retry-After");
        assert_eq!(header.is_some(), *again, "{response}");
    }
    assert!(responses["200"].is_object());
    assert_eq!(responses.as_object().unwrap().len(), answers.len() + 1);
}

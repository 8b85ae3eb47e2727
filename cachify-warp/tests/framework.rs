//! Features of warp alone: places for a filter, rejections, and arguments of handlers.
#![allow(clippy::unwrap_used)]

use std::future::{Ready, ready};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use cachify_core::testing::adapter::{Answer, Server};
use cachify_warp::{
    CacheOptions, Cachify, ErrorKind, FilterExt, Guard, LockOptions, OnceOptions, Permit,
    PoolOptions, Problem, handler::Route, key, recover,
};
use http_body_util::BodyExt as _;
use tower_service::Service as _;
use warp::filters::BoxedFilter;
use warp::http::{Request, StatusCode};
use warp::reply::{Reply, Response, with_status};
use warp::{Filter, reject};

const STORED: &str = "cachify; fwd=uri-miss; stored";
const HIT: &str = "cachify; hit";

type App = BoxedFilter<(Response,)>;

/// Completes routes as an app does: `recover` answers the rejections of this crate.
fn app<R: Reply + 'static>(routes: impl Route<Extract = (R,)>) -> App {
    plain(routes.recover(recover))
}

/// Completes routes without `recover`.
fn plain<R: Reply + 'static>(
    routes: impl Filter<Extract = (R,), Error: Into<warp::Rejection>> + Send + Sync + 'static,
) -> App {
    routes.map(Reply::into_response).boxed()
}

async fn serve(app: App) -> Server {
    Server::start(|listener| warp::serve(app).incoming(listener).run()).await
}

/// Returns a handler that answers with the number of the call.
fn counter() -> impl Fn() -> Ready<String> + Clone + Send + Sync + 'static {
    let count = Arc::new(AtomicUsize::new(0));
    move || ready(count.fetch_add(1, Ordering::SeqCst).to_string())
}

fn cache() -> CacheOptions {
    CacheOptions::new(&Cachify::memory())
}

#[tokio::test]
async fn h1_a_route_is_cached_wherever_it_stands() {
    let users = || {
        let count = counter();
        let handler = move |id: String| {
            let count = count();
            async move { format!("{id} {}", count.await) }
        };
        let path = warp::path!("users" / String).and(warp::get());
        path.cached(cache(), |(id,)| key!("{id}"), handler)
    };
    let other = || warp::path!("other").and(warp::get()).map(|| "other");
    for app in [
        plain(users()),
        plain(users().or(other())),
        plain(other().or(users())),
        plain(other().or(users().boxed())),
        plain(users().with(warp::reply::with::header("x-with", "1"))),
        app(other().or(users())),
        plain(warp::any().and(other().or(users().or(other())))),
    ] {
        let server = serve(app).await;
        for (path, text, cache) in [
            ("/users/a", "a 0", STORED),
            ("/users/b", "b 1", STORED),
            ("/users/a", "a 0", HIT),
            ("/users/b?x=1", "b 1", HIT),
        ] {
            let answer = server.get(path).await;
            assert_eq!((answer.text(), answer.cache()), (text, cache), "{path}");
        }
    }
}

#[tokio::test]
async fn h1_a_filter_as_a_service_is_cached_too() {
    let route = warp::path::end().and(warp::get());
    let mut service = warp::service(route.cached(cache(), |()| key!("page"), counter()));
    for cache in [STORED, HIT] {
        let request = Request::get("/").body(String::new()).unwrap();
        let answer = service.call(request).await.unwrap();
        let status = answer.headers()["cache-status"].to_str().unwrap();
        assert!(status.starts_with(cache), "{status}");
        let body = answer.into_body().collect().await.unwrap();
        assert_eq!(body.to_bytes(), "0");
    }
}

#[tokio::test]
async fn h1_what_no_route_takes_is_no_error_of_the_server() {
    async fn find(id: u64) -> Result<String, warp::Rejection> {
        match id {
            7 => Ok("seven".to_owned()),
            _ => Err(reject::not_found()),
        }
    }
    let path = warp::path!("users" / u64).and(warp::get());
    let read = path.cached(cache(), |(id,)| key!("user-{id}"), find);
    let eight = warp::path!("users" / u64).and_then(async |id| match id {
        8 => Ok("eight"),
        _ => Err(reject::not_found()),
    });
    for app in [plain(read.clone().or(eight)), app(read.or(eight))] {
        let server = serve(app).await;
        for (path, brief) in [
            ("/users/7", (200, "seven")),
            ("/users/8", (200, "eight")),
            ("/users/9", (404, "")),
            ("/users/seven", (404, "")),
            ("/", (404, "")),
        ] {
            for _ in 0..2 {
                assert_eq!(server.get(path).await.brief(), brief, "{path}");
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
    let three = warp::path!(u8 / u8 / u8).map(|a, b, c| (a, b, c));
    let more = warp::any().map(|| ((4, 5), 6)).untuple_one();
    let route = three.and(more).and(warp::get()).cached(
        cache(),
        |((first, ..), .., last)| key!("{first}-{last}"),
        all,
    );
    let server = serve(app(route)).await;
    for (path, text) in [("/0/2/3", "zero"), ("/1/2/3", "(1, 2, 3) (4, 5) 6")] {
        for cache in [STORED, HIT] {
            let answer = server.get(path).await;
            assert_eq!((answer.text(), answer.cache()), (text, cache));
        }
    }
}

#[tokio::test]
async fn h1_rejections_are_shared_with_nobody() {
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
    let route = warp::path::end().cached(cache(), |()| key!("page"), handler);
    let server = serve(app(route)).await;
    for brief in [(404, ""), (404, ""), (200, "found"), (200, "found")] {
        assert_eq!(server.get("/").await.brief(), brief);
    }
}

/// A filter can extract a condition before `cached` sees the request, so the handler may answer it.
#[tokio::test]
async fn h3_a_condition_that_the_handler_answers_is_its_clients_alone() {
    let handler = |known: Option<String>| {
        ready(match known {
            Some(_) => StatusCode::NOT_MODIFIED.into_response(),
            None => "whole".into_response(),
        })
    };
    let route = warp::path::end()
        .and(warp::header::optional::<String>("if-none-match"))
        .cached(cache(), |_| key!("page"), handler);
    let server = serve(app(route)).await;
    let known = server.ask("GET /", &[("if-none-match", "\"x\"")]).await;
    assert_eq!(known.brief(), (304, ""));
    for _ in 0..2 {
        assert_eq!(server.get("/").await.brief(), (200, "whole"));
    }
}

fn path() -> BoxedFilter<(u64,)> {
    warp::path!(u64).and(warp::put()).boxed()
}

async fn done<G>(_: u64, guard: G) -> &'static str {
    drop(guard);
    "done"
}

async fn ask(app: App, line: &str) -> Answer {
    serve(app).await.ask(line, &[]).await
}

fn assert_problem(answer: &Answer, status: u16) {
    assert_eq!(answer.status, status, "{answer:?}");
    let content_type = answer.header("content-type");
    assert_eq!(content_type, Some("application/problem+json"));
}

#[tokio::test]
async fn h5_the_refusals_of_guards_can_be_replaced() {
    let cachify = Cachify::memory();
    let key = |(id,): &(u64,)| key!("x-{id}");
    let _lock = cachify.lock(&key(&(7,))).acquire().await.unwrap();
    let _permit = cachify.pool(&key(&(7,)), 1).acquire().await.unwrap();
    let busy = || with_status("busy", StatusCode::IM_USED);
    let lock = LockOptions::new(&cachify).on_locked(busy);
    let once = OnceOptions::new(&cachify).on_locked(busy);
    let pool = PoolOptions::new(&cachify, 1).on_full(busy);
    for app in [
        app(path().locked(lock, key).then(done::<Guard>)),
        app(path().once(once, key).then(done::<Guard>)),
        app(path().pooled(pool, key).then(done::<Permit>)),
    ] {
        assert_eq!(ask(app, "PUT /7").await.brief(), (226, "busy"));
    }
}

#[tokio::test]
async fn h5_a_filter_that_rejects_gives_the_guard_back() {
    let cachify = Cachify::memory();
    let route = path()
        .locked(&cachify, |(id,)| key!("x-{id}"))
        .and(warp::body::json())
        .map(|id, guard: Guard, name: String| {
            assert!(guard.fencing_token() > 0);
            format!("{id} {name}")
        });
    let server = serve(app(route.or(warp::path!("other").map(|| "other")))).await;
    let answer = server.ask_with("PUT /7", &[], "no json").await;
    assert_eq!(answer.status, 400);
    let id = 7;
    let lock = cachify.lock(&key!("x-{id}")).wait("10s");
    lock.acquire().await.unwrap().release().await.unwrap();
    let answer = server.ask_with("PUT /7", &[], "\"Ann\"").await;
    assert_eq!(answer.brief(), (200, "7 Ann"));
}

#[tokio::test]
async fn h5_a_refusal_survives_what_other_routes_say() {
    let cachify = Cachify::memory();
    let id = 7;
    let _guard = cachify.lock(&key!("x-{id}")).acquire().await.unwrap();
    let read = || warp::path!(u64).and(warp::get()).map(|_| "read");
    let update = || path().then_once(&cachify, |(id,)| key!("x-{id}"), async |_| "done");
    for app in [
        app(read().or(update())),
        app(update().or(read())),
        // If a later route accepts the request, the rejection must be answered before.
        plain(update().recover(recover).or(warp::any().map(|| "any"))),
    ] {
        assert_problem(&ask(app, "PUT /7").await, 409);
    }
    // A recovery function of the app may come before `recover` or call it.
    let own = async |rejection: warp::Rejection| match rejection.find() {
        Some(Problem(error)) => Ok(error.kind().as_str().into_response()),
        None => recover(rejection).await,
    };
    let app = plain(read().or(update()).recover(own));
    assert_eq!(
        ask(app.clone(), "PUT /7").await.brief(),
        (200, "already running")
    );
    assert_eq!(ask(app.clone(), "PUT /8").await.brief(), (200, "done"));
    assert_eq!(ask(app, "PUT /x").await.status, 404);
}

#[test]
fn s1_a_rejection_tells_no_key() {
    let error = cachify_core::Error::new(ErrorKind::Held, "taken");
    assert_eq!(Problem(error.clone()).to_string(), error.to_string());
}

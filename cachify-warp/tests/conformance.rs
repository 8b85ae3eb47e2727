//! The conformance suite over warp.
#![allow(clippy::too_many_lines)] // Lists of routes.

use std::time::Duration;

use bytes::{Buf, Bytes};
use cachify_core::testing::Stage;
use cachify_core::testing::adapter::{Content, Probe, TestApp};
use cachify_warp::{
    CacheOptions, Cachify, Error, FilterExt, Guard, LockOptions, OnceOptions, Permit, PoolOptions,
    Problem, get_or_head, hashed, host, key, query, recover, with_cachify,
};
use futures_util::stream::BoxStream;
use futures_util::{Stream, StreamExt as _};
use warp::Filter;
use warp::filters::BoxedFilter;
use warp::filters::path::Tail;
use warp::http::header::{AUTHORIZATION, COOKIE, HOST};
use warp::http::{HeaderMap, StatusCode};
use warp::reply::{Reply, Response, with_status};

mod memory {
    use super::*;

    cachify_core::adapter_conformance!(tokio::test, Stage::memory(), serve);
}

#[cfg(all(feature = "redis", unix))]
mod redis {
    use super::*;

    fn stage() -> Stage {
        Stage::redis(redis_fixture::shared())
    }

    cachify_core::adapter_conformance!(tokio::test, stage(), serve);
}

async fn serve(app: TestApp) {
    let routes = cached(&app)
        .or(held(&app))
        .unify()
        .or(guarded(&app))
        .unify();
    let routes = routes.recover(recover);
    warp::serve(routes).incoming(app.listener).run().await;
}

type Routes = BoxedFilter<(Response,)>;

/// Extracts the arguments of a handler besides its name.
fn asked(probe: &Probe) -> BoxedFilter<(HeaderMap, Bytes, Probe)> {
    let probe = probe.clone();
    warp::header::headers_cloned()
        .and(warp::body::bytes())
        .map(move |headers, body| (headers, body, probe.clone()))
        .untuple_one()
        .boxed()
}

fn cached(app: &TestApp) -> Routes {
    let cache = CacheOptions::new(&app.cachify).ttl(Duration::from_mins(5));
    let asked = asked(&app.probe);
    let at = |kind: &'static str| {
        let path = warp::path(kind).and(warp::path::param::<String>());
        path.and(warp::path::end()).and(asked.clone())
    };
    let page = get_or_head()
        .or(warp::post())
        .unify()
        .or(warp::delete())
        .unify();
    let page = page
        .and(at("page"))
        .cached(cache.clone(), |(name, ..)| key!("page-{name}"), named);
    let queries = warp::path!("query")
        .and(get_or_head())
        .and(query())
        .and(asked.clone())
        .cached(
            cache.clone(),
            |(query, ..)| key!("query-{query}"),
            async |_, headers, body, probe| answer("query", headers, body, probe).await,
        );
    let mine = warp::path!("mine")
        .and(get_or_head())
        .and(warp::header::<String>("authorization"))
        .and(asked.clone())
        .cached(
            cache.clone().keyed_by([AUTHORIZATION]),
            |(user, ..)| key!("mine-{user}", user = hashed(user)),
            async |_, headers, body, probe| answer("mine", headers, body, probe).await,
        );
    // The cache cannot see which cookie the key names, so the requests have no other cookie.
    let session = warp::path!("session")
        .and(get_or_head())
        .and(warp::cookie::<String>("session"))
        .and(asked.clone())
        .cached(
            cache.clone().keyed_by([COOKIE]),
            |(session, ..)| key!("session-{session}", session = hashed(session)),
            async |_, headers, body, probe| answer("session", headers, body, probe).await,
        );
    let hosts = warp::path!("host")
        .and(get_or_head())
        .and(host())
        .and(asked.clone())
        .cached(
            cache.clone().keyed_by([HOST]),
            |(host, ..)| key!("host-{host}"),
            async |_, headers, body, probe| answer("host", headers, body, probe).await,
        );
    let files = warp::path("files")
        .and(warp::path::tail())
        .and(get_or_head())
        .and(asked.clone())
        .cached(
            cache.clone(),
            |(rest, ..): &(Tail, _, _, _)| key!("files-{rest}", rest = rest.as_str()),
            async |_, headers, body, probe| answer("files", headers, body, probe).await,
        );
    let listen = get_or_head().and(at("listen")).cached(
        cache.clone().honor_request_cache_control(),
        |(name, ..)| key!("listen-{name}"),
        named,
    );
    let detached = get_or_head().and(at("detached")).cached(
        cache.clone().finish_after_disconnect(),
        |(name, ..)| key!("detached-{name}"),
        named,
    );
    let stale = get_or_head().and(at("stale")).cached(
        cache.clone().stale("1m"),
        |(name, ..)| key!("stale-{name}"),
        named,
    );
    let missing = get_or_head().and(at("missing")).cached(
        cache.clone().statuses([StatusCode::NOT_FOUND]),
        |(name, ..)| key!("missing-{name}"),
        named,
    );
    let small = get_or_head().and(at("small")).cached(
        cache.limit(10),
        |(name, ..)| key!("small-{name}"),
        named,
    );
    let plain = warp::put().and(at("plain")).scoped(&app.cachify, named);
    let keyed = queries
        .or(mine)
        .unify()
        .or(session)
        .unify()
        .or(hosts)
        .unify();
    let options = listen
        .or(detached)
        .unify()
        .or(stale)
        .unify()
        .or(missing)
        .unify()
        .or(small)
        .unify();
    let pages = page.or(keyed).unify().or(files).unify();
    pages.or(options).unify().or(plain).unify().boxed()
}

fn held(app: &TestApp) -> Routes {
    let cachify = &app.cachify;
    let asked = asked(&app.probe);
    let put = |prefix: BoxedFilter<()>| {
        let path = prefix
            .and(warp::path::param::<String>())
            .and(warp::path::end());
        warp::put().and(path).and(asked.clone())
    };
    let at = |kind: &'static str| put(warp::path(kind).boxed());
    let key = |(name, ..): &(String, HeaderMap, Bytes, Probe)| key!("hold-{name}");
    let short = LockOptions::new(cachify).ttl(Duration::from_secs(1));
    let patient = LockOptions::new(cachify).wait(Duration::from_mins(1));
    let held = at("lock")
        .then_locked(cachify, key, named)
        .or(at("once").then_once(cachify, key, named))
        .unify()
        .or(at("pool").then_pooled(PoolOptions::new(cachify, 2), key, named))
        .unify()
        .or(at("patient").then_locked(patient, key, named))
        .unify()
        .or(at("short").then_locked(short.clone(), key, named))
        .unify();

    let busy = || with_status("busy", StatusCode::IM_USED);
    let failed = |error: Error| with_status(error.kind().as_str(), StatusCode::BAD_GATEWAY);
    let replaced = |kind: &'static str| put(warp::path("replaced").and(warp::path(kind)).boxed());
    let lock = short.on_locked(busy).on_error(failed);
    let once = OnceOptions::new(cachify).on_locked(busy).on_error(failed);
    let pool = PoolOptions::new(cachify, 1).on_full(busy).on_error(failed);
    let replaced = replaced("lock")
        .then_locked(lock, key, named)
        .or(replaced("once").then_once(once.clone(), key, named))
        .unify()
        .or(replaced("pool").then_pooled(pool, key, named))
        .unify();

    let probe = app.probe.clone();
    let own = warp::path!("own" / String / String)
        .and(warp::put())
        .and(with_cachify(cachify))
        .and(warp::any().map(move || probe.clone()))
        .then_once(
            once,
            |(_, name, ..)| key!("hold-{name}"),
            async |kind: String, name: String, cachify: Cachify, probe: Probe| {
                let own = probe.own(&cachify, &kind, &name).await;
                own.map_err(Problem).map(|()| "own")
            },
        );

    let probe = app.probe.clone();
    let lock = LockOptions::new(cachify).max_hold(Duration::from_secs(1));
    let streamed = warp::path!("streamed" / String)
        .and(warp::put())
        .and(warp::header::headers_cloned())
        .and(warp::body::stream())
        .map(|name, headers, body| (name, headers, pieces(body)))
        .untuple_one()
        .then_locked(
            lock,
            |(name, ..)| key!("hold-{name}"),
            move |name: String, headers, pieces| {
                let probe = probe.clone();
                async move {
                    let pieces: Vec<Bytes> = BoxStream::collect(pieces).await;
                    named(name, headers, pieces.concat().into(), probe).await
                }
            },
        );
    let held = held.or(replaced).unify();
    held.or(own).unify().or(streamed).unify().boxed()
}

fn pieces(
    body: impl Stream<Item = Result<impl Buf, warp::Error>> + Send + 'static,
) -> BoxStream<'static, Bytes> {
    body.map(|piece| match piece {
        Ok(mut piece) => piece.copy_to_bytes(piece.remaining()),
        Err(_) => Bytes::new(),
    })
    .boxed()
}

fn guarded(app: &TestApp) -> Routes {
    let asked = asked(&app.probe);
    let at = |kind: &'static str| {
        let path = warp::path("guard")
            .and(warp::path(kind))
            .and(warp::path::param::<String>());
        warp::put()
            .and(path)
            .and(warp::path::end())
            .and(asked.clone())
    };
    let key = |(name, ..): &(String, HeaderMap, Bytes, Probe)| key!("hold-{name}");
    let cachify = &app.cachify;
    let lock = at("lock").locked(cachify, key).then(with_guard::<Guard>);
    let once = at("once").once(cachify, key).then(with_guard::<Guard>);
    let pool = at("pool")
        .pooled(PoolOptions::new(cachify, 2), key)
        .then(with_guard::<Permit>);
    lock.or(once).unify().or(pool).unify().boxed()
}

async fn with_guard<G>(
    name: String,
    headers: HeaderMap,
    body: Bytes,
    probe: Probe,
    guard: G,
) -> Response {
    let response = named(name, headers, body, probe).await;
    drop(guard);
    response
}

async fn named(name: String, headers: HeaderMap, body: Bytes, probe: Probe) -> Response {
    answer(&name, headers, body, probe).await
}

async fn answer(name: &str, headers: HeaderMap, body: Bytes, probe: Probe) -> Response {
    let (head, content) = probe.answer(name, &headers, body).await.into_parts();
    let mut response = match content {
        Content::Whole(bytes) => Vec::from(bytes).into_response(),
        Content::Stream(pieces) => warp::reply::stream(pieces).into_response(),
    };
    *response.status_mut() = head.status;
    *response.headers_mut() = head.headers;
    response
}

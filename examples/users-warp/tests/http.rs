//! The promises about HTTP, on routes behind cachify-warp.
#![allow(clippy::expect_used)]

use std::time::Duration;

use bytes::Bytes;
use cachify_warp::{
    CacheOptions, Cachify, FilterExt, LockOptions, OnceOptions, PoolOptions, Problem, get_or_head,
    hashed, host, key, query, recover, with_cachify,
};
use tokio::net::TcpListener;
use users_contract::{Answer, Probe, Setup};
use warp::Filter;
use warp::filters::BoxedFilter;
use warp::filters::path::Tail;
use warp::http::header::{AUTHORIZATION, COOKIE, HOST};
use warp::http::{HeaderMap, StatusCode};
use warp::reply::{Reply, Response};

users_contract::http!(crate::serve);

#[allow(clippy::too_many_lines)] // A list of routes.
async fn serve(setup: Setup) {
    let cachify = Cachify::builder().url(&setup.cache).prefix(&setup.prefix);
    let cachify = cachify.connect().await.expect("the backend answers");
    let cache = CacheOptions::new(&cachify).ttl(Duration::from_mins(5));
    let probe = setup.probe.clone();
    let probe = warp::any().map(move || probe.clone());
    let told = warp::header::headers_cloned().and(probe.clone());
    let at = |kind: &'static str| -> BoxedFilter<(String, HeaderMap, Probe)> {
        let path = warp::path(kind)
            .and(warp::path::param())
            .and(warp::path::end());
        path.and(told.clone()).boxed()
    };

    let page = at("page")
        .and(get_or_head().or(warp::post()).unify())
        .cached(cache.clone(), |(name, ..)| key!("page-{name}"), named);
    let queried = warp::path!("query")
        .and(get_or_head())
        .and(query())
        .and(told.clone())
        .cached(
            cache.clone(),
            |(query, ..)| key!("query-{query}"),
            async |_, headers, probe| named("query".to_owned(), headers, probe).await,
        );
    let mine = warp::path!("mine")
        .and(get_or_head())
        .and(warp::header::<String>("authorization"))
        .and(told.clone())
        .cached(
            cache.clone().keyed_by([AUTHORIZATION]),
            |(user, ..)| {
                let user = hashed(user);
                key!("mine-{user}")
            },
            async |_, headers, probe| named("mine".to_owned(), headers, probe).await,
        );
    // The cache cannot see which cookie is in the key: the request has no other cookie.
    let session = warp::path!("session")
        .and(get_or_head())
        .and(warp::cookie::<String>("session"))
        .and(told.clone())
        .cached(
            cache.clone().keyed_by([COOKIE]),
            |(session, ..)| {
                let session = hashed(session);
                key!("session-{session}")
            },
            async |_, headers, probe| named("session".to_owned(), headers, probe).await,
        );
    let hosts = warp::path!("host")
        .and(get_or_head())
        .and(host())
        .and(told.clone())
        .cached(
            cache.clone().keyed_by([HOST]),
            |(host, ..)| key!("host-{host}"),
            async |_, headers, probe| named("host".to_owned(), headers, probe).await,
        );
    let files = warp::path("files")
        .and(warp::path::tail())
        .and(get_or_head())
        .and(told.clone())
        .cached(
            cache.clone(),
            |(rest, ..)| {
                let rest = rest.as_str(); // not decoded
                key!("files-{rest}")
            },
            async |_: Tail, headers, probe| named("files".to_owned(), headers, probe).await,
        );
    let listen = at("listen").and(get_or_head()).cached(
        cache.clone().honor_request_cache_control(),
        |(name, ..)| key!("listen-{name}"),
        named,
    );
    let detached = at("detached").and(get_or_head()).cached(
        cache.clone().finish_after_disconnect(),
        |(name, ..)| key!("detached-{name}"),
        named,
    );
    let missing = at("missing").and(get_or_head()).cached(
        cache.clone().statuses([StatusCode::NOT_FOUND]),
        |(name, ..)| key!("missing-{name}"),
        named,
    );
    let small = at("small").and(get_or_head()).cached(
        cache.limit(10),
        |(name, ..)| key!("small-{name}"),
        named,
    );
    // The body is read before the lock is taken.
    let held = |kind| at(kind).and(warp::put()).and(warp::body::bytes());
    let lock = held("lock").then_locked(
        LockOptions::new(&cachify),
        |(name, ..)| key!("hold-{name}"),
        uploaded,
    );
    let once = held("once").then_once(
        OnceOptions::new(&cachify),
        |(name, ..)| key!("hold-{name}"),
        uploaded,
    );
    let pool = held("pool").then_pooled(
        PoolOptions::new(&cachify, 2),
        |(name, ..)| key!("hold-{name}"),
        uploaded,
    );
    let reset = warp::path!("reset" / String)
        .and(warp::post())
        .and(with_cachify(&cachify))
        .then(reset);
    let runs = warp::path!("runs" / String)
        .and(warp::get())
        .and(probe)
        .map(|name: String, probe: Probe| probe.runs(&name).to_string());

    let cached = page
        .or(queried)
        .or(mine)
        .or(session)
        .or(hosts)
        .or(files)
        .or(listen)
        .or(detached)
        .or(missing)
        .or(small);
    let app = cached
        .or(lock)
        .or(once)
        .or(pool)
        .or(reset)
        .or(runs)
        .recover(recover);
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    setup.announce(listener.local_addr().expect("it is bound"));
    warp::serve(app).incoming(listener).run().await;
}

async fn named(name: String, headers: HeaderMap, probe: Probe) -> Response {
    let answer = probe.answer(&name, &headers).await;
    let mut response = if answer.stream {
        warp::reply::stream(answer.stream()).into_response()
    } else {
        answer.body.concat().into_response()
    };
    let Answer {
        status, headers, ..
    } = answer;
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}

async fn uploaded(name: String, headers: HeaderMap, probe: Probe, _: Bytes) -> Response {
    named(name, headers, probe).await
}

async fn reset(name: String, cachify: Cachify) -> Result<&'static str, Problem> {
    cachify.reset(&key!("page-{name}")).await?;
    Ok("")
}

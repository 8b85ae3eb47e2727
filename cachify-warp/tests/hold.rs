//! Routes under locks and permits: handlers, guards, and how refusals are answered.
#![allow(clippy::unwrap_used)]

mod support;

use std::pin::pin;
use std::time::Duration;

use cachify_core::testing::{Fault, Faulty, Op};
use cachify_warp::{
    Cachify, ErrorKind, FilterExt, Guard, LockOptions, OnceOptions, Permit, PoolOptions, Problem,
    key, recover, with_cachify,
};
use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Either, join_all};
use serde_json::json;
use support::{Answer, App, Door, app, backends, get as fetch, plain, request, send};
use warp::filters::BoxedFilter;
use warp::http::StatusCode;
use warp::reply::with_status;
use warp::{Filter, Reply};

fn path() -> BoxedFilter<(u64,)> {
    warp::path!(u64).and(warp::put()).boxed()
}

/// A handler that waits at a door.
fn waiting(
    door: &Door,
) -> impl Fn(u64) -> BoxFuture<'static, String> + Clone + Send + Sync + 'static {
    let door = door.clone();
    move |id| {
        let door = door.clone();
        async move {
            door.pass().await;
            format!("done {id}")
        }
        .boxed()
    }
}

/// The same, with the guard as an argument.
fn guarded<G: Send + 'static>(
    door: &Door,
) -> impl Fn(u64, G) -> BoxFuture<'static, String> + Clone + Send + Sync + 'static {
    let waiting = waiting(door);
    move |id, guard| {
        let waiting = waiting(id);
        async move {
            let answer = waiting.await;
            drop(guard);
            answer
        }
        .boxed()
    }
}

async fn ask(app: &App, uri: &str) -> Answer {
    send(app, request("PUT", uri, &[])).await
}

/// Asserts that `answer` is a problem of this status.
fn assert_problem(answer: &Answer, status: u16) {
    assert_eq!(answer.status, status, "{answer:?}");
    assert_eq!(
        answer.header("content-type"),
        Some("application/problem+json")
    );
    let problem: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(problem["status"], status);
    let retry = answer
        .header("retry-after")
        .map(|seconds| seconds.parse::<u64>().unwrap());
    assert!(retry.is_some_and(|seconds| seconds > 0));
}

#[tokio::test]
async fn h5_a_handler_is_refused_what_is_taken() {
    for cachify in backends() {
        let door = Door::shut();
        let pool = PoolOptions::new(&cachify, 2);
        let handler = || waiting(&door);
        for (app, status, most) in [
            (
                app(path().then_locked(&cachify, |(id,)| key!("a-{id}"), handler())),
                423,
                1,
            ),
            (
                app(path().then_once(&cachify, |(id,)| key!("b-{id}"), handler())),
                409,
                1,
            ),
            (
                app(path().then_pooled(pool, |(id,)| key!("c-{id}"), handler())),
                429,
                2,
            ),
        ] {
            let came = door.came();
            let holders: Vec<_> = (0..most)
                .map(|_| {
                    let app = app.clone();
                    tokio::spawn(async move { ask(&app, "/7").await })
                })
                .collect();
            door.until_came(came + most).await;
            assert_problem(&ask(&app, "/7").await, status);
            door.open(most);
            for holder in holders {
                assert_eq!(holder.await.unwrap().brief(), (200, "done 7"));
            }
            // Free again at once, another key was never taken.
            door.open(2);
            assert_eq!(ask(&app, "/7").await.brief(), (200, "done 7"));
            assert_eq!(ask(&app, "/8").await.brief(), (200, "done 8"));
        }
    }
}

#[tokio::test]
async fn h5_a_guard_is_refused_where_it_is_taken() {
    for cachify in backends() {
        let door = Door::shut();
        let pool = PoolOptions::new(&cachify, 1);
        let (a, b, c) = (guarded(&door), guarded(&door), guarded::<Permit>(&door));
        for (app, status) in [
            (
                app(path().locked(&cachify, |(id,)| key!("a-{id}")).then(a)),
                423,
            ),
            (
                app(path().once(&cachify, |(id,)| key!("b-{id}")).then(b)),
                409,
            ),
            (
                app(path().pooled(pool, |(id,)| key!("c-{id}")).then(c)),
                429,
            ),
        ] {
            let came = door.came();
            let (holder, ()) = tokio::join!(ask(&app, "/7"), async {
                door.until_came(came + 1).await;
                assert_problem(&ask(&app, "/7").await, status);
                door.open(2);
                // Another key is not taken.
                assert_eq!(ask(&app, "/8").await.brief(), (200, "done 8"));
            });
            assert_eq!(holder.brief(), (200, "done 7"));
        }
    }
}

#[tokio::test]
async fn h5_each_refusal_can_be_replaced() {
    for cachify in backends() {
        let progress = || {
            let body = warp::reply::json(&json!({"status": "Update in progress"}));
            with_status(body, StatusCode::IM_USED)
        };
        let busy = || with_status("busy", StatusCode::SERVICE_UNAVAILABLE);
        let door = Door::shut();
        let key = |(id,): &(u64,)| key!("x-{id}");
        let _lock = cachify.lock(&key(&(7,))).acquire().await.unwrap();
        let _permit = cachify.pool(&key(&(7,)), 1).acquire().await.unwrap();
        let lock = LockOptions::new(&cachify).on_locked(progress);
        let once = OnceOptions::new(&cachify).on_locked(progress);
        let pool = PoolOptions::new(&cachify, 1).on_full(busy);
        let text = r#"{"status":"Update in progress"}"#;
        let (guard, permit) = (guarded(&door), guarded::<Permit>(&door));
        for (app, brief) in [
            (
                app(path().then_locked(lock.clone(), key, waiting(&door))),
                (226, text),
            ),
            (
                app(path().then_once(once.clone(), key, waiting(&door))),
                (226, text),
            ),
            (
                app(path().then_pooled(pool.clone(), key, waiting(&door))),
                (503, "busy"),
            ),
            (
                app(path().locked(lock, key).then(guard.clone())),
                (226, text),
            ),
            (app(path().once(once, key).then(guard)), (226, text)),
            (app(path().pooled(pool, key).then(permit)), (503, "busy")),
        ] {
            assert_eq!(ask(&app, "/7").await.brief(), brief);
        }
        assert_eq!(door.came(), 0);
    }
}

#[tokio::test]
async fn h5_without_its_backend_a_lock_is_503_and_never_held() {
    let (cachify, faulty) = Faulty::wrap(&Cachify::memory());
    faulty.fail(Op::Acquire, Fault::Refuse);
    let door = Door::shut();
    let key = |(id,): &(u64,)| key!("x-{id}");
    let lock = LockOptions::new(&cachify).on_locked(|| "locked");
    let replaced = OnceOptions::new(&cachify)
        .on_locked(|| "locked")
        .on_error(|error| with_status(error.kind().as_str(), StatusCode::BAD_GATEWAY));
    let app1 = app(path().then_locked(lock, key, waiting(&door)));
    assert_problem(&ask(&app1, "/7").await, 503);
    let app2 = app(path().once(replaced, key).then(guarded::<Guard>(&door)));
    assert_eq!(ask(&app2, "/7").await.brief(), (502, "unavailable"));
    assert_eq!(door.came(), 0);
}

#[tokio::test]
async fn l2_a_handler_waits_as_long_as_it_says() {
    for cachify in backends() {
        let door = Door::shut();
        let lock = LockOptions::new(&cachify).wait(Duration::from_mins(1));
        let route = path().then_locked(lock, |(id,)| key!("x-{id}"), waiting(&door));
        let app = app(route);
        let asked = join_all((0..5).map(|_| ask(&app, "/7")));
        let (answers, ()) = tokio::join!(asked, async {
            for n in 1..=5 {
                door.until_came(n).await;
                assert_eq!(door.came(), n);
                door.open(1);
            }
        });
        assert!(answers.iter().all(|answer| answer.status == 200));
    }
}

#[tokio::test]
async fn l4_a_handler_that_loses_its_lock_is_stopped() {
    for cachify in backends() {
        let door = Door::shut();
        let key = |(id,): &(u64,)| key!("x-{id}");
        let lock = LockOptions::new(&cachify).ttl(Duration::from_secs(1));
        let replaced = lock.clone().on_error(|error| error.kind().as_str());
        for (n, lock) in [(1, lock), (2, replaced)] {
            let app = app(path().then_locked(lock, key, waiting(&door)));
            let (answer, ()) = tokio::join!(ask(&app, "/7"), async {
                door.until_came(n).await;
                assert!(cachify.lock(&key(&(7,))).force_release().await.unwrap());
            });
            match n {
                1 => assert_problem(&answer, 503),
                _ => assert_eq!(answer.brief(), (200, "lost")),
            }
        }
    }
}

#[tokio::test]
async fn h5_a_handler_lets_go_before_its_answer() {
    let (cachify, faulty) = Faulty::wrap(&Cachify::memory());
    let route = path().then_locked(&cachify, |(id,)| key!("x-{id}"), async |_| "done");
    let app = app(route);
    let release = faulty.before(Op::Release);
    let mut asked = pin!(ask(&app, "/7"));
    let reached = pin!(release.reached());
    let first = futures_util::future::select(&mut asked, reached).await;
    assert!(matches!(first, Either::Right(_)), "answered before");
    release.open();
    assert_eq!(asked.await.brief(), (200, "done"));
}

#[tokio::test]
async fn h5_a_guard_is_held_until_the_handler_is_done() {
    for cachify in backends() {
        let door = Door::shut();
        let route = path().locked(&cachify, |(id,)| key!("x-{id}"));
        let app = app(route.then(guarded::<Guard>(&door)));
        let id = 7;
        let lock = cachify.lock(&key!("x-{id}"));
        let (_, ()) = tokio::join!(ask(&app, "/7"), async {
            door.until_came(1).await;
            assert!(lock.is_locked().await.unwrap());
            door.open(1);
        });
        while lock.is_locked().await.unwrap() {
            tokio::task::yield_now().await;
        }
    }
}

#[tokio::test]
async fn h5_a_filter_that_rejects_gives_the_guard_back() {
    for cachify in backends() {
        let route = path()
            .locked(&cachify, |(id,)| key!("x-{id}"))
            .and(warp::body::json())
            .map(|id, guard: Guard, name: String| {
                assert!(guard.fencing_token() > 0);
                format!("{id} {name}")
            });
        let app = app(route.or(warp::path!("other").map(|| "other")));
        let id = 7;
        let lock = cachify.lock(&key!("x-{id}"));
        let answer = send(&app, request("PUT", "/7", &[]).body("no json")).await;
        assert_eq!(answer.status, 400);
        while lock.is_locked().await.unwrap() {
            tokio::task::yield_now().await;
        }
        let answer = send(&app, request("PUT", "/7", &[]).json(&"Ann")).await;
        assert_eq!(answer.brief(), (200, "7 Ann"));
    }
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
        // Where a later route takes what this one rejects, it is to be answered before.
        plain(update().recover(recover).or(warp::any().map(|| "any"))),
    ] {
        assert_problem(&ask(&app, "/7").await, 409);
    }
    // An answer of one's own comes first or last.
    let own = async |rejection: warp::Rejection| match rejection.find() {
        Some(Problem(error)) => Ok(error.kind().as_str().into_response()),
        None => recover(rejection).await,
    };
    let app = plain(read().or(update()).recover(own));
    assert_eq!(ask(&app, "/7").await.brief(), (200, "held"));
    assert_eq!(ask(&app, "/8").await.brief(), (200, "done"));
    assert_eq!(ask(&app, "/x").await.status, 404);
}

#[tokio::test]
async fn o1_a_lock_inside_of_the_handler_is_its_own() {
    for cachify in backends() {
        let id = 7;
        let _guard = cachify.lock(&key!("inner-{id}")).acquire().await.unwrap();
        let inner = cachify.clone();
        let handler = move |id: u64| {
            let inner = inner.clone();
            async move {
                let lock = inner.lock(&key!("inner-{id}"));
                let _guard = lock.acquire().await.map_err(Problem)?;
                Ok::<_, warp::Rejection>("both")
            }
        };
        let once = OnceOptions::new(&cachify).on_locked(|| "outer");
        let app = app(path().then_once(once, |(id,)| key!("outer-{id}"), handler));
        assert_problem(&ask(&app, "/7").await, 423);
        assert_eq!(ask(&app, "/8").await.brief(), (200, "both"));
    }
}

#[tokio::test]
async fn h5_a_handlers_own_error_is_a_response() {
    async fn handler(id: u64, cachify: Cachify) -> Result<&'static str, Problem> {
        let key = key!("own-{id}");
        let _first = cachify.lock(&key).acquire().await?;
        let _second = match id {
            1 => cachify.lock(&key).acquire().await?,
            _ => cachify.once(&key).acquire().await?,
        };
        Ok("both")
    }
    for cachify in backends() {
        let route = warp::path!(u64).and(with_cachify(&cachify)).then(handler);
        let app = plain(route);
        assert_problem(&fetch(&app, "/1").await, 423);
        assert_problem(&fetch(&app, "/2").await, 409);
    }
}

#[test]
fn s1_a_rejection_tells_no_key() {
    let error = cachify_core::Error::new(ErrorKind::Held, "taken");
    assert_eq!(Problem(error.clone()).to_string(), error.to_string());
}

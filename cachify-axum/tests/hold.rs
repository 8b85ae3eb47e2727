//! Routes under locks and permits: layers, extractors, and how refusals are answered.
#![allow(clippy::unwrap_used)]

mod support;

use std::time::Duration;

use axum::extract::{FromRef, Path, State};
use axum::http::StatusCode;
use axum::routing::{get, put};
use axum::{Json, Router};
use cachify_axum::{
    CacheKey, Cachify, ErrorKind, LockLayer, Locked, OnceLayer, PoolLayer, Pooled, Problem,
    RunOnce, key,
};
use cachify_core::testing::{Fault, Faulty, Op};
use serde::Deserialize;
use serde_json::json;
use support::{Answer, Door, backends, get as fetch, request, send};

/// A route that waits at a door, under what `layer` adds to it.
fn waiting(
    door: &Door,
    layer: impl FnOnce(axum::routing::MethodRouter) -> axum::routing::MethodRouter,
) -> Router {
    let door = door.clone();
    let handler = async move |Path(id): Path<u64>| {
        door.pass().await;
        format!("done {id}")
    };
    Router::new().route("/{id}", layer(put(handler)))
}

async fn ask(app: &Router, uri: &str) -> Answer {
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
    assert_eq!(
        retry.is_some_and(|seconds| seconds > 0),
        ![400, 408, 413, 500].contains(&status)
    );
}

#[tokio::test]
async fn h5_a_layer_refuses_what_is_taken() {
    for cachify in backends() {
        let lock = LockLayer::new(&cachify, "a-{id}");
        let once = OnceLayer::new(&cachify, "b-{id}");
        let pool = PoolLayer::new(&cachify, "c-{id}", 2);
        let door = Door::shut();
        for (app, status, most) in [
            (waiting(&door, |route| route.layer(lock)), 423, 1),
            (waiting(&door, |route| route.layer(once)), 409, 1),
            (waiting(&door, |route| route.layer(pool)), 429, 2),
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
async fn h5_each_refusal_can_be_replaced() {
    for cachify in backends() {
        let progress = || {
            (
                StatusCode::IM_USED,
                Json(json!({"status": "Update in progress"})),
            )
        };
        let busy = || (StatusCode::SERVICE_UNAVAILABLE, "busy");
        let door = Door::shut();
        let id = 7;
        let _lock = cachify.lock(&key!("x-{id}")).acquire().await.unwrap();
        let _permit = cachify.pool(&key!("x-{id}"), 1).acquire().await.unwrap();
        let lock = LockLayer::new(&cachify, "x-{id}").on_locked(progress);
        let once = OnceLayer::new(&cachify, "x-{id}").on_locked(progress);
        let pool = PoolLayer::new(&cachify, "x-{id}", 1).on_full(busy);
        let text = r#"{"status":"Update in progress"}"#;
        for (app, brief) in [
            (waiting(&door, |route| route.layer(lock)), (226, text)),
            (waiting(&door, |route| route.layer(once)), (226, text)),
            (waiting(&door, |route| route.layer(pool)), (503, "busy")),
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
    let locked = || "locked";
    let lock = LockLayer::new(&cachify, "x-{id}").on_locked(locked);
    let replaced = OnceLayer::new(&cachify, "x-{id}")
        .on_locked(locked)
        .on_error(|error| (StatusCode::BAD_GATEWAY, error.kind().as_str()));
    assert_problem(
        &ask(&waiting(&door, |route| route.layer(lock)), "/7").await,
        503,
    );
    let app = waiting(&door, |route| route.layer(replaced));
    assert_eq!(ask(&app, "/7").await.brief(), (502, "unavailable"));
    assert_eq!(door.came(), 0);
}

#[tokio::test]
async fn l2_a_layer_waits_as_long_as_it_says() {
    for cachify in backends() {
        let door = Door::shut();
        let lock = LockLayer::new(&cachify, "x-{id}").wait(Duration::from_mins(1));
        let app = waiting(&door, |route| route.layer(lock));
        let asked = futures_util::future::join_all((0..5).map(|_| ask(&app, "/7")));
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
async fn l4_a_layer_that_loses_its_lock_stops_the_handler() {
    for cachify in backends() {
        let door = Door::shut();
        let lock = LockLayer::new(&cachify, "x-{id}").ttl(Duration::from_secs(1));
        let app = waiting(&door, |route| route.layer(lock));
        let (answer, ()) = tokio::join!(ask(&app, "/7"), async {
            door.until_came(1).await;
            let id = 7;
            assert!(cachify.lock(&key!("x-{id}")).force_release().await.unwrap());
        });
        assert_problem(&answer, 503);
    }
}

#[tokio::test]
async fn h5_a_request_that_does_not_fill_the_key_is_the_clients_mistake() {
    let door = Door::shut();
    for (template, status) in [
        ("x-{query.page}", 400),
        ("x-{header.x-tenant}", 400),
        // No request has it.
        ("x-{other}", 500),
    ] {
        let lock = LockLayer::new(&Cachify::memory(), template);
        let app = waiting(&door, |route| route.layer(lock));
        assert_problem(&ask(&app, "/7").await, status);
    }
    assert_eq!(door.came(), 0);
}

#[tokio::test]
async fn h5_a_path_that_is_not_utf8_is_the_clients_mistake() {
    let door = Door::shut();
    let lock = LockLayer::new(&Cachify::memory(), "x-{id}");
    let app = waiting(&door, |route| route.layer(lock));
    assert_problem(&ask(&app, "/%ff").await, 400);
    assert_eq!(door.came(), 0);
}

#[derive(Clone, FromRef)]
struct App {
    cachify: Cachify,
    door: Door,
}

#[derive(Debug, Deserialize, CacheKey)]
#[key("x-{id}-{part}")]
struct Item {
    id: u64,
    part: String,
}

async fn locked(State(door): State<Door>, Locked { key, guard }: Locked<Item>) -> String {
    assert!(guard.fencing_token() > 0);
    door.pass().await;
    format!("{} {}", key.id, key.part)
}

async fn once(State(door): State<Door>, once: RunOnce<Item>) -> String {
    door.pass().await;
    format!("{} {}", once.key.id, once.key.part)
}

async fn permit(State(door): State<Door>, permit: Pooled<Item, 1>) -> String {
    door.pass().await;
    assert!(!permit.permit.is_lost());
    format!("{} {}", permit.key.id, permit.key.part)
}

async fn choosy(locked: Result<Locked<Item>, Problem>) -> String {
    match locked {
        Ok(locked) => locked.key.part,
        Err(Problem(error)) => error.kind().to_string(),
    }
}

fn items(cachify: &Cachify, door: &Door) -> Router {
    Router::new()
        .route("/locked/{id}", get(locked))
        .route("/once/{id}", get(once))
        .route("/permit/{id}", get(permit))
        .route("/choosy/{id}", get(choosy))
        .with_state(App {
            cachify: cachify.clone(),
            door: door.clone(),
        })
}

#[tokio::test]
async fn h5_an_extractor_refuses_what_is_taken() {
    for cachify in backends() {
        let door = Door::shut();
        let app = items(&cachify, &door);
        for (route, status) in [("locked", 423), ("once", 409), ("permit", 429)] {
            let came = door.came();
            // A key each: an extractor's release goes on in the background.
            let uri = format!("/{route}/7?part={route}");
            let (holder, ()) = tokio::join!(fetch(&app, &uri), async {
                door.until_came(came + 1).await;
                assert_problem(&fetch(&app, &uri).await, status);
                door.open(2);
                // Another key is not taken.
                let other = fetch(&app, &format!("/{route}/7?part=other-{route}")).await;
                assert_eq!(other.brief().0, 200);
            });
            assert_eq!(holder.text(), format!("7 {route}"));
        }
    }
}

#[tokio::test]
async fn h5_an_extractor_holds_until_the_handler_is_done() {
    for cachify in backends() {
        let door = Door::shut();
        let app = items(&cachify, &door);
        let item = Item {
            id: 7,
            part: "a".to_owned(),
        };
        let lock = cachify.lock(&item.key());
        let (_, ()) = tokio::join!(fetch(&app, "/locked/7?part=a"), async {
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
async fn h5_what_makes_no_key_is_the_clients_mistake() {
    let door = Door::shut();
    let app = items(&Cachify::memory(), &door);
    for uri in ["/locked/seven?part=a", "/once/7", "/permit/7?part=a&part=b"] {
        assert_problem(&fetch(&app, uri).await, 400);
    }
    // The path wins over the query, which a client makes up.
    assert_eq!(fetch(&app, "/choosy/7?id=8&part=a%26b").await.text(), "a&b");
}

#[tokio::test]
async fn h5_a_handler_can_look_at_the_refusal() {
    let cachify = Cachify::memory();
    let (id, part) = (7, "a");
    let _guard = cachify
        .lock(&key!("x-{id}-{part}"))
        .acquire()
        .await
        .unwrap();
    let app = items(&cachify, &Door::shut());
    assert_eq!(fetch(&app, "/choosy/7?part=a").await.text(), "held");
}

#[tokio::test]
async fn h5_a_handlers_own_error_is_a_response() {
    async fn handler(State(cachify): State<Cachify>, Path(id): Path<u64>) -> Result<(), Problem> {
        let key = key!("own-{id}");
        let _first = cachify.lock(&key).acquire().await?;
        let _second = match id {
            1 => cachify.lock(&key).acquire().await?,
            _ => cachify.once(&key).acquire().await?,
        };
        Ok(())
    }
    for cachify in backends() {
        let app = Router::new()
            .route("/{id}", get(handler))
            .with_state(cachify);
        assert_problem(&fetch(&app, "/1").await, 423);
        assert_problem(&fetch(&app, "/2").await, 409);
    }
}

#[test]
fn s1_a_rejection_tells_no_key() {
    let error = cachify_core::Error::new(ErrorKind::Held, "taken");
    assert_eq!(Problem(error.clone()).to_string(), error.to_string());
}

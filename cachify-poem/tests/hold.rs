//! Routes under locks and permits: middleware, extractors, and how refusals are answered.
#![allow(clippy::unwrap_used)]

mod support;

use std::sync::Arc;
use std::time::Duration;

use cachify_core::testing::{Fault, Faulty, Op};
use cachify_poem::{
    CacheKey, Cachify, ErrorKind, LockMiddleware, Locked, OnceMiddleware, PoolMiddleware, Pooled,
    Problem, RunOnce, ScopeMiddleware, key,
};
use futures_util::future::join_all;
use poem::endpoint::{BoxEndpoint, make};
use poem::http::StatusCode;
use poem::middleware::AddData;
use poem::web::{Data, Json, Path};
use poem::{
    Endpoint, EndpointExt as _, IntoResponse as _, Request, Result, Route, get, handler, put,
};
use serde::Deserialize;
use serde_json::json;
use support::{Answer, App, Door, backends};

/// A handler that waits at a door.
fn waiting(door: &Door) -> impl Endpoint<Output = String> + 'static {
    let door = door.clone();
    make(move |request: Request| {
        let door = door.clone();
        async move {
            door.pass().await;
            format!("done {}", request.raw_path_param("id").unwrap_or("none"))
        }
    })
}

fn at_id<E: Endpoint + 'static>(endpoint: E) -> App {
    App::new(Route::new().at("/:id", put(endpoint)))
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
async fn h5_a_middleware_refuses_what_is_taken() {
    for cachify in backends() {
        let lock = LockMiddleware::new(&cachify, "a-{id}");
        let once = OnceMiddleware::new(&cachify, "b-{id}");
        let pool = PoolMiddleware::new(&cachify, "c-{id}", 2);
        let door = Door::shut();
        for (app, status, most) in [
            (at_id(waiting(&door).with(lock)), 423, 1),
            (at_id(waiting(&door).with(once)), 409, 1),
            (at_id(waiting(&door).with(pool)), 429, 2),
        ] {
            let came = door.came();
            let holders = join_all((0..most).map(|_| app.put("/7")));
            let (held, ()) = tokio::join!(holders, async {
                door.until_came(came + most).await;
                assert_problem(&app.put("/7").await, status);
                door.open(most);
            });
            assert!(held.iter().all(|answer| answer.brief() == (200, "done 7")));
            // Free again at once, another key was never taken.
            door.open(2);
            assert_eq!(app.put("/7").await.brief(), (200, "done 7"));
            assert_eq!(app.put("/8").await.brief(), (200, "done 8"));
        }
    }
}

#[tokio::test]
async fn h5_a_middleware_works_around_nested_routes_and_functions() {
    for cachify in backends() {
        let door = Door::shut();
        let once = || OnceMiddleware::new(&cachify, "x-{query.part}");
        let nested = Route::new().nest("/in", Route::new().at("/:id", put(waiting(&door))));
        let around = Route::new().at("/in/:id", put(waiting(&door)));
        let around = around.around(|inner: Arc<Route>, request| async move {
            let response = inner.call(request).await?;
            Ok(response)
        });
        let apps: [BoxEndpoint<'_>; 2] = [nested.with(once()).boxed(), around.with(once()).boxed()];
        for app in apps.map(App::new) {
            let came = door.came();
            let (first, ()) = tokio::join!(app.put("/in/7?part=a"), async {
                door.until_came(came + 1).await;
                assert_problem(&app.put("/in/8?part=a").await, 409);
                door.open(2);
                assert_eq!(app.put("/in/8?part=b").await.brief(), (200, "done 8"));
            });
            assert_eq!(first.brief(), (200, "done 7"));
        }
    }
}

#[tokio::test]
async fn h5_each_refusal_can_be_replaced() {
    for cachify in backends() {
        let progress = || {
            let status = Json(json!({"status": "Update in progress"}));
            status.with_status(StatusCode::IM_USED)
        };
        let busy = || (StatusCode::SERVICE_UNAVAILABLE, "busy");
        let door = Door::shut();
        let id = 7;
        let _lock = cachify.lock(&key!("x-{id}")).acquire().await.unwrap();
        let _permit = cachify.pool(&key!("x-{id}"), 1).acquire().await.unwrap();
        let lock = LockMiddleware::new(&cachify, "x-{id}").on_locked(progress);
        let once = OnceMiddleware::new(&cachify, "x-{id}").on_locked(progress);
        let pool = PoolMiddleware::new(&cachify, "x-{id}", 1).on_full(busy);
        let caught = LockMiddleware::new(&cachify, "x-{id}");
        let caught = put(waiting(&door).with(caught))
            .catch_error(|problem: Problem| async move { problem.0.kind().as_str() });
        let text = r#"{"status":"Update in progress"}"#;
        for (app, brief) in [
            (at_id(waiting(&door).with(lock)), (226, text)),
            (at_id(waiting(&door).with(once)), (226, text)),
            (at_id(waiting(&door).with(pool)), (503, "busy")),
            (App::new(Route::new().at("/:id", caught)), (200, "held")),
        ] {
            assert_eq!(app.put("/7").await.brief(), brief);
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
    let lock = LockMiddleware::new(&cachify, "x-{id}").on_locked(locked);
    let replaced = OnceMiddleware::new(&cachify, "x-{id}")
        .on_locked(locked)
        .on_error(|error| (StatusCode::BAD_GATEWAY, error.kind().as_str()));
    assert_problem(&at_id(waiting(&door).with(lock)).put("/7").await, 503);
    let app = at_id(waiting(&door).with(replaced));
    assert_eq!(app.put("/7").await.brief(), (502, "unavailable"));
    assert_eq!(door.came(), 0);
}

#[tokio::test]
async fn l2_a_middleware_waits_as_long_as_it_says() {
    for cachify in backends() {
        let door = Door::shut();
        let lock = LockMiddleware::new(&cachify, "x-{id}").wait(Duration::from_mins(1));
        let app = at_id(waiting(&door).with(lock));
        let (answers, ()) = tokio::join!(join_all((0..5).map(|_| app.put("/7"))), async {
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
async fn l4_a_middleware_that_loses_its_lock_stops_the_handler() {
    for cachify in backends() {
        let door = Door::shut();
        let lock = LockMiddleware::new(&cachify, "x-{id}").ttl(Duration::from_secs(1));
        let app = at_id(waiting(&door).with(lock));
        let (answer, ()) = tokio::join!(app.put("/7"), async {
            door.until_came(1).await;
            let id = 7;
            assert!(cachify.lock(&key!("x-{id}")).force_release().await.unwrap());
        });
        assert_problem(&answer, 503);
    }
}

#[tokio::test]
async fn h5_a_request_that_does_not_fill_the_key_is_the_clients_mistake() {
    let cachify = Cachify::memory();
    let door = Door::shut();
    for template in ["x-{query.page}", "x-{header.x-tenant}"] {
        let app = at_id(waiting(&door).with(LockMiddleware::new(&cachify, template)));
        assert_problem(&app.put("/7").await, 400);
    }
    // Around the route, there are no path parameters yet.
    let outside = Route::new().at("/:id", put(waiting(&door)));
    let outside = outside.with(LockMiddleware::new(&cachify, "x-{id}"));
    assert_problem(&App::new(outside).put("/7").await, 500);
    assert_eq!(door.came(), 0);
}

#[tokio::test]
async fn h5_a_path_that_is_not_utf8_is_the_clients_mistake() {
    let door = Door::shut();
    let app = at_id(waiting(&door).with(LockMiddleware::new(&Cachify::memory(), "x-{id}")));
    assert_problem(&app.put("/%ff").await, 400);
    assert_eq!(door.came(), 0);
}

#[derive(Debug, Deserialize, CacheKey)]
#[key("x-{id}-{part}")]
struct Item {
    id: u64,
    part: String,
}

#[handler]
async fn take_locked(Data(door): Data<&Door>, Locked { key, guard }: Locked<Item>) -> String {
    assert!(guard.fencing_token() > 0);
    door.pass().await;
    format!("{} {}", key.id, key.part)
}

#[handler]
async fn take_once(Data(door): Data<&Door>, once: RunOnce<Item>) -> String {
    door.pass().await;
    format!("{} {}", once.key.id, once.key.part)
}

#[handler]
async fn take_permit(Data(door): Data<&Door>, permit: Pooled<Item, 1>) -> String {
    door.pass().await;
    assert!(!permit.permit.is_lost());
    format!("{} {}", permit.key.id, permit.key.part)
}

/// The guard has no name, and still holds.
#[handler]
async fn take_unnamed(Data(door): Data<&Door>, _: Locked<Item>) {
    door.pass().await;
}

#[handler]
fn take_choosy(locked: Result<Locked<Item>>) -> String {
    match locked {
        Ok(locked) => locked.key.part,
        Err(error) => error
            .downcast_ref::<Problem>()
            .unwrap()
            .0
            .kind()
            .to_string(),
    }
}

fn items(cachify: &Cachify, door: &Door) -> App {
    App::new(
        Route::new()
            .at("/locked/:id", get(take_locked))
            .at("/once/:id", get(take_once))
            .at("/permit/:id", get(take_permit))
            .at("/unnamed/:id", get(take_unnamed))
            .at("/choosy/:id", get(take_choosy))
            .with(AddData::new(cachify.clone()))
            .with(AddData::new(door.clone())),
    )
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
            let (holder, ()) = tokio::join!(app.get(&uri), async {
                door.until_came(came + 1).await;
                assert_problem(&app.get(&uri).await, status);
                door.open(2);
                // Another key is not taken.
                let other = app.get(&format!("/{route}/7?part=other-{route}")).await;
                assert_eq!(other.status, 200);
            });
            assert_eq!(holder.text(), format!("7 {route}"));
        }
    }
}

#[tokio::test]
async fn h5_an_extractor_holds_until_the_handler_is_done() {
    for cachify in backends() {
        for route in ["locked", "unnamed"] {
            let door = Door::shut();
            let app = items(&cachify, &door);
            let item = Item {
                id: 7,
                part: "a".to_owned(),
            };
            let lock = cachify.lock(&item.key());
            let uri = format!("/{route}/7?part=a");
            let (_, ()) = tokio::join!(app.get(&uri), async {
                door.until_came(1).await;
                assert!(lock.is_locked().await.unwrap());
                door.open(1);
            });
            while lock.is_locked().await.unwrap() {
                tokio::task::yield_now().await;
            }
        }
    }
}

#[tokio::test]
async fn h5_what_makes_no_key_is_the_clients_mistake() {
    let door = Door::shut();
    let app = items(&Cachify::memory(), &door);
    for uri in ["/locked/seven?part=a", "/once/7", "/permit/7?part=a&part=b"] {
        assert_problem(&app.get(uri).await, 400);
    }
    // The path wins over the query, which a client makes up.
    assert_eq!(app.get("/choosy/7?id=8&part=a%26b").await.text(), "a&b");
}

#[tokio::test]
async fn h5_a_handler_can_look_at_the_refusal() {
    let cachify = Cachify::memory();
    let (id, part) = (7, "a");
    let key = key!("x-{id}-{part}");
    let _guard = cachify.lock(&key).acquire().await.unwrap();
    let app = items(&cachify, &Door::shut());
    assert_eq!(app.get("/choosy/7?part=a").await.text(), "held");
    assert_eq!(app.get("/choosy/7").await.text(), "request");
}

#[tokio::test]
async fn an_extractor_takes_the_handle_of_the_scope_and_says_when_there_is_none() {
    let cachify = Cachify::memory();
    let route = || Route::new().at("/:id", get(take_once)).data(Door::shut());
    let answer = App::new(route()).get("/7?part=a").await;
    assert_eq!(answer.status, 500);
    assert!(answer.text().contains("Cachify"), "{answer:?}");

    let key = Item {
        id: 7,
        part: "a".to_owned(),
    }
    .key();
    let _guard = cachify.lock(&key).acquire().await.unwrap();
    let app = App::new(route().with(ScopeMiddleware::new(&cachify)));
    assert_problem(&app.get("/7?part=a").await, 409);
}

#[tokio::test]
async fn h5_a_handlers_own_error_is_a_response() {
    #[handler]
    async fn own(Data(cachify): Data<&Cachify>, Path(id): Path<u64>) -> Result<(), Problem> {
        let key = key!("own-{id}");
        let _first = cachify.lock(&key).acquire().await?;
        let _second = match id {
            1 => cachify.lock(&key).acquire().await?,
            _ => cachify.once(&key).acquire().await?,
        };
        Ok(())
    }
    for cachify in backends() {
        let app = App::new(Route::new().at("/:id", get(own)).data(cachify));
        assert_problem(&app.get("/1").await, 423);
        assert_problem(&app.get("/2").await, 409);
    }
}

#[test]
fn s1_a_rejection_tells_no_key() {
    let error = cachify_core::Error::new(ErrorKind::Held, "taken");
    assert_eq!(Problem(error.clone()).to_string(), error.to_string());
}

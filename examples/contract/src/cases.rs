//! One function for each thing that an app must do.

#![allow(missing_docs, reason = "their names say it")]

use std::time::{Duration, Instant};

use redis_fixture::Server;
use reqwest::StatusCode;
use serde_json::{Value, json};
use sqlx::{Connection, Executor, SqliteConnection};
use tempfile::TempDir;

use crate::Launch;
use crate::app::{answer, problem};

/// Runs a case.
///
/// # Panics
///
/// If it fails.
pub fn run(case: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    runtime.unwrap().block_on(case);
}

fn ann(id: i64, name: &str) -> Value {
    json!({"id": id, "name": name, "email": "ann@example.com"})
}

pub async fn users_are_created_read_and_updated(launch: Launch) {
    let app = launch.start().await;
    let id = app.create("Ann").await;
    assert_eq!(app.read(id).await, (StatusCode::OK, ann(id, "Ann")));
    assert_eq!(
        app.update(id, "Bob").await,
        (StatusCode::OK, ann(id, "Bob"))
    );
    assert_eq!(app.read(id).await, (StatusCode::OK, ann(id, "Bob")));
    assert_eq!(app.read(id).await, (StatusCode::OK, ann(id, "Bob")));
}

pub async fn what_is_not_a_user_is_a_problem(launch: Launch) {
    let app = launch.start().await;
    let id = app.create("Ann").await;
    let ok = r#"{"name":"Ann","email":"ann@example.com"}"#;
    for (method, path, body, expected) in [
        ("GET", "/users/7777", "", &[404][..]),
        ("PUT", "/users/7777", ok, &[404]),
        ("GET", "/users/ann", "", &[400, 404]),
        ("PUT", "/users/ann", ok, &[400, 404]),
        ("GET", "/users/99999999999999999999", "", &[400, 404]),
        ("PUT", "/users/1", "{", &[400]),
        ("POST", "/users/", "{", &[400]),
        ("POST", "/users/", "{}", &[400, 422]),
        ("POST", "/users/", "[]", &[400, 422]),
        (
            "POST",
            "/users/",
            r#"{"name":7,"email":"a@b"}"#,
            &[400, 422],
        ),
        (
            "POST",
            "/users/",
            r#"{"name":"","email":"a@b"}"#,
            &[400, 422],
        ),
        (
            "POST",
            "/users/",
            r#"{"name":"Ann","email":"ann"}"#,
            &[400, 422],
        ),
        ("GET", "/nowhere", "", &[404]),
        ("DELETE", "/users/1", "", &[405]),
    ] {
        let request = app.request(method, path);
        let request = request.header("content-type", "application/json");
        let response = request.body(body).send().await.unwrap();
        let status = response.status().as_u16();
        assert!(
            expected.contains(&status),
            "{status} to {method} {path} {body}"
        );
        problem(response, status).await;
    }
    let untyped = app
        .request("POST", "/users/")
        .body(ok)
        .send()
        .await
        .unwrap();
    problem(untyped, 415).await;
    assert_eq!(
        app.read(id).await.1,
        ann(id, "Ann"),
        "nothing of that did anything"
    );
}

pub async fn h1_an_absent_user_is_not_cached(launch: Launch) {
    let app = launch.start().await;
    let next = app.create("Ann").await + 1;
    assert_eq!(app.read(next).await.0, StatusCode::NOT_FOUND);
    assert_eq!(app.read(next).await.0, StatusCode::NOT_FOUND);
    assert_eq!(app.create("Bob").await, next);
    assert_eq!(app.read(next).await, (StatusCode::OK, ann(next, "Bob")));
}

pub async fn c1_a_hit_computes_nothing(launch: Launch) {
    let app = launch.start().await;
    let id = app.create("Ann").await;
    let path = format!("/users/{id}");
    let miss = app.request("GET", &path).send().await.unwrap();
    let status = miss.headers()["cache-status"].to_str().unwrap().to_owned();
    assert!(status.contains("stored"), "{status}");
    let miss = miss.text().await.unwrap();
    for _ in 0..10 {
        let hit = app.request("GET", &path).send().await.unwrap();
        let status = hit.headers()["cache-status"].to_str().unwrap();
        assert!(status.contains("; hit"), "{status}");
        assert_eq!(hit.text().await.unwrap(), miss);
    }
    assert_eq!(app.counter("users_reads_total").await, 1);
}

pub async fn c2_a_stampede_computes_once(launch: Launch) {
    let app = launch.flag("--delay", "300ms").start().await;
    let id = app.create("Ann").await;
    let mut readers = tokio::task::JoinSet::new();
    for _ in 0..50 {
        readers.spawn(answer(app.request("GET", &format!("/users/{id}"))));
    }
    for read in readers.join_all().await {
        assert_eq!(read, (StatusCode::OK, ann(id, "Ann")));
    }
    assert_eq!(app.counter("users_reads_total").await, 1);
}

pub async fn c4_a_read_in_flight_does_not_outlive_an_update(launch: Launch) {
    const DELAY: Duration = Duration::from_millis(300);
    let app = launch.flag("--delay", "300ms").start().await;
    for round in 1..=10 {
        let id = app.create("Ann").await;
        let timed = |request| async {
            let answer = answer(request).await;
            (answer, Instant::now())
        };
        // The update is between its read and its write, and the read is to be at the database before the write, and done after the reset.
        let update = tokio::spawn(timed(app.updating(id, "Bob")));
        app.until("cachify_lock_total", round).await;
        tokio::time::sleep(DELAY / 3).await;
        let early = tokio::spawn(timed(app.request("GET", &format!("/users/{id}"))));

        let (updated, reset_at) = update.await.unwrap();
        assert_eq!(updated, (StatusCode::OK, ann(id, "Bob")));
        assert_eq!(app.read(id).await, (StatusCode::OK, ann(id, "Bob")));
        let ((_, early), early_at) = early.await.unwrap();
        assert_eq!(app.read(id).await, (StatusCode::OK, ann(id, "Bob")));
        if early == ann(id, "Ann") && early_at > reset_at {
            return;
        }
    }
    panic!("no read was overtaken by an update in ten rounds");
}

pub async fn c4_an_update_is_seen_by_another_process(launch: Launch) {
    let (launch, _database) = shared_database(launch);
    let here = launch.start().await;
    let there = launch.start().await;
    let id = here.create("Ann").await;
    assert_eq!(there.read(id).await, (StatusCode::OK, ann(id, "Ann")));
    assert_eq!(here.read(id).await, (StatusCode::OK, ann(id, "Ann")));
    assert_eq!(
        here.counter("users_reads_total").await,
        0,
        "they share the entry"
    );
    assert_eq!(here.update(id, "Bob").await.0, StatusCode::OK);
    assert_eq!(there.read(id).await, (StatusCode::OK, ann(id, "Bob")));
}

fn in_progress() -> (StatusCode, Value) {
    (StatusCode::IM_USED, json!({"status": "Update in progress"}))
}

pub async fn o1_a_second_update_is_told(launch: Launch) {
    let app = launch.flag("--delay", "500ms").start().await;
    let id = app.create("Ann").await;
    let (one, two) = tokio::join!(app.update(id, "Bob"), app.update(id, "Cleo"));
    let (told, (status, user)) = if one.0 == StatusCode::OK {
        (two, one)
    } else {
        (one, two)
    };
    assert_eq!(told, in_progress());
    assert_eq!(status, StatusCode::OK);
    assert_eq!(app.read(id).await, (StatusCode::OK, user));
    assert_eq!(app.counter("users_overlapping_updates_total").await, 0);
}

pub async fn o1_a_second_update_is_told_by_another_process(launch: Launch) {
    let (launch, _database) = shared_database(launch);
    let launch = launch.flag("--delay", "500ms");
    let (here, there) = (launch.start().await, launch.start().await);
    let (id, other) = (here.create("Ann").await, here.create("Ann").await);
    let (one, two, apart) = tokio::join!(
        here.update(id, "Bob"),
        there.update(id, "Cleo"),
        there.update(other, "Bob")
    );
    let told = if one.0 == StatusCode::OK { two } else { one };
    assert_eq!(told, in_progress());
    assert_eq!(
        apart.0,
        StatusCode::OK,
        "another user's update is another matter"
    );
}

pub async fn l2_a_second_update_waits_if_it_may(launch: Launch) {
    let launch = launch.flag("--delay", "200ms").flag("--lock-wait", "20s");
    let app = launch.start().await;
    let id = app.create("Ann").await;
    let (one, two, three) = tokio::join!(
        app.update(id, "Bob"),
        app.update(id, "Cleo"),
        app.update(id, "Dora")
    );
    let ok = StatusCode::OK;
    assert_eq!([one.0, two.0, three.0], [ok, ok, ok]);
    assert_eq!(app.counter("users_overlapping_updates_total").await, 0);
}

pub async fn h6_an_abandoned_update_frees_its_lock_in_the_end(launch: Launch) {
    let app = launch.flag("--delay", "1s").start().await;
    let id = app.create("Ann").await;
    let gone = tokio::spawn(app.updating(id, "Bob").send());
    app.until("cachify_lock_total", 1).await;
    assert_eq!(app.update(id, "Cleo").await, in_progress());
    gone.abort();
    assert!(gone.await.unwrap_err().is_cancelled());
    let begin = Instant::now();
    let updated = loop {
        let updated = app.update(id, "Dora").await;
        if updated.0 != StatusCode::IM_USED {
            break updated;
        }
        assert!(
            begin.elapsed() < Duration::from_secs(10),
            "the lock is still held"
        );
    };
    assert_eq!(updated, (StatusCode::OK, ann(id, "Dora")));
    assert_eq!(app.read(id).await, (StatusCode::OK, ann(id, "Dora")));
    assert_eq!(app.counter("users_overlapping_updates_total").await, 0);
}

pub async fn c12_an_abandoned_update_is_reset_after_its_write(launch: Launch) {
    let (launch, directory) = shared_database(launch);
    let app = launch.start().await;
    let id = app.create("Ann").await;
    assert_eq!(app.read(id).await, (StatusCode::OK, ann(id, "Ann")));
    // The write is under way, at a database that takes its time, when the client goes away.
    let mut busy = SqliteConnection::connect(&database(&directory))
        .await
        .unwrap();
    busy.execute("BEGIN IMMEDIATE").await.unwrap();
    let update = tokio::spawn(app.updating(id, "Bob").send());
    app.until("cachify_lock_total", 1).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    update.abort();
    assert!(update.await.unwrap_err().is_cancelled());
    // Whatever becomes of it: in the end, what is read is what is there.
    for _ in 0..20 {
        app.read(id).await;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    busy.execute("COMMIT").await.unwrap();
    let begin = Instant::now();
    let mut agreed = 0;
    while agreed < 20 {
        let query = sqlx::query_as("SELECT name FROM users WHERE id = ?").bind(id);
        let (name,): (String,) = query.fetch_one(&mut busy).await.unwrap();
        let (_, read) = app.read(id).await;
        agreed = if read == ann(id, &name) {
            agreed + 1
        } else {
            0
        };
        assert!(
            begin.elapsed() < Duration::from_secs(5),
            "{name} is there, and {read} is served"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

pub async fn c7_l7_without_redis_reads_are_served_and_updates_refused(launch: Launch) {
    let server = Server::start();
    let app = launch.cache(&server.url()).start().await;
    let id = app.create("Ann").await;
    assert_eq!(app.read(id).await, (StatusCode::OK, ann(id, "Ann")));

    server.kill();
    for _ in 0..5 {
        let begin = Instant::now();
        assert_eq!(app.read(id).await, (StatusCode::OK, ann(id, "Ann")));
        assert!(
            begin.elapsed() < Duration::from_secs(2),
            "{:?}",
            begin.elapsed()
        );
        let refused = app.updating(id, "Bob").send().await.unwrap();
        problem(refused, 503).await;
    }
    assert_eq!(app.read(id).await, (StatusCode::OK, ann(id, "Ann")));

    server.restart();
    let begin = Instant::now();
    while app.update(id, "Bob").await.0 != StatusCode::OK {
        assert!(
            begin.elapsed() < Duration::from_secs(20),
            "it does not find Redis again"
        );
    }
    assert_eq!(app.read(id).await, (StatusCode::OK, ann(id, "Bob")));
}

pub async fn the_api_describes_itself(launch: Launch) {
    let app = launch.start().await;
    let (status, api) = answer(app.request("GET", "/openapi.json")).await;
    assert_eq!(status, StatusCode::OK);
    for (path, method) in [
        ("/users/", "post"),
        ("/users/{user_id}", "get"),
        ("/users/{user_id}", "put"),
    ] {
        assert!(
            api["paths"][path][method].is_object(),
            "{method} {path} is not in {api}"
        );
    }
    for (path, text) in [
        ("/docs", "<html"),
        ("/healthz", "ok"),
        ("/metrics", "users_reads_total 0"),
    ] {
        let response = app.request("GET", path).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::OK, "{path}");
        let body = response.text().await.unwrap();
        assert!(body.contains(text), "{path}: {body}");
    }
}

pub async fn s4_it_ends_when_asked_and_answers_first(launch: Launch) {
    let app = launch.flag("--delay", "500ms").start().await;
    let id = app.create("Ann").await;
    let read = tokio::spawn(answer(app.request("GET", &format!("/users/{id}"))));
    app.until("users_reads_total", 1).await;
    app.end().await;
    assert_eq!(read.await.unwrap(), (StatusCode::OK, ann(id, "Ann")));
}

/// The same database for every process of a launch.
fn shared_database(launch: Launch) -> (Launch, TempDir) {
    let directory = tempfile::tempdir().unwrap();
    (launch.flag("--database", &database(&directory)), directory)
}

fn database(directory: &TempDir) -> String {
    format!("sqlite://{}", directory.path().join("users.db").display())
}

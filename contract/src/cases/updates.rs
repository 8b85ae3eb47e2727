//! Updates that meet other updates, whose client disconnects, or whose Redis fails.

use std::time::{Duration, Instant};

use redis_fixture::Server;
use reqwest::StatusCode;
use serde_json::{Value, json};
use sqlx::{Connection, Executor, SqliteConnection};

use super::{ann, database, shared_database};
use crate::app::{answer, problem};
use crate::{App, Launch};

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

pub async fn l1_a_storm_of_updates_never_overlaps(launch: Launch) {
    let (launch, _database) = shared_database(launch);
    let launch = launch.flag("--delay", "20ms");
    let (here, there) = (launch.start().await, launch.start().await);
    let id = here.create("Ann").await;
    let mut done = 0;
    for _ in 0..10 {
        let mut writers = tokio::task::JoinSet::new();
        for n in 0..16 {
            let app = if n % 2 == 0 { &here } else { &there };
            writers.spawn(answer(app.updating(id, &format!("Bob {n}"))));
        }
        let answers = writers.join_all().await;
        let told = answers
            .iter()
            .filter(|told| **told == in_progress())
            .count();
        let written: Vec<_> = answers
            .iter()
            .filter(|(status, _)| *status == 200)
            .collect();
        assert_eq!(told + written.len(), 16, "{answers:?}");
        done += written.len();
        let read = there.read(id).await;
        assert!(written.contains(&&read), "{read:?} is not of {written:?}");
    }
    assert!(done >= 10, "of each round, one was");
    for app in [here, there] {
        assert_eq!(app.counter("users_overlapping_updates_total").await, 0);
    }
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
    // The write is under way in a slow database when the client disconnects.
    let mut busy = SqliteConnection::connect(&database(&directory))
        .await
        .unwrap();
    busy.execute("BEGIN IMMEDIATE").await.unwrap();
    let update = tokio::spawn(app.updating(id, "Bob").send());
    app.until("cachify_lock_total", 1).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    update.abort();
    assert!(update.await.unwrap_err().is_cancelled());
    // Whether the update succeeded or not, reads eventually return the value in the database.
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

pub async fn c12_an_abandoned_update_is_reset_although_the_app_ends(launch: Launch) {
    let (launch, directory) = shared_database(launch);
    let (app, other) = (launch.start().await, launch.start().await);
    let id = app.create("Ann").await;
    assert_eq!(other.read(id).await, (StatusCode::OK, ann(id, "Ann")));
    let mut busy = SqliteConnection::connect(&database(&directory))
        .await
        .unwrap();
    busy.execute("BEGIN IMMEDIATE").await.unwrap();
    let update = tokio::spawn(app.updating(id, "Bob").send());
    app.until("cachify_lock_total", 1).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    update.abort();
    assert!(update.await.unwrap_err().is_cancelled());
    let end = tokio::spawn(app.end());
    tokio::time::sleep(Duration::from_millis(500)).await;
    busy.execute("COMMIT").await.unwrap();
    end.await.unwrap();
    let query = sqlx::query_as("SELECT name FROM users WHERE id = ?").bind(id);
    let (name,): (String,) = query.fetch_one(&mut busy).await.unwrap();
    assert_eq!(name, "Bob", "it came to its end");
    assert_eq!(other.read(id).await, (StatusCode::OK, ann(id, "Bob")));
}

pub async fn c7_l7_without_redis_reads_are_served_and_updates_refused(launch: Launch) {
    let server = Server::start();
    let app = launch.cache(&server.url()).start().await;
    away(&app, || server.kill(), || server.restart()).await;
}

pub async fn c7_l7_with_a_redis_that_hangs_reads_are_served_and_updates_refused(launch: Launch) {
    let server = Server::start();
    let app = launch.cache(&server.url()).start().await;
    away(&app, || server.pause(), || server.resume()).await;
}

pub async fn c7_it_starts_while_redis_is_away(launch: Launch) {
    let server = Server::start();
    server.kill();
    let app = launch.cache(&server.url()).start().await;
    let health = || async { app.request("GET", "/healthz").send().await.unwrap() };
    let id = app.create("Ann").await;
    assert_eq!(app.read(id).await, (StatusCode::OK, ann(id, "Ann")));
    let said = health().await.text().await.unwrap();
    assert!(said.starts_with("ok, without the cache: "), "{said}");

    server.restart();
    let begin = Instant::now();
    while app.update(id, "Bob").await.0 != StatusCode::OK {
        assert!(begin.elapsed() < Duration::from_secs(20), "Redis is back");
    }
    assert_eq!(app.read(id).await, (StatusCode::OK, ann(id, "Bob")));
    assert_eq!(health().await.text().await.unwrap(), "ok");
}

/// `SQLite` returns a statement's row before it commits.
pub async fn an_update_that_does_not_commit_is_an_error(launch: Launch) {
    let (launch, directory) = shared_database(launch);
    let app = launch.start().await;
    let id = app.create("Ann").await;
    assert_eq!(app.read(id).await, (StatusCode::OK, ann(id, "Ann")));

    // Each write leaves a broken reference, which only the commit checks.
    let url = database(&directory);
    let mut database = SqliteConnection::connect(&url).await.unwrap();
    let fail = "CREATE TABLE absent (id INTEGER PRIMARY KEY);
         CREATE TABLE broken (id REFERENCES absent DEFERRABLE INITIALLY DEFERRED);
         CREATE TRIGGER updates AFTER UPDATE ON users BEGIN INSERT INTO broken VALUES (1); END;
         CREATE TRIGGER creations AFTER INSERT ON users BEGIN INSERT INTO broken VALUES (1); END;";
    database.execute(sqlx::raw_sql(fail)).await.unwrap();
    problem(app.updating(id, "Bob").send().await.unwrap(), 500).await;
    let cleo = json!({"name": "Cleo", "email": "cleo@example.com"});
    let cleo = app.request("POST", "/users/").json(&cleo);
    problem(cleo.send().await.unwrap(), 500).await;
    assert_eq!(app.read(id).await, (StatusCode::OK, ann(id, "Ann")));
    assert_eq!(app.counter("users_writes_total").await, 1);

    let repair = "DROP TRIGGER updates; DROP TRIGGER creations;";
    database.execute(sqlx::raw_sql(repair)).await.unwrap();
    assert_eq!(app.update(id, "Bob").await.0, StatusCode::OK);
    assert_eq!(app.read(id).await, (StatusCode::OK, ann(id, "Bob")));
}

async fn away(app: &App, go: impl Fn(), back: impl Fn()) {
    let id = app.create("Ann").await;
    assert_eq!(app.read(id).await, (StatusCode::OK, ann(id, "Ann")));

    go();
    for _ in 0..5 {
        let begin = Instant::now();
        assert_eq!(app.read(id).await, (StatusCode::OK, ann(id, "Ann")));
        assert!(
            begin.elapsed() < Duration::from_secs(2),
            "{:?}",
            begin.elapsed()
        );
        let refused = app.updating(id, "Bob").send().await.unwrap();
        assert_eq!(refused.headers()["retry-after"], "1");
        problem(refused, 503).await;
    }
    assert_eq!(app.read(id).await, (StatusCode::OK, ann(id, "Ann")));
    assert_eq!(
        app.counter("users_writes_total").await,
        1,
        "nothing was updated"
    );

    back();
    let begin = Instant::now();
    while app.update(id, "Bob").await.0 != StatusCode::OK {
        assert!(
            begin.elapsed() < Duration::from_secs(20),
            "it does not find Redis again"
        );
    }
    assert_eq!(app.read(id).await, (StatusCode::OK, ann(id, "Bob")));
}

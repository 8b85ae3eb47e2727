//! Reads that overlap with each other or with updates, or whose client has disconnected.

use std::time::{Duration, Instant};

use reqwest::StatusCode;

use super::{ann, shared_database};
use crate::app::answer;
use crate::{App, Launch};

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

pub async fn c3_two_processes_compute_once(launch: Launch) {
    let (launch, _database) = shared_database(launch);
    let launch = launch.flag("--delay", "400ms");
    let (here, there) = (launch.start().await, launch.start().await);
    let id = here.create("Ann").await;
    let mut readers = tokio::task::JoinSet::new();
    for n in 0..50 {
        let app = if n % 2 == 0 { &here } else { &there };
        readers.spawn(answer(app.request("GET", &format!("/users/{id}"))));
    }
    for read in readers.join_all().await {
        assert_eq!(read, (StatusCode::OK, ann(id, "Ann")));
    }
    let reads = [&here, &there].map(|app| app.counter("users_reads_total"));
    let [one, two] = reads;
    assert_eq!(one.await + two.await, 1);
}

pub async fn c4_a_read_in_flight_does_not_outlive_an_update(launch: Launch) {
    let app = launch.flag("--delay", "300ms").start().await;
    read_in_flight(&app, &app).await;
}

pub async fn c4_a_read_in_flight_elsewhere_does_not_outlive_an_update(launch: Launch) {
    let (launch, _database) = shared_database(launch);
    let launch = launch.flag("--delay", "300ms");
    read_in_flight(&launch.start().await, &launch.start().await).await;
}

/// Updates a user at one app while the other is reading it.
async fn read_in_flight(app: &App, reader: &App) {
    const DELAY: Duration = Duration::from_millis(300);
    for round in 1..=10 {
        let id = app.create("Ann").await;
        let timed = |request| async {
            let answer = answer(request).await;
            (answer, Instant::now())
        };
        // The update is between its read and its write. The read must reach the database before the
        // write, and return after the reset.
        let update = tokio::spawn(timed(app.updating(id, "Bob")));
        app.until("cachify_lock_total", round).await;
        tokio::time::sleep(DELAY / 3).await;
        let early = tokio::spawn(timed(reader.request("GET", &format!("/users/{id}"))));

        let (updated, reset_at) = update.await.unwrap();
        assert_eq!(updated, (StatusCode::OK, ann(id, "Bob")));
        assert_eq!(app.read(id).await, (StatusCode::OK, ann(id, "Bob")));
        assert_eq!(reader.read(id).await, (StatusCode::OK, ann(id, "Bob")));
        let ((_, early), early_at) = early.await.unwrap();
        assert_eq!(reader.read(id).await, (StatusCode::OK, ann(id, "Bob")));
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

pub async fn h6_an_abandoned_read_passes_on(launch: Launch) {
    let app = launch.flag("--delay", "1s").start().await;
    let id = app.create("Ann").await;
    let path = format!("/users/{id}");
    let gone = tokio::spawn(app.request("GET", &path).send());
    app.until("users_reads_total", 1).await;
    let mut readers = tokio::task::JoinSet::new();
    for _ in 0..5 {
        readers.spawn(answer(app.request("GET", &path)));
    }
    // The readers should be waiting when the first client disconnects. A reader that comes later
    // only weakens the test.
    tokio::time::sleep(Duration::from_millis(200)).await;
    gone.abort();
    assert!(gone.await.unwrap_err().is_cancelled());
    for read in readers.join_all().await {
        assert_eq!(read, (StatusCode::OK, ann(id, "Ann")));
    }
    assert_eq!(app.counter("users_reads_total").await, 2);
}

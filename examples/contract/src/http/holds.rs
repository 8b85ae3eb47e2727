//! Routes that run under a lock, once, or at most N at a time.

use std::time::{Duration, Instant};

use redis_fixture::Server;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::{MISS, STORED, ask, cache, check, probe, runs, until};
use crate::{App, Launch};

fn refusal(status: u16) -> Value {
    let (title, detail) = match status {
        423 => (
            "Locked",
            "Another request is working on this; try again later.",
        ),
        409 => (
            "Already running",
            "The same request is being processed already; try again later.",
        ),
        429 => (
            "Too many at once",
            "All places for this are taken; try again later.",
        ),
        _ => (
            "Temporarily unavailable",
            "A service that is needed for this is away; try again later.",
        ),
    };
    json!({"type": "about:blank", "title": title, "status": status, "detail": detail})
}

async fn is_refused(app: &App, line: &str, status: u16) {
    let refused = ask(app, line, &[]).send().await.unwrap();
    assert_eq!(refused.status(), status, "{line}");
    assert_eq!(
        refused.headers()["content-type"],
        "application/problem+json"
    );
    let again: u64 = refused.headers()["retry-after"]
        .to_str()
        .unwrap()
        .parse()
        .unwrap();
    assert!((1..=30).contains(&again), "{again}");
    assert_eq!(refused.json::<Value>().await.unwrap(), refusal(status));
}

pub async fn h5_what_is_taken_is_refused_in_the_same_words(launch: Launch) {
    let app = probe(launch).await;
    for (kind, places, status) in [("lock", 1, 423), ("once", 1, 409), ("pool", 2, 429)] {
        let line = format!("PUT /{kind}/{kind}");
        let mut holders = JoinSet::new();
        for _ in 0..places {
            holders.spawn(ask(&app, &line, &[("x-delay", "1000")]).send());
        }
        until(&app, kind, places).await;
        is_refused(&app, &line, status).await;
        let other = ask(&app, &format!("PUT /{kind}/other"), &[]).send().await;
        assert_eq!(
            other.unwrap().status(),
            200,
            "another key is another matter"
        );
        for held in holders.join_all().await {
            assert_eq!(held.unwrap().status(), 200);
        }
        // It is released before the answer is sent.
        assert_eq!(ask(&app, &line, &[]).send().await.unwrap().status(), 200);
    }
}

pub async fn h5_l7_without_redis_locks_are_refused_and_pages_served(launch: Launch) {
    let server = Server::start();
    let app = probe(launch.cache(&server.url())).await;
    check(&app, &[("GET /page/a", &[], 200, STORED, "a 1", &[])]).await;
    for kill in [false, true] {
        if kill {
            server.kill();
        } else {
            server.pause();
        }
        for kind in ["lock", "once", "pool"] {
            is_refused(&app, &format!("PUT /{kind}/k"), 503).await;
        }
        let begin = Instant::now();
        let page = ask(&app, "GET /page/a", &[]).send().await.unwrap();
        assert_eq!((page.status().as_u16(), cache(&page).as_str()), (200, MISS));
        assert!(
            begin.elapsed() < Duration::from_secs(2),
            "{:?}",
            begin.elapsed()
        );
        if kill {
            server.restart();
        } else {
            server.resume();
        }
        let begin = Instant::now();
        while ask(&app, "PUT /lock/k", &[]).send().await.unwrap().status() != 200 {
            assert!(
                begin.elapsed() < Duration::from_secs(20),
                "Redis is not found again"
            );
        }
    }
    assert_eq!(runs(&app, "k").await, 2, "what was refused did not run");
}

pub async fn h6_a_client_that_goes_away_releases_what_its_request_held(launch: Launch) {
    let app = probe(launch).await;
    for (kind, status) in [("lock", 423), ("once", 409)] {
        let line = format!("PUT /{kind}/{kind}");
        let client = ask(&app, &line, &[("x-delay", "20000")]);
        let client = tokio::spawn(client.send());
        until(&app, kind, 1).await;
        is_refused(&app, &line, status).await;
        client.abort();
        assert!(client.await.unwrap_err().is_cancelled());
        let begin = Instant::now();
        while ask(&app, &line, &[]).send().await.unwrap().status() != 200 {
            assert!(
                begin.elapsed() < Duration::from_secs(10),
                "{kind}: it is still held"
            );
        }
    }
}

pub async fn p1_l6_a_slow_upload_costs_others_nothing(launch: Launch) {
    let app = probe(launch).await;
    for (kind, places) in [("lock", 1), ("once", 1), ("pool", 2)] {
        let path = format!("/{kind}/{kind}");
        let mut slow = Vec::new();
        for _ in 0..places {
            slow.push(app.half_a_request("PUT", &path).await);
        }
        let other = ask(&app, &format!("PUT {path}"), &[]).send().await;
        assert_eq!(other.unwrap().status(), 200, "{kind}");
        assert_eq!(runs(&app, kind).await, 1, "the slow ones have not begun");
        // They are served when the rest arrives, one after another.
        for stream in slow {
            let answer = App::end_of_a_request(stream).await;
            assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        }
    }
}

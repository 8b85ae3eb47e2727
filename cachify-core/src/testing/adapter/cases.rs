//! The cases, a function each. [`adapter_conformance!`](crate::adapter_conformance) lists them.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "these are tests, and their names say what they test"
)]

mod answers;
mod flights;
mod guards;
mod holds;
mod kept;
mod layers;
mod stale;
mod vary;

use std::time::Duration;

use super::limit::soon;
use super::{Adapter, Answer, App};
use crate::{Key, KeyTemplate};

adapter_conformance! { @list @export }
adapter_conformance! { @layers @export }

/// A request and its expected response: the request's line and headers; the response's status,
/// member of `Cache-Status` and body; and some of its headers, with `None` for those that must be
/// absent.
type Row<'a> = (
    &'a str,
    &'a [(&'a str, &'a str)],
    u16,
    &'a str,
    &'a str,
    &'a [(&'a str, Option<&'a str>)],
);

const STORED: &str = "cachify; fwd=uri-miss; stored";
const MISS: &str = "cachify; fwd=uri-miss";
const HIT: &str = "cachify; hit";
const METHOD: &str = "cachify; fwd=method";

async fn check(app: &App, rows: &[Row<'_>]) {
    for (at, (line, headers, status, word, body, some)) in rows.iter().enumerate() {
        let answer = app.server.ask(line, headers).await;
        let row = format!("row {at}: {line} {headers:?}");
        let found = (answer.status, answer.cache());
        assert_eq!(found, (*status, *word), "{row}: {:.80}", answer.text());
        assert_eq!(answer.text(), *body, "{row}");
        assert!(answer.is_whole, "{row}");
        for (name, value) in *some {
            assert_eq!(answer.header(name), *value, "{row}: {name}");
        }
    }
}

/// A problem response: its status, title and detail.
type Problem = (u16, &'static str, &'static str);

const LOCKED: Problem = (
    423,
    "Locked",
    "Another request is working on this; try again later.",
);
const RUNNING: Problem = (
    409,
    "Already running",
    "The same request is being processed already; try again later.",
);
const FULL: Problem = (
    429,
    "Too many at once",
    "All places for this are taken; try again later.",
);
const AWAY: Problem = (
    503,
    "Temporarily unavailable",
    "A service that is needed for this is away; try again later.",
);
const LOST: Problem = (
    503,
    "Interrupted",
    "The request lost its exclusive access and was stopped; see what it did, and try again.",
);

#[track_caller]
fn assert_problem(answer: &Answer, problem: Problem) {
    let (status, title, detail) = problem;
    let text = format!(
        r#"{{"type":"about:blank","title":"{title}","status":{status},"detail":"{detail}"}}"#
    );
    assert_eq!(answer.brief(), (status, text.as_str()));
    let content_type = answer.header("content-type");
    assert_eq!(content_type, Some("application/problem+json"));
    let again = answer.header("retry-after").map(str::parse::<u64>);
    if [400, 408, 413, 500].contains(&status) {
        assert_eq!(again, None);
    } else {
        let again = again.expect("a Retry-After header").unwrap();
        assert!((1..=30).contains(&again), "{again}");
    }
}

fn key(text: &str) -> Key {
    KeyTemplate::parse(text).unwrap().render(&[])
}

impl App {
    async fn reset(&self, text: &str) {
        self.cachify.reset(&key(text)).await.unwrap();
    }

    async fn is_locked(&self, text: &str) -> bool {
        self.cachify.lock(&key(text)).is_locked().await.unwrap()
    }

    /// Waits until the lock is free, by acquiring and releasing it.
    async fn until_free(&self, text: &str) {
        let lock = self.cachify.lock(&key(text)).wait(Duration::from_secs(10));
        let guard = lock.acquire().await.expect("it is given back");
        guard.release().await.unwrap();
    }

    /// Waits until `n` requests wait for a computation that is under way.
    async fn until_waiting(&self, text: &str, n: usize) {
        let key = key(text);
        let key = self.cachify.own(&key);
        soon("requests wait", async {
            while self.cachify.inner.entries.flights.waiting(&key) < n {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }
}

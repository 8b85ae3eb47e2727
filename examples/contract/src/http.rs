//! One function for each promise about HTTP, tested on [routes](crate::probe) behind each adapter.

#![allow(missing_docs, reason = "their names say it")]

mod answers;
mod flights;
mod holds;
mod hosts;
mod kept;
mod vary;

use std::time::{Duration, Instant};

use reqwest::{RequestBuilder, Response};

use crate::{App, Launch};

pub use self::{answers::*, flights::*, holds::*, hosts::*, kept::*, vary::*};

/// A request line and its headers; the expected status, cache status and body; and some expected
/// headers, `None` for headers that must be absent.
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

fn ask(app: &App, line: &str, headers: &[(&str, &str)]) -> RequestBuilder {
    let (method, path) = line.split_once(' ').expect("a method and a path");
    let request = app.request(method, path);
    headers.iter().fold(request, |request, (name, value)| {
        request.header(*name, *value)
    })
}

/// Returns the last member of `Cache-Status`, without the remaining TTL.
fn cache(response: &Response) -> String {
    let said = response
        .headers()
        .get_all("cache-status")
        .iter()
        .next_back();
    let said = said.map_or("", |said| said.to_str().unwrap());
    said.split("; ttl=").next().unwrap_or_default().to_owned()
}

async fn check(app: &App, rows: &[Row<'_>]) {
    for (at, (line, headers, status, word, body, some)) in rows.iter().enumerate() {
        let response = ask(app, line, headers).send().await.unwrap();
        let found = (response.status().as_u16(), cache(&response));
        let lines = response.headers().clone();
        let text = response.text().await.unwrap();
        let row = format!("row {at}: {line} {headers:?}");
        assert_eq!(found, (*status, (*word).to_owned()), "{row}: {text:.80}");
        assert_eq!(text, *body, "{row}");
        for (name, value) in *some {
            let found = lines.get(*name).map(|value| value.to_str().unwrap());
            assert_eq!(found, *value, "{row}: {name}");
        }
    }
}

async fn probe(launch: Launch) -> App {
    launch.of_probe().start().await
}

async fn runs(app: &App, name: &str) -> usize {
    let runs = ask(app, &format!("GET /runs/{name}"), &[]).send().await;
    runs.unwrap().text().await.unwrap().parse().unwrap()
}

/// Waits until the handler of a name has been called this many times.
async fn until(app: &App, name: &str, n: usize) {
    let begin = Instant::now();
    while runs(app, name).await < n {
        assert!(
            begin.elapsed() < Duration::from_secs(20),
            "{name} is not called"
        );
        tokio::task::yield_now().await;
    }
}

async fn reset(app: &App, name: &str) {
    let reset = ask(app, &format!("POST /reset/{name}"), &[]).send().await;
    assert_eq!(reset.unwrap().status(), 200);
}

//! Requests of a client, and what comes of them.

use std::time::{Duration, Instant};

use reqwest::{Method, RequestBuilder, StatusCode};

tokio::task_local! {
    /// The time between the moment at which a step was due and its begin.
    pub(crate) static LATE: Duration;
}

/// An answer, timed to the last byte of its body: goose's own clock stops at the headers.
#[derive(Default)]
pub(crate) struct Answer {
    pub(crate) method: Method,
    /// Nothing, if no whole answer came.
    pub(crate) status: Option<StatusCode>,
    pub(crate) body: Vec<u8>,
    pub(crate) took: Duration,
    /// Set if its `Cache-Status` says that it was a hit.
    pub(crate) hit: bool,
}

pub(crate) enum Outcome {
    /// It is counted under a name.
    Counted(Method, &'static str, Duration),
    Failed(Answer),
    Several(Vec<Outcome>),
}

impl Answer {
    pub(crate) fn is_ok(&self) -> bool {
        self.status == Some(StatusCode::OK)
    }

    pub(crate) fn counted(self, name: &'static str) -> Outcome {
        Outcome::Counted(self.method, name, self.took)
    }

    /// Counts it under a name, unless it is wrong.
    pub(crate) fn counted_if(self, right: bool, name: &'static str) -> Outcome {
        if right {
            self.counted(name)
        } else {
            Outcome::Failed(self)
        }
    }

    /// Returns the method, the status and the start of the body, on one line.
    pub(crate) fn in_words(&self) -> String {
        let Some(status) = self.status else {
            return format!("{} got no whole answer", self.method);
        };
        let body = String::from_utf8_lossy(&self.body);
        let body: String = body.split_whitespace().collect::<Vec<_>>().join(" ");
        let start: String = body.chars().take(80).collect();
        let more = if start.len() < body.len() { "…" } else { "" };
        format!("{} got {} `{start}{more}`", self.method, status.as_u16())
    }
}

pub(crate) async fn send(request: RequestBuilder) -> Answer {
    let started = Instant::now();
    let (client, request) = request.build_split();
    let Ok(request) = request else {
        return Answer::default();
    };
    let method = request.method().clone();
    let answer = async {
        let response = client.execute(request).await.ok()?;
        let status = Some(response.status());
        let hit = response.headers().get("cache-status");
        let hit = hit.is_some_and(|it| it.to_str().is_ok_and(|it| it.contains("; hit")));
        let body = response.bytes().await.ok()?.into();
        Some((status, hit, body))
    };
    let (status, hit, body) = answer.await.unwrap_or_default();
    let took = started.elapsed() + LATE.try_get().unwrap_or_default();
    Answer {
        method,
        status,
        body,
        took,
        hit,
    }
}

//! One measurement with goose.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use futures_util::future::BoxFuture;
use goose::config::GooseConfiguration;
use goose::goose::{GooseUser, Scenario, Transaction, TransactionFunction, TransactionResult};
use goose::{GooseAttack, metrics::GooseMetrics};
use reqwest::{RequestBuilder, StatusCode};
use serde::Serialize;

/// What a user does, again and again.
pub(crate) type Step = TransactionFunction;

/// Makes a [`Step`] of a closure.
pub(crate) fn step<F>(step: F) -> Step
where
    F: for<'a> Fn(&'a mut GooseUser) -> BoxFuture<'a, TransactionResult> + Send + Sync + 'static,
{
    Arc::new(step)
}

/// How long a measurement goes on.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Length {
    /// In whole seconds, 1 at least.
    Time(Duration),
    /// So many steps of each user.
    Steps(usize),
}

pub(crate) struct Load<'a> {
    pub(crate) name: &'a str,
    pub(crate) users: usize,
    pub(crate) length: Length,
    /// What each user does first; it is not measured.
    pub(crate) warm_up: Option<Step>,
    pub(crate) step: Step,
}

impl Load<'_> {
    /// Runs it, and writes goose's own report to `html`.
    pub(crate) async fn run(self, html: &Path) -> Result<GooseMetrics> {
        let length = match self.length {
            // Goose would forget what came before its last user, and let the counts disagree with the app's.
            Length::Time(time) => {
                vec![
                    "--run-time".to_owned(),
                    format!("{}s", time.as_secs().max(1)),
                    "--no-reset-metrics".to_owned(),
                ]
            }
            Length::Steps(steps) => vec!["--iterations".to_owned(), steps.to_string()],
        };
        let mut arguments: Vec<String> = [
            // Steps name whole URLs; goose wants a host all the same.
            "--host",
            "http://127.0.0.1",
            // Goose starts one a second by default.
            "--increase-rate",
            "1000",
            "--no-telnet",
            "--no-print-metrics",
            "--no-transaction-metrics",
            "--no-scenario-metrics",
            "--quiet",
        ]
        .map(str::to_owned)
        .to_vec();
        arguments.extend(length);
        arguments.extend(["--users".to_owned(), self.users.to_string()]);
        arguments.extend(["--report-file".to_owned(), html.display().to_string()]);

        let mut scenario = Scenario::new(self.name);
        if let Some(warm_up) = self.warm_up {
            scenario = scenario.register_transaction(Transaction::new(warm_up).set_on_start());
        }
        scenario = scenario.register_transaction(Transaction::new(self.step));
        let configuration = GooseConfiguration::parse_args_default(&arguments)?;
        let attack = GooseAttack::initialize_with_config(configuration)?;
        let metrics = attack.register_scenario(scenario).execute().await;
        metrics.with_context(|| format!("goose could not run {}", self.name))
    }
}

/// An answer, timed to the last byte of its body: goose's own clock stops at the headers.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) body: Vec<u8>,
    pub(crate) took: Duration,
}

/// Sends requests, and knows when the first one was sent and the last one answered: goose counts in whole seconds, with its users' warm-up inside.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    span: Mutex<Option<(Instant, Instant)>>,
}

impl Meter {
    pub(crate) async fn send(&self, request: RequestBuilder) -> reqwest::Result<Answer> {
        let started = Instant::now();
        let answer = async {
            let response = request.send().await?;
            Ok((response.status(), response.bytes().await?.into()))
        }
        .await;
        let ended = Instant::now();
        let mut span = self.span.lock().unwrap_or_else(PoisonError::into_inner);
        let (first, last) = span.get_or_insert((started, ended));
        *first = started.min(*first);
        *last = ended.max(*last);
        let (status, body) = answer?;
        Ok(Answer {
            status,
            body,
            took: ended - started,
        })
    }

    /// From the first request to the last answer.
    pub(crate) fn elapsed(&self) -> Duration {
        let span = self.span.lock().unwrap_or_else(PoisonError::into_inner);
        span.map_or(Duration::ZERO, |(first, last)| last - first)
    }
}

/// Times in microseconds, to the microsecond below 2 ms or so, and to a few per mille above.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub(crate) struct Latency {
    /// How many times there are.
    pub(crate) count: u64,
    pub(crate) p50: u64,
    pub(crate) p90: u64,
    pub(crate) p99: u64,
    pub(crate) p999: u64,
    pub(crate) max: u64,
}

impl Latency {
    /// What was recorded under a method and a name; all zeros if nothing was.
    pub(crate) fn of(metrics: &GooseMetrics, method: &str, name: &str) -> Self {
        let Some(request) = metrics.requests.get(&format!("{method} {name}")) else {
            return Self::default();
        };
        let times = &request.raw_data;
        Self {
            count: times.counter as u64,
            p50: times.percentile_us(0.5),
            p90: times.percentile_us(0.9),
            p99: times.percentile_us(0.99),
            p999: times.percentile_us(0.999),
            max: times.maximum_time_us,
        }
    }

    /// The median of each figure over several rounds; the largest maximum, and all counts together.
    pub(crate) fn median(rounds: &[Self]) -> Self {
        let median = |figure: fn(&Self) -> u64| {
            let mut figures: Vec<u64> = rounds.iter().map(figure).collect();
            figures.sort_unstable();
            figures.get(figures.len() / 2).copied().unwrap_or_default()
        };
        Self {
            count: rounds.iter().map(|round| round.count).sum(),
            p50: median(|round| round.p50),
            p90: median(|round| round.p90),
            p99: median(|round| round.p99),
            p999: median(|round| round.p999),
            max: rounds
                .iter()
                .map(|round| round.max)
                .max()
                .unwrap_or_default(),
        }
    }
}

/// `count / of`, 0 of nothing.
#[expect(clippy::cast_precision_loss, reason = "nobody sends 2^52 requests")]
pub(crate) fn ratio(count: u64, of: u64) -> f64 {
    if of == 0 {
        0.0
    } else {
        count as f64 / of as f64
    }
}

/// How many there were per second.
pub(crate) fn per_second(count: u64, time: Duration) -> f64 {
    1e6 * ratio(count, time.as_micros().try_into().unwrap_or(u64::MAX))
}

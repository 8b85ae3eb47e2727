//! One measurement with goose.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use goose::config::GooseConfiguration;
use goose::goose::{GooseUser, Scenario, Transaction, TransactionFunction, TransactionResult};
use goose::{GooseAttack, metrics::GooseMetrics};
use reqwest::{RequestBuilder, StatusCode};

use crate::schema::Latency;

/// What a user does, again and again.
pub(crate) type Step = TransactionFunction;

/// Makes a [`Step`] of a closure.
pub(crate) fn step<F>(step: F) -> Step
where
    F: for<'a> Fn(&'a mut GooseUser) -> BoxFuture<'a, TransactionResult> + Send + Sync + 'static,
{
    Arc::new(step)
}

pub(crate) struct Load<'a> {
    pub(crate) name: &'a str,
    pub(crate) users: usize,
    /// For how long each user begins another step.
    pub(crate) time: Duration,
    /// What each user does first; it is not measured.
    pub(crate) warm_up: Option<Step>,
    pub(crate) step: Step,
}

impl Load<'_> {
    /// Runs it, and writes goose's own report to `html`.
    pub(crate) async fn run(self, html: &Path) -> Result<GooseMetrics> {
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
        for (flag, value) in [
            // Of `repeat`: goose's own clock counts in whole seconds.
            ("--iterations", "1".to_owned()),
            ("--users", self.users.to_string()),
            ("--report-file", html.display().to_string()),
        ] {
            arguments.extend([flag.to_owned(), value]);
        }

        let mut scenario = Scenario::new(self.name);
        if let Some(warm_up) = self.warm_up {
            scenario = scenario.register_transaction(Transaction::new(warm_up).set_on_start());
        }
        scenario = scenario.register_transaction(Transaction::new(repeat(self.step, self.time)));
        let configuration = GooseConfiguration::parse_args_default(&arguments)?;
        let attack = GooseAttack::initialize_with_config(configuration)?;
        let metrics = Box::pin(attack.register_scenario(scenario).execute()).await;
        metrics.with_context(|| format!("goose could not run {}", self.name))
    }
}

fn repeat(once: Step, time: Duration) -> Step {
    step(move |user| {
        let once = Arc::clone(&once);
        async move {
            let begin = Instant::now();
            while begin.elapsed() < time {
                once(user).await?;
            }
            Ok(())
        }
        .boxed()
    })
}

/// An answer, timed to the last byte of its body: goose's own clock stops at the headers.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) body: Vec<u8>,
    pub(crate) took: Duration,
}

/// Sends a request; `None` if no whole answer came.
pub(crate) async fn send(request: RequestBuilder) -> Option<Answer> {
    let started = Instant::now();
    let response = request.send().await.ok()?;
    let status = response.status();
    let body = response.bytes().await.ok()?.into();
    Some(Answer {
        status,
        body,
        took: started.elapsed(),
    })
}

/// Counts what happened, and how long that took altogether.
#[derive(Debug, Default)]
pub(crate) struct Meter(Mutex<Counts>);

#[derive(Debug, Default)]
struct Counts {
    span: Option<(Instant, Instant)>,
    counts: BTreeMap<&'static str, u64>,
}

impl Meter {
    /// Counts what just ended after `took`, and gives its time to goose.
    pub(crate) async fn record(
        &self,
        user: &mut GooseUser,
        method: &str,
        name: &'static str,
        took: Duration,
    ) -> TransactionResult {
        self.count(name, took);
        user.record_custom_request_duration(method, name, took, true, None, None)
            .await
    }

    /// Counts what just failed.
    pub(crate) async fn record_failure(
        &self,
        user: &mut GooseUser,
        method: &str,
        answer: Option<&Answer>,
    ) -> TransactionResult {
        let took = answer.map_or(Duration::ZERO, |answer| answer.took);
        let status = answer.map(|answer| answer.status.as_u16());
        self.count(FAILED, took);
        user.record_custom_request_duration(method, FAILED, took, false, status, None)
            .await
    }

    fn count(&self, name: &'static str, took: Duration) {
        let now = Instant::now();
        let began = now.checked_sub(took).unwrap_or(now);
        let mut counts = self.lock();
        let (first, last) = counts.span.get_or_insert((began, now));
        *first = began.min(*first);
        *last = now.max(*last);
        *counts.counts.entry(name).or_default() += 1;
    }

    /// How often something was recorded.
    pub(crate) fn counted(&self, name: &str) -> u64 {
        self.lock().counts.get(name).copied().unwrap_or_default()
    }

    /// How much failed.
    pub(crate) fn failed(&self) -> u64 {
        self.counted(FAILED)
    }

    /// From the first request to the last answer.
    pub(crate) fn elapsed(&self) -> Duration {
        self.lock()
            .span
            .map_or(Duration::ZERO, |(first, last)| last - first)
    }

    /// How often something was recorded, per second.
    pub(crate) fn per_second(&self, name: &str) -> f64 {
        per_second(self.counted(name), self.elapsed())
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const FAILED: &str = "failed";

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
            curve: Vec::new(),
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
            curve: Vec::new(),
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

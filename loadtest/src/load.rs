//! One measurement with goose.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use goose::config::GooseConfiguration;
use goose::goose::{GooseUser, Scenario, Transaction, TransactionFunction, TransactionResult};
use goose::{GooseAttack, GooseError};
use reqwest::{RequestBuilder, StatusCode};
use serde_json::Value;

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
    /// How many steps are begun per second by all users together; without, as many as are answered.
    pub(crate) rate: Option<f64>,
    pub(crate) goose: &'a Goose,
}

impl Load<'_> {
    /// Runs it, and writes goose's own report to `html`.
    pub(crate) async fn run(self, html: &Path) -> Result<()> {
        let mut step = paced(self.step, self.rate);
        if !self.goose.timed {
            // Goose's own clock counts in whole seconds.
            step = repeat(step, self.time);
        }
        let mut scenario = Scenario::new(self.name);
        if let Some(warm_up) = self.warm_up {
            scenario = scenario.register_transaction(Transaction::new(warm_up).set_on_start());
        }
        scenario = scenario.register_transaction(Transaction::new(step));
        let arguments = self.goose.arguments(self.users, html);
        let configuration = GooseConfiguration::parse_args_default(&arguments)?;
        let attack = GooseAttack::initialize_with_config(configuration)?;
        let metrics = Box::pin(attack.register_scenario(scenario).execute()).await;
        metrics.with_context(|| format!("goose could not run {}", self.name))?;
        Ok(())
    }
}

/// What was given to goose on the command line.
#[derive(Default)]
pub(crate) struct Goose {
    given: Vec<String>,
    /// How many users it asks for at most.
    users: Option<usize>,
    /// It sets the numbers of users by itself.
    plan: bool,
    /// It says when to end.
    timed: bool,
    /// It says how fast users start.
    increase: bool,
}

impl Goose {
    /// # Errors
    ///
    /// Goose's own, if it does not know a flag.
    pub(crate) fn new(given: Vec<String>) -> Result<Self> {
        let configuration = GooseConfiguration::parse_args_default(&given);
        let configuration = configuration.map_err(|error| match error {
            // What it shows of this tells nothing.
            GooseError::InvalidOption { detail, .. } => anyhow!(detail),
            error => error.into(),
        })?;
        let plan = serde_json::to_value(&configuration)?["test_plan"]["steps"].take();
        let steps = plan.as_array().into_iter().flatten();
        let most = steps.filter_map(|step| step[0].as_u64()).max();
        Ok(Self {
            given,
            users: configuration
                .users
                .or(most.and_then(|it| it.try_into().ok())),
            timed: plan != Value::Null
                || configuration.run_time.is_some()
                || configuration.iterations.is_some(),
            plan: plan != Value::Null,
            increase: configuration.increase_rate.is_some()
                || configuration.increase_time.is_some(),
        })
    }

    /// How many users there will be, if `users` are wanted.
    pub(crate) fn users(&self, users: usize) -> usize {
        self.users.unwrap_or(users)
    }

    /// Whether it says when a round ends.
    pub(crate) fn timed(&self) -> bool {
        self.timed
    }

    fn arguments(&self, users: usize, html: &Path) -> Vec<String> {
        let mut arguments = self.given.clone();
        let mut add = |flag: &str, value: Option<String>| {
            let begins = |it: &String| it == flag || it.starts_with(&format!("{flag}="));
            if !self.given.iter().any(begins) {
                arguments.push(flag.to_owned());
                arguments.extend(value);
            }
        };
        // Steps name whole URLs; goose wants a host all the same.
        add("--host", Some("http://127.0.0.1".to_owned()));
        add("--report-file", Some(html.display().to_string()));
        for flag in [
            "--no-telnet",
            "--no-print-metrics",
            "--no-transaction-metrics",
            "--no-scenario-metrics",
            "--quiet",
        ] {
            add(flag, None);
        }
        if !self.plan && self.users.is_none() {
            add("--users", Some(users.to_string()));
        }
        if !self.plan && !self.increase {
            // Goose starts one a second by default.
            add("--increase-rate", Some("1000".to_owned()));
        }
        if !self.timed {
            // Of `repeat`.
            add("--iterations", Some("1".to_owned()));
        }
        arguments
    }
}

/// Begins steps one after the other, for some time.
pub(crate) fn repeat(once: Step, time: Duration) -> Step {
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

tokio::task_local! {
    /// How long after its time a step began, because those before it took so long.
    static LATE: Duration;
}

/// Begins steps at a rate of ours, or at goose's. A step that begins late counts its lateness as latency: whoever would have come at its time
/// would have waited as long (this is what *coordinated omission* leaves out).
fn paced(once: Step, rate: Option<f64>) -> Step {
    let (begin, ticket) = (Arc::new(OnceLock::new()), Arc::new(AtomicU64::new(0)));
    step(move |user| {
        let once = Arc::clone(&once);
        let (begin, ticket) = (Arc::clone(&begin), Arc::clone(&ticket));
        async move {
            if let Some(throttle) = user.throttle.clone()
                && throttle.send_async(true).await.is_err()
            {
                // The test is over.
                return Ok(());
            }
            let Some(rate) = rate else {
                return once(user).await;
            };
            #[expect(clippy::cast_precision_loss, reason = "a number of requests")]
            let number = ticket.fetch_add(1, Ordering::Relaxed) as f64;
            let due = *begin.get_or_init(Instant::now) + Duration::from_secs_f64(number / rate);
            let late = Instant::now().saturating_duration_since(due);
            tokio::time::sleep_until(due.into()).await;
            LATE.scope(late, once(user)).await
        }
        .boxed()
    })
}

/// An answer, timed to the last byte of its body: goose's own clock stops at the headers.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) body: Vec<u8>,
    pub(crate) took: Duration,
    /// Whether its `Cache-Status` says that it was a hit.
    pub(crate) hit: bool,
}

impl Answer {
    /// The status and the start of the body, on one line.
    pub(crate) fn in_words(&self) -> String {
        let body = String::from_utf8_lossy(&self.body);
        let body: String = body.split_whitespace().collect::<Vec<_>>().join(" ");
        let start: String = body.chars().take(80).collect();
        let more = if start.len() < body.len() { "…" } else { "" };
        format!("{} `{start}{more}`", self.status.as_u16())
    }
}

/// Sends a request; `None` if no whole answer came.
pub(crate) async fn send(request: RequestBuilder) -> Option<Answer> {
    let started = Instant::now();
    let response = request.send().await.ok()?;
    let status = response.status();
    let hit = response.headers().get("cache-status");
    let hit = hit.is_some_and(|value| value.to_str().is_ok_and(|value| value.contains("; hit")));
    let body = response.bytes().await.ok()?.into();
    Some(Answer {
        status,
        body,
        took: started.elapsed() + LATE.try_get().unwrap_or_default(),
        hit,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(given: &[&str]) -> Vec<String> {
        let given = given.iter().map(ToString::to_string).collect();
        let goose = Goose::new(given);
        goose.map_or_else(
            |error| panic!("{error}"),
            |it| it.arguments(8, Path::new("x.html")),
        )
    }

    #[test]
    fn what_is_given_to_goose_wins_and_fits() {
        for given in [
            &[][..],
            &["--users", "20"],
            &["--increase-rate=5", "--quiet"],
            &["--run-time", "10s", "--throttle-requests", "100"],
            &["--test-plan", "10,2s;0,1s"],
            &["--increase-time", "3s", "--report-file", "y.html"],
        ] {
            let arguments = arguments(given);
            let parsed = GooseConfiguration::parse_args_default(&arguments);
            assert!(parsed.is_ok(), "{arguments:?}");
            assert!(given.iter().all(|it| arguments.contains(&(*it).to_owned())));
        }
        let given = |given: &[&str]| given.iter().map(ToString::to_string).collect();
        let plan = Goose::new(given(&["--test-plan", "3,2s;20,2s;0,1s"]));
        assert!(plan.is_ok_and(|it| it.users(8) == 20 && it.timed));
        assert!(Goose::new(given(&["--nonsense"])).is_err());
    }
}

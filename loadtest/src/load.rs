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
use serde_json::Value;

use crate::client::{LATE, Outcome};
use crate::meter::Meter;

/// The work of a client, which it does again and again.
pub(crate) type Step = TransactionFunction;

/// Makes steps that count on a meter.
pub(crate) type Metered = Box<dyn Fn(&Arc<Meter>) -> Step>;

/// Makes a [`Step`] of a closure.
fn step<F>(step: F) -> Step
where
    F: for<'a> Fn(&'a mut GooseUser) -> BoxFuture<'a, TransactionResult> + Send + Sync + 'static,
{
    Arc::new(step)
}

/// Makes steps of `act`, which all clients do with what they share.
pub(crate) fn clients<S, F>(shared: S, act: F) -> Metered
where
    S: Clone + Send + Sync + 'static,
    F: for<'a> Fn(&'a S, &'a GooseUser) -> BoxFuture<'a, Outcome> + Copy + Send + Sync + 'static,
{
    Box::new(move |meter| {
        let (shared, meter) = (shared.clone(), Arc::clone(meter));
        step(move |user| {
            let (shared, meter) = (shared.clone(), Arc::clone(&meter));
            async move {
                let outcome = act(&shared, user).await;
                meter.note(user, outcome).await
            }
            .boxed()
        })
    })
}

pub(crate) struct Load<'a> {
    pub(crate) name: &'a str,
    pub(crate) users: usize,
    /// The time during which each user begins another step.
    pub(crate) time: Duration,
    /// The first thing that each user does; it is not measured.
    pub(crate) warm_up: Option<Step>,
    pub(crate) step: Step,
    /// Steps that are begun per second by all users together; without, as many as are answered.
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

/// The flags of goose on the command line.
#[derive(Default)]
pub(crate) struct Goose {
    given: Vec<String>,
    /// The most users that it asks for.
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
            // Its `Display` tells nothing of this.
            GooseError::InvalidOption { detail, .. } => anyhow!(detail),
            error => error.into(),
        })?;
        let plan = serde_json::to_value(&configuration)?["test_plan"]["steps"].take();
        let steps = plan.as_array().into_iter().flatten();
        let most = steps.filter_map(|step| step[0].as_u64()).max();
        let most = most.and_then(|it| it.try_into().ok());
        let GooseConfiguration {
            users,
            run_time,
            iterations,
            ..
        } = configuration;
        let GooseConfiguration {
            increase_rate,
            increase_time,
            ..
        } = configuration;
        let plan = plan != Value::Null;
        Ok(Self {
            given,
            users: users.or(most),
            plan,
            timed: plan || run_time.is_some() || iterations.is_some(),
            increase: increase_rate.is_some() || increase_time.is_some(),
        })
    }

    /// Returns the number of users, if `users` are wanted.
    pub(crate) fn users(&self, users: usize) -> usize {
        self.users.unwrap_or(users)
    }

    /// Returns whether it says when a round ends.
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

/// Begins steps at a rate of ours, or at goose's.
///
/// A step that begins late counts its lateness as latency: whoever would have come at its time
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

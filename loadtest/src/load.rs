//! One measurement with goose.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
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
            Box::pin(async move {
                let outcome = act(&shared, user).await;
                meter.note(user, outcome).await
            })
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
        let plan = plan != Value::Null;
        let it = configuration;
        Ok(Self {
            given,
            users: it.users.or(most),
            plan,
            timed: plan || it.run_time.is_some() || it.iterations.is_some(),
            increase: it.increase_rate.is_some() || it.increase_time.is_some(),
        })
    }

    /// Returns the number of users, if `users` are wanted.
    pub(crate) fn users(&self, users: usize) -> usize {
        self.users.unwrap_or(users)
    }

    pub(crate) fn timed(&self) -> bool {
        self.timed
    }

    fn arguments(&self, users: usize, html: &Path) -> Vec<String> {
        let mut ours = vec![
            // Steps name whole URLs; goose wants a host all the same.
            "--host=http://127.0.0.1".to_owned(),
            format!("--report-file={}", html.display()),
        ];
        let quiet = "--no-telnet --no-print-metrics --no-transaction-metrics --no-scenario-metrics \
            --quiet";
        ours.extend(quiet.split(' ').map(str::to_owned));
        if !self.plan && self.users.is_none() {
            ours.push(format!("--users={users}"));
        }
        if !self.plan && !self.increase {
            // Goose starts one a second by default.
            ours.push("--increase-rate=1000".to_owned());
        }
        if !self.timed {
            // Of `repeat`.
            ours.push("--iterations=1".to_owned());
        }
        let name = |flag: &String| flag.split('=').next().map(str::to_owned);
        let given: Vec<_> = self.given.iter().map(name).collect();
        ours.retain(|flag| !given.contains(&name(flag)));
        [self.given.clone(), ours].concat()
    }
}

/// Begins steps one after the other, for some time.
pub(crate) fn repeat(once: Step, time: Duration) -> Step {
    step(move |user| {
        let once = Arc::clone(&once);
        Box::pin(async move {
            let begin = Instant::now();
            while begin.elapsed() < time {
                once(user).await?;
            }
            Ok(())
        })
    })
}

/// Begins steps at a rate of ours, or at goose's.
///
/// A step that begins late counts its lateness as latency: whoever would have come at its time
/// would have waited as long (this is what *coordinated omission* leaves out).
fn paced(once: Step, rate: Option<f64>) -> Step {
    let schedule = Arc::new((OnceLock::new(), AtomicU64::new(0)));
    step(move |user| {
        let (once, schedule) = (Arc::clone(&once), Arc::clone(&schedule));
        Box::pin(async move {
            let throttle = user.throttle.clone();
            if let Some(throttle) = throttle
                && throttle.send_async(true).await.is_err()
            {
                // The test is over.
                return Ok(());
            }
            let Some(rate) = rate else {
                return once(user).await;
            };
            let (begin, ticket) = &*schedule;
            #[expect(clippy::cast_precision_loss, reason = "a number of requests")]
            let number = ticket.fetch_add(1, Ordering::Relaxed) as f64;
            let due = *begin.get_or_init(Instant::now) + Duration::from_secs_f64(number / rate);
            let late = Instant::now().saturating_duration_since(due);
            tokio::time::sleep_until(due.into()).await;
            LATE.scope(late, once(user)).await
        })
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn what_is_given_to_goose_wins_and_fits() {
        let goose = |given: &str| Goose::new(given.split_whitespace().map(str::to_owned).collect());
        for given in [
            "",
            "--users 20",
            "--increase-rate=5 --quiet",
            "--run-time 10s --throttle-requests 100",
            "--test-plan 10,2s;0,1s",
            "--increase-time 3s --report-file y.html",
        ] {
            let arguments = goose(given).unwrap().arguments(8, Path::new("x.html"));
            let parsed = GooseConfiguration::parse_args_default(&arguments);
            assert!(parsed.is_ok(), "{arguments:?}");
            assert!(arguments.join(" ").starts_with(given));
        }
        let plan = goose("--test-plan 3,2s;20,2s;0,1s");
        assert!(plan.is_ok_and(|it| it.users(8) == 20 && it.timed));
        assert!(goose("--nonsense").is_err());
    }
}

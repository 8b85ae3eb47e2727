//! Many clients update one user at once. Proves that never two updates run at the same time, as the database tells it: it counts
//! updates that found their user changed between their read and their write.
//!
//! Measured twice. *Refuse*: whoever finds an update running is told so at once (226). Facts: `updates` and `refused`, and `refused_p50_us`,
//! how long being told takes. *Wait*: whoever finds one running waits for it. Facts: `hold_us`, how long an update holds the lock at least; `ideal_per_second`, what
//! that allows; `of_ideal`, how much of it was reached; `max_over_median`, the longest wait over the median one, near 1 if they are served first come, first served.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Result;
use futures_util::FutureExt;
use goose::metrics::GooseMetrics;
use reqwest::StatusCode;
use serde_json::json;

use super::{Scenario, Stage};
use crate::fleet::{Computed, change};
use crate::load::{Latency, Length, Load, Step, per_second, send, step};
use crate::report::{Promise, Run};

pub(crate) const SCENARIO: Scenario = Scenario {
    name: "contention",
    about: "many updates of one user; never two of them at the same time",
    run: |stage| run(stage).boxed(),
};

/// How long an update takes, and so holds the lock, at least.
const HOLD: Duration = Duration::from_millis(5);
/// Longer than any queue: nobody gives up.
const PATIENCE: Duration = Duration::from_mins(1);
/// Processes, where they can share a lock.
const INSTANCES: u16 = 2;

async fn run(stage: &Stage<'_>) -> Result<Vec<Run>> {
    stage
        .progress
        .show("refuse: whoever comes second is told so");
    let refuse = Attempt::run(stage, "refuse", Duration::ZERO).await?;
    stage.progress.show("wait: whoever comes second waits");
    let wait = Attempt::run(stage, "wait", PATIENCE).await?;
    Ok(vec![refuse.refused(stage), wait.waited(stage)])
}

/// One measurement, and what came of it.
struct Attempt {
    what: &'static str,
    users: usize,
    time: Duration,
    metrics: GooseMetrics,
    outcomes: Arc<Outcomes>,
    computed: Computed,
}

/// How updates ended, all of them: goose forgets what came before all of its users were there.
#[derive(Default)]
struct Outcomes {
    updated: AtomicU64,
    refused: AtomicU64,
    other: AtomicU64,
}

impl Attempt {
    async fn run(stage: &Stage<'_>, what: &'static str, lock_wait: Duration) -> Result<Self> {
        let fleet = stage.fleet(INSTANCES, HOLD, lock_wait).await?;
        let users = fleet.seed(1).await?;
        let before = fleet.computed().await?;
        let urls = fleet.urls().into_iter();
        let urls = urls.map(|url| format!("{url}/users/{}", users[0].id));
        let outcomes = Arc::<Outcomes>::default();
        let time = Duration::from_secs((stage.flags.duration.as_secs() / 2).max(1));
        let users = usize::from(stage.flags.users) * 4;
        let load = Load {
            name: what,
            users,
            length: Length::Time(time),
            warm_up: None,
            step: update(urls.collect(), &outcomes),
        };
        let metrics = load
            .run(&stage.html(&stage.html_name(&format!("contention-{what}"))))
            .await?;
        let computed = fleet.computed().await? - before;
        fleet.stop().await?;
        Ok(Self {
            what,
            users,
            time,
            metrics,
            outcomes,
            computed,
        })
    }

    fn refused(self, stage: &Stage<'_>) -> Run {
        let refused = Latency::of(&self.metrics, "PUT", "refused");
        let mut run = self.run_of(stage);
        let updates = run.latency_us.count;
        run.facts = json!({
            "updates": updates,
            "refused": refused.count,
            "refused_p50_us": refused.p50,
        });
        run.summary = format!(
            "{:.1} % were refused, p50 {} µs",
            100.0 * per_second(refused.count, self.time)
                / per_second(refused.count + updates, self.time),
            refused.p50
        );
        run.promises.push(Promise {
            promise: "somebody was refused",
            kept: refused.count > 0,
            seen: refused.count.to_string(),
        });
        run
    }

    fn waited(self, stage: &Stage<'_>) -> Run {
        let mut run = self.run_of(stage);
        let ideal = HOLD.as_secs_f64().recip();
        let of_ideal = run.per_second / ideal;
        let max_over_median =
            per_second(run.latency_us.max, self.time) / per_second(run.latency_us.p50, self.time);
        run.facts = json!({
            "hold_us": HOLD.as_micros(),
            "ideal_per_second": ideal,
            "of_ideal": of_ideal,
            "max_over_median": max_over_median,
        });
        run.summary = format!(
            "{of_ideal:.2} of {ideal:.0} hand-offs/s; the longest wait is {max_over_median:.2} times the median"
        );
        let refused = self.outcomes.refused.load(Ordering::Relaxed);
        run.promises
            .push(Promise::equal("nobody was refused", 0, refused));
        run
    }

    /// What both have in common. Its latency is that of updates that were made.
    fn run_of(&self, stage: &Stage<'_>) -> Run {
        let latency = Latency::of(&self.metrics, "PUT", "updated");
        let updated = self.outcomes.updated.load(Ordering::Relaxed);
        let other = self.outcomes.other.load(Ordering::Relaxed);
        Run {
            scenario: SCENARIO.name,
            what: self.what.to_owned(),
            app: stage.app.name(),
            cache: stage.cache.to_string(),
            instances: stage.instances(INSTANCES),
            users: self.users,
            seconds: self.time.as_secs_f64(),
            per_second: per_second(latency.count, self.time),
            latency_us: latency,
            facts: json!({}),
            summary: String::new(),
            promises: vec![
                Promise::equal(
                    "never two updates at the same time",
                    0,
                    self.computed.overlaps,
                ),
                Promise::equal(
                    "what was answered was written, once",
                    updated,
                    self.computed.writes,
                ),
                Promise::equal("every answer was 200 or 226", 0, other),
            ],
            goose: stage.html_name(&format!("contention-{}", self.what)),
        }
    }
}

fn update(urls: Arc<[String]>, outcomes: &Arc<Outcomes>) -> Step {
    let outcomes = Arc::clone(outcomes);
    step(move |user| {
        let (urls, outcomes) = (Arc::clone(&urls), Arc::clone(&outcomes));
        async move {
            let url = &urls[fastrand::usize(..urls.len())];
            let request = user.client.put(url).json(&change("Ann"));
            let answer = send(request).await.inspect_err(|_| {
                outcomes.other.fetch_add(1, Ordering::Relaxed);
            })?;
            let (counter, name) = match answer.status {
                StatusCode::OK => (&outcomes.updated, "updated"),
                StatusCode::IM_USED => (&outcomes.refused, "refused"),
                _ => (&outcomes.other, "other"),
            };
            counter.fetch_add(1, Ordering::Relaxed);
            let status = Some(answer.status.as_u16());
            let expected = name != "other";
            user.record_custom_request_duration("PUT", name, answer.took, expected, status, None)
                .await
        }
        .boxed()
    })
}

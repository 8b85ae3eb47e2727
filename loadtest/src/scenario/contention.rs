//! Many clients update one user at once. Proves that never two updates run at the same time, as the database tells it: it counts
//! updates that found their user changed between their read and their write.
//!
//! Measured three times. *Alone*: one client, as a measure for the others. *Refuse*: whoever finds an update running is told so at once (226). Facts:
//! `updated` and `refused`, and `refused_p50_us`, how long being told takes. *Wait*: whoever finds one running waits for it. Facts: `hold_us`, how long
//! an update holds the lock at least; `ideal_per_second`, what that allows; `of_ideal` and `of_alone`, how much of it, and of the client alone, was reached;
//! `max_over_median`, the longest wait over the median one, near 1 if they are served first come, first served.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use futures_util::FutureExt;
use reqwest::StatusCode;
use serde_json::json;

use super::{Scenario, Stage};
use crate::fleet::{Computed, change};
use crate::load::{Load, Meter, Step, ratio, send, step};
use crate::schema::{Latency, Promise, Run};

pub(crate) const SCENARIO: Scenario = Scenario {
    name: "contention",
    about: "many updates of one user; never two of them at the same time",
    run: |stage| run(stage).boxed_local(),
};

/// How long an update takes, and so holds the lock, at least.
const HOLD: Duration = Duration::from_millis(5);
/// Longer than any queue: nobody gives up.
const PATIENCE: Duration = Duration::from_mins(1);
/// What is counted.
const UPDATED: &str = "updated";
const REFUSED: &str = "refused";
/// Processes, where they can share a lock.
const INSTANCES: u16 = 2;

async fn run(stage: &Stage<'_>) -> Result<Vec<Run>> {
    let many = usize::from(stage.flags.users) * 4;
    let time = stage.flags.duration / 5;
    stage.progress.show("alone: nobody else");
    let alone = Attempt::run(stage, "alone", 1, time, Duration::ZERO).await?;
    stage
        .progress
        .show("refuse: whoever comes second is told so");
    let refuse = Attempt::run(stage, "refuse", many, 2 * time, Duration::ZERO).await?;
    stage.progress.show("wait: whoever comes second waits");
    let wait = Attempt::run(stage, "wait", many, 2 * time, PATIENCE).await?;

    let alone = alone.alone(stage);
    let wait = wait.waited(stage, alone.per_second);
    Ok(vec![alone, refuse.refused(stage), wait])
}

/// One measurement, and what came of it.
struct Attempt {
    what: &'static str,
    users: usize,
    meter: Arc<Meter>,
    updated: Latency,
    refused: Latency,
    computed: Computed,
}

impl Attempt {
    async fn run(
        stage: &Stage<'_>,
        what: &'static str,
        users: usize,
        time: Duration,
        lock_wait: Duration,
    ) -> Result<Self> {
        let fleet = stage.fleet(INSTANCES, HOLD, lock_wait).await?;
        let id = fleet.seed(1).await?[0].id;
        let before = fleet.computed().await?;
        let urls = fleet.urls().into_iter();
        let urls = urls.map(|url| format!("{url}/users/{id}"));
        let meter = Arc::<Meter>::default();
        let load = Load {
            name: what,
            users,
            time,
            warm_up: None,
            step: update(urls.collect(), &meter),
        };
        let html = stage.html(&stage.html_name(&format!("contention-{what}")));
        let metrics = load.run(&html).await?;
        let computed = fleet.computed().await? - before;
        fleet.stop().await?;
        Ok(Self {
            what,
            users,
            meter,
            updated: Latency::of(&metrics, "PUT", UPDATED),
            refused: Latency::of(&metrics, "PUT", REFUSED),
            computed,
        })
    }

    fn alone(self, stage: &Stage<'_>) -> Run {
        let mut run = self.run_of(stage);
        run.summary = format!("{:.0} updates/s by one client", run.per_second);
        run.promises.push(self.nobody_refused());
        run
    }

    fn refused(self, stage: &Stage<'_>) -> Run {
        let (updated, refused) = (self.meter.counted(UPDATED), self.meter.counted(REFUSED));
        let mut run = self.run_of(stage);
        run.facts = json!({
            "updated": updated,
            "refused": refused,
            "refused_p50_us": self.refused.p50,
        });
        run.summary = format!(
            "{:.1} % were refused, p50 {} µs",
            100.0 * ratio(refused, updated + refused),
            self.refused.p50
        );
        run.promises.push(Promise {
            text: "somebody was refused".into(),
            kept: refused > 0,
            seen: refused.to_string(),
        });
        run
    }

    fn waited(self, stage: &Stage<'_>, alone: f64) -> Run {
        let mut run = self.run_of(stage);
        let ideal = HOLD.as_secs_f64().recip();
        let of_ideal = run.per_second / ideal;
        let of_alone = run.per_second / alone;
        let max_over_median = ratio(self.updated.max, self.updated.p50);
        run.facts = json!({
            "hold_us": HOLD.as_micros(),
            "ideal_per_second": ideal,
            "of_ideal": of_ideal,
            "of_alone": of_alone,
            "max_over_median": max_over_median,
        });
        run.summary = format!(
            "{of_ideal:.2} of {ideal:.0} hand-offs/s, {of_alone:.2} of a client alone; the longest wait is {max_over_median:.2} times the median"
        );
        run.promises.push(self.nobody_refused());
        run
    }

    fn nobody_refused(&self) -> Promise {
        Promise::equal("nobody was refused", 0, self.meter.counted(REFUSED))
    }

    /// What all have in common. Its latency is that of updates that were made.
    fn run_of(&self, stage: &Stage<'_>) -> Run {
        Run {
            scenario: SCENARIO.name.into(),
            what: self.what.to_owned(),
            app: stage.app.name().into(),
            cache: stage.place.cache.to_string(),
            instances: stage.instances(INSTANCES),
            users: self.users,
            seconds: self.meter.elapsed().as_secs_f64(),
            per_second: self.meter.per_second(UPDATED),
            latency_us: self.updated.clone(),
            facts: json!({}),
            summary: String::new(),
            promises: vec![
                Promise::equal(
                    "never two updates at the same time",
                    0,
                    self.computed.overlaps,
                ),
                Promise::equal(
                    "each update that was answered was written, once",
                    self.meter.counted(UPDATED),
                    self.computed.writes,
                ),
                Promise::equal("every answer was 200 or 226", 0, self.meter.failed()),
            ],
            goose: Some(stage.html_name(&format!("contention-{}", self.what))),
            ..Run::default()
        }
    }
}

fn update(urls: Arc<[String]>, meter: &Arc<Meter>) -> Step {
    let meter = Arc::clone(meter);
    step(move |user| {
        let (urls, meter) = (Arc::clone(&urls), Arc::clone(&meter));
        async move {
            let url = &urls[fastrand::usize(..urls.len())];
            let answer = send(user.client.put(url).json(&change("Ann"))).await;
            let name = match &answer {
                Some(answer) if answer.status == StatusCode::OK => UPDATED,
                Some(answer) if answer.status == StatusCode::IM_USED => REFUSED,
                _ => return meter.record_failure(user, "PUT", answer.as_ref()).await,
            };
            let took = answer.map_or(Duration::ZERO, |answer| answer.took);
            meter.record(user, "PUT", name, took).await
        }
        .boxed()
    })
}

//! Many clients update one user at once. Proves that never two updates run at the same time: the
//! database counts updates that found their user changed between their read and their write.
//!
//! *Alone*: one client, as a measure for the others.
//!
//! *Refuse*: a client that finds an update running is told so at once (226). Facts: `updated`,
//! `refused` and `refused_share`, and `refused_p50_us`, how long a refusal takes.
//!
//! *Wait*: a client that finds one running waits for it. Facts: `hold_us`, how long an update holds
//! the lock at least; `ideal_per_second`, what that allows; `of_ideal` and `of_alone`, how much of
//! it, and of the client alone, was reached; `max_over_median`, the longest wait over the median
//! one, near 1 if they are served first come, first served; `evenness`, 1 if all clients got as
//! many turns. The wait of an update is what it took longer than one alone.
//!
//! *Hand-over*: a lock of the lab, whose holders tell when they came and went, by one clock: that
//! shows the holders over time, each wait to the microsecond, and how long the lock lay idle
//! between two of them (`hand_over_p50_us`).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Result;
use futures_util::FutureExt;
use reqwest::StatusCode;
use serde_json::json;

use crate::app::App;
use crate::client::{Outcome, send};
use crate::fleet::{Computed, change};
use crate::load::{Metered, clients};
use crate::meter::{evenness, histogram, latency, micros, ratio};
use crate::schema::{Promise, Run};
use crate::stage::{Of, Scenario, Stage};
use crate::turns::{Contender, measure};
use crate::visits::Visits;

pub(crate) const SCENARIO: Scenario = Scenario {
    name: "contention",
    about: "many updates of one user; never two of them at the same time",
    whats: &["alone", "refuse", "wait", "hand-over"],
    of: Of::EachApp,
    parts: (3, 1),
    run: |stage| run(stage).boxed_local(),
};

/// The least time that an update takes, and so holds the lock.
const HOLD: Duration = Duration::from_millis(5);
/// Longer than any queue: nobody gives up.
const TIMEOUT: Duration = Duration::from_mins(1);
/// The names under which outcomes are counted.
const UPDATED: &str = "updated";
const REFUSED: &str = "refused";
const HELD: &str = "held";
/// Processes, where they can share a lock.
const INSTANCES: u16 = 2;

async fn run(stage: &Stage<'_>) -> Result<Vec<Run>> {
    let crowd = stage.crowd();
    let alone = Attempt::run(stage, "alone", 1, Duration::ZERO).await?;
    let refuse = Attempt::run(stage, "refuse", crowd, Duration::ZERO).await?;
    let wait = Attempt::run(stage, "wait", crowd, TIMEOUT).await?;
    let alone = alone.alone();
    let wait = wait.waited(&alone);
    let mut runs = vec![alone, refuse.refused(), wait];
    if stage.first {
        runs.push(hand_over(stage).await?);
    }
    Ok(runs)
}

/// One measurement, and what came of it.
struct Attempt {
    contender: Contender,
    contended: Arc<Contended>,
    computed: Computed,
}

impl Attempt {
    async fn run(stage: &Stage<'_>, what: &str, users: usize, lock_wait: Duration) -> Result<Self> {
        let app = stage.app();
        let fleet = stage.fleet(app, INSTANCES, HOLD, lock_wait).await?;
        let id = fleet.seed(1).await?[0].id;
        let before = fleet.computed().await?;
        let urls = fleet.urls().into_iter();
        let contended = Arc::new(Contended {
            urls: urls.map(|url| format!("{url}/users/{id}")).collect(),
            shares: (0..users).map(|_| AtomicU64::default()).collect(),
        });
        let step = update(&contended);
        let contender = Contender::new(stage, SCENARIO.name, app, &fleet, UPDATED, step);
        let mut contender = contender.named(what).users(users);
        if users == 1 {
            contender = contender.plain();
        }
        measure(stage.bench, &mut contender).await?;
        let computed = fleet.computed().await? - before;
        fleet.stop().await?;
        Ok(Self {
            contender,
            contended,
            computed,
        })
    }

    fn alone(self) -> Run {
        let mut run = self.run_of();
        run.summary = format!("{:.0} updates/s by one client", run.per_second);
        run.promises.push(self.nobody_refused());
        run
    }

    fn refused(self) -> Run {
        let rounds = &self.contender.rounds;
        let (updated, refused) = (rounds.counted(UPDATED), rounds.counted(REFUSED));
        let share = ratio(refused, updated + refused);
        let p50 = rounds.latency(REFUSED).p50;
        let mut run = self.run_of();
        run.facts["updated"] = json!(updated);
        run.facts["refused"] = json!(refused);
        run.facts["refused_share"] = json!(share);
        run.facts["refused_p50_us"] = json!(p50);
        run.summary = format!("{:.1} % were refused, p50 {p50} µs", 100.0 * share);
        let all = self.contender.all(REFUSED);
        let promise = Promise::new("somebody was refused", all > 0, all.to_string());
        run.promises.push(promise);
        run
    }

    fn waited(self, alone: &Run) -> Run {
        let mut run = self.run_of();
        let ideal = HOLD.as_secs_f64().recip();
        let of_ideal = run.per_second / ideal;
        let of_alone = run.per_second / alone.per_second;
        let max_over_median = ratio(run.latency_us.max, run.latency_us.p50);
        let shares = self
            .contended
            .shares
            .iter()
            .map(|it| it.load(Ordering::Relaxed));
        let mut waits = self.contender.rounds.times(UPDATED);
        for wait in &mut waits {
            *wait = wait.saturating_sub(alone.latency_us.p50);
        }
        run.facts["hold_us"] = json!(micros(HOLD));
        run.facts["ideal_per_second"] = json!(ideal);
        run.facts["of_ideal"] = json!(of_ideal);
        run.facts["of_alone"] = json!(of_alone);
        run.facts["max_over_median"] = json!(max_over_median);
        run.facts["evenness"] = json!(evenness(&shares.collect::<Vec<_>>()));
        run.waits_us = Some(histogram(&waits));
        run.summary = format!(
            "{of_ideal:.2} of {ideal:.0} hand-offs/s, {of_alone:.2} of a client alone; the longest \
             wait is {max_over_median:.2} times the median"
        );
        run.promises.push(self.nobody_refused());
        run
    }

    fn nobody_refused(&self) -> Promise {
        Promise::equal("nobody was refused", 0, self.contender.all(REFUSED))
    }

    /// Returns what all have in common. The latency is that of updates that were made.
    fn run_of(&self) -> Run {
        let contender = &self.contender;
        let mut run = contender.run();
        run.promises = vec![
            Promise::equal(
                "never two updates at the same time",
                0,
                self.computed.overlaps,
            ),
            Promise::equal(
                "each update that was answered was written, once",
                contender.all(UPDATED),
                self.computed.writes,
            ),
            contender.nothing_failed("every answer was 200 or 226"),
        ];
        run
    }
}

/// The clients' user, at each process, and the number of updates that each client made.
struct Contended {
    urls: Vec<String>,
    shares: Vec<AtomicU64>,
}

fn update(contended: &Arc<Contended>) -> Metered {
    clients(Arc::clone(contended), |contended, user| {
        let Contended { urls, shares } = &**contended;
        async move {
            let url = &urls[fastrand::usize(..urls.len())];
            let answer = send(user.client.put(url).json(&change("Ann"))).await;
            match answer.status {
                Some(StatusCode::OK) => {
                    let share = &shares[user.weighted_users_index % shares.len()];
                    share.fetch_add(1, Ordering::Relaxed);
                    answer.counted(UPDATED)
                }
                Some(StatusCode::IM_USED) => answer.counted(REFUSED),
                _ => Outcome::Failed(answer),
            }
        }
        .boxed()
    })
}

async fn hand_over(stage: &Stage<'_>) -> Result<Run> {
    let fleet = stage
        .fleet(App::Lab, INSTANCES, HOLD, Duration::ZERO)
        .await?;
    let visits = Visits::new(&fleet, "locked/hand-over");
    let step = visits.step(HELD);
    let contender = Contender::new(stage, SCENARIO.name, App::Lab, &fleet, HELD, step);
    let mut contender = contender.named("hand-over").users(stage.crowd());
    measure(stage.bench, &mut contender).await?;
    fleet.stop().await?;

    let seen = visits.seen();
    let waits = latency(seen.waits());
    let hand_over = latency(seen.idle());
    let mut run = contender.run();
    let max_over_median = ratio(waits.max, waits.p50);
    run.facts["wait_p50_us"] = json!(waits.p50);
    run.facts["wait_p99_us"] = json!(waits.p99);
    run.facts["wait_max_us"] = json!(waits.max);
    run.facts["max_over_median"] = json!(max_over_median);
    run.facts["hand_over_p50_us"] = json!(hand_over.p50);
    run.facts["evenness"] = json!(evenness(&seen.shares()));
    run.waits_us = Some(histogram(&seen.waits()));
    run.holds = Some(seen.holds());
    run.summary = format!(
        "the lock lies idle for {} µs between two holders; the longest wait is \
         {max_over_median:.2} times the median",
        hand_over.p50
    );
    run.promises = vec![
        Promise::equal("never two holders at the same time", 1, seen.most_at_once()),
        contender.nothing_failed("nobody was refused"),
    ];
    Ok(run)
}

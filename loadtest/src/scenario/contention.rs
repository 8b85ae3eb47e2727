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
//! between two of them (`hand_over_p50_us`), beside the facts of [visits](crate::visits).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Result;
use reqwest::StatusCode;
use serde_json::json;

use crate::client::{Outcome, send};
use crate::fleet::{Fleet, change};
use crate::load::{Metered, clients};
use crate::meter::{evenness, histogram, latency, micros, ratio};
use crate::schema::{Promise, Run};
use crate::stage::{Of, Scenario, Stage};
use crate::turns::Contender;
use crate::visits::{HOLD, visit};

pub(crate) const SCENARIO: Scenario = Scenario {
    name: "contention",
    about: "many updates of one user; never two of them at the same time",
    whats: &["alone", "refuse", "wait", "hand-over"],
    of: Of::EachApp,
    parts: (3, 1),
    run: |stage| Box::pin(run(stage)),
};

/// Longer than any queue: nobody gives up.
const TIMEOUT: Duration = Duration::from_mins(1);
/// The names under which outcomes are counted.
const UPDATED: &str = "updated";
const REFUSED: &str = "refused";
/// Processes, where they can share a lock.
const INSTANCES: u16 = 2;

async fn run(stage: &Stage<'_>) -> Result<Vec<Run>> {
    let crowd = stage.crowd();
    let (mut alone, one, _) = attempt(stage, "alone", 1, Duration::ZERO).await?;
    alone.summary = format!("{:.0} updates/s by one client", alone.per_second);
    alone.promises.push(nobody_refused(&one));

    let (mut refuse, many, _) = attempt(stage, "refuse", crowd, Duration::ZERO).await?;
    refused(&mut refuse, &many);

    let (mut wait, many, shares) = attempt(stage, "wait", crowd, TIMEOUT).await?;
    waited(&mut wait, &many, &alone);
    wait.facts["evenness"] = json!(evenness(&shares));

    let mut runs = vec![alone, refuse, wait];
    if stage.first {
        runs.push(hand_over(stage).await?);
    }
    Ok(runs)
}

/// Measures updates, and returns what all attempts have in common, and how many updates each client
/// made. The latency is that of updates that were made.
async fn attempt(
    stage: &Stage<'_>,
    what: &'static str,
    users: usize,
    lock_wait: Duration,
) -> Result<(Run, Contender, Vec<u64>)> {
    let app = stage.app();
    let fleet = Fleet::start(stage, app, INSTANCES, HOLD, lock_wait).await?;
    let id = fleet.seed(1).await?[0].id;
    let urls = fleet.urls().into_iter();
    let contended = Arc::new(Contended {
        urls: urls.map(|url| format!("{url}/users/{id}")).collect(),
        shares: (0..users).map(|_| AtomicU64::default()).collect(),
    });
    let step = update(Arc::clone(&contended));
    let mut contender = Contender::new(stage, app, &fleet, UPDATED, step);
    (contender.what, contender.users, contender.plain) = (what, users, users == 1);
    let computed = contender.measure(stage.bench, &fleet).await?;
    fleet.stop().await?;

    let (updated, written) = (contender.all(UPDATED), computed.writes);
    let mut run = contender.run();
    run.promises.extend([
        Promise::none("never two updates at the same time", computed.overlaps),
        Promise::equal(
            "each update that was answered was written, once",
            updated,
            written,
        ),
        contender.nothing_failed("every answer was 200 or 226"),
    ]);
    let shares = contended.shares.iter();
    let shares = shares.map(|share| share.load(Ordering::Relaxed)).collect();
    Ok((run, contender, shares))
}

fn refused(run: &mut Run, contender: &Contender) {
    let [updated, refused] = [UPDATED, REFUSED].map(|name| contender.measured(name));
    let share = ratio(refused, updated + refused);
    let p50 = contender.latency(REFUSED).p50;
    run.add_facts(json!({
        "updated": updated, "refused": refused, "refused_share": share, "refused_p50_us": p50,
    }));
    run.summary = format!("{:.1} % were refused, p50 {p50} µs", 100.0 * share);
    let all = contender.all(REFUSED);
    let promise = Promise::new("somebody was refused", all > 0, all.to_string());
    run.promises.push(promise);
}

fn waited(run: &mut Run, contender: &Contender, alone: &Run) {
    let ideal = HOLD.as_secs_f64().recip();
    let of_ideal = run.per_second / ideal;
    let of_alone = run.per_second / alone.per_second;
    let max_over_median = ratio(run.latency_us.max, run.latency_us.p50);
    let waits = contender.times(UPDATED).concat().into_iter();
    let waits = waits.map(|took| took.saturating_sub(alone.latency_us.p50));
    run.waits_us = Some(histogram(waits.collect()));
    run.add_facts(json!({
        "hold_us": micros(HOLD), "ideal_per_second": ideal, "of_ideal": of_ideal,
        "of_alone": of_alone, "max_over_median": max_over_median,
    }));
    run.summary = format!(
        "{of_ideal:.2} of {ideal:.0} hand-offs/s, {of_alone:.2} of a client alone; the longest \
         wait is {max_over_median:.2} times the median"
    );
    run.promises.push(nobody_refused(contender));
}

fn nobody_refused(contender: &Contender) -> Promise {
    Promise::none("nobody was refused", contender.all(REFUSED))
}

/// The clients' user, at each process, and the number of updates that each client made.
struct Contended {
    urls: Vec<String>,
    shares: Vec<AtomicU64>,
}

fn update(contended: Arc<Contended>) -> Metered {
    clients(contended, |contended, user| {
        let Contended { urls, shares } = &**contended;
        Box::pin(async move {
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
        })
    })
}

async fn hand_over(stage: &Stage<'_>) -> Result<Run> {
    let route = "locked/hand-over";
    let (mut run, seen) = visit(stage, "hand-over", route, "nobody was refused").await?;
    let idle = latency(vec![seen.idle()]).p50;
    run.facts["hand_over_p50_us"] = json!(idle);
    run.holds = Some(seen.holds());
    run.summary = format!(
        "the lock lies idle for {idle} µs between two holders; the longest wait is {:.2} times the \
         median",
        run.facts["max_over_median"].as_f64().unwrap_or_default()
    );
    let alone = Promise::equal("never two holders at the same time", 1, seen.most_at_once());
    run.promises.insert(0, alone);
    Ok(run)
}

//! Many clients want one of the few places of a pool of the lab, whose visitors tell when they came
//! and went, by one clock. Proves that never more than so many were inside at once, in all
//! processes together, and that all places were used.
//!
//! Facts: `places`, `most_at_once`, `of_ideal`: how much of the time all places were taken;
//! `wait_p50_us`, `wait_p99_us`; `evenness`, 1 if all clients got as many turns.

use std::time::Duration;

use anyhow::Result;
use futures_util::FutureExt;
use serde_json::json;

use crate::app::App;
use crate::lab::PLACES;
use crate::meter::{evenness, histogram, latency};
use crate::schema::{Promise, Run};
use crate::stage::{Of, Scenario, Stage};
use crate::turns::{Contender, measure};
use crate::visits::Visits;

pub(crate) const SCENARIO: Scenario = Scenario {
    name: "pool",
    about: "many want one of a few places; never more than that many are inside",
    whats: &[],
    of: Of::Lab,
    parts: (0, 1),
    run: |stage| run(stage).boxed_local(),
};

/// The time that a visit takes.
const HOLD: Duration = Duration::from_millis(5);
/// Processes, where they can share a pool.
const INSTANCES: u16 = 2;
const SERVED: &str = "served";

async fn run(stage: &Stage<'_>) -> Result<Vec<Run>> {
    let fleet = stage
        .fleet(App::Lab, INSTANCES, HOLD, <_>::default())
        .await?;
    let visits = Visits::new(&fleet, "pooled/places");
    let step = visits.step(SERVED);
    let contender = Contender::new(stage, SCENARIO.name, App::Lab, &fleet, SERVED, step);
    let mut contender = contender.users(stage.crowd());
    measure(stage.bench, &mut contender).await?;
    fleet.stop().await?;

    let seen = visits.seen();
    let waits = latency(seen.waits());
    let most = seen.most_at_once();
    let mut run = contender.run();
    let ideal = f64::from(PLACES) / HOLD.as_secs_f64();
    let of_ideal = run.per_second / ideal;
    run.facts["places"] = json!(PLACES);
    run.facts["most_at_once"] = json!(most);
    run.facts["of_ideal"] = json!(of_ideal);
    run.facts["wait_p50_us"] = json!(waits.p50);
    run.facts["wait_p99_us"] = json!(waits.p99);
    run.facts["evenness"] = json!(evenness(&seen.shares()));
    run.waits_us = Some(histogram(&seen.waits()));
    run.summary =
        format!("{of_ideal:.2} of {ideal:.0} visits/s; {most} of {PLACES} places at once");
    let fits = most <= PLACES.into();
    let full = most >= PLACES.into() || contender.users < PLACES as usize;
    let seen = format!("{most} of {PLACES}");
    run.promises = vec![
        Promise::new(
            "never more inside than there are places",
            fits,
            seen.clone(),
        ),
        Promise::new("all places were used", full, seen),
        contender.nothing_failed("everybody was served"),
    ];
    Ok(vec![run])
}

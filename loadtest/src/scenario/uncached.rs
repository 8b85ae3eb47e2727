//! The same reads as `hit`, past the cache: each request carries a `Cookie`, and is therefore
//! answered to nobody else. Proves that each was computed.
//!
//! Facts: `hits_over_uncached`, how many times as many hits there were per second, in turns with
//! these; `hit_app_cpu_us`, the processor time of the app for a hit, beside `app_cpu_us`. The
//! database is a file of `SQLite`, on this machine and in memory: nearly as fast as a cache, so
//! that only the app's own work is compared. Everybody knows the cost of a slow database.

use anyhow::Result;
use serde_json::json;

use super::hit::{HIT, KEYS, Targets, uniform};
use crate::fleet::Fleet;
use crate::schema::{Promise, Run};
use crate::stage::{Of, Scenario, Stage};
use crate::turns::{Contender, in_turns};

pub(crate) const SCENARIO: Scenario = Scenario {
    name: "uncached",
    about: "the same reads with the cache off; every one is computed",
    whats: &["hit"],
    of: Of::EachApp,
    parts: (1, 0),
    run: |stage| Box::pin(run(stage)),
};

async fn run(stage: &Stage<'_>) -> Result<Vec<Run>> {
    let app = stage.app();
    let fleet = Fleet::start(stage, app, 1, <_>::default(), <_>::default()).await?;
    let users = fleet.seed(KEYS).await?;
    let targets = Targets::of(&fleet, &users).await?;
    let contender = |what, past| {
        let read = targets.read(uniform, past);
        let mut contender = Contender::new(stage, app, &fleet, HIT, read);
        contender.what = what;
        contender
    };
    let mut both = [contender("", true), contender("hit", false)];
    let before = fleet.computed().await?;
    // Half of the time is for the measure.
    in_turns(stage.bench, stage.bench.settings.duration / 2, &mut both).await?;
    let computed = fleet.computed().await? - before;
    fleet.stop().await?;

    let [uncached, hit] = both;
    let (mut run, hit) = (uncached.run(), hit.run());
    run.promises = vec![
        Promise::equal("each was computed", uncached.all(HIT), computed.reads),
        uncached.nothing_failed("every answer was the right one"),
    ];
    let times = hit.per_second / run.per_second;
    run.facts["hits_over_uncached"] = json!(times);
    run.summary = format!("hits are {times:.2} times as many per second");
    let cpu = |run: &Run| run.facts["app_cpu_us"].as_f64();
    if let (Some(of_hit), Some(of_uncached)) = (cpu(&hit), cpu(&run)) {
        run.facts["hit_app_cpu_us"] = json!(of_hit);
        let of_app =
            format!("at {of_hit:.0} instead of {of_uncached:.0} µs of the app's processor");
        run.summary = format!("{}, {of_app}", run.summary);
    }
    Ok(vec![run])
}

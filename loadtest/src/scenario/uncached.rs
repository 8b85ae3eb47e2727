//! The same reads as `hit`, past the cache: what there would be without. Each request carries a `Cookie`, and those are answered to nobody else. Proves
//! that each was computed.
//!
//! Facts: `hits_over_uncached`, how many times as many hits there were per second, if `hit` ran before.

use std::sync::Arc;

use anyhow::Result;
use futures_util::FutureExt;
use serde_json::json;

use super::hit::{Choice, HIT, KEYS, Targets};
use super::{Of, Scenario, Stage};
use crate::meter::Meter;
use crate::schema::{Promise, Run};
use crate::turns::{Contender, measure};

pub(crate) const SCENARIO: Scenario = Scenario {
    name: "uncached",
    about: "the same reads with the cache off; every one is computed",
    of: Of::EachApp,
    parts: (1, 0),
    run: |stage| run(stage).boxed_local(),
};

async fn run(stage: &Stage<'_>) -> Result<Vec<Run>> {
    let app = stage.app();
    let fleet = stage.fleet(app, 1, <_>::default(), <_>::default()).await?;
    let users = fleet.seed(KEYS).await?;
    let targets = Targets::of(&fleet, &users).await?;
    let read = move |meter: &Arc<Meter>| targets.read(meter, Choice::Uniform, true);
    let mut contender = Contender::new(stage, SCENARIO.name, app, &fleet, HIT, read);
    let before = fleet.computed().await?;
    measure(stage.bench, &mut contender).await?;
    let computed = fleet.computed().await? - before;
    fleet.stop().await?;

    let mut run = contender.run();
    run.promises = vec![
        Promise::equal("each was computed", contender.all(HIT), computed.reads),
        Promise::equal("every answer was the right one", 0, contender.failed()),
    ];
    "the same reads without a cache".clone_into(&mut run.summary);
    if let Some(hit) = stage
        .before
        .iter()
        .find(|it| it.name() == "hit uniform" && it.app == run.app)
    {
        let times = hit.per_second / run.per_second;
        run.facts["hits_over_uncached"] = json!(times);
        run.summary = format!("hits are {times:.1} times as many per second");
    }
    Ok(vec![run])
}

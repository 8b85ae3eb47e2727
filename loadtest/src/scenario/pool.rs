//! Many clients want one of the few places of a pool of the lab, whose visitors tell when they came
//! and went, by one clock. Proves that never more than so many were inside at once, in all
//! processes together, and that all places were used.
//!
//! Facts: `places`, `most_at_once`, `of_ideal`: how much of the time all places were taken; and
//! those of [visits](crate::visits).

use anyhow::Result;
use serde_json::json;

use crate::lab::PLACES;
use crate::schema::{Promise, Run};
use crate::stage::{Of, Scenario, Stage};
use crate::visits::{HOLD, visit};

pub(crate) const SCENARIO: Scenario = Scenario {
    name: "pool",
    about: "many want one of a few places; never more than that many are inside",
    whats: &[],
    of: Of::Lab,
    parts: (0, 1),
    run: |stage| Box::pin(run(stage)),
};

async fn run(stage: &Stage<'_>) -> Result<Vec<Run>> {
    let (mut run, seen) = visit(stage, "", "pooled/places", "everybody was served").await?;
    let most = seen.most_at_once();
    let ideal = f64::from(PLACES) / HOLD.as_secs_f64();
    let of_ideal = run.per_second / ideal;
    run.add_facts(json!({"places": PLACES, "most_at_once": most, "of_ideal": of_ideal}));
    let of_places = format!("{most} of {PLACES}");
    run.summary = format!("{of_ideal:.2} of {ideal:.0} visits/s; {of_places} places at once");
    let fits = most <= PLACES.into();
    let full = most >= PLACES.into() || run.users < PLACES as usize;
    let fits = Promise::new("never more inside than there are places", fits, &*of_places);
    run.promises.splice(
        ..0,
        [fits, Promise::new("all places were used", full, of_places)],
    );
    Ok(vec![run])
}

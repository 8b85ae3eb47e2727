//! Reads with updates among them. Proves that no read that began after an update was answered
//! returns what was there before, and that in the end every process says what the database says.
//!
//! `versions.rs` tells stale reads. A read takes its time between the database and its answer, so
//! that there are reads in flight when updates are made: those must not be stored over them.
//!
//! Measured twice: with clients that wait for their answers, and with clients that go away before
//! half of their updates are answered (*abandoned*), wherever those are just then.
//!
//! Its latency is that of reads. Facts: `reads`, `updates` that were answered, `abandoned` ones,
//! `hit_share` of the reads, `update_p50_us`.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use reqwest::{Method, StatusCode};
use serde_json::json;
use tokio::time::timeout;

use crate::client::Outcome;
use crate::fleet::Fleet;
use crate::load::{Metered, clients};
use crate::meter::ratio;
use crate::schema::{Promise, Run};
use crate::stage::{Of, Scenario, Stage};
use crate::turns::Contender;
use crate::versions::World;

pub(crate) const SCENARIO: Scenario = Scenario {
    name: "reset",
    about: "95 reads to 5 updates; no read is older than an update before it",
    whats: &["abandoned"],
    of: Of::EachApp,
    parts: (2, 0),
    run: |stage| Box::pin(run(stage)),
};

/// Between the database and the answer of a read, or the write of an update.
const DELAY: Duration = Duration::from_millis(5);
/// An abandoned update is abandoned within this.
const LOST_PATIENCE: Duration = Duration::from_millis(12);
/// Updates in a hundred requests.
const UPDATES: u32 = 5;
/// Processes, where they can share entries: one's update must reach another's reads.
const INSTANCES: u16 = 2;

/// The names under which outcomes are counted.
const READ: &str = "read";
const UPDATE: &str = "update";
const ABANDONED: &str = "abandoned update";
const REFUSED: &str = "refused update";

async fn run(stage: &Stage<'_>) -> Result<Vec<Run>> {
    let answered = reads_and_updates(stage, "", false).await?;
    let abandoned = reads_and_updates(stage, "abandoned", true).await?;
    Ok(vec![answered, abandoned])
}

async fn reads_and_updates(stage: &Stage<'_>, what: &'static str, abandon: bool) -> Result<Run> {
    let app = stage.app();
    let fleet = Fleet::start(stage, app, INSTANCES, DELAY, Duration::ZERO).await?;
    let world = World::new(stage, &fleet, stage.users()).await?;
    let step = read_or_update(Arc::clone(&world), abandon);
    let mut contender = Contender::new(stage, app, &fleet, READ, step);
    contender.what = what;
    let computed = contender.measure(stage.bench, &fleet).await?;
    let fresh = world.promises(&fleet).await?;
    fleet.stop().await?;

    let [reads, updates, abandoned] = [READ, UPDATE, ABANDONED].map(|name| contender.all(name));
    let hit_share = ratio(reads.saturating_sub(computed.reads), reads);
    let percent = 100.0 * hit_share;
    let p50 = contender.latency(UPDATE).p50;
    let written = computed.writes;
    let mut run = contender.run();
    run.add_facts(json!({
        "reads": reads, "updates": updates, "abandoned": abandoned,
        "hit_share": hit_share, "update_p50_us": p50,
    }));
    run.summary = format!(
        "{updates} updates, p50 {p50} µs, and {abandoned} abandoned; {percent:.0} % of the reads \
         were hits"
    );
    run.promises.extend(fresh);
    run.promises.extend([
        Promise::new(
            "each update that was answered was written, once",
            (updates..=updates + abandoned).contains(&written),
            format!("{written} of {updates} answered and {abandoned} abandoned"),
        ),
        contender.nothing_failed("every answer was as expected"),
        Promise::new(
            "reads came from the cache",
            hit_share > 0.0,
            format!("{percent:.1} %"),
        ),
    ]);
    Ok(run)
}

fn read_or_update(world: Arc<World>, abandon: bool) -> Metered {
    clients((world, abandon), |(world, abandon), user| {
        Box::pin(async move {
            if fastrand::u32(..100) >= UPDATES {
                let (answer, right) = world.read(&user.client, world.any()).await;
                return answer.counted_if(right, READ);
            }
            let own = world.of(user.weighted_users_index);
            let (version, request) = own.update(&user.client, world.anywhere());
            let answer = if *abandon && fastrand::bool() {
                let gives_up = LOST_PATIENCE.mul_f64(fastrand::f64());
                match timeout(gives_up, request).await {
                    Ok(answer) => answer,
                    Err(_) => return Outcome::Counted(Method::PUT, ABANDONED, gives_up),
                }
            } else {
                request.await
            };
            match answer.status {
                Some(StatusCode::OK) => {
                    own.answered(version);
                    answer.counted(UPDATE)
                }
                // By the update before, which was abandoned a moment ago.
                Some(StatusCode::IM_USED) if *abandon => answer.counted(REFUSED),
                _ => Outcome::Failed(answer),
            }
        })
    })
}

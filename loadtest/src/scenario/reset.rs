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
use std::time::{Duration, Instant};

use anyhow::Result;
use futures_util::FutureExt;
use reqwest::{Method, StatusCode};
use serde_json::json;
use tokio::time::{sleep, timeout};
use users::User;

use crate::client::Outcome;
use crate::fleet::Fleet;
use crate::load::{Metered, clients};
use crate::meter::ratio;
use crate::schema::{Promise, Run};
use crate::stage::{Of, Scenario, Stage};
use crate::turns::{Contender, measure};
use crate::versions::World;

pub(crate) const SCENARIO: Scenario = Scenario {
    name: "reset",
    about: "95 reads to 5 updates; no read is older than an update before it",
    whats: &["abandoned"],
    of: Of::EachApp,
    parts: (2, 0),
    run: |stage| run(stage).boxed_local(),
};

/// Between the database and the answer of a read, or the write of an update.
const DELAY: Duration = Duration::from_millis(5);
/// An abandoned update is abandoned within this.
const LOST_PATIENCE: Duration = Duration::from_millis(12);
/// Updates in a hundred requests.
const UPDATES: u32 = 5;
/// Processes, where they can share entries: one's update must reach another's reads.
const INSTANCES: u16 = 2;
/// The time that the last abandoned requests may take to come to their end.
const SETTLE: Duration = Duration::from_secs(3);

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

async fn reads_and_updates(stage: &Stage<'_>, what: &str, abandon: bool) -> Result<Run> {
    let app = stage.app();
    let fleet = stage.fleet(app, INSTANCES, DELAY, Duration::ZERO).await?;
    let everybody = fleet.seed(stage.users().try_into()?).await?;
    let world = Arc::new(World::new(fleet.urls(), &everybody));
    let step = read_or_update(&world, abandon);
    let contender = Contender::new(stage, SCENARIO.name, app, &fleet, READ, step);
    let mut contender = contender.named(what);
    let before = fleet.computed().await?;
    measure(stage.bench, &mut contender).await?;
    let disagreements = disagreements(&fleet, &everybody).await?;
    let computed = fleet.computed().await? - before;
    fleet.stop().await?;

    let (reads, updates) = (contender.all(READ), contender.all(UPDATE));
    let abandoned = contender.all(ABANDONED);
    let hit_share = ratio(reads.saturating_sub(computed.reads), reads);
    let update = contender.rounds.latency(UPDATE);
    let written = computed.writes;
    let mut run = contender.run();
    run.facts["reads"] = json!(reads);
    run.facts["updates"] = json!(updates);
    run.facts["abandoned"] = json!(abandoned);
    run.facts["hit_share"] = json!(hit_share);
    run.facts["update_p50_us"] = json!(update.p50);
    run.summary = format!(
        "{updates} updates, p50 {} µs, and {abandoned} abandoned; {:.0} % of the reads were hits",
        update.p50,
        100.0 * hit_share
    );
    run.promises = vec![
        Promise::equal(
            "no read was older than an update before it",
            0,
            world.stale(),
        ),
        Promise::equal(
            "in the end all say what the database says",
            0,
            disagreements,
        ),
        Promise::new(
            "each update that was answered was written, once",
            (updates..=updates + abandoned).contains(&written),
            format!("{written} of {updates} answered and {abandoned} abandoned"),
        ),
        contender.nothing_failed("every answer was as expected"),
        Promise::new(
            "reads came from the cache",
            hit_share > 0.0,
            format!("{:.1} %", 100.0 * hit_share),
        ),
    ];
    Ok(run)
}

/// Counts answers that differ from the database, once everything under way has ended.
pub(super) async fn disagreements(fleet: &Fleet, users: &[User]) -> Result<u64> {
    let database = fleet.database().await?;
    let end = Instant::now() + SETTLE;
    loop {
        let mut differ = 0;
        for User { id, .. } in users {
            let truth = database.find(*id).await?;
            for user in fleet.read(*id).await? {
                differ += u64::from(Some(user) != truth);
            }
        }
        if differ == 0 || Instant::now() > end {
            return Ok(differ);
        }
        sleep(Duration::from_millis(100)).await;
    }
}

fn read_or_update(world: &Arc<World>, abandon: bool) -> Metered {
    clients((Arc::clone(world), abandon), |(world, abandon), user| {
        async move {
            if fastrand::u32(..100) >= UPDATES {
                return match world.read(&user.client).await {
                    Ok(answer) => answer.counted(READ),
                    Err(answer) => Outcome::Failed(answer),
                };
            }
            let own = world.of(user.weighted_users_index);
            let (version, request) = world.update(&user.client, own);
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
        }
        .boxed()
    })
}

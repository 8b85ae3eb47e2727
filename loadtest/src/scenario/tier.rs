//! Processes that share a Redis, with memory in front of it, while one of them updates users at a
//! steady rate. Proves that no read is stale for longer than the bound, and that reads are answered
//! from memory. In turns with the same over Redis alone, where no read may be stale at all.
//!
//! Half of the reads are of one user, the others of a spread of users, from all processes. A read
//! is stale for as long as an update that it does not show had been answered when it began.
//!
//! Its latency is that of reads. Facts: `updates`, `stale` reads, `longest_stale_us` and
//! `bound_us`; of the tier `local_share`, the share of reads that memory answered, and
//! `over_redis`, how many times as many reads per second there were as over Redis alone.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, bail};
use futures_util::future::try_join;
use reqwest::{Client, StatusCode};
use serde_json::json;
use tokio::time::{MissedTickBehavior, interval};
use users::User;

use crate::fleet::Fleet;
use crate::load::{Metered, clients};
use crate::meter::{micros, ratio};
use crate::schema::{Promise, Run};
use crate::stage::{Of, Scenario, Stage};
use crate::turns::{Contender, in_turns};
use crate::versions::World;

pub(crate) const SCENARIO: Scenario = Scenario {
    name: "tier",
    about: "memory in front of Redis, updates in one process; no read is stale beyond the bound",
    whats: &[],
    of: Of::EachAppOnOurRedis,
    parts: (2, 0),
    run: |stage| Box::pin(run(stage)),
};

const INSTANCES: u16 = 3;
/// The users that are read, the first of them as often as all together.
const USERS: usize = 100;
/// Between two updates of the first user; any user is updated as often.
const PAUSE: Duration = Duration::from_millis(20);
const READ: &str = "read";

async fn run(stage: &Stage<'_>) -> Result<Vec<Run>> {
    let app = stage.app();
    let (plain, tiered) = (stage.place.plain(), stage.place.tiered());
    let (mut sides, mut contenders) = (Vec::new(), Vec::new());
    for place in [&plain, &tiered] {
        let apps = stage.apps.clone();
        let stage = Stage {
            apps,
            place,
            ..*stage
        };
        let fleet = Fleet::start(&stage, app, INSTANCES, Duration::ZERO, Duration::ZERO).await?;
        let world = World::new(&stage, &fleet, USERS).await?;
        for id in 1..=USERS {
            fleet.ask::<User>(&format!("users/{id}")).await?;
        }
        let step = read(Arc::clone(&world));
        contenders.push(Contender::new(&stage, app, &fleet, READ, step));
        let before = fleet.computed().await?;
        sides.push((fleet, world, before));
    }
    let time = stage.bench.settings.duration;
    tokio::select! {
        measured = in_turns(stage.bench, time, &mut contenders) => measured?,
        Err(error) = try_join(keep_updating(&sides[0].1), keep_updating(&sides[1].1)) => {
            return Err(error);
        }
    }

    let mut runs: Vec<Run> = Vec::new();
    for ((fleet, world, before), contender) in sides.into_iter().zip(contenders) {
        let computed = fleet.computed().await? - before;
        let fresh = world.promises(&fleet).await?;
        fleet.stop().await?;
        let (stale, longest) = world.stale();
        let mut run = contender.run();
        run.add_facts(json!({
            "updates": computed.writes, "stale": stale, "longest_stale_us": micros(longest),
            "bound_us": micros(world.bound()),
        }));
        run.summary = format!("{} updates", computed.writes);
        run.promises.extend(fresh);
        run.promises
            .push(contender.nothing_failed("every answer was the user"));
        if let Some(redis) = runs.first() {
            let local = ratio(computed.local, contender.all(READ));
            let over_redis = run.per_second / redis.per_second;
            run.add_facts(json!({"local_share": local, "over_redis": over_redis}));
            let seen = format!("{:.1} %", 100.0 * local);
            run.summary = format!(
                "the longest stale for {longest:.1?}, {seen} from memory, {over_redis:.2} times as \
                 many as from Redis; {stale} stale, {}",
                run.summary
            );
            run.promises
                .push(Promise::new("memory answered reads", local > 0.0, seen));
        }
        runs.push(run);
    }
    Ok(runs)
}

fn read(world: Arc<World>) -> Metered {
    clients(world, |world, user| {
        Box::pin(async move {
            let whom = if fastrand::bool() {
                world.of(0)
            } else {
                world.any()
            };
            let (answer, right) = world.read(&user.client, whom).await;
            answer.counted_if(right, READ)
        })
    })
}

/// Updates the first user and any user at the first process, at a steady rate.
async fn keep_updating(world: &World) -> Result<Infallible> {
    let client = Client::new();
    let mut due = interval(PAUSE);
    due.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        due.tick().await;
        for user in [world.of(0), world.any()] {
            let (version, request) = user.update(&client, world.first());
            let answer = request.await;
            match answer.status {
                Some(StatusCode::OK) => user.answered(version),
                // By the update before, whose release is still on its way.
                Some(StatusCode::IM_USED) => {}
                _ => bail!("an update failed: {}", answer.in_words()),
            }
        }
    }
}

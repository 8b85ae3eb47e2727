//! Reads with updates among them. Proves that no read that began after an update was answered returns what was there before.
//!
//! Each client updates one user of its own, to versions that it counts, and reads everybody's. Whoever reads notes first which version was
//! answered to its owner last: finding an older one is a broken promise. A read takes its time between the database and its answer, so that
//! there are reads in flight when updates are made: those must not be stored over them.
//!
//! Its latency is that of reads. Facts: `reads`, `updates`, `hit_share` of the reads, `update_p50_us`.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Result;
use futures_util::FutureExt;
use reqwest::StatusCode;
use serde_json::json;
use users::User;

use super::{Scenario, Stage};
use crate::fleet::change;
use crate::load::{Latency, Load, Meter, Step, ratio, send, step};
use crate::report::{Promise, Run};

pub(crate) const SCENARIO: Scenario = Scenario {
    name: "reset",
    about: "95 reads to 5 updates; no read is older than an update before it",
    run: |stage| run(stage).boxed_local(),
};

const DELAY: Duration = Duration::from_millis(5);
/// Updates in a hundred requests.
const UPDATES: u32 = 5;
/// Processes, where they can share entries: one's update must reach another's reads.
const INSTANCES: u16 = 2;

async fn run(stage: &Stage<'_>) -> Result<Vec<Run>> {
    let fleet = stage.fleet(INSTANCES, DELAY, Duration::ZERO).await?;
    let everybody = fleet.seed(stage.flags.users.into()).await?;
    let before = fleet.computed().await?;
    let meter = Arc::<Meter>::default();
    let world = Arc::new(World {
        urls: fleet.urls(),
        users: everybody.iter().map(Versioned::new).collect(),
        stale: AtomicU64::new(0),
    });
    let html = stage.html_name(SCENARIO.name);
    let load = Load {
        name: SCENARIO.name,
        users: world.users.len(),
        time: stage.flags.duration,
        warm_up: None,
        step: read_or_update(&world, &meter),
    };
    let metrics = load.run(&stage.html(&html)).await?;
    let computed = fleet.computed().await? - before;
    fleet.stop().await?;

    let (reads, updates) = (meter.counted(READ), meter.counted(UPDATE));
    let hit_share = ratio(reads.saturating_sub(computed.reads), reads);
    let update = Latency::of(&metrics, "PUT", UPDATE);
    Ok(vec![Run {
        scenario: SCENARIO.name,
        what: String::new(),
        app: stage.app.name(),
        cache: stage.place.cache.to_string(),
        instances: stage.instances(INSTANCES),
        users: world.users.len(),
        seconds: meter.elapsed().as_secs_f64(),
        per_second: meter.per_second(READ),
        latency_us: Latency::of(&metrics, "GET", READ),
        facts: json!({
            "reads": reads,
            "updates": updates,
            "hit_share": hit_share,
            "update_p50_us": update.p50,
        }),
        summary: format!(
            "{updates} updates, p50 {} µs; {:.0} % of the reads were hits",
            update.p50,
            100.0 * hit_share
        ),
        promises: vec![
            Promise::equal(
                "no read was older than an update before it",
                0,
                world.stale.load(Ordering::Relaxed),
            ),
            Promise::equal(
                "each update that was answered was written, once",
                updates,
                computed.writes,
            ),
            Promise::equal("every answer was 200", 0, meter.failed()),
            Promise {
                text: "reads came from the cache",
                kept: hit_share > 0.0,
                seen: format!("{:.1} %", 100.0 * hit_share),
            },
        ],
        goose: html,
    }])
}

const READ: &str = "read";
const UPDATE: &str = "update";

struct World {
    urls: Vec<String>,
    users: Vec<Versioned>,
    /// Reads that found an older version than was answered before.
    stale: AtomicU64,
}

/// A user whose name is `v` and a version, 0 while it is another.
struct Versioned {
    id: i64,
    /// What its owner was answered last.
    answered: AtomicU64,
}

impl Versioned {
    fn new(user: &User) -> Self {
        Self {
            id: user.id,
            answered: AtomicU64::new(0),
        }
    }
}

impl World {
    /// The address of a user, at any process.
    fn url(&self, user: &Versioned) -> String {
        let url = &self.urls[fastrand::usize(..self.urls.len())];
        format!("{url}/users/{}", user.id)
    }
}

fn version(body: &[u8]) -> Option<u64> {
    let user: User = serde_json::from_slice(body).ok()?;
    let version = user.name.strip_prefix('v');
    version.map_or(Some(0), |version| version.parse().ok())
}

fn read_or_update(world: &Arc<World>, meter: &Arc<Meter>) -> Step {
    let (world, meter) = (Arc::clone(world), Arc::clone(meter));
    step(move |user| {
        let (world, meter) = (Arc::clone(&world), Arc::clone(&meter));
        async move {
            if fastrand::u32(..100) < UPDATES {
                let own = &world.users[user.weighted_users_index % world.users.len()];
                let next = own.answered.load(Ordering::SeqCst) + 1;
                let request = user
                    .client
                    .put(world.url(own))
                    .json(&change(&format!("v{next}")));
                match send(request).await {
                    Some(answer) if answer.status == StatusCode::OK => {
                        own.answered.store(next, Ordering::SeqCst);
                        meter.record(user, "PUT", UPDATE, answer.took).await
                    }
                    answer => meter.record_failure(user, "PUT", answer.as_ref()).await,
                }
            } else {
                let any = &world.users[fastrand::usize(..world.users.len())];
                let answered = any.answered.load(Ordering::SeqCst);
                let answer = send(user.client.get(world.url(any))).await;
                let found = answer.as_ref().filter(|it| it.status == StatusCode::OK);
                match found.and_then(|it| Some((version(&it.body)?, it.took))) {
                    Some((version, took)) => {
                        if version < answered {
                            world.stale.fetch_add(1, Ordering::Relaxed);
                        }
                        meter.record(user, "GET", READ, took).await
                    }
                    None => meter.record_failure(user, "GET", answer.as_ref()).await,
                }
            }
        }
        .boxed()
    })
}

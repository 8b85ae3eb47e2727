//! Reads with updates among them. Proves that no read that began after an update was answered returns what was there before, and that
//! in the end every process says what the database says.
//!
//! Each client updates one user of its own, to versions that it counts, and reads everybody's. Whoever reads notes first which version was
//! answered to its owner last: finding an older one is a broken promise. A read takes its time between the database and its answer, so that
//! there are reads in flight when updates are made: those must not be stored over them.
//!
//! Measured twice: with clients that wait for their answers, and with clients that go away before half of their updates are *answered*, wherever those are just then.
//!
//! Its latency is that of reads. Facts: `reads`, `updates` that were answered, `abandoned` ones, `hit_share` of the reads, `update_p50_us`.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::Result;
use futures_util::FutureExt;
use goose::goose::{GooseUser, TransactionResult};
use reqwest::StatusCode;
use serde_json::json;
use tokio::time::{sleep, timeout};
use users::User;

use super::{Scenario, Stage};
use crate::fleet::{Fleet, change};
use crate::load::{Load, Meter, Step, ratio, send, step};
use crate::schema::{Latency, Promise, Run};

pub(crate) const SCENARIO: Scenario = Scenario {
    name: "reset",
    about: "95 reads to 5 updates; no read is older than an update before it",
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
/// How long the last requests that nobody waits for may take to come to their end.
const SETTLE: Duration = Duration::from_secs(3);

/// What is counted.
const READ: &str = "read";
const UPDATE: &str = "update";
const ABANDONED: &str = "abandoned update";
const REFUSED: &str = "refused update";

async fn run(stage: &Stage<'_>) -> Result<Vec<Run>> {
    stage.progress.show("clients wait for their answers");
    let answered = measure(stage, "", false).await?;
    stage.progress.show("clients go away");
    let abandoned = measure(stage, "abandoned", true).await?;
    Ok(vec![answered, abandoned])
}

async fn measure(stage: &Stage<'_>, what: &str, abandon: bool) -> Result<Run> {
    let fleet = stage.fleet(INSTANCES, DELAY, Duration::ZERO).await?;
    let everybody = fleet.seed(stage.flags.users.into()).await?;
    let before = fleet.computed().await?;
    let meter = Arc::<Meter>::default();
    let world = Arc::new(World {
        urls: fleet.urls(),
        users: everybody.iter().map(Versioned::new).collect(),
        abandon,
        stale: AtomicU64::new(0),
    });
    let html = stage.html_name(format!("{} {what}", SCENARIO.name).trim());
    let load = Load {
        name: SCENARIO.name,
        users: world.users.len(),
        time: stage.flags.duration / 2,
        warm_up: None,
        step: read_or_update(&world, &meter),
    };
    let metrics = load.run(&stage.html(&html)).await?;
    let disagreements = disagreements(&fleet, &everybody).await?;
    let computed = fleet.computed().await? - before;
    fleet.stop().await?;

    let (reads, updates) = (meter.counted(READ), meter.counted(UPDATE));
    let abandoned = meter.counted(ABANDONED);
    let hit_share = ratio(reads.saturating_sub(computed.reads), reads);
    let update = Latency::of(&metrics, "PUT", UPDATE);
    let written = computed.writes;
    Ok(Run {
        scenario: SCENARIO.name.into(),
        what: what.to_owned(),
        app: stage.app.name().into(),
        cache: stage.place.cache.to_string(),
        instances: stage.instances(INSTANCES),
        users: world.users.len(),
        seconds: meter.elapsed().as_secs_f64(),
        per_second: meter.per_second(READ),
        latency_us: Latency::of(&metrics, "GET", READ),
        facts: json!({
            "reads": reads,
            "updates": updates,
            "abandoned": abandoned,
            "hit_share": hit_share,
            "update_p50_us": update.p50,
        }),
        summary: format!(
            "{updates} updates, p50 {} µs, and {abandoned} abandoned; {:.0} % of the reads were hits",
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
                "in the end all say what the database says",
                0,
                disagreements,
            ),
            Promise {
                text: "each update that was answered was written, once".into(),
                kept: (updates..=updates + abandoned).contains(&written),
                seen: format!("{written} of {updates} answered and {abandoned} abandoned"),
            },
            Promise::equal("every answer was as expected", 0, meter.failed()),
            Promise {
                text: "reads came from the cache".into(),
                kept: hit_share > 0.0,
                seen: format!("{:.1} %", 100.0 * hit_share),
            },
        ],
        goose: Some(html),
        ..Run::default()
    })
}

/// How many answers differ from what the database says, after what is still under way has ended.
async fn disagreements(fleet: &Fleet, users: &[User]) -> Result<u64> {
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

struct World {
    urls: Vec<String>,
    users: Vec<Versioned>,
    /// Whether clients go away.
    abandon: bool,
    /// Reads that found an older version than was answered before.
    stale: AtomicU64,
}

/// A user whose name is `v` and a version, 0 while it is another.
struct Versioned {
    id: i64,
    /// What its owner sent last.
    sent: AtomicU64,
    /// What its owner was answered last.
    answered: AtomicU64,
}

impl Versioned {
    fn new(user: &User) -> Self {
        Self {
            id: user.id,
            sent: AtomicU64::new(0),
            answered: AtomicU64::new(0),
        }
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
                world.update(user, &meter).await
            } else {
                world.read(user, &meter).await
            }
        }
        .boxed()
    })
}

impl World {
    /// The address of a user, at any process.
    fn url(&self, user: &Versioned) -> String {
        let url = &self.urls[fastrand::usize(..self.urls.len())];
        format!("{url}/users/{}", user.id)
    }

    async fn update(&self, user: &mut GooseUser, meter: &Meter) -> TransactionResult {
        let own = &self.users[user.weighted_users_index % self.users.len()];
        let version = own.sent.fetch_add(1, Ordering::SeqCst) + 1;
        let request = user.client.put(self.url(own));
        let request = send(request.json(&change(&format!("v{version}"))));
        let answer = if self.abandon && fastrand::bool() {
            let patience = LOST_PATIENCE.mul_f64(fastrand::f64());
            match timeout(patience, request).await {
                Ok(answer) => answer,
                Err(_) => return meter.record(user, "PUT", ABANDONED, patience).await,
            }
        } else {
            request.await
        };
        match answer {
            Some(answer) if answer.status == StatusCode::OK => {
                own.answered.store(version, Ordering::SeqCst);
                meter.record(user, "PUT", UPDATE, answer.took).await
            }
            // By the update before, which was abandoned a moment ago.
            Some(answer) if self.abandon && answer.status == StatusCode::IM_USED => {
                meter.record(user, "PUT", REFUSED, answer.took).await
            }
            answer => meter.record_failure(user, "PUT", answer.as_ref()).await,
        }
    }

    async fn read(&self, user: &mut GooseUser, meter: &Meter) -> TransactionResult {
        let any = &self.users[fastrand::usize(..self.users.len())];
        let answered = any.answered.load(Ordering::SeqCst);
        let answer = send(user.client.get(self.url(any))).await;
        let found = answer.as_ref().filter(|it| it.status == StatusCode::OK);
        match found.and_then(|it| Some((version(&it.body)?, it.took))) {
            Some((version, took)) => {
                if version < answered {
                    self.stale.fetch_add(1, Ordering::Relaxed);
                }
                meter.record(user, "GET", READ, took).await
            }
            None => meter.record_failure(user, "GET", answer.as_ref()).await,
        }
    }
}

//! Redis is killed while users are read and updated, and started again, empty. Proves that reads go
//! on being answered, each within the backend timeout for a Redis that does not, that updates are
//! refused (503) rather than made without their lock, and that both recover, with no read older
//! than an update before it.
//!
//! Redis is there for a quarter of the time, away for a quarter, and then back. The latency is that
//! of reads. Facts: `reads_away`, `read_away_p50_us`, `read_away_max_us`, `updates_refused`, and
//! `recovered_ms`: from the return of Redis to the first update.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::Result;
use futures_util::FutureExt;
use reqwest::StatusCode;
use serde_json::json;

use super::reset::disagreements;
use crate::client::Outcome;
use crate::load::{Metered, clients};
use crate::meter::micros;
use crate::schema::{Promise, Run};
use crate::stage::{Of, Scenario, Stage};
use crate::turns::Contender;
use crate::versions::World;

pub(crate) const SCENARIO: Scenario = Scenario {
    name: "redis-away",
    about: "Redis is killed and started again; reads go on, updates are refused, both recover",
    whats: &[],
    of: Of::EachAppOnOurRedis,
    parts: (2, 0),
    run: |stage| run(stage).boxed_local(),
};

/// At least: a Redis that is away for a moment only would not be missed.
const PHASE: Duration = Duration::from_millis(1500);
/// A call may lose 250 ms to a Redis that does not answer; the rest is for a busy machine.
const BOUND: Duration = Duration::from_millis(500);
/// Updates in a hundred requests.
const UPDATES: u32 = 20;
/// Between two requests of a client: this is not about how many there can be.
const PAUSE: Duration = Duration::from_millis(2);
const INSTANCES: u16 = 2;

const THERE: u8 = 0;
/// It is being killed, or started: whatever is answered is right.
const CHANGES: u8 = 1;
const AWAY: u8 = 2;
const BACK: u8 = 3;

/// The names under which outcomes are counted.
const READ: &str = "read";
const READ_AWAY: &str = "read while away";
const UPDATE: &str = "update";
const REFUSED: &str = "refused update";
const BUSY: &str = "update while another one ran";
const LOCKLESS: &str = "update while away";

async fn run(stage: &Stage<'_>) -> Result<Vec<Run>> {
    let app = stage.app();
    let no_time = Duration::ZERO;
    let fleet = stage.fleet(app, INSTANCES, no_time, no_time).await?;
    let everybody = fleet.seed(stage.users().try_into()?).await?;
    let events = Arc::new(Events {
        world: World::new(fleet.urls(), &everybody),
        phase: AtomicU8::new(THERE),
        begin: Instant::now(),
        back_us: AtomicU64::new(0),
        recovered_us: AtomicU64::new(u64::MAX),
    });
    let step = read_or_update(&events);
    let contender = Contender::new(stage, SCENARIO.name, app, &fleet, READ, step);
    let mut contender = contender.cold().plain();
    let phase = (stage.bench.settings.duration / 2).max(PHASE);
    let happen = async {
        let show = |text| stage.bench.progress.show(text);
        show("Redis is there");
        tokio::time::sleep(phase).await;
        events.phase.store(CHANGES, Ordering::SeqCst);
        stage.place.kill().await?;
        events.phase.store(AWAY, Ordering::SeqCst);
        show("Redis is away");
        tokio::time::sleep(phase).await;
        events.phase.store(CHANGES, Ordering::SeqCst);
        stage.place.restart().await?;
        let now = micros(events.begin.elapsed());
        events.back_us.store(now, Ordering::SeqCst);
        events.phase.store(BACK, Ordering::SeqCst);
        show("Redis is back");
        anyhow::Ok(())
    };
    let (load, happened) = tokio::join!(contender.round(stage.bench, 4 * phase), happen);
    happened?;
    load?;
    let disagreements = disagreements(&fleet, &everybody).await?;
    fleet.stop().await?;
    Ok(vec![told(&contender, &events, disagreements, phase)])
}

fn told(contender: &Contender, events: &Events, disagreements: u64, phase: Duration) -> Run {
    let rounds = &contender.rounds;
    let away = rounds.latency(READ_AWAY);
    let slowest = rounds.latency(READ).max.max(away.max);
    let refused = rounds.counted(REFUSED);
    let back = events.back_us.load(Ordering::SeqCst);
    let recovered = events.recovered_us.load(Ordering::SeqCst);
    let recovered = Duration::from_micros(recovered.saturating_sub(back));
    let (recovered_ms, slowest_ms) = (recovered.as_millis(), slowest / 1000);
    let lockless = rounds.counted(LOCKLESS);
    let mut run = contender.run();
    run.facts["reads_away"] = json!(away.count);
    run.facts["read_away_p50_us"] = json!(away.p50);
    run.facts["read_away_max_us"] = json!(away.max);
    run.facts["updates_refused"] = json!(refused);
    run.facts["recovered_ms"] = json!(recovered_ms);
    // One round is too few to tell how figures vary.
    run.spread = None;
    run.summary = format!(
        "{} reads while Redis was away, the slowest {} ms; updates again {recovered_ms} ms after \
         it was back",
        away.count,
        away.max / 1000,
    );
    run.promises = vec![
        Promise::equal("every read was answered", 0, rounds.failed()),
        Promise::new(
            "reads went on while Redis was away",
            away.count > 0,
            away.count.to_string(),
        ),
        Promise::new(
            "no read took longer than its backend timeout",
            slowest < micros(BOUND),
            format!("{slowest_ms} ms"),
        ),
        Promise::new(
            "updates were refused while Redis was away",
            lockless == 0 && refused > 0,
            format!("{refused} refused, {lockless} made"),
        ),
        Promise::new(
            "updates were made again once it was back",
            // It is probed every second.
            recovered < 2 * phase,
            format!("after {recovered_ms} ms"),
        ),
        Promise::equal(
            "no read was older than an update before it",
            0,
            events.world.stale(),
        ),
        Promise::equal(
            "in the end all say what the database says",
            0,
            disagreements,
        ),
    ];
    run
}

struct Events {
    world: World,
    phase: AtomicU8,
    begin: Instant,
    /// The return of Redis, and the first update after that.
    back_us: AtomicU64,
    recovered_us: AtomicU64,
}

impl Events {
    fn phase(&self) -> u8 {
        self.phase.load(Ordering::SeqCst)
    }
}

fn read_or_update(events: &Arc<Events>) -> Metered {
    clients(Arc::clone(events), |events, user| {
        async move {
            tokio::time::sleep(PAUSE).await;
            let began = events.phase();
            if fastrand::u32(..100) >= UPDATES {
                return match events.world.read(&user.client).await {
                    Ok(answer) if began == AWAY && events.phase() == AWAY => {
                        answer.counted(READ_AWAY)
                    }
                    Ok(answer) => answer.counted(READ),
                    Err(answer) => Outcome::Failed(answer),
                };
            }
            let own = events.world.of(user.weighted_users_index);
            let (version, request) = events.world.update(&user.client, own);
            let answer = request.await;
            let phase = events.phase();
            let steady = began == phase;
            match answer.status {
                Some(StatusCode::OK) => {
                    own.answered(version);
                    if began == BACK {
                        let now = micros(events.begin.elapsed());
                        events.recovered_us.fetch_min(now, Ordering::SeqCst);
                    }
                    let away = steady && phase == AWAY;
                    answer.counted(if away { LOCKLESS } else { UPDATE })
                }
                Some(StatusCode::SERVICE_UNAVAILABLE) if !(steady && phase == THERE) => {
                    answer.counted(REFUSED)
                }
                // By the update before, whose release is still on its way.
                Some(StatusCode::IM_USED) => answer.counted(BUSY),
                _ => Outcome::Failed(answer),
            }
        }
        .boxed()
    })
}

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
use reqwest::StatusCode;
use serde_json::json;

use crate::client::Outcome;
use crate::fleet::Fleet;
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
    run: |stage| Box::pin(run(stage)),
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
    let fleet = Fleet::start(stage, app, INSTANCES, Duration::ZERO, Duration::ZERO).await?;
    let events = Arc::new(Events {
        world: World::new(stage, &fleet, stage.users()).await?,
        phase: AtomicU8::new(THERE),
        begin: Instant::now(),
        back_us: AtomicU64::new(0),
        recovered_us: AtomicU64::new(u64::MAX),
    });
    let step = read_or_update(Arc::clone(&events));
    let mut contender = Contender::new(stage, app, &fleet, READ, step);
    (contender.cold, contender.plain) = (true, true);
    let phase = (stage.bench.settings.duration / 2).max(PHASE);
    let happen = async {
        let begin = |phase, text| {
            events.phase.store(phase, Ordering::SeqCst);
            stage.bench.progress.show(text);
        };
        begin(THERE, "Redis is there");
        tokio::time::sleep(phase).await;
        begin(CHANGES, "Redis is killed");
        stage.place.kill().await?;
        begin(AWAY, "Redis is away");
        tokio::time::sleep(phase).await;
        begin(CHANGES, "Redis is started");
        stage.place.restart().await?;
        let now = micros(events.begin.elapsed());
        events.back_us.store(now, Ordering::SeqCst);
        begin(BACK, "Redis is back");
        anyhow::Ok(())
    };
    let (load, happened) = tokio::join!(contender.round(stage.bench, 4 * phase), happen);
    happened?;
    load?;
    let fresh = events.world.promises(&fleet).await?;
    fleet.stop().await?;

    let away = contender.latency(READ_AWAY);
    let slowest = contender.latency(READ).max.max(away.max);
    let [refused, lockless] = [REFUSED, LOCKLESS].map(|name| contender.measured(name));
    let [back, recovered] =
        [&events.back_us, &events.recovered_us].map(|at| at.load(Ordering::SeqCst));
    let recovered = Duration::from_micros(recovered.saturating_sub(back));
    let recovered_ms = recovered.as_millis();
    let mut run = contender.run();
    run.add_facts(json!({
        "reads_away": away.count, "read_away_p50_us": away.p50, "read_away_max_us": away.max,
        "updates_refused": refused, "recovered_ms": recovered_ms,
    }));
    run.summary = format!(
        "{} reads while Redis was away, the slowest {} ms; updates again {recovered_ms} ms after \
         it was back",
        away.count,
        away.max / 1000,
    );
    let went_on = "reads went on while Redis was away";
    run.promises = vec![
        contender.nothing_failed("every read was answered"),
        Promise::new(went_on, away.count > 0, away.count.to_string()),
        Promise::new(
            "no read took longer than its backend timeout",
            slowest < micros(BOUND),
            format!("{} ms", slowest / 1000),
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
    ];
    run.promises.extend(fresh);
    Ok(vec![run])
}

struct Events {
    world: Arc<World>,
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

fn read_or_update(events: Arc<Events>) -> Metered {
    clients(events, |events, user| {
        Box::pin(async move {
            tokio::time::sleep(PAUSE).await;
            let began = events.phase();
            if fastrand::u32(..100) >= UPDATES {
                let (answer, right) = events.world.read(&user.client, events.world.any()).await;
                let away = began == AWAY && events.phase() == AWAY;
                return answer.counted_if(right, if away { READ_AWAY } else { READ });
            }
            let own = events.world.of(user.weighted_users_index);
            let (version, request) = own.update(&user.client, events.world.anywhere());
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
        })
    })
}

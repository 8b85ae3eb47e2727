//! Entries of the lab that are fresh for a moment and may then be stale, while the database behind
//! them is slow, and then fails. Proves that no reader sees an error or waits for the database, and
//! that entries are fresh again once it is well.
//!
//! Everything was read once before. The database is well for a quarter of the time, slow for
//! a quarter, fails for a quarter, and is then well again.
//!
//! Its latency is that of reads while it was well. Facts: `reads_slow` and `reads_failing`,
//! `read_slow_max_us` and `read_failing_max_us`; `oldest_us`, the greatest age of an answer; and
//! `recovered_ms`, from the moment at which it was well again until all answers were newer.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::Result;
use serde_json::json;
use tokio::time::sleep;

use crate::app::App;
use crate::client::{Outcome, send};
use crate::fleet::Fleet;
use crate::lab::{Database, FRESH, now_us};
use crate::load::{Metered, clients};
use crate::meter::micros;
use crate::schema::{Promise, Run};
use crate::stage::{Of, Scenario, Stage};
use crate::turns::Contender;

pub(crate) const SCENARIO: Scenario = Scenario {
    name: "stale",
    about: "a database that is slow, and then fails; readers of old entries notice neither",
    whats: &[],
    of: Of::Lab,
    parts: (0, 2),
    run: |stage| Box::pin(run(stage)),
};

/// At least: a database that fails for a moment only would not be missed.
const PHASE: Duration = Duration::from_secs(1);
/// A read that waits for the slow database takes longer; the rest is for a busy machine.
const BOUND: Duration = Duration::from_millis(500);
/// The time that entries may take to be fresh again: after failures, up to 10 s pass between two
/// refreshes.
const SETTLE: Duration = Duration::from_secs(15);
/// Between two requests of a client: this is not about how many there can be.
const PAUSE: Duration = Duration::from_millis(2);
const KEYS: usize = 50;
const INSTANCES: u16 = 2;

/// The phases of the database, and the names under which reads are counted that are within one.
const PHASES: [(Database, &str); 4] = [
    (Database::Well, WELL),
    (Database::Slow, SLOW),
    (Database::Failing, FAILING),
    (Database::Well, WELL),
];
const WELL: &str = "read while it is well";
const SLOW: &str = "read while it is slow";
const FAILING: &str = "read while it fails";
const BETWEEN: &str = "read while it changes";

async fn run(stage: &Stage<'_>) -> Result<Vec<Run>> {
    let no_time = Duration::ZERO;
    let fleet = Fleet::start(stage, App::Lab, INSTANCES, no_time, no_time).await?;
    oldest(&fleet).await?;
    let old = Arc::new(Old {
        urls: fleet.urls(),
        phase: AtomicUsize::new(0),
        oldest_us: AtomicU64::new(0),
    });
    let step = read(Arc::clone(&old));
    let mut contender = Contender::new(stage, App::Lab, &fleet, WELL, step);
    (contender.cold, contender.plain) = (true, true);
    let phase = (stage.bench.settings.duration / 2).max(PHASE);
    let happen = async {
        for (number, (database, name)) in PHASES.iter().enumerate() {
            stage.bench.progress.show(name);
            old.phase.store(PHASES.len(), Ordering::SeqCst);
            fleet.tell("database", database).await?;
            old.phase.store(number, Ordering::SeqCst);
            if number < PHASES.len() - 1 {
                sleep(phase).await;
            }
        }
        let (well_us, well) = (now_us(), Instant::now());
        while oldest(&fleet).await? < well_us && well.elapsed() < SETTLE {
            sleep(Duration::from_millis(20)).await;
        }
        anyhow::Ok(well.elapsed())
    };
    let (load, recovered) = tokio::join!(contender.round(stage.bench, 4 * phase), happen);
    let recovered = recovered?;
    load?;
    fleet.stop().await?;

    let [slow, failing] = [SLOW, FAILING].map(|name| contender.latency(name));
    let slowest = [SLOW, FAILING, BETWEEN].map(|name| contender.latency(name).max);
    let slowest = slowest.into_iter().max().unwrap_or_default();
    let oldest_us = old.oldest_us.load(Ordering::SeqCst);
    let (oldest_ms, recovered_ms) = (oldest_us / 1000, recovered.as_millis());
    let mut run = contender.run();
    run.add_facts(json!({
        "reads_slow": slow.count, "read_slow_max_us": slow.max,
        "reads_failing": failing.count, "read_failing_max_us": failing.max,
        "oldest_us": oldest_us, "recovered_ms": recovered_ms,
    }));
    run.summary = format!(
        "{} reads while the database was slow, {} while it failed, the slowest {} ms, the oldest \
         {oldest_ms} ms; fresh {recovered_ms} ms after it was well",
        slow.count,
        failing.count,
        slowest / 1000
    );
    let served = slow.count > 0 && failing.count > 0 && oldest_us > micros(FRESH);
    run.promises = vec![
        contender.nothing_failed("no reader saw an error"),
        Promise::new(
            "no reader waited for the database",
            slowest < micros(BOUND),
            format!("{} ms", slowest / 1000),
        ),
        Promise::new(
            "old entries were read",
            served,
            format!("of {oldest_ms} ms"),
        ),
        Promise::new(
            "entries were fresh again once it was well",
            recovered < SETTLE,
            format!("after {recovered_ms} ms"),
        ),
    ];
    Ok(vec![run])
}

/// Reads everything from each process, and returns when the oldest of it was in the database.
async fn oldest(fleet: &Fleet) -> Result<u64> {
    let mut oldest = u64::MAX;
    for key in 0..KEYS {
        let times = fleet.ask(&format!("aged/{key}")).await?;
        oldest = times.into_iter().fold(oldest, u64::min);
    }
    Ok(oldest)
}

struct Old {
    urls: Vec<String>,
    /// The number of the phase; while it changes, no phase's.
    phase: AtomicUsize,
    oldest_us: AtomicU64,
}

fn read(old: Arc<Old>) -> Metered {
    clients(old, |old, user| {
        Box::pin(async move {
            sleep(PAUSE).await;
            let phase = || old.phase.load(Ordering::SeqCst);
            let (began, asked_us) = (phase(), now_us());
            let url = &old.urls[fastrand::usize(..old.urls.len())];
            let key = fastrand::usize(..KEYS);
            let answer = send(user.client.get(format!("{url}/aged/{key}"))).await;
            let (true, Ok(read_us)) = (answer.is_ok(), serde_json::from_slice(&answer.body)) else {
                return Outcome::Failed(answer);
            };
            let age = asked_us.saturating_sub(read_us);
            old.oldest_us.fetch_max(age, Ordering::SeqCst);
            let phase = PHASES.get(began).filter(|_| phase() == began);
            answer.counted(phase.map_or(BETWEEN, |(_, name)| *name))
        })
    })
}

//! Reads of users that nobody has read yet: what is paid for the first read. Proves that each was computed exactly once, and is a hit from then on.
//!
//! Facts: `of_uncached`, the throughput over that without a cache, if `uncached` ran before.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use anyhow::Result;
use futures_util::FutureExt;
use reqwest::StatusCode;
use serde_json::json;
use users::User;

use super::{Of, Scenario, Stage};
use crate::fleet::seeded;
use crate::load::{Step, send, step};
use crate::meter::Meter;
use crate::schema::{Promise, Run};
use crate::turns::{Contender, measure};

pub(crate) const SCENARIO: Scenario = Scenario {
    name: "miss",
    about: "first reads; each is computed once, and then is a hit",
    whats: &[],
    of: Of::EachApp,
    parts: (1, 0),
    run: |stage| run(stage).boxed_local(),
};

/// More than any app can read from its database per second.
const PER_SECOND: u64 = 15_000;
/// How many are read a second time, in the end.
const SAMPLE: i64 = 50;
const MISS: &str = "miss";

async fn run(stage: &Stage<'_>) -> Result<Vec<Run>> {
    let app = stage.app();
    let fleet = stage.fleet(app, 1, <_>::default(), <_>::default()).await?;
    // The warm-up of each round reads, too.
    let seconds =
        stage.bench.flags.duration.as_secs() + 2 + u64::from(stage.bench.flags.repeats) / 4;
    let last = i64::try_from(seconds * PER_SECOND)?;
    fleet.seed(last.try_into()?).await?;
    let next = Arc::new(AtomicI64::new(1));
    let read = read(fleet.urls().into(), &next, last);
    let mut contender = Contender::new(stage, SCENARIO.name, app, &fleet, MISS, read);
    let before = fleet.computed().await?;
    measure(stage.bench, &mut contender).await?;
    let computed = fleet.computed().await? - before;

    if next.load(Ordering::SeqCst) > last + 1 {
        stage
            .bench
            .note("miss ran out of users that nobody had read: its last rounds were shorter.");
    }
    let read = next.load(Ordering::SeqCst).min(last + 1);
    let sample = (1..read).rev().take(SAMPLE.try_into()?).map(seeded);
    let sample: Vec<User> = sample.collect();
    let before = fleet.computed().await?;
    fleet.warm_up(&sample).await?;
    let again = (fleet.computed().await? - before).reads;
    fleet.stop().await?;

    let mut run = contender.run();
    run.promises = vec![
        Promise::equal(
            "each was computed once",
            contender.all(MISS),
            computed.reads,
        ),
        Promise::equal("read again, nothing was computed", 0, again),
        contender.nothing_failed("every answer was the right one"),
    ];
    "first reads: computed and kept".clone_into(&mut run.summary);
    if let Some(uncached) = stage
        .before
        .iter()
        .find(|it| it.scenario == "uncached" && it.app == run.app)
    {
        let of_uncached = run.per_second / uncached.per_second;
        run.facts["of_uncached"] = json!(of_uncached);
        run.summary = format!("{:.0} % of the reads without a cache", 100.0 * of_uncached);
    }
    Ok(vec![run])
}

fn read(
    urls: Arc<[String]>,
    next: &Arc<AtomicI64>,
    last: i64,
) -> impl Fn(&Arc<Meter>) -> Step + 'static {
    let next = Arc::clone(next);
    move |meter| {
        let (urls, next, meter) = (Arc::clone(&urls), Arc::clone(&next), Arc::clone(meter));
        step(move |user| {
            let (urls, next, meter) = (Arc::clone(&urls), Arc::clone(&next), Arc::clone(&meter));
            async move {
                let id = next.fetch_add(1, Ordering::Relaxed);
                if id > last {
                    // Nobody is left to be read.
                    tokio::time::sleep(Duration::from_millis(10)).await;
                    return Ok(());
                }
                let url = &urls[fastrand::usize(..urls.len())];
                match send(user.client.get(format!("{url}/users/{id}"))).await {
                    Some(answer) if answer.status == StatusCode::OK && is(&answer.body, id) => {
                        meter.record(user, "GET", MISS, answer.took).await
                    }
                    answer => meter.record_failure(user, "GET", answer.as_ref()).await,
                }
            }
            .boxed()
        })
    }
}

fn is(body: &[u8], id: i64) -> bool {
    serde_json::from_slice::<User>(body).is_ok_and(|user| user == seeded(id))
}

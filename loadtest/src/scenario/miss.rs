//! Reads of users that nobody has read yet. Proves that each was computed exactly once, and is a
//! hit from then on.
//!
//! Facts: `of_uncached`, the throughput over that without a cache, if `uncached` ran before.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use anyhow::Result;
use serde_json::json;
use users::User;

use crate::client::{Outcome, send};
use crate::fleet::{Fleet, seeded};
use crate::load::{Metered, clients};
use crate::schema::{Promise, Run};
use crate::stage::{Of, Scenario, Stage};
use crate::turns::Contender;

pub(crate) const SCENARIO: Scenario = Scenario {
    name: "miss",
    about: "first reads; each is computed once, and then is a hit",
    whats: &[],
    of: Of::EachApp,
    parts: (1, 0),
    run: |stage| Box::pin(run(stage)),
};

/// More than any app can read from its database per second.
const PER_SECOND: u64 = 15_000;
/// The number of users that are read a second time, in the end.
const SAMPLE: usize = 50;
const MISS: &str = "miss";

async fn run(stage: &Stage<'_>) -> Result<Vec<Run>> {
    let app = stage.app();
    let fleet = Fleet::start(stage, app, 1, <_>::default(), <_>::default()).await?;
    // The warm-up of each round reads, too.
    let settings = stage.bench.settings;
    let seconds = settings.duration.as_secs() + 2 + u64::from(settings.repeats) / 4;
    let last = i64::try_from(seconds * PER_SECOND)?;
    fleet.seed(last.try_into()?).await?;
    let (urls, next) = (fleet.urls(), AtomicI64::new(1));
    let unread = Arc::new(Unread { urls, next, last });
    let step = read(Arc::clone(&unread));
    let mut contender = Contender::new(stage, app, &fleet, MISS, step);
    let computed = contender.measure(stage.bench, &fleet).await?;

    let next = unread.next.load(Ordering::SeqCst);
    if next > last + 1 {
        let note = "miss ran out of users that nobody had read: its last rounds were shorter.";
        stage.bench.note(note);
    }
    let read = next.min(last + 1);
    let sample: Vec<User> = (1..read).rev().take(SAMPLE).map(seeded).collect();
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
        Promise::none("read again, nothing was computed", again),
        contender.nothing_failed("every answer was the right one"),
    ];
    "first reads: computed and kept".clone_into(&mut run.summary);
    let mut before = stage.before.iter();
    if let Some(uncached) = before.find(|it| it.scenario == "uncached" && it.app == run.app) {
        let of_uncached = run.per_second / uncached.per_second;
        run.facts["of_uncached"] = json!(of_uncached);
        run.summary = format!("{:.0} % of the reads without a cache", 100.0 * of_uncached);
    }
    Ok(vec![run])
}

struct Unread {
    urls: Vec<String>,
    next: AtomicI64,
    last: i64,
}

fn read(unread: Arc<Unread>) -> Metered {
    clients(unread, |unread, user| {
        Box::pin(async move {
            let id = unread.next.fetch_add(1, Ordering::Relaxed);
            if id > unread.last {
                // Nobody is left to be read.
                tokio::time::sleep(Duration::from_millis(10)).await;
                return Outcome::Several(Vec::new());
            }
            let url = &unread.urls[fastrand::usize(..unread.urls.len())];
            let answer = send(user.client.get(format!("{url}/users/{id}"))).await;
            let user = serde_json::from_slice(&answer.body).ok();
            let right = answer.is_ok() && user == Some(seeded(id));
            answer.counted_if(right, MISS)
        })
    })
}

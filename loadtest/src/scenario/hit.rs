//! The time that a hit takes, in turns with a floor: an app that answers a constant and does
//! nothing else. Proves that nothing was computed meanwhile, by the apps' own counters.
//!
//! Measured with keys chosen *uniform*ly, and by *zipf*: the second most wanted key half as often
//! as the first, the third a third as often, and so on.
//!
//! Facts: `of_floor`, its throughput over the floor's. Those of every scenario:
//! `processors_of_load`, `processors_of_apps` and `machine_busy`, the processors in use; and
//! `app_cpu_us`, the processor time of the apps for a request: that is the same however fast
//! requests come.

use std::sync::Arc;

use anyhow::Result;
use reqwest::header::COOKIE;
use serde_json::json;
use users::User;

use crate::app::App;
use crate::client::send;
use crate::fleet::Fleet;
use crate::load::{Metered, clients};
use crate::schema::{Promise, Run};
use crate::serve::FLOOR;
use crate::stage::{Of, Scenario, Stage};
use crate::turns::{Contender, in_turns};

pub(crate) const SCENARIO: Scenario = Scenario {
    name: "hit",
    about: "cached reads, in turns with a constant answer; nothing may be computed",
    whats: &WHATS,
    of: Of::AllApps,
    parts: (2, 1),
    run: |stage| Box::pin(run(stage)),
};

const WHATS: [&str; 2] = ["uniform", "zipf"];
/// The number of users that are read.
pub(super) const KEYS: u32 = 500;
pub(super) const HIT: &str = "hit";

async fn run(stage: &Stage<'_>) -> Result<Vec<Run>> {
    let start = |app| Fleet::start(stage, app, 1, <_>::default(), <_>::default());
    let floor = start(App::Floor).await?;
    let targets = Targets::new(&floor, (1..=KEYS.into()).map(|id| (id, FLOOR.into())));
    let read = targets.read(uniform, false);
    let mut contenders = vec![Contender::new(stage, App::Floor, &floor, HIT, read)];
    let mut fleets = Vec::new();
    for app in &stage.apps {
        let fleet = start(*app).await?;
        let users = fleet.seed(KEYS).await?;
        let targets = Targets::of(&fleet, &users).await?;
        for (what, weight) in WHATS.into_iter().zip([uniform, zipf]) {
            let read = targets.read(weight, false);
            let mut contender = Contender::new(stage, *app, &fleet, HIT, read);
            contender.what = what;
            contenders.push(contender);
        }
        let before = fleet.computed().await?;
        fleets.push((*app, fleet, before));
    }
    in_turns(stage.bench, stage.bench.settings.duration, &mut contenders).await?;

    let run = |contender: &Contender| {
        let mut run = contender.run();
        run.promises
            .push(contender.nothing_failed("every answer was the right one"));
        run
    };
    let mut runs: Vec<Run> = contenders.iter().map(run).collect();
    let floor_per_second = runs[0].per_second;
    runs[0].what = format!("beside {}", stage.place.cache);
    "-".clone_into(&mut runs[0].cache);
    "the floor: a constant answer".clone_into(&mut runs[0].summary);
    for run in &mut runs[1..] {
        let of_floor = run.per_second / floor_per_second;
        run.facts["of_floor"] = json!(of_floor);
        run.summary = format!("{:.0} % of the floor", 100.0 * of_floor);
    }
    for (app, fleet, before) in fleets {
        let computed = fleet.computed().await? - before;
        let computed = computed.reads + computed.writes;
        for run in runs.iter_mut().filter(|run| run.app == app.name()) {
            run.promises
                .insert(0, Promise::none("nothing was computed", computed));
        }
        fleet.stop().await?;
    }
    floor.stop().await?;
    Ok(runs)
}

/// URLs to read, and the answers to expect.
pub(super) struct Targets(Vec<(String, Vec<u8>)>);

impl Targets {
    /// Reads all of them once: the answers must stay the same ever after.
    pub(super) async fn of(fleet: &Fleet, users: &[User]) -> Result<Arc<Self>> {
        let bodies = fleet.warm_up(users).await?;
        let ids = users.iter().map(|user| user.id);
        Ok(Self::new(fleet, ids.zip(bodies)))
    }

    fn new(fleet: &Fleet, bodies: impl Iterator<Item = (i64, Vec<u8>)>) -> Arc<Self> {
        let urls = fleet.urls();
        let all = bodies.zip(urls.iter().cycle());
        let all = all.map(|((id, body), url)| (format!("{url}/users/{id}"), body));
        Arc::new(Self(all.collect()))
    }

    /// Reads one, chosen by the `weight` of its rank; `past` the cache, as somebody's personal
    /// request: those are not cached.
    pub(super) fn read(self: &Arc<Self>, weight: fn(f64) -> f64, past: bool) -> Metered {
        let weights = (1..=KEYS).scan(0.0, |sum, rank| {
            *sum += weight(f64::from(rank));
            Some(*sum)
        });
        let shared = (Arc::clone(self), weights.collect::<Arc<[f64]>>(), past);
        clients(shared, |(targets, weights, past), user| {
            Box::pin(async move {
                let sum = weights.last().copied().unwrap_or_default();
                let point = fastrand::f64() * sum;
                let at = weights.partition_point(|until| *until <= point);
                let (url, body) = &targets.0[at.min(targets.0.len() - 1)];
                let mut request = user.client.get(url);
                if *past {
                    request = request.header(COOKIE, "personal=1");
                }
                let answer = send(request).await;
                let right = answer.is_ok() && answer.body == *body;
                answer.counted_if(right, HIT)
            })
        })
    }
}

/// Weighs all keys alike.
pub(super) fn uniform(_rank: f64) -> f64 {
    1.0
}

fn zipf(rank: f64) -> f64 {
    rank.recip()
}

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
use futures_util::FutureExt;
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
    whats: &["uniform", "zipf"],
    of: Of::AllApps,
    parts: (2, 1),
    run: |stage| run(stage).boxed_local(),
};

/// The number of users that are read.
pub(super) const KEYS: u32 = 500;
/// The name under which reads are counted.
pub(super) const HIT: &str = "hit";

async fn run(stage: &Stage<'_>) -> Result<Vec<Run>> {
    let floor = stage.floor().await?;
    let targets = Targets::new(&floor, (1..=KEYS.into()).map(|id| (id, FLOOR.into())));
    let read = targets.read(Choice::Uniform, false);
    let contender = Contender::new(stage, SCENARIO.name, App::Floor, &floor, HIT, read);
    let mut contenders = vec![contender];
    let mut fleets = Vec::new();
    for app in &stage.apps {
        let fleet = stage.fleet(*app, 1, <_>::default(), <_>::default()).await?;
        let users = fleet.seed(KEYS).await?;
        let targets = Targets::of(&fleet, &users).await?;
        for choice in [Choice::Uniform, Choice::Zipf] {
            let read = targets.read(choice, false);
            let contender = Contender::new(stage, SCENARIO.name, *app, &fleet, HIT, read);
            contenders.push(contender.named(choice.name()));
        }
        let before = fleet.computed().await?;
        fleets.push((*app, fleet, before));
    }
    in_turns(stage.bench, stage.bench.settings.duration, &mut contenders).await?;

    let mut runs: Vec<Run> = contenders.iter().map(told).collect();
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
            let promise = Promise::equal("nothing was computed", 0, computed);
            run.promises.insert(0, promise);
        }
        fleet.stop().await?;
    }
    floor.stop().await?;
    Ok(runs)
}

fn told(contender: &Contender) -> Run {
    let mut run = contender.run();
    run.promises = vec![contender.nothing_failed("every answer was the right one")];
    run
}

/// The choice of keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Choice {
    Uniform,
    Zipf,
}

impl Choice {
    fn name(self) -> &'static str {
        match self {
            Self::Uniform => "uniform",
            Self::Zipf => "zipf",
        }
    }
}

/// URLs to read, and the answers to expect.
pub(super) struct Targets {
    all: Vec<(String, Vec<u8>)>,
    /// The weights by Zipf, each added to all before it.
    zipf: Vec<f64>,
}

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
        let all: Vec<_> = all
            .map(|((id, body), url)| (format!("{url}/users/{id}"), body))
            .collect();
        let mut sum = 0.0;
        let zipf = (1..=u32::try_from(all.len()).unwrap_or(u32::MAX)).map(|rank| {
            sum += 1.0 / f64::from(rank);
            sum
        });
        let zipf = zipf.collect();
        Arc::new(Self { all, zipf })
    }

    fn choose(&self, choice: Choice) -> &(String, Vec<u8>) {
        let at = match choice {
            Choice::Uniform => fastrand::usize(..self.all.len()),
            Choice::Zipf => {
                let sum = self.zipf.last().copied().unwrap_or_default();
                let point = fastrand::f64() * sum;
                self.zipf.partition_point(|until| *until <= point)
            }
        };
        &self.all[at.min(self.all.len() - 1)]
    }

    /// Reads one; `past` the cache, as somebody's personal request: those are not cached.
    pub(super) fn read(self: &Arc<Self>, choice: Choice, past: bool) -> Metered {
        let shared = (Arc::clone(self), choice, past);
        clients(shared, |(targets, choice, past), user| {
            async move {
                let (url, body) = targets.choose(*choice);
                let mut request = user.client.get(url);
                if *past {
                    request = request.header(COOKIE, "personal=1");
                }
                let answer = send(request).await;
                let right = answer.is_ok() && answer.body == *body;
                answer.counted_if(right, HIT)
            }
            .boxed()
        })
    }
}

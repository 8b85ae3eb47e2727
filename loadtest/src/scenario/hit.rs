//! How long a hit takes, in turns with a floor: an app that answers a constant and does nothing else. Proves that nothing was computed
//! meanwhile.
//!
//! Facts: `rounds`, `p50_fastest_round` and `p50_slowest_round` in microseconds; of the app `of_floor`, its throughput over the floor's.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;
use futures_util::FutureExt;
use reqwest::StatusCode;
use serde_json::json;

use super::{Scenario, Stage};
use crate::flags::App;
use crate::fleet::Fleet;
use crate::load::{Load, Meter, Step, per_second, send, step};
use crate::schema::{Latency, Promise, Run};
use crate::serve::FLOOR;

pub(crate) const SCENARIO: Scenario = Scenario {
    name: "hit",
    about: "cached reads, in turns with a constant answer; nothing may be computed",
    run: |stage| run(stage).boxed_local(),
};

const ROUNDS: u32 = 5;
/// Unmeasured, at the beginning of a round.
const WARM_UP: Duration = Duration::from_millis(300);

async fn run(stage: &Stage<'_>) -> Result<Vec<Run>> {
    let floor = stage.floor().await?;
    let fleet = stage.fleet(1, Duration::ZERO, Duration::ZERO).await?;
    let users = fleet.seed(100).await?;
    let bodies = fleet.warm_up(&users).await?;
    let before = fleet.computed().await?;

    let ids: Vec<i64> = users.iter().map(|user| user.id).collect();
    let mut contenders = [
        Contender::new(App::Floor, &floor, &ids, vec![FLOOR.into(); ids.len()]),
        Contender::new(stage.app, &fleet, &ids, bodies),
    ];
    let time = stage.flags.duration / (2 * ROUNDS);
    for round in 0..ROUNDS {
        for contender in &mut contenders {
            stage.progress.show(&format!(
                "round {} of {ROUNDS}: {}",
                round + 1,
                contender.app.name()
            ));
            contender.round(stage, time).await?;
        }
    }

    let computed = fleet.computed().await? - before;
    fleet.stop().await?;
    floor.stop().await?;

    let [floor, app] = contenders;
    let mut floor_run = floor.result(stage);
    let mut app_run = app.result(stage);
    let of_floor = app_run.per_second / floor_run.per_second;
    app_run.facts["of_floor"] = json!(of_floor);
    app_run.summary = format!("{of_floor:.2} of the floor; {}", app_run.summary);
    app_run.promises.insert(
        0,
        Promise::equal("nothing was computed", 0, computed.reads + computed.writes),
    );
    floor_run.cache = "-".into();
    Ok(vec![floor_run, app_run])
}

struct Contender {
    app: App,
    targets: Arc<[Target]>,
    instances: u16,
    meters: Vec<Arc<Meter>>,
    rounds: Vec<Latency>,
}

struct Target {
    url: String,
    body: Vec<u8>,
}

impl Contender {
    fn new(app: App, fleet: &Fleet, ids: &[i64], bodies: Vec<Vec<u8>>) -> Self {
        let urls = fleet.urls();
        let targets = ids.iter().zip(bodies).zip(urls.iter().cycle());
        Self {
            app,
            targets: targets
                .map(|((id, body), url)| Target {
                    url: format!("{url}/users/{id}"),
                    body,
                })
                .collect(),
            instances: urls.len().try_into().unwrap_or(u16::MAX),
            meters: Vec::new(),
            rounds: Vec::new(),
        }
    }

    async fn round(&mut self, stage: &Stage<'_>, time: Duration) -> Result<()> {
        let meter = Arc::<Meter>::default();
        let load = Load {
            name: self.app.name(),
            users: stage.flags.users.into(),
            time,
            warm_up: Some(warm_up(&self.targets)),
            step: read(&self.targets, &meter),
        };
        let metrics = load.run(&stage.html(&self.html(stage))).await?;
        self.rounds.push(Latency::of(&metrics, "GET", "hit"));
        self.meters.push(meter);
        Ok(())
    }

    fn html(&self, stage: &Stage<'_>) -> String {
        match self.app {
            App::Floor => stage.html_name("hit-floor"),
            _ => stage.html_name("hit"),
        }
    }

    fn result(&self, stage: &Stage<'_>) -> Run {
        let p50 = || self.rounds.iter().map(|round| round.p50);
        let (fastest, slowest) = (p50().min().unwrap_or(0), p50().max().unwrap_or(0));
        let time: Duration = self.meters.iter().map(|meter| meter.elapsed()).sum();
        let hits = self.meters.iter().map(|meter| meter.counted("hit")).sum();
        let failed = self.meters.iter().map(|meter| meter.failed()).sum();
        Run {
            scenario: SCENARIO.name.into(),
            what: String::new(),
            app: self.app.name().into(),
            cache: stage.place.cache.to_string(),
            instances: self.instances,
            users: stage.flags.users.into(),
            seconds: time.as_secs_f64(),
            per_second: per_second(hits, time),
            latency_us: Latency::median(&self.rounds),
            facts: json!({
                "rounds": ROUNDS,
                "p50_fastest_round": fastest,
                "p50_slowest_round": slowest,
            }),
            summary: format!("p50 of {ROUNDS} rounds: {fastest} to {slowest} µs"),
            promises: vec![Promise::equal("every answer was the right one", 0, failed)],
            goose: Some(self.html(stage)),
            ..Run::default()
        }
    }
}

fn warm_up(targets: &Arc<[Target]>) -> Step {
    let (targets, begin) = (Arc::clone(targets), Instant::now());
    step(move |user| {
        let targets = Arc::clone(&targets);
        async move {
            while begin.elapsed() < WARM_UP {
                send(user.client.get(&random(&targets).url)).await;
            }
            Ok(())
        }
        .boxed()
    })
}

fn read(targets: &Arc<[Target]>, meter: &Arc<Meter>) -> Step {
    let (targets, meter) = (Arc::clone(targets), Arc::clone(meter));
    step(move |user| {
        let (targets, meter) = (Arc::clone(&targets), Arc::clone(&meter));
        async move {
            let target = random(&targets);
            match send(user.client.get(&target.url)).await {
                Some(answer) if answer.status == StatusCode::OK && answer.body == target.body => {
                    meter.record(user, "GET", "hit", answer.took).await
                }
                answer => meter.record_failure(user, "GET", answer.as_ref()).await,
            }
        }
        .boxed()
    })
}

fn random(targets: &[Target]) -> &Target {
    &targets[fastrand::usize(..targets.len())]
}

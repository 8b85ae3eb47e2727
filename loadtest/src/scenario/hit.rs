//! How long a hit takes, in turns with a floor: an app that answers a constant and does nothing else. Proves that nothing was computed
//! meanwhile.
//!
//! Facts: `rounds`, `p50_fastest_round` and `p50_slowest_round` in microseconds; of the app `of_floor`, its throughput over the floor's.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::Result;
use futures_util::FutureExt;
use reqwest::{Client, StatusCode};
use serde_json::json;

use super::{Scenario, Stage};
use crate::flags::App;
use crate::fleet::Fleet;
use crate::load::{Latency, Length, Load, Meter, Step, per_second, step};
use crate::report::{Promise, Run};
use crate::serve::FLOOR;

pub(crate) const SCENARIO: Scenario = Scenario {
    name: "hit",
    about: "cached reads, in turns with a constant answer; nothing may be computed",
    run: |stage| run(stage).boxed(),
};

const ROUNDS: u32 = 5;
/// Unmeasured, at the beginning of a round.
const WARM_UP: Duration = Duration::from_millis(300);

async fn run(stage: &Stage<'_>) -> Result<Vec<Run>> {
    let floor = stage.floor().await?;
    let fleet = stage.fleet(1, Duration::ZERO, Duration::ZERO).await?;
    let users = fleet.seed(100).await?;
    fleet.warm_up(&users).await?;
    let before = fleet.computed().await?;

    let ids: Vec<i64> = users.iter().map(|user| user.id).collect();
    let bodies = users.iter().map(serde_json::to_vec);
    let mut contenders = [
        Contender::new(App::Floor, &floor, &ids, vec![FLOOR.into(); ids.len()]),
        Contender::new(stage.app, &fleet, &ids, bodies.collect::<Result<_, _>>()?),
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
    wrong: Arc<AtomicU64>,
    rounds: Vec<Latency>,
    measured: Duration,
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
            wrong: Arc::default(),
            rounds: Vec::new(),
            measured: Duration::ZERO,
        }
    }

    async fn round(&mut self, stage: &Stage<'_>, time: Duration) -> Result<()> {
        let meter = Arc::<Meter>::default();
        let load = Load {
            name: self.app.name(),
            users: stage.flags.users.into(),
            length: Length::Time(time),
            warm_up: Some(self.warm_up()),
            step: self.read(&meter),
        };
        let metrics = load.run(&stage.html(&self.html(stage))).await?;
        self.rounds.push(Latency::of(&metrics, "GET", "hit"));
        self.measured += meter.elapsed();
        Ok(())
    }

    fn warm_up(&self) -> Step {
        let (targets, wrong) = (Arc::clone(&self.targets), Arc::clone(&self.wrong));
        let (meter, begin) = (Arc::<Meter>::default(), Instant::now());
        step(move |user| {
            let (targets, wrong, meter) =
                (Arc::clone(&targets), Arc::clone(&wrong), Arc::clone(&meter));
            async move {
                while begin.elapsed() < WARM_UP {
                    random(&targets).read(&user.client, &meter, &wrong).await?;
                }
                Ok(())
            }
            .boxed()
        })
    }

    fn read(&self, meter: &Arc<Meter>) -> Step {
        let (targets, wrong) = (Arc::clone(&self.targets), Arc::clone(&self.wrong));
        let meter = Arc::clone(meter);
        step(move |user| {
            let (targets, wrong, meter) =
                (Arc::clone(&targets), Arc::clone(&wrong), Arc::clone(&meter));
            async move {
                let (took, right) = random(&targets).read(&user.client, &meter, &wrong).await?;
                let error = Some("not the user");
                user.record_custom_request_duration("GET", "hit", took, right, None, error)
                    .await
            }
            .boxed()
        })
    }

    fn html(&self, stage: &Stage<'_>) -> String {
        match self.app {
            App::Floor => stage.html_name("hit-floor"),
            _ => stage.html_name("hit"),
        }
    }

    fn result(&self, stage: &Stage<'_>) -> Run {
        let latency = Latency::median(&self.rounds);
        let p50 = || self.rounds.iter().map(|round| round.p50);
        let (fastest, slowest) = (p50().min().unwrap_or(0), p50().max().unwrap_or(0));
        Run {
            scenario: SCENARIO.name,
            what: String::new(),
            app: self.app.name(),
            cache: stage.cache.to_string(),
            instances: self.instances,
            users: stage.flags.users.into(),
            seconds: self.measured.as_secs_f64(),
            per_second: per_second(latency.count, self.measured),
            latency_us: latency,
            facts: json!({
                "rounds": ROUNDS,
                "p50_fastest_round": fastest,
                "p50_slowest_round": slowest,
            }),
            summary: format!("p50 of {ROUNDS} rounds: {fastest} to {slowest} µs"),
            promises: vec![Promise::equal(
                "every answer was the right one",
                0,
                self.wrong.load(Ordering::Relaxed),
            )],
            goose: self.html(stage),
        }
    }
}

impl Target {
    async fn read(
        &self,
        client: &Client,
        meter: &Meter,
        wrong: &AtomicU64,
    ) -> reqwest::Result<(Duration, bool)> {
        let answer = meter.send(client.get(&self.url)).await.inspect_err(|_| {
            wrong.fetch_add(1, Ordering::Relaxed);
        })?;
        let right = answer.status == StatusCode::OK && answer.body == self.body;
        if !right {
            wrong.fetch_add(1, Ordering::Relaxed);
        }
        Ok((answer.took, right))
    }
}

fn random(targets: &[Target]) -> &Target {
    &targets[fastrand::usize(..targets.len())]
}

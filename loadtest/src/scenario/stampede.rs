//! Many clients ask all processes at once for a user whom nobody has read yet. Proves that each of these users was read from the database
//! exactly once.
//!
//! Its latency is that of whole stampedes, from the first request to the last answer. Facts: `stampedes`, `callers` of each, `computation_us`, how long reading a user
//! takes at least, and `overhead_p50_us`, how much longer a stampede took.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;
use futures_util::FutureExt;
use futures_util::future::join_all;
use reqwest::StatusCode;
use serde_json::json;
use users::User;

use super::{Scenario, Stage};
use crate::fleet::change;
use crate::load::{Load, Meter, Step, send, step};
use crate::schema::{Latency, Promise, Run};

pub(crate) const SCENARIO: Scenario = Scenario {
    name: "stampede",
    about: "many first readers of one user at once; exactly one computation",
    run: |stage| run(stage).boxed_local(),
};

/// How long a user takes to be read: longer than it takes to send all the requests.
const COMPUTATION: Duration = Duration::from_millis(200);
/// Requests in flight, of all stampedes together. Each takes a file descriptor, and 1024 of them is a common limit.
const CALLERS: usize = 480;
/// Processes, where they can share a lease.
const INSTANCES: u16 = 4;

async fn run(stage: &Stage<'_>) -> Result<Vec<Run>> {
    let fleet = stage.fleet(INSTANCES, COMPUTATION, Duration::ZERO).await?;
    let before = fleet.computed().await?;
    let meter = Arc::<Meter>::default();
    let users = usize::from(stage.flags.users);
    let callers = (CALLERS / users).max(2);
    let html = stage.html_name(SCENARIO.name);
    let load = Load {
        name: SCENARIO.name,
        users,
        time: stage.flags.duration / 2,
        warm_up: None,
        step: stampede(fleet.urls().into(), callers, &meter),
    };
    let metrics = load.run(&stage.html(&html)).await?;
    let computed = fleet.computed().await? - before;
    fleet.stop().await?;

    let latency = Latency::of(&metrics, "GET", STAMPEDE);
    let stampedes = meter.counted(STAMPEDE);
    let computation = u64::try_from(COMPUTATION.as_micros())?;
    let overhead = latency.p50.saturating_sub(computation);
    Ok(vec![Run {
        scenario: SCENARIO.name.into(),
        what: String::new(),
        app: stage.app.name().into(),
        cache: stage.place.cache.to_string(),
        instances: stage.instances(INSTANCES),
        users,
        seconds: meter.elapsed().as_secs_f64(),
        per_second: meter.per_second(STAMPEDE),
        latency_us: latency.clone(),
        facts: json!({
            "stampedes": stampedes,
            "callers": callers,
            "computation_us": computation,
            "overhead_p50_us": overhead,
        }),
        summary: format!(
            "{stampedes} stampedes of {callers} callers: {} ms for a computation of {} ms",
            latency.p50 / 1000,
            COMPUTATION.as_millis(),
        ),
        promises: vec![
            Promise::equal("exactly one computation each", stampedes, computed.reads),
            Promise::equal("every answer was the user", 0, meter.failed()),
        ],
        goose: Some(html),
        ..Run::default()
    }])
}

const STAMPEDE: &str = "stampede";

fn stampede(urls: Arc<[String]>, callers: usize, meter: &Arc<Meter>) -> Step {
    let meter = Arc::clone(meter);
    step(move |user| {
        let (urls, meter) = (Arc::clone(&urls), Arc::clone(&meter));
        async move {
            let create = user
                .client
                .post(format!("{}/users/", urls[0]))
                .json(&change("Ann"));
            let Some(created) = send(create)
                .await
                .filter(|it| it.status == StatusCode::CREATED)
            else {
                return meter.record_failure(user, "POST", None).await;
            };
            let Ok(User { id, .. }) = serde_json::from_slice(&created.body) else {
                return meter.record_failure(user, "POST", Some(&created)).await;
            };

            let begin = Instant::now();
            let reads = urls.iter().cycle().take(callers);
            let reads = reads.map(|url| send(user.client.get(format!("{url}/users/{id}"))));
            let answers = join_all(reads).await;
            let took = begin.elapsed();
            let right = |answer: &Option<_>| {
                answer.as_ref().is_some_and(|answer: &crate::load::Answer| {
                    answer.status == StatusCode::OK && answer.body == created.body
                })
            };
            for wrong in answers.iter().filter(|answer| !right(answer)) {
                meter.record_failure(user, "GET", wrong.as_ref()).await?;
            }
            meter.record(user, "GET", STAMPEDE, took).await
        }
        .boxed()
    })
}

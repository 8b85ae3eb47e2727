//! Many clients ask all processes at once for a user whom nobody has read yet. Proves that each of
//! these users was read from the database exactly once; on a machine so busy that Redis does not
//! answer within the backend timeout, also by those to whom it did not (`alone`).
//!
//! Its latency is that of whole stampedes, from the first request to the last answer. Facts:
//! `stampedes`, `callers` of each, `computation_us`, the least time that reading a user takes, and
//! `overhead_p50_us`, how much longer a stampede took.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;
use futures_util::FutureExt;
use futures_util::future::join_all;
use reqwest::{Method, StatusCode};
use serde_json::json;
use users::User;

use crate::client::{Outcome, send};
use crate::fleet::{Computed, change};
use crate::load::{Metered, clients};
use crate::meter::micros;
use crate::schema::{FanIn, Promise, Run};
use crate::stage::{Of, Scenario, Stage};
use crate::turns::{Contender, measure};

pub(crate) const SCENARIO: Scenario = Scenario {
    name: "stampede",
    about: "many first readers of one user at once; exactly one computation",
    whats: &[],
    of: Of::EachApp,
    parts: (1, 0),
    run: |stage| run(stage).boxed_local(),
};

/// The time that a user takes to be read: longer than it takes to send all the requests.
const COMPUTATION: Duration = Duration::from_millis(200);
/// Requests in flight, of all stampedes together. Each takes a file descriptor, and 1024 of them is
/// a common limit.
const CALLERS: usize = 240;
/// Processes, where they can share a lease.
const INSTANCES: u16 = 4;
const STAMPEDE: &str = "stampede";

async fn run(stage: &Stage<'_>) -> Result<Vec<Run>> {
    let app = stage.app();
    let fleet = stage
        .fleet(app, INSTANCES, COMPUTATION, <_>::default())
        .await?;
    let callers = (CALLERS / stage.users()).max(2);
    let step = stampede(fleet.urls(), callers);
    let contender = Contender::new(stage, SCENARIO.name, app, &fleet, STAMPEDE, step);
    let mut contender = contender.cold();
    let before = fleet.computed().await?;
    measure(stage.bench, &mut contender).await?;
    let computed = fleet.computed().await? - before;
    fleet.stop().await?;

    let mut run = contender.run();
    let stampedes = contender.all(STAMPEDE);
    run.facts["stampedes"] = json!(stampedes);
    run.facts["callers"] = json!(callers);
    run.facts["computation_us"] = json!(micros(COMPUTATION));
    let overhead = run.latency_us.p50.saturating_sub(micros(COMPUTATION));
    run.facts["alone"] = json!(computed.alone);
    run.facts["overhead_p50_us"] = json!(overhead);
    run.summary = format!(
        "{} readers, {} computations: {} ms for one of {} ms",
        stampedes * callers as u64,
        computed.reads,
        run.latency_us.p50 / 1000,
        COMPUTATION.as_millis(),
    );
    run.fan_in = Some(FanIn {
        callers: stampedes * callers as u64,
        processes: run.instances.into(),
        computations: computed.reads,
        keys: stampedes,
    });
    run.promises = vec![
        one_each(stampedes, computed),
        contender.nothing_failed("every answer was the user"),
    ];
    Ok(vec![run])
}

/// A reader to whom Redis does not answer within the backend timeout computes for itself: that is
/// promised, too.
fn one_each(stampedes: u64, computed: Computed) -> Promise {
    let text = "exactly one computation each";
    let late = stampedes + computed.alone;
    if computed.alone > 0 && (stampedes..=late).contains(&computed.reads) {
        let seen = format!(
            "{} for {stampedes}, {} because Redis did not answer in time",
            computed.reads, computed.alone
        );
        return Promise::new(text, true, seen);
    }
    Promise::equal(text, stampedes, computed.reads)
}

fn stampede(urls: Vec<String>, callers: usize) -> Metered {
    clients((Arc::new(urls), callers), |(urls, callers), user| {
        async move {
            let create = user.client.post(format!("{}/users/", urls[0]));
            let created = send(create.json(&change("Ann"))).await;
            let parsed = serde_json::from_slice(&created.body);
            let (Some(StatusCode::CREATED), Ok(User { id, .. })) = (created.status, parsed) else {
                return Outcome::Failed(created);
            };
            let begin = Instant::now();
            let reads = urls.iter().cycle().take(*callers);
            let reads = reads.map(|url| send(user.client.get(format!("{url}/users/{id}"))));
            let mut answers = join_all(reads).await;
            let all = Outcome::Counted(Method::GET, STAMPEDE, begin.elapsed());
            answers.retain(|answer| !(answer.is_ok() && answer.body == created.body));
            let wrong = answers.into_iter().map(Outcome::Failed);
            Outcome::Several(wrong.chain([all]).collect())
        }
        .boxed()
    })
}

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
use futures_util::future::join_all;
use reqwest::{Method, StatusCode};
use serde_json::json;
use users::User;

use crate::client::{Outcome, send};
use crate::fleet::{Computed, Fleet, change};
use crate::load::{Metered, clients};
use crate::meter::micros;
use crate::schema::{FanIn, Promise, Run};
use crate::stage::{Of, Scenario, Stage};
use crate::turns::Contender;

pub(crate) const SCENARIO: Scenario = Scenario {
    name: "stampede",
    about: "many first readers of one user at once; exactly one computation",
    whats: &[],
    of: Of::EachApp,
    parts: (1, 0),
    run: |stage| Box::pin(run(stage)),
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
    let fleet = Fleet::start(stage, app, INSTANCES, COMPUTATION, Duration::ZERO).await?;
    let callers = (CALLERS / stage.users()).max(2);
    let step = stampede(fleet.urls(), callers);
    let mut contender = Contender::new(stage, app, &fleet, STAMPEDE, step);
    contender.cold = true;
    let computed = contender.measure(stage.bench, &fleet).await?;
    fleet.stop().await?;

    let mut run = contender.run();
    let stampedes = contender.all(STAMPEDE);
    let (all, computations) = (stampedes * callers as u64, computed.reads);
    let (took, computation) = (run.latency_us.p50, micros(COMPUTATION));
    run.add_facts(json!({
        "stampedes": stampedes, "callers": callers, "computation_us": computation,
        "alone": computed.alone, "overhead_p50_us": took.saturating_sub(computation),
    }));
    run.summary = format!(
        "{all} readers, {computations} computations: {} ms for one of {} ms",
        took / 1000,
        computation / 1000,
    );
    run.fan_in = Some(FanIn {
        callers: all,
        processes: run.instances.into(),
        computations,
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
        Box::pin(async move {
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
        })
    })
}

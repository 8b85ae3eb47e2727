//! Somebody's own service, which runs already: `hit` and `contention` from outside. Nobody counts for us what it computes, so promises are of answers alone.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use futures_util::FutureExt;
use reqwest::header::CONTENT_TYPE;
use reqwest::{Client, Method, StatusCode, Url};
use serde_json::json;

use crate::flags::{App, TargetFlags};
use crate::load::{Step, send, step};
use crate::meter::{Meter, ratio};
use crate::schema::{Promise, Run};
use crate::turns::{Bench, Contender, measure};

/// How long the target may take to answer the first request.
const REACH: Duration = Duration::from_secs(10);
const READ: &str = "read";
const HIT: &str = "hit";
const DONE: &str = "done";
const REFUSED: &str = "refused";

/// What the command line says of it, checked.
pub(crate) struct Target {
    reads: Arc<[Url]>,
    lock: Option<Lock>,
}

#[derive(Clone)]
struct Lock {
    url: Url,
    method: Method,
    body: Option<String>,
}

impl Target {
    /// # Errors
    ///
    /// If it is on another machine and nobody allowed that, or there is nothing to ask it.
    pub(crate) fn new(flags: &TargetFlags) -> Result<Option<Self>> {
        let Some(target) = &flags.target else {
            return Ok(None);
        };
        let base = Url::parse(target).context("--target is not a URL")?;
        ensure!(
            matches!(base.scheme(), "http" | "https"),
            "--target is not a URL of http or https"
        );
        if !flags.allow_remote && !is_here(&base) {
            bail!(
                "{} is not on this machine: load that nobody expects looks like an attack. If it is yours, say --allow-remote",
                base.host_str().unwrap_or("the target")
            );
        }
        let at = |path: &String| {
            let url = base
                .join(path)
                .with_context(|| format!("{path} is not a path"))?;
            // `//elsewhere/` is a path that leads elsewhere.
            ensure!(
                url.origin() == base.origin(),
                "{path} leads to another host than --target"
            );
            Ok(url)
        };
        let reads = flags.hit_path.iter().map(at).collect::<Result<Vec<_>>>()?;
        let lock = flags.lock_path.as_ref().map(|path| {
            Ok::<_, anyhow::Error>(Lock {
                url: at(path)?,
                method: flags.lock_method.clone(),
                body: flags.lock_body.clone(),
            })
        });
        let lock = lock.transpose()?;
        if reads.is_empty() && lock.is_none() {
            bail!("say what to ask the target: --hit-path, --lock-path or both");
        }
        let reads = reads.into();
        Ok(Some(Self { reads, lock }))
    }

    /// How many measurements there will be.
    pub(crate) fn parts(&self) -> u32 {
        u32::from(!self.reads.is_empty()) + u32::from(self.lock.is_some())
    }

    /// Asks the target once, before any load.
    ///
    /// # Errors
    ///
    /// If nothing answers there.
    async fn reach(&self) -> Result<()> {
        let reads = self.reads.iter();
        let Some(url) = reads.chain(self.lock.as_ref().map(|lock| &lock.url)).next() else {
            return Ok(());
        };
        let client = Client::builder().timeout(REACH).build()?;
        // Any answer will do. HEAD changes nothing, whatever is there.
        let answer = client.head(url.clone()).send().await;
        answer.with_context(|| {
            let base = url.origin().ascii_serialization();
            format!("nothing answers at {base}; start the service, or correct --target")
        })?;
        Ok(())
    }

    pub(crate) async fn run(&self, bench: &Bench<'_>) -> Result<Vec<Run>> {
        self.reach().await?;
        let mut runs = Vec::new();
        let users = usize::from(bench.flags.users);
        if !self.reads.is_empty() {
            bench.progress.begin("hit on the target");
            let reads = Arc::clone(&self.reads);
            let step = move |meter: &Arc<Meter>| read(&reads, meter);
            let users = bench.goose.users(users);
            let mut contender = Contender::of_nobody("hit", App::Target, users, READ, step);
            measure(bench, &mut contender).await?;
            runs.push(of_reads(&contender));
        }
        if let Some(lock) = self.lock.clone() {
            bench.progress.begin("contention on the target");
            let step = move |meter: &Arc<Meter>| take(&lock, meter);
            let users = bench.goose.users(4 * users);
            let mut contender = Contender::of_nobody("contention", App::Target, users, DONE, step);
            measure(bench, &mut contender).await?;
            runs.push(of_lock(&contender));
        }
        Ok(runs)
    }
}

fn of_reads(contender: &Contender) -> Run {
    let rounds = &contender.rounds;
    let share = ratio(rounds.counted(HIT), rounds.counted(READ));
    let mut run = contender.run();
    run.facts["hit_share"] = json!(share);
    run.summary = format!(
        "{:.1} % say that they are hits (Cache-Status)",
        100.0 * share
    );
    run.promises = vec![
        Promise::new(
            "reads were answered",
            run.per_second > 0.0,
            rounds.counted(READ).to_string(),
        ),
        contender.nothing_failed("every answer was a success (2xx)"),
    ];
    run
}

fn of_lock(contender: &Contender) -> Run {
    let rounds = &contender.rounds;
    let (done, refused) = (rounds.counted(DONE), rounds.counted(REFUSED));
    let share = ratio(refused, done + refused);
    let mut run = contender.run();
    run.facts["done"] = json!(done);
    run.facts["refused"] = json!(refused);
    run.facts["refused_share"] = json!(share);
    run.facts["refused_p50_us"] = json!(rounds.latency(REFUSED).p50);
    run.summary = format!("{:.1} % were refused", 100.0 * share);
    run.promises = vec![
        Promise::new("somebody got through", done > 0, done.to_string()),
        contender.nothing_failed(
            "every answer was a success, or said that another one runs (226, 409, 423, 429)",
        ),
    ];
    run
}

fn read(urls: &Arc<[Url]>, meter: &Arc<Meter>) -> Step {
    let (urls, meter) = (Arc::clone(urls), Arc::clone(meter));
    step(move |user| {
        let (urls, meter) = (Arc::clone(&urls), Arc::clone(&meter));
        async move {
            let url = urls[fastrand::usize(..urls.len())].clone();
            match send(user.client.get(url)).await {
                Some(answer) if answer.status.is_success() => {
                    if answer.hit {
                        meter.count(HIT, answer.took);
                    }
                    meter.record(user, "GET", READ, answer.took).await
                }
                answer => meter.record_failure(user, "GET", answer.as_ref()).await,
            }
        }
        .boxed()
    })
}

fn take(lock: &Lock, meter: &Arc<Meter>) -> Step {
    let (lock, meter) = (lock.clone(), Arc::clone(meter));
    step(move |user| {
        let (lock, meter) = (lock.clone(), Arc::clone(&meter));
        async move {
            let mut request = user.client.request(lock.method.clone(), lock.url);
            if let Some(body) = lock.body {
                request = request.header(CONTENT_TYPE, "application/json").body(body);
            }
            let answer = send(request).await;
            let name = match answer.as_ref().map(|answer| answer.status) {
                Some(
                    StatusCode::IM_USED
                    | StatusCode::CONFLICT
                    | StatusCode::LOCKED
                    | StatusCode::TOO_MANY_REQUESTS,
                ) => REFUSED,
                Some(status) if status.is_success() => DONE,
                _ => {
                    return meter
                        .record_failure(user, lock.method.as_str(), answer.as_ref())
                        .await;
                }
            };
            let took = answer.map_or(Duration::ZERO, |answer| answer.took);
            meter.record(user, lock.method.as_str(), name, took).await
        }
        .boxed()
    })
}

/// By its address alone: what a name stands for is another's to say.
fn is_here(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || address.parse::<IpAddr>().is_ok_and(|it| it.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn here_is_this_machine_alone() {
        let here = |url: &str| Url::parse(url).is_ok_and(|url| is_here(&url));
        for url in [
            "http://127.0.0.1:3000",
            "http://localhost/",
            "http://[::1]:80/x",
            "http://127.8.9.1",
        ] {
            assert!(here(url), "{url}");
        }
        for url in [
            "http://example.com",
            "http://10.0.0.1",
            "http://127.0.0.1.example.com",
            "http://localhost.example.com",
            "http://127.0.0.1@example.com",
            "http://0.0.0.0",
        ] {
            assert!(!here(url), "{url}");
        }
    }
}

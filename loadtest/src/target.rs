//! A service that somebody runs already: `hit` and `contention` from outside. It does not count its
//! computations for us, so promises are of answers alone.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::Args;
use reqwest::header::CONTENT_TYPE;
use reqwest::{Client, Method, Url};
use serde_json::json;

use crate::bench::Bench;
use crate::client::{Outcome, send};
use crate::load::{Metered, clients};
use crate::meter::ratio;
use crate::schema::{Promise, Run};
use crate::turns::{Contender, measure};

/// The time that the target may take to answer the first request.
const REACH: Duration = Duration::from_secs(10);
const READ: &str = "read";
const DONE: &str = "done";
const REFUSED: &str = "refused";

#[derive(Args)]
#[command(next_help_heading = "Your own service")]
pub(crate) struct TargetFlags {
    /// Run `hit` and `contention` against a service that runs already, instead of the sample apps
    #[arg(
        long,
        value_name = "URL",
        conflicts_with_all = ["framework", "cache", "scenario", "instances", "with_python"]
    )]
    pub(crate) target: Option<String>,

    /// Path to read, such as `/users/1`; several times for several
    #[arg(long, value_name = "PATH", requires = "target")]
    pub(crate) hit_path: Vec<String>,

    /// Path of an operation that is done by one at a time
    #[arg(long, value_name = "PATH", requires = "target")]
    pub(crate) lock_path: Option<String>,

    /// Its method
    #[arg(long, value_name = "METHOD", default_value = "PUT")]
    pub(crate) lock_method: reqwest::Method,

    /// Its body, in JSON
    #[arg(long, value_name = "JSON", requires = "lock_path")]
    pub(crate) lock_body: Option<String>,

    /// Let the target be on another machine: make sure that it is yours
    #[arg(long, requires = "target")]
    pub(crate) allow_remote: bool,
}

/// The target of the command line, checked.
pub(crate) struct Target {
    reads: Vec<Url>,
    lock: Option<Url>,
    method: Method,
    body: Option<String>,
}

impl Target {
    /// # Errors
    ///
    /// If it is on another machine and nobody allowed that, or there is nothing to ask it.
    pub(crate) fn new(flags: &TargetFlags) -> Result<Option<Arc<Self>>> {
        let Some(target) = &flags.target else {
            return Ok(None);
        };
        let base = Url::parse(target).context("--target is not a URL")?;
        let is_http = matches!(base.scheme(), "http" | "https");
        ensure!(is_http, "--target is not a URL of http or https");
        ensure!(
            flags.allow_remote || is_here(&base),
            "{} is not on this machine: load that nobody expects looks like an attack. If it is \
             yours, say --allow-remote",
            base.host_str().unwrap_or("the target")
        );
        let at = |path: &String| {
            let url = base
                .join(path)
                .with_context(|| format!("{path} is not a path"))?;
            // `//elsewhere/` is a path that leads elsewhere.
            let same = url.origin() == base.origin();
            ensure!(same, "{path} leads to another host than --target");
            Ok(url)
        };
        let target = Self {
            reads: flags.hit_path.iter().map(at).collect::<Result<_>>()?,
            lock: flags.lock_path.as_ref().map(at).transpose()?,
            method: flags.lock_method.clone(),
            body: flags.lock_body.clone(),
        };
        let parts = target.parts();
        ensure!(
            parts > 0,
            "say what to ask the target: --hit-path, --lock-path or both"
        );
        Ok(Some(Arc::new(target)))
    }

    pub(crate) fn parts(&self) -> u32 {
        u32::from(!self.reads.is_empty()) + u32::from(self.lock.is_some())
    }

    /// Asks the target once, before any load.
    ///
    /// # Errors
    ///
    /// If nothing answers there.
    async fn reach(&self) -> Result<()> {
        let Some(url) = self.reads.iter().chain(&self.lock).next() else {
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

    pub(crate) async fn run(self: Arc<Self>, bench: &Bench<'_>) -> Result<Vec<Run>> {
        self.reach().await?;
        let mut runs = Vec::new();
        let users = usize::from(bench.settings.users);
        if !self.reads.is_empty() {
            bench.progress.begin("hit on the target");
            let hits = Arc::<AtomicU64>::default();
            let step = read(Arc::clone(&self), Arc::clone(&hits));
            let users = bench.goose.users(users);
            let mut contender = Contender::of_target("hit", users, READ, step);
            measure(bench, &mut contender).await?;
            runs.push(of_reads(&contender, hits.load(Ordering::Relaxed)));
        }
        if let Some(url) = &self.lock {
            bench.progress.begin("contention on the target");
            let (users, step) = (bench.goose.users(4 * users), take(&self, url.clone()));
            let mut contender = Contender::of_target("contention", users, DONE, step);
            measure(bench, &mut contender).await?;
            runs.push(of_lock(&contender));
        }
        Ok(runs)
    }
}

fn of_reads(contender: &Contender, hits: u64) -> Run {
    let reads = contender.measured(READ);
    let share = ratio(hits, contender.all(READ));
    let mut run = contender.run();
    run.facts["hit_share"] = json!(share);
    run.summary = format!(
        "{:.1} % say that they are hits (Cache-Status)",
        100.0 * share
    );
    run.promises = vec![
        Promise::new("reads were answered", reads > 0, reads.to_string()),
        contender.nothing_failed("every answer was a success (2xx)"),
    ];
    run
}

fn of_lock(contender: &Contender) -> Run {
    let [done, refused] = [DONE, REFUSED].map(|name| contender.measured(name));
    let share = ratio(refused, done + refused);
    let p50 = contender.latency(REFUSED).p50;
    let mut run = contender.run();
    run.add_facts(json!({
        "done": done, "refused": refused, "refused_share": share, "refused_p50_us": p50,
    }));
    run.summary = format!("{:.1} % were refused", 100.0 * share);
    run.promises = vec![
        Promise::new("somebody got through", done > 0, done.to_string()),
        contender.nothing_failed(
            "every answer was a success, or said that another one runs (226, 409, 423, 429)",
        ),
    ];
    run
}

/// Reads, and counts answers that say that they are hits.
fn read(target: Arc<Target>, hits: Arc<AtomicU64>) -> Metered {
    clients((target, hits), |(target, hits), user| {
        Box::pin(async move {
            let url = target.reads[fastrand::usize(..target.reads.len())].clone();
            let answer = send(user.client.get(url)).await;
            let right = answer.status.is_some_and(|status| status.is_success());
            hits.fetch_add((right && answer.hit).into(), Ordering::Relaxed);
            answer.counted_if(right, READ)
        })
    })
}

fn take(target: &Arc<Target>, url: Url) -> Metered {
    clients((Arc::clone(target), url), |(target, url), user| {
        Box::pin(async move {
            let mut request = user.client.request(target.method.clone(), url.clone());
            if let Some(body) = target.body.clone() {
                request = request.header(CONTENT_TYPE, "application/json").body(body);
            }
            let answer = send(request).await;
            match answer.status.map(|status| status.as_u16()) {
                Some(226 | 409 | 423 | 429) => answer.counted(REFUSED),
                Some(200..300) => answer.counted(DONE),
                _ => Outcome::Failed(answer),
            }
        })
    })
}

/// Judges by the address alone: names are another's to resolve.
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
        let ours = "http://127.0.0.1:3000 http://localhost/ http://[::1]:80/x http://127.8.9.1";
        for url in ours.split(' ') {
            assert!(here(url), "{url}");
        }
        let others = "http://example.com http://10.0.0.1 http://127.0.0.1.example.com \
            http://localhost.example.com http://127.0.0.1@example.com http://0.0.0.0";
        for url in others.split(' ') {
            assert!(!here(url), "{url}");
        }
    }
}

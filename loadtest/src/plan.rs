//! The runs, their order, and how long they will take.

use std::time::Duration;

use anyhow::{Context, Result};
use itertools::Itertools;

use crate::app::{App, Cache};
use crate::bench::{Bench, WARM_UP};
use crate::flags::Flags;
use crate::place::CacheServer;
use crate::python::Python;
use crate::scenario;
use crate::schema::{Run, Versions};
use crate::stage::{Of, Scenario, Stage};

/// The interval at which goose sees that its users are done.
const TICK: Duration = Duration::from_millis(500);
/// The time besides rounds: apps are started and ended, users created and read.
const STAGING: Duration = Duration::from_millis(800);

pub(crate) struct Plan<'a> {
    bench: &'a Bench<'a>,
    flags: &'a Flags,
    caches: Vec<Cache>,
    python: Option<Python>,
}

struct Job {
    scenario: &'static Scenario,
    apps: Vec<App>,
    first: bool,
    instances: Option<u16>,
}

impl<'a> Plan<'a> {
    pub(crate) async fn new(bench: &'a Bench<'a>, flags: &'a Flags) -> Self {
        let mut caches = flags.cache.clone();
        if caches.is_empty() {
            caches.push(Cache::Memory);
            if redis_fixture::program().is_some() {
                caches.push(Cache::Redis);
            } else {
                let none = "There is no redis-server or valkey-server to start";
                bench.note(format!("{none}, so this runs over memory only."));
            }
        }
        let mut plan = Self {
            bench,
            flags,
            caches,
            python: None,
        };
        if flags.with_python {
            match Python::set_up(bench.progress).await {
                Ok(python) => plan.python = Some(python),
                Err(error) => bench.note(format!("Without the Python original: {error:#}.")),
            }
        }
        plan
    }

    /// Runs it, and adds to the versions those of what it meets.
    pub(crate) async fn run(self, versions: &mut Versions) -> Result<Vec<Run>> {
        let bench = self.bench;
        versions.python = self.python.as_ref().map(|python| python.versions.clone());
        let jobs: Vec<_> = self.caches.iter().map(|cache| self.jobs(cache)).collect();
        let parts = jobs.iter().flatten().map(Job::parts).sum();
        bench.progress.say(&announce(parts, bench));
        let (mut number, count) = (0, jobs.iter().map(Vec::len).sum::<usize>());
        let mut runs = Vec::new();
        for (cache, jobs) in self.caches.iter().zip(jobs) {
            let place = CacheServer::open(cache.clone()).await?;
            if let Some(version) = place.version().await {
                versions.redis = Some(version);
            }
            let start = runs.len();
            for job in jobs {
                number += 1;
                let what = job.title(cache);
                let announced = format!("{number} of {count}: {what}: {}", job.scenario.about);
                bench.progress.say(&announced);
                bench.progress.begin(&what);
                let stage = Stage {
                    scenario: job.scenario,
                    bench,
                    apps: job.apps,
                    first: job.first,
                    place: &place,
                    instances: job.instances,
                    python: self.python.as_ref(),
                    before: &runs[start..],
                };
                runs.extend((job.scenario.run)(&stage).await.context(what)?);
            }
        }
        Ok(runs)
    }

    fn jobs(&self, cache: &Cache) -> Vec<Job> {
        let flags = self.flags;
        let mut matrix: Vec<_> = flags.instances.iter().copied().map(Some).collect();
        // Memory is of one process alone.
        if matrix.is_empty() || *cache == Cache::Memory {
            matrix = vec![None];
        }
        let mut jobs = Vec::new();
        for instances in matrix {
            for scenario in wanted(flags) {
                let apps = self.apps(scenario, cache);
                let size = match scenario.of {
                    Of::EachAppOnOurRedis if !cache.is_ours() => continue,
                    Of::AllApps | Of::Lab => apps.len(),
                    Of::EachApp | Of::EachAppOnOurRedis => 1,
                };
                jobs.extend(apps.chunks(size).enumerate().map(|(at, apps)| Job {
                    scenario,
                    apps: apps.to_vec(),
                    first: at == 0,
                    instances,
                }));
            }
        }
        jobs
    }

    fn apps(&self, scenario: &Scenario, cache: &Cache) -> Vec<App> {
        let mut apps = match (&self.flags.framework[..], scenario.of) {
            ([], Of::AllApps) => App::SAMPLES.to_vec(),
            ([], _) => vec![App::Axum],
            (named, _) => named.to_vec(),
        };
        let redis = match cache {
            Cache::Memory | Cache::Tiered => false,
            Cache::Redis => true,
            Cache::Url(url) => url.starts_with("redis"),
        };
        // The original does without a Redis neither locks nor a cache that processes share.
        if self.python.is_some() && redis && scenario.of != Of::EachAppOnOurRedis {
            apps.push(App::Python);
        }
        apps
    }
}

impl Job {
    fn title(&self, cache: &Cache) -> String {
        let apps = match self.scenario.of {
            Of::Lab => App::Lab.name().to_owned(),
            _ => self.apps.iter().map(|app| app.name()).join(", "),
        };
        let processes = match self.instances {
            None | Some(1) => String::new(),
            Some(instances) => format!(", {instances} processes"),
        };
        format!("{} on {apps}, {cache}{processes}", self.scenario.name)
    }

    fn parts(&self) -> u32 {
        let (each, besides) = self.scenario.parts;
        let apps = u32::try_from(self.apps.len()).unwrap_or(u32::MAX);
        each * apps + if self.first { besides } else { 0 }
    }
}

fn wanted(flags: &Flags) -> impl Iterator<Item = &'static Scenario> {
    let named = |name| flags.scenario.is_empty() || flags.scenario.iter().any(|it| it == name);
    scenario::ALL.iter().filter(move |it| named(it.name))
}

pub(crate) fn announce(parts: u32, bench: &Bench<'_>) -> String {
    let rounds = u32::from(bench.settings.repeats);
    let what = format!("{parts} measurements in {rounds} rounds each");
    if bench.goose.timed() {
        return format!("{what}; goose's flags say how long that takes.");
    }
    let round = (bench.settings.duration / rounds + WARM_UP).as_millis();
    let ticks = u32::try_from(round / TICK.as_millis() + 1).unwrap_or(u32::MAX);
    let time = (TICK * ticks * rounds + STAGING) * parts;
    format!("{what}: about {} s.", time.as_secs())
}

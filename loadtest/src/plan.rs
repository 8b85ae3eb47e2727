//! What is run on what, in which order, and how long that will take.

use std::time::Duration;

use anyhow::{Context, Result};

use crate::flags::{App, Cache, Flags, Framework};
use crate::load::Goose;
use crate::place::{CacheServer, can_start_redis};
use crate::python::Python;
use crate::scenario::{self, Of, Scenario, Stage};
use crate::schema::{Run, Versions};
use crate::turns::{Bench, WARM_UP};

/// Goose sees so often whether its users are done.
const TICK: Duration = Duration::from_millis(500);
/// Of a measurement, besides its rounds: apps are started and ended, users created and read.
const STAGING: Duration = Duration::from_millis(800);

pub(crate) struct Plan<'a> {
    bench: &'a Bench<'a>,
    caches: Vec<Cache>,
    python: Option<Python>,
}

/// A scenario on some apps.
struct Job {
    scenario: &'static Scenario,
    apps: Vec<App>,
    first: bool,
    instances: Option<u16>,
}

impl<'a> Plan<'a> {
    pub(crate) async fn new(bench: &'a Bench<'a>) -> Result<Self> {
        let mut caches = bench.flags.cache.clone();
        if caches.is_empty() {
            caches.push(Cache::Memory);
            if can_start_redis() {
                caches.push(Cache::Redis);
            } else {
                bench.note("There is no redis-server or valkey-server to start, so this runs over memory only.");
            }
        }
        let mut python = None;
        if bench.flags.with_python {
            match Python::set_up(bench.progress).await {
                Ok(it) => python = Some(it),
                Err(error) => bench.note(format!("Without the Python original: {error:#}.")),
            }
        }
        Ok(Self {
            bench,
            caches,
            python,
        })
    }

    /// Runs it, and adds to the versions those of what it meets.
    pub(crate) async fn run(self, versions: &mut Versions) -> Result<Vec<Run>> {
        let bench = self.bench;
        versions.python = self.python.as_ref().map(|python| python.versions.clone());
        let jobs: Vec<_> = self.caches.iter().map(|cache| self.jobs(cache)).collect();
        let parts = jobs.iter().flatten().map(Job::parts).sum();
        bench
            .progress
            .say(&announce(parts, bench.flags, bench.goose));
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
                bench.progress.say(&format!(
                    "{number} of {count}: {what}: {}",
                    job.scenario.about
                ));
                bench.progress.begin(&what);
                let stage = Stage {
                    bench,
                    apps: job.apps,
                    first: job.first,
                    place: &place,
                    instances: job.instances,
                    python: self.python.as_ref(),
                    before: &runs[start..],
                };
                let more = (job.scenario.run)(&stage).await.context(what)?;
                runs.extend(more);
            }
        }
        Ok(runs)
    }

    /// What is run over a cache.
    fn jobs(&self, cache: &Cache) -> Vec<Job> {
        let flags = self.bench.flags;
        let mut matrix: Vec<_> = flags.instances.iter().copied().map(Some).collect();
        // Memory is of one process alone.
        if matrix.is_empty() || *cache == Cache::Memory {
            matrix = vec![None];
        }
        let mut jobs = Vec::new();
        for instances in matrix {
            for scenario in wanted(flags) {
                let apps = self.apps(scenario, cache);
                match scenario.of {
                    Of::EachAppOnOurRedis if *cache != Cache::Redis => {}
                    Of::AllApps | Of::Lab => jobs.push(Job {
                        scenario,
                        apps,
                        first: true,
                        instances,
                    }),
                    Of::EachApp | Of::EachAppOnOurRedis => {
                        jobs.extend(apps.into_iter().enumerate().map(|(at, app)| Job {
                            scenario,
                            apps: vec![app],
                            first: at == 0,
                            instances,
                        }));
                    }
                }
            }
        }
        jobs
    }

    fn apps(&self, scenario: &Scenario, cache: &Cache) -> Vec<App> {
        let mut frameworks = self.bench.flags.framework.clone();
        if frameworks.is_empty() {
            frameworks = match scenario.of {
                Of::AllApps => vec![Framework::Axum, Framework::Poem, Framework::Warp],
                _ => vec![Framework::Axum],
            };
        }
        let mut apps: Vec<App> = frameworks.into_iter().map(App::from).collect();
        let redis = match cache {
            Cache::Memory => false,
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
        let apps: Vec<_> = match self.scenario.of {
            Of::Lab => vec![App::Lab.name()],
            _ => self.apps.iter().map(|app| app.name()).collect(),
        };
        let processes = match self.instances {
            None | Some(1) => String::new(),
            Some(instances) => format!(", {instances} processes"),
        };
        let apps = apps.join(", ");
        format!("{} on {apps}, {cache}{processes}", self.scenario.name)
    }

    /// How many measurements it makes.
    fn parts(&self) -> u32 {
        let (each, besides) = self.scenario.parts;
        let apps = u32::try_from(self.apps.len()).unwrap_or(u32::MAX);
        each * apps + if self.first { besides } else { 0 }
    }
}

fn wanted(flags: &Flags) -> impl Iterator<Item = &'static Scenario> {
    scenario::ALL
        .iter()
        .filter(|it| flags.scenario.is_empty() || flags.scenario.iter().any(|name| name == it.name))
}

/// What is going to happen.
pub(crate) fn announce(parts: u32, flags: &Flags, goose: &Goose) -> String {
    let rounds = u32::from(flags.repeats);
    let what = format!("{parts} measurements in {rounds} rounds each");
    if goose.timed() {
        return format!("{what}; goose's flags say how long that takes.");
    }
    let round = (flags.duration / rounds + WARM_UP).as_millis();
    let ticks = u32::try_from(round / TICK.as_millis() + 1).unwrap_or(u32::MAX);
    let time = (TICK * ticks * rounds + STAGING) * parts;
    format!("{what}: about {} s.", time.as_secs())
}

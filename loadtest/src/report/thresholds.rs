//! What a run must reach for the exit code to be 0, besides its promises.

use std::str::FromStr;
use std::time::Duration;

use anyhow::{Result, bail};
use clap::Args;

use super::text::{rate, time};
use crate::flags::{App, Cache};
use crate::scenario;
use crate::schema::{Promise, Report, Run};

#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Thresholds")]
pub(crate) struct Thresholds {
    /// Slowest median that is fine, as `hit=2ms`; `contention/wait/axum/redis=300ms` narrows it by what, app and cache
    #[arg(long, value_name = "RUNS=TIME", value_delimiter = ',')]
    pub(crate) max_p50: Vec<Limit<Time>>,

    /// Slowest 99th percentile that is fine
    #[arg(long, value_name = "RUNS=TIME", value_delimiter = ',')]
    pub(crate) max_p99: Vec<Limit<Time>>,

    /// Fewest answers per second that are fine, as `hit=10000`
    #[arg(long, value_name = "RUNS=NUMBER", value_delimiter = ',')]
    pub(crate) min_rps: Vec<Limit<Rate>>,
}

/// Some runs, and what they must reach.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Limit<T> {
    runs: Runs,
    bound: T,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Time(u64);

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Rate(f64);

/// Runs that have each of these words for a scenario, a what, an app or a cache.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Runs(Vec<String>);

impl Runs {
    fn contain(&self, run: &Run) -> bool {
        let named = |name: &str| self.0.iter().any(|word| word == name);
        let words = [&run.scenario, &run.what, &run.app, &run.cache];
        let fit = self.0.iter().all(|word| words.contains(&word));
        // A floor is no app, and an original not ours, unless they are asked for.
        fit && (run.counts() && run.app != "floor" || named(&run.app))
    }
}

impl<T: FromStr<Err = String>> FromStr for Limit<T> {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let (runs, bound) = text
            .split_once('=')
            .ok_or("expected RUNS=BOUND, such as `hit=2ms` or `hit/axum/redis=2ms`")?;
        let runs: Vec<String> = runs.split('/').map(str::to_owned).collect();
        if runs.iter().any(String::is_empty) {
            return Err("expected the name of a scenario before the `=`".into());
        }
        Ok(Self {
            runs: Runs(runs),
            bound: bound.parse()?,
        })
    }
}

impl FromStr for Time {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let time: Duration = humantime::parse_duration(text).map_err(|error| error.to_string())?;
        Ok(Self(u64::try_from(time.as_micros()).unwrap_or(u64::MAX)))
    }
}

impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let rate: f64 = text.parse().map_err(|_| "expected a number")?;
        if rate.is_finite() && rate >= 0.0 {
            Ok(Self(rate))
        } else {
            Err("expected a number".into())
        }
    }
}

/// The names of all apps that are measured.
const APPS: [App; 7] = [
    App::Axum,
    App::Poem,
    App::Warp,
    App::Floor,
    App::Lab,
    App::Python,
    App::Target,
];

impl Thresholds {
    /// Refuses the names that no run has.
    ///
    /// # Errors
    ///
    /// The first such name, with all that there are.
    pub(crate) fn validate(&self, caches: &[Cache]) -> Result<()> {
        let mut known: Vec<String> = ["memory", "redis"].map(str::to_owned).to_vec();
        known.extend(caches.iter().map(Cache::to_string));
        for scenario in scenario::ALL {
            known.push(scenario.name.to_owned());
            known.extend(scenario.whats.iter().map(|&what| what.to_owned()));
        }
        known.extend(APPS.map(|app| app.name().to_owned()));
        known.sort_unstable();
        known.dedup();
        let times = self.max_p50.iter().chain(&self.max_p99);
        let mut words = times
            .map(|limit| &limit.runs)
            .chain(self.min_rps.iter().map(|limit| &limit.runs))
            .flat_map(|runs| &runs.0);
        match words.find(|word| !known.contains(word)) {
            None => Ok(()),
            Some(word) => bail!(
                "a threshold names `{word}`, which no run is called; there are {}",
                known.join(", ")
            ),
        }
    }

    /// Each threshold as a promise: kept if there are runs that it is about, and all of them reach it.
    pub(crate) fn check(&self, report: &Report) -> Vec<Promise> {
        let runs = &report.runs;
        let mut checked = Vec::new();
        for (name, limits, of) in [
            ("p50", &self.max_p50, p50 as fn(&Run) -> u64),
            ("p99", &self.max_p99, p99),
        ] {
            checked.extend(limits.iter().map(
                |Limit {
                     runs: wanted,
                     bound,
                 }| {
                    let text = format!(
                        "{name} of {} is at most {}",
                        wanted.0.join("/"),
                        time(bound.0)
                    );
                    let worst = wanted.of(runs).max_by_key(|run| of(run));
                    // Nothing measured is not fast.
                    let kept = |run: &Run| run.latency_us.count > 0 && of(run) <= bound.0;
                    judged(&text, worst, kept, |run| time(of(run)))
                },
            ));
        }
        checked.extend(self.min_rps.iter().map(
            |Limit {
                 runs: wanted,
                 bound,
             }| {
                let text = format!(
                    "{} has at least {} answers per second",
                    wanted.0.join("/"),
                    rate(bound.0)
                );
                let worst = wanted
                    .of(runs)
                    .min_by(|a, b| a.per_second.total_cmp(&b.per_second));
                let kept = |run: &Run| run.per_second >= bound.0;
                judged(&text, worst, kept, |run| rate(run.per_second))
            },
        ));
        checked
    }
}

impl Runs {
    fn of<'a>(&self, runs: &'a [Run]) -> impl Iterator<Item = &'a Run> {
        runs.iter().filter(|run| self.contain(run))
    }
}

fn p50(run: &Run) -> u64 {
    run.latency_us.p50
}

fn p99(run: &Run) -> u64 {
    run.latency_us.p99
}

fn judged(
    text: &str,
    worst: Option<&Run>,
    kept: impl Fn(&Run) -> bool,
    seen: impl Fn(&Run) -> String,
) -> Promise {
    match worst {
        Some(run) => Promise::new(text, kept(run), format!("{} on {}", seen(run), run.title())),
        None => Promise::new(text, false, "there was no such run"),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::schema::Latency;

    fn run(app: &str, p99: u64, per_second: f64) -> Run {
        Run {
            scenario: "hit".into(),
            app: app.into(),
            cache: "redis".into(),
            per_second,
            latency_us: Latency {
                count: 10,
                p99,
                ..Latency::default()
            },
            ..Run::default()
        }
    }

    fn check(max_p99: &str, min_rps: &str) -> Vec<bool> {
        let report = Report {
            runs: vec![
                run("axum", 1_900, 20_000.0),
                run("warp", 2_100, 9_000.0),
                run("floor", 9_000, 1.0),
                run("python", 9_000, 1.0),
            ],
            ..Report::default()
        };
        let thresholds = Thresholds {
            max_p99: vec![max_p99.parse().unwrap()],
            min_rps: vec![min_rps.parse().unwrap()],
            ..Thresholds::default()
        };
        let checked = thresholds.check(&report);
        checked.iter().map(|promise| promise.kept).collect()
    }

    #[test]
    fn the_worst_run_decides_and_apps_that_are_not_ours_do_not() {
        assert_eq!(check("hit=2100us", "hit=9000"), [true, true]);
        assert_eq!(check("hit=2ms", "hit=10000"), [false, false]);
        assert_eq!(check("hit/axum=2ms", "axum/redis/hit=10000"), [true, true]);
        assert_eq!(check("hit/floor=2ms", "python=2"), [false, false]);
    }

    #[test]
    fn a_threshold_about_nothing_is_not_kept() {
        assert_eq!(check("hot=2ms", "hit/memory=1"), [false, false]);
    }

    #[test]
    fn a_misspelt_threshold_is_refused() {
        let validate = |text: &str| {
            let max_p99 = vec![text.parse().unwrap()];
            let thresholds = Thresholds {
                max_p99,
                ..Thresholds::default()
            };
            thresholds.validate(&["rediss://h".parse().unwrap()])
        };
        for text in ["hit=1s", "contention/hand-over/axum/rediss=1s", "target=1s"] {
            assert!(validate(text).is_ok(), "{text}");
        }
        let error = validate("hit/axim=1s").unwrap_err().to_string();
        assert!(
            error.contains("`axim`") && error.contains("axum"),
            "{error}"
        );
    }

    #[test]
    fn what_is_no_threshold_is_refused() {
        for text in ["hit", "=2ms", "hit=2", "hit=", "hit//axum=2ms"] {
            assert!(text.parse::<Limit<Time>>().is_err(), "{text}");
        }
        for text in ["hit=NaN", "hit=-1", "hit=2ms", "hit=inf"] {
            assert!(text.parse::<Limit<Rate>>().is_err(), "{text}");
        }
    }
}

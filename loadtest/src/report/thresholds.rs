//! Demands besides the promises: the exit code is 0 only if a run reaches them.

use std::collections::BTreeSet;

use anyhow::{Result, bail};
use clap::{Args, ValueEnum};
use itertools::Itertools;

use super::text::{float, rate, time};
use crate::app::{App, Cache};
use crate::meter::micros;
use crate::scenario;
use crate::schema::{Promise, Report, Run};

#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Thresholds")]
pub(crate) struct Thresholds {
    /// Slowest median that is fine, as `hit=2ms`; `contention/wait/axum/redis=300ms` narrows it by
    /// what, app and cache
    #[arg(long, value_name = "RUNS=TIME", value_delimiter = ',', value_parser = time_limit)]
    pub(crate) max_p50: Vec<Limit>,

    /// Slowest 99th percentile that is fine
    #[arg(long, value_name = "RUNS=TIME", value_delimiter = ',', value_parser = time_limit)]
    pub(crate) max_p99: Vec<Limit>,

    /// Fewest answers per second that are fine, as `hit=10000`
    #[arg(long, value_name = "RUNS=NUMBER", value_delimiter = ',', value_parser = rate_limit)]
    pub(crate) min_rps: Vec<Limit>,
}

/// Some runs, and the figure that they must reach.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Limit {
    /// Runs that have each of these words for a scenario, a what, an app or a cache.
    runs: Vec<String>,
    /// In microseconds, or answers per second.
    bound: f64,
    /// The bound in words.
    said: String,
}

impl Limit {
    fn at_most(&self, name: &str, report: &Report, of: fn(&Run) -> u64) -> Promise {
        let text = format!("{name} of {} is at most {}", self.runs.join("/"), self.said);
        let worst = self.of(report).max_by_key(|run| of(run));
        // Nothing measured is not fast.
        let kept = |run: &Run| run.latency_us.count > 0 && float(of(run)) <= self.bound;
        judged(&text, worst, kept, |run| time(of(run)))
    }

    fn at_least(&self, report: &Report) -> Promise {
        let (runs, said) = (self.runs.join("/"), &self.said);
        let text = format!("{runs} has at least {said} answers per second");
        let worst = self
            .of(report)
            .min_by(|a, b| a.per_second.total_cmp(&b.per_second));
        let kept = |run: &Run| run.per_second >= self.bound;
        judged(&text, worst, kept, |run| rate(run.per_second))
    }

    fn of<'a>(&self, report: &'a Report) -> impl Iterator<Item = &'a Run> {
        report.runs.iter().filter(|run| self.is_about(run))
    }

    fn is_about(&self, run: &Run) -> bool {
        let named = |name: &str| self.runs.iter().any(|word| word == name);
        let words = [&run.scenario, &run.what, &run.app, &run.cache];
        let fit = self.runs.iter().all(|word| words.contains(&word));
        // A floor is no app, and an original not ours, unless they are asked for.
        fit && (run.counts() && run.app != "floor" || named(&run.app))
    }
}

fn time_limit(text: &str) -> Result<Limit, String> {
    limit(text, |bound| {
        let time = humantime::parse_duration(bound).map_err(|error| error.to_string())?;
        let us = micros(time);
        Ok((float(us), self::time(us)))
    })
}

fn rate_limit(text: &str) -> Result<Limit, String> {
    limit(text, |bound| match bound.parse::<f64>() {
        Ok(bound) if bound.is_finite() && bound >= 0.0 => Ok((bound, rate(bound))),
        _ => Err("expected a number".into()),
    })
}

type Bound = Result<(f64, String), String>;

fn limit(text: &str, bound: impl Fn(&str) -> Bound) -> Result<Limit, String> {
    let (runs, number) = text
        .split_once('=')
        .ok_or("expected RUNS=BOUND, such as `hit=2ms` or `hit/axum/redis=2ms`")?;
    let runs: Vec<String> = runs.split('/').map(str::to_owned).collect();
    if runs.iter().any(String::is_empty) {
        return Err("expected the name of a scenario before the `=`".into());
    }
    let (bound, said) = bound(number)?;
    Ok(Limit { runs, bound, said })
}

impl Thresholds {
    /// Refuses the names that no run has.
    ///
    /// # Errors
    ///
    /// The first such name, with all that there are.
    pub(crate) fn validate(&self, caches: &[Cache]) -> Result<()> {
        let caches = caches.iter().map(Cache::to_string);
        let scenarios = scenario::ALL.iter();
        let scenarios = scenarios.flat_map(|it| it.whats.iter().chain([&it.name]));
        let apps = App::value_variants().iter().map(|app| app.name());
        let names = scenarios
            .copied()
            .chain(apps)
            .chain(["memory", "redis", "tiered"]);
        let known: BTreeSet<String> = names.map(str::to_owned).chain(caches).collect();
        let limits = [&self.max_p50, &self.max_p99, &self.min_rps];
        let mut words = limits.into_iter().flatten().flat_map(|limit| &limit.runs);
        match words.find(|word| !known.contains(*word)) {
            None => Ok(()),
            Some(word) => bail!(
                "a threshold names `{word}`, which no run is called; there are {}",
                known.iter().join(", ")
            ),
        }
    }

    /// Returns each threshold as a promise: kept if it is about a run, and all such runs reach it.
    pub(crate) fn check(&self, report: &Report) -> Vec<Promise> {
        let p50 = self.max_p50.iter();
        let p50 = p50.map(|limit| limit.at_most("p50", report, |run| run.latency_us.p50));
        let p99 = self.max_p99.iter();
        let p99 = p99.map(|limit| limit.at_most("p99", report, |run| run.latency_us.p99));
        let rates = self.min_rps.iter().map(|limit| limit.at_least(report));
        p50.chain(p99).chain(rates).collect()
    }
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
            max_p99: vec![time_limit(max_p99).unwrap()],
            min_rps: vec![rate_limit(min_rps).unwrap()],
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
            let mut thresholds = Thresholds::default();
            thresholds.max_p99.push(time_limit(text).unwrap());
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
            assert!(time_limit(text).is_err(), "{text}");
        }
        for text in ["hit=NaN", "hit=-1", "hit=2ms", "hit=inf"] {
            assert!(rate_limit(text).is_err(), "{text}");
        }
    }
}

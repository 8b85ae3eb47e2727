//! `loadtest compare`: what changed from one report to another.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::PathBuf;

use anyhow::{Result, ensure};
use clap::Args;

use super::columns::{Cell, Columns, Paint, Tone};
use super::text::{change, cut, float, many, plain, rate, time, wrap};
use crate::schema::{Report, Run};

const WIDTH: usize = 100;
/// Of figures that were measured once, and so say nothing about how much they vary.
const UNKNOWN_SPREAD: f64 = 0.1;
/// By so much a machine drifts between two runs, which no round of either shows.
const DRIFT: f64 = 0.05;

#[derive(Debug, Args)]
pub(crate) struct CompareFlags {
    /// The report.json of before
    before: PathBuf,
    /// The report.json of after
    after: PathBuf,
    /// Exit with 1 if a figure got worse by more than this and by more than both reports vary, a promise is newly broken, or a run is missing
    #[arg(long, value_name = "PERCENT", value_parser = percent)]
    max_regression: Option<f64>,
}

fn percent(text: &str) -> Result<f64, String> {
    let number = text.strip_suffix('%').unwrap_or(text).trim();
    let number: f64 = number.parse().map_err(|_| "expected `10%`")?;
    if number.is_finite() && number >= 0.0 {
        Ok(number / 100.0)
    } else {
        Err("expected `10%`".into())
    }
}

/// Prints what changed; whether that is fine.
pub(crate) fn compare(flags: &CompareFlags) -> Result<bool> {
    let (before, after) = (Report::read(&flags.before)?, Report::read(&flags.after)?);
    let comparison = Comparison::of(&before, &after);
    ensure!(
        !comparison.pairs.is_empty(),
        "the reports have no run in common: they differ in scenarios, apps, caches, instances or users"
    );
    let mut stdout = std::io::stdout();
    let text = comparison.shown(flags.max_regression, Paint::of_stdout());
    write!(stdout, "{text}")?;
    Ok(flags
        .max_regression
        .is_none_or(|most| comparison.regressions(most).is_empty()))
}

pub(crate) struct Comparison<'a> {
    pairs: Vec<Pair<'a>>,
    /// Runs of before that have no counterpart.
    missing: Vec<&'a Run>,
    added: usize,
    warnings: Vec<String>,
}

struct Pair<'a> {
    before: &'a Run,
    after: &'a Run,
    figures: [Option<Figure>; 3],
}

/// One figure, twice.
#[derive(Debug, Clone, PartialEq)]
struct Figure {
    name: &'static str,
    before: String,
    after: String,
    /// 0.1 is 10 % more.
    change: f64,
    /// The same, positive if it is for the worse.
    worse: f64,
    /// How much both vary.
    spread: f64,
}

impl Figure {
    fn per_second(before: &Run, after: &Run) -> Option<Self> {
        let change = ratio(before.per_second, after.per_second)?;
        Some(Self {
            name: "answers per second",
            before: rate(before.per_second),
            after: rate(after.per_second),
            change,
            worse: -change,
            spread: both(before.spread, after.spread),
        })
    }

    fn time(
        name: &'static str,
        (before, before_spread): (u64, Option<f64>),
        (after, after_spread): (u64, Option<f64>),
    ) -> Option<Self> {
        let change = ratio(float(before), float(after))?;
        Some(Self {
            name,
            before: time(before),
            after: time(after),
            change,
            worse: change,
            spread: both(before_spread, after_spread),
        })
    }

    /// Whether this is more than chance.
    fn tone(&self) -> Tone {
        if self.worse > self.spread {
            Tone::Bad
        } else if -self.worse > self.spread {
            Tone::Good
        } else {
            Tone::Plain
        }
    }
}

/// Nothing if one of both was not measured.
fn ratio(before: f64, after: f64) -> Option<f64> {
    (before > 0.0 && after > 0.0).then(|| after / before - 1.0)
}

fn both(before: Option<f64>, after: Option<f64>) -> f64 {
    (before.unwrap_or(UNKNOWN_SPREAD) + after.unwrap_or(UNKNOWN_SPREAD)).max(DRIFT)
}

impl<'a> Pair<'a> {
    fn of(before: &'a Run, after: &'a Run) -> Self {
        let p50 = |run: &Run| {
            let latency = &run.latency_us;
            (latency.p50, latency.p50_spread.or(run.spread))
        };
        let p99 = |run: &Run| {
            let latency = &run.latency_us;
            (latency.p99, latency.p99_spread.or(run.spread))
        };
        let figures = [
            Figure::per_second(before, after),
            Figure::time("p50", p50(before), p50(after)),
            Figure::time("p99", p99(before), p99(after)),
        ];
        Self {
            before,
            after,
            figures,
        }
    }

    /// Figures of a floor tell of the machine, those of an original of somebody else's code.
    fn counts(&self) -> bool {
        self.after.counts() && self.after.app != "floor"
    }

    fn worse(&self) -> impl Iterator<Item = &Figure> {
        let figures = self.figures.iter().flatten();
        figures.filter(|figure| figure.tone() == Tone::Bad)
    }

    /// Promises that were not broken before.
    fn newly_broken(&self) -> impl Iterator<Item = String> {
        let broken = self.after.promises.iter().filter(|promise| !promise.kept);
        let newly = broken.filter(|promise| {
            let mut before = self.before.promises.iter();
            !before.any(|it| it.text == promise.text && !it.kept)
        });
        newly.map(|promise| format!("{}: {}", promise.text, promise.seen))
    }

    fn cells(&self) -> Vec<Cell> {
        let mut cells = vec![
            (Tone::Plain, format!("  {}", cut(&self.after.app, 10))),
            (Tone::Plain, cut(&self.after.cache, 8)),
        ];
        for figure in &self.figures {
            let Some(figure) = figure else {
                cells.extend(["–", "–", ""].map(|text| (Tone::Dim, text.to_owned())));
                continue;
            };
            let tone = if self.counts() {
                figure.tone()
            } else {
                Tone::Dim
            };
            let mark = match tone {
                Tone::Bad => "✗",
                Tone::Good => "✓",
                _ => " ",
            };
            cells.push((Tone::Dim, figure.before.clone()));
            cells.push((Tone::Plain, figure.after.clone()));
            cells.push((tone, format!("{} {mark}", change(figure.change))));
        }
        cells
    }
}

impl<'a> Comparison<'a> {
    pub(crate) fn of(before: &'a Report, after: &'a Report) -> Self {
        let mut rest: Vec<&Run> = before.runs.iter().collect();
        let mut pairs = Vec::new();
        for run in &after.runs {
            if let Some(index) = rest.iter().position(|it| identity(it) == identity(run)) {
                pairs.push(Pair::of(rest.remove(index), run));
            }
        }
        Self {
            added: after.runs.len() - pairs.len(),
            pairs,
            missing: rest,
            warnings: warnings(before, after),
        }
    }

    /// What is worse by more than `most` and by more than chance, in words.
    pub(crate) fn regressions(&self, most: f64) -> Vec<String> {
        let mut found = Vec::new();
        for pair in self.pairs.iter().filter(|pair| pair.after.counts()) {
            let title = pair.after.title();
            found.extend(
                pair.newly_broken()
                    .map(|promise| format!("{title}: BROKEN: {promise}")),
            );
            let worse = pair.worse().filter(|it| pair.counts() && it.worse > most);
            found.extend(worse.map(|figure| {
                format!(
                    "{title}: {} {} ({} to {}); both vary by {:.0} % together",
                    figure.name,
                    change(figure.change),
                    figure.before,
                    figure.after,
                    100.0 * figure.spread
                )
            }));
        }
        let missing = self.missing.iter().filter(|run| run.counts());
        found.extend(missing.map(|run| format!("{}: there is no such run any more", run.title())));
        found
    }

    pub(crate) fn shown(&self, most: Option<f64>, paint: Paint) -> String {
        let mut text = self.table().show(paint, WIDTH, &[]);
        text.push('\n');
        let mut say = |tone: Tone, line: &str| {
            let line = wrap(&plain(line), WIDTH, "  ");
            let _ = writeln!(text, "{}", paint.paint(tone, &line));
        };
        for warning in &self.warnings {
            say(Tone::Plain, &format!("· {warning}"));
        }
        if self.added > 0 {
            let added = many(self.added, "run");
            say(Tone::Plain, &format!("· {added} had no counterpart before"));
        }
        let found = self.regressions(most.unwrap_or_default());
        for regression in &found {
            say(Tone::Bad, &format!("✗ {regression}"));
        }
        let runs = many(self.pairs.len(), "run");
        let beyond = match most {
            Some(most) => format!("by more than {} % and ", 100.0 * most),
            None => String::new(),
        };
        if found.is_empty() {
            say(
                Tone::Good,
                &format!("✓ {runs}: nothing got worse {beyond}by more than both reports vary"),
            );
        } else {
            let found = many(found.len(), "regression");
            say(
                Tone::Bad,
                &format!("✗ {runs}: {found} {beyond}beyond what both reports vary by"),
            );
        }
        text
    }

    fn table(&self) -> Columns {
        let header = [
            "  app", "cache", "per s", "", "  ", "p50", "", "  ", "p99", "", "  ",
        ];
        let mut columns = Columns::new(2, &header);
        let mut names: Vec<String> = Vec::new();
        for pair in &self.pairs {
            if !names.contains(&pair.after.name()) {
                names.push(pair.after.name());
            }
        }
        for name in names {
            columns.line(Tone::Bold, &cut(&name, WIDTH));
            for pair in self.pairs.iter().filter(|pair| pair.after.name() == name) {
                columns.row(pair.cells());
            }
        }
        columns
    }
}

/// What makes two runs measurements of the same thing.
fn identity(run: &Run) -> (&str, &str, &str, &str, u16, usize) {
    (
        &run.scenario,
        &run.what,
        &run.app,
        &run.cache,
        run.instances,
        run.users,
    )
}

/// Why figures may differ though the code does not.
fn warnings(before: &Report, after: &Report) -> Vec<String> {
    let mut warnings = Vec::new();
    let machine = |report: &Report| (report.machine.cpu.clone(), report.machine.processors);
    if machine(before) != machine(after) {
        let [(a, n), (b, m)] = [machine(before), machine(after)];
        warnings.push(format!(
            "the machines differ: {a} with {n} processors, {b} with {m}"
        ));
    }
    if before.debug_build || after.debug_build {
        warnings.push("figures of a debug build mean nothing".into());
    }
    if before.flags != after.flags {
        warnings.push(format!(
            "the command lines differ: `{}`, `{}`",
            before.flags.join(" "),
            after.flags.join(" ")
        ));
    }
    let unknown = |run: &&Run| run.spread.is_none();
    let runs = before.runs.iter().chain(&after.runs);
    let unknown = runs.filter(unknown).count();
    if unknown > 0 {
        warnings.push(format!(
            "{} measured once: taken to vary by {:.0} %",
            many(unknown, "run"),
            100.0 * UNKNOWN_SPREAD
        ));
    }
    warnings
}

#[cfg(test)]
#[path = "compare_tests.rs"]
mod tests;

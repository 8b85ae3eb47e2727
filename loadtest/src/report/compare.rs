//! `loadtest compare`: the changes from one report to another.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::PathBuf;

use anyhow::{Result, ensure};
use clap::Args;

use super::columns::{Cell, Columns, Tone};
use super::files::read;
use super::groups::grouped;
use super::text::{change, cut, float, many, rate, time, wrap};
use crate::schema::{Report, Run};

const WIDTH: usize = 100;
/// The spread of figures that were measured once, and so say nothing about how much they vary.
const UNKNOWN_SPREAD: f64 = 0.1;
/// The drift of a machine between two runs, which no round of either shows.
const DRIFT: f64 = 0.05;

#[derive(Debug, Args)]
pub(crate) struct CompareFlags {
    /// The report.json of before
    before: PathBuf,
    /// The report.json of after
    after: PathBuf,
    /// Exit with 1 if a figure got worse by more than this and by more than both reports vary, a
    /// promise is newly broken, or a run is missing
    #[arg(long, value_name = "PERCENT", value_parser = percent)]
    max_regression: Option<f64>,
}

fn percent(text: &str) -> Result<f64, String> {
    match text.strip_suffix('%').unwrap_or(text).trim().parse::<f64>() {
        Ok(number) if number.is_finite() && number >= 0.0 => Ok(number / 100.0),
        _ => Err("expected `10%`".into()),
    }
}

/// Prints what changed, and returns whether that is fine.
pub(crate) fn compare(flags: &CompareFlags) -> Result<bool> {
    let (before, after) = (read(&flags.before)?, read(&flags.after)?);
    let comparison = Comparison::of(&before, &after);
    ensure!(
        !comparison.pairs.is_empty(),
        "the reports have no run in common: they differ in scenarios, apps, caches, instances or \
         users"
    );
    let text = comparison.shown(flags.max_regression);
    write!(std::io::stdout(), "{text}")?;
    let is_fine = |most| comparison.regressions(most).is_empty();
    Ok(flags.max_regression.is_none_or(is_fine))
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

#[derive(Debug, Clone, PartialEq)]
struct Figure {
    name: &'static str,
    before: String,
    after: String,
    /// 0.1 is 10 % more.
    change: f64,
    /// The same, positive if it is for the worse.
    worse: f64,
    /// The spreads of both together.
    spread: f64,
}

/// A figure, the same in words, and its spread.
type Measured = (f64, String, Option<f64>);

impl Figure {
    /// Compares two figures, of which more is `worse` times as bad; nothing without both of them.
    fn of(name: &'static str, worse: f64, before: Measured, after: Measured) -> Option<Self> {
        let measured = before.0 > 0.0 && after.0 > 0.0;
        let change = measured.then(|| after.0 / before.0 - 1.0)?;
        let known = |spread: Option<f64>| spread.unwrap_or(UNKNOWN_SPREAD);
        Some(Self {
            name,
            before: before.1,
            after: after.1,
            change,
            worse: worse * change,
            spread: (known(before.2) + known(after.2)).max(DRIFT),
        })
    }

    /// Judges the change, if it is more than chance.
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

impl<'a> Pair<'a> {
    fn of(before: &'a Run, after: &'a Run) -> Self {
        let measured = |run: &Run| {
            let latency = |us, spread: Option<f64>| (float(us), time(us), spread.or(run.spread));
            [
                (run.per_second, rate(run.per_second), run.spread),
                latency(run.latency_us.p50, run.latency_us.p50_spread),
                latency(run.latency_us.p99, run.latency_us.p99_spread),
            ]
        };
        let [rate, p50, p99] = measured(before);
        let [rate_after, p50_after, p99_after] = measured(after);
        let figures = [
            Figure::of("answers per second", -1.0, rate, rate_after),
            Figure::of("p50", 1.0, p50, p50_after),
            Figure::of("p99", 1.0, p99, p99_after),
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

    /// Returns promises that are broken now and were not before.
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
            cells.extend([
                (Tone::Dim, figure.before.clone()),
                (Tone::Plain, figure.after.clone()),
                (tone, format!("{} {mark}", change(figure.change))),
            ]);
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

    /// Says what is worse by more than `most` and by more than chance.
    pub(crate) fn regressions(&self, most: f64) -> Vec<String> {
        let mut found = Vec::new();
        for pair in self.pairs.iter().filter(|pair| pair.after.counts()) {
            let title = pair.after.title();
            let broken = pair.newly_broken();
            found.extend(broken.map(|promise| format!("{title}: BROKEN: {promise}")));
            let figures = pair.figures.iter().flatten().filter(|_| pair.counts());
            let worse = figures.filter(|it| it.tone() == Tone::Bad && it.worse > most);
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

    pub(crate) fn shown(&self, most: Option<f64>) -> String {
        let mut text = self.table().show(WIDTH, &[]) + "\n";
        let mut say = |tone: Tone, line: &str| {
            let _ = writeln!(text, "{}", tone.paint(&wrap(line, WIDTH, "  ")));
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
        let verdict = if found.is_empty() {
            format!("✓ {runs}: nothing got worse {beyond}by more than both reports vary")
        } else {
            let found = many(found.len(), "regression");
            format!("✗ {runs}: {found} {beyond}beyond what both reports vary by")
        };
        say(Tone::of(found.is_empty()), &verdict);
        text
    }

    fn table(&self) -> Columns {
        let header = [
            "  app", "cache", "per s", "", "  ", "p50", "", "  ", "p99", "", "  ",
        ];
        let mut columns = Columns::new(2, &header);
        for (name, pairs) in grouped(self.pairs.iter(), |pair| pair.after.name()) {
            columns.row([(Tone::Bold, cut(&name, WIDTH))]);
            for pair in pairs {
                columns.row(pair.cells());
            }
        }
        columns
    }
}

/// Returns what two measurements of the same thing have in common.
fn identity(run: &Run) -> ([&String; 4], u16, usize) {
    let names = [&run.scenario, &run.what, &run.app, &run.cache];
    (names, run.instances, run.users)
}

/// Says why figures may differ though the code does not.
fn warnings(before: &Report, after: &Report) -> Vec<String> {
    let mut warnings = Vec::new();
    let machine = |Report { machine: it, .. }: &Report| format!("{} of {}", it.processors, it.cpu);
    let (a, b) = (machine(before), machine(after));
    if a != b {
        warnings.push(format!("the machines differ in processors: {a}, and {b}"));
    }
    if before.debug_build || after.debug_build {
        warnings.push("figures of a debug build mean nothing".into());
    }
    let (a, b) = (before.flags.join(" "), after.flags.join(" "));
    if a != b {
        warnings.push(format!("the command lines differ: `{a}`, `{b}`"));
    }
    let runs = before.runs.iter().chain(&after.runs);
    let unknown = runs.filter(|run| run.spread.is_none()).count();
    if unknown > 0 {
        let (runs, spread) = (many(unknown, "run"), 100.0 * UNKNOWN_SPREAD);
        warnings.push(format!(
            "{runs} measured once: taken to vary by {spread:.0} %"
        ));
    }
    warnings
}

#[cfg(test)]
#[path = "compare_tests.rs"]
mod tests;

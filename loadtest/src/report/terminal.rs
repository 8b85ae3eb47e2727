//! The report in a terminal. The verdict comes last, where the eye is when the run ends.

use std::fmt::Write as _;

use itertools::Itertools;

use super::columns::{Cell, Columns, Tone, width};
use super::groups::{Group, measurements, scenarios, sum};
use super::text::{cut, many, rate, spread, time, wrap};
use crate::schema::{Report, Run};

const HEADER: [&str; 11] = [
    "  app", "cache", "users", "per s", "±", "p50", "p90", "p99", "p99.9", "max", "kept",
];
/// The columns that a narrow terminal does without: p99.9, p90, ±, users, max, p99, kept.
const SPARE: [usize; 7] = [8, 6, 4, 2, 9, 7, 10];

/// Returns the table for standard output.
pub(crate) fn table(report: &Report) -> String {
    shown(report, width())
}

pub(crate) fn shown(report: &Report, width: usize) -> String {
    let mut columns = Columns::new(2, &HEADER);
    for group in measurements(report) {
        columns.row([(Tone::Bold, cut(&group.name, width))]);
        for run in group.runs {
            columns.row(cells(run));
            let limit = run
                .limit
                .as_ref()
                .map(|limit| format!("the {limit} was the limit"));
            let summary = Some(run.summary.clone()).filter(|summary| !summary.is_empty());
            let remark = limit.into_iter().chain(summary).join("; ");
            if !remark.is_empty() {
                columns.row([(Tone::Dim, cut(&format!("    {remark}"), width))]);
            }
        }
    }
    let mut text = columns.show(width, &SPARE) + "\n";
    for note in &report.notes {
        let _ = writeln!(text, "{}", wrap(&format!("· {note}"), width, "  "));
    }
    if !report.notes.is_empty() {
        text.push('\n');
    }
    let groups = scenarios(report);
    let names = groups.iter().map(|group| group.name.chars().count()).max();
    let names = names.unwrap_or_default().min(20);
    for group in &groups {
        scenario(group, names, width, &mut text);
    }
    let mut say = |kept, line: &str| {
        let line = wrap(&format!("{} {line}", mark(kept)), width, "  ");
        let _ = writeln!(text, "{}", Tone::of(kept).paint(&line));
    };
    for threshold in &report.thresholds {
        say(
            threshold.kept,
            &format!("{}: {}", threshold.text, threshold.seen),
        );
    }
    let verdict = format!("{} in {:.0} s", headline(report), report.seconds);
    text.push('\n');
    let passed = report.passed();
    text + &Tone::of(passed).paint(&format!("{} {verdict}", mark(passed))) + "\n"
}

/// Writes one line, and one more for each broken promise.
fn scenario(group: &Group<'_>, names: usize, width: usize, text: &mut String) {
    let tallies = group.tallies();
    let (kept, of) = sum(&tallies);
    let (name, count) = (cut(&group.name, names), format!("{kept}/{of}"));
    let head = format!("{} {name:<names$}  {count:>5}", mark(kept == of));
    let promises = tallies.iter().map(|it| it.text).join(" · ");
    let indent = " ".repeat(head.chars().count() + 2);
    let line = format!("{head}  {promises}");
    let line = wrap(line.trim_end(), width, &indent);
    let (head, promises) = line.split_at(head.len().min(line.len()));
    let _ = writeln!(text, "{}{promises}", Tone::of(kept == of).paint(head));
    let (ours, others) = (&tallies, &group.elsewhere());
    for (tone, verb, tallies) in [(Tone::Bad, "BROKEN", ours), (Tone::Dim, "not kept", others)] {
        for tally in tallies {
            for (title, seen) in &tally.broken {
                let line = format!("    {verb}: {title}: {}: {seen}", tally.text);
                let _ = writeln!(text, "{}", tone.paint(&wrap(&line, width, "      ")));
            }
        }
    }
}

fn cells(run: &Run) -> Vec<Cell> {
    let verdict = match (run.kept(), run.counts()) {
        (true, _) => Tone::Good,
        (false, true) => Tone::Bad,
        (false, false) => Tone::Dim,
    };
    let app = format!("{} {}", mark(run.kept()), cut(&run.app, 12));
    let mut cells = vec![
        (verdict, app),
        (Tone::Plain, cut(&run.cache, 12)),
        (Tone::Plain, users(run)),
        (Tone::Bold, rate(run.per_second)),
        (Tone::Dim, spread(run.spread)),
    ];
    let times = run.latency_us.figures();
    cells.extend(times.map(|(_, us)| (Tone::Plain, time(us))));
    cells.push((verdict, run.score()));
    cells
}

/// Returns `8`, or `32 on 4` processes.
pub(crate) fn users(run: &Run) -> String {
    match run.instances {
        0 | 1 => run.users.to_string(),
        instances => format!("{} on {instances}", run.users),
    }
}

pub(crate) fn mark(kept: bool) -> &'static str {
    if kept { "✓" } else { "✗" }
}

/// Sums up the report in one sentence.
pub(crate) fn headline(report: &Report) -> String {
    let counting = report.runs.iter().filter(|run| run.counts());
    let promises = counting.flat_map(|run| &run.promises);
    let (kept, broken): (Vec<_>, Vec<_>) = promises.partition(|promise| promise.kept);
    let crossed = report.thresholds.iter().filter(|it| !it.kept).count();
    let thresholds = format!("{} crossed", many(crossed, "threshold"));
    let promises = many(kept.len() + broken.len(), "promise");
    match (kept.len(), broken.len(), crossed) {
        (0, 0, 0) => "Nothing was promised".to_owned(),
        (0, 0, _) => format!("Nothing was promised, {thresholds}"),
        (kept, 0, 0) => format!("Every promise was kept: {kept} of them"),
        (_, 0, _) => format!("{thresholds}; all {promises} were kept"),
        (_, broken, 0) => format!("{broken} of {promises} BROKEN"),
        (_, broken, _) => format!("{broken} of {promises} BROKEN, {thresholds}"),
    }
}

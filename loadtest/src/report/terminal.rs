//! The report in a terminal. The verdict comes last, where the eye is when the run ends.

use std::fmt::Write as _;

use super::columns::{Cell, Columns, Paint, Tone, width};
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
    shown(report, Paint::of_stdout(), width())
}

pub(crate) fn shown(report: &Report, paint: Paint, width: usize) -> String {
    let mut columns = Columns::new(paint, 2, &HEADER);
    for group in measurements(report) {
        columns.line(Tone::Bold, &cut(&group.name, width));
        for run in group.runs {
            columns.row(cells(run));
            if let Some(remark) = remark(run) {
                columns.line(Tone::Dim, &cut(&format!("    {remark}"), width));
            }
        }
    }
    let mut text = columns.show(width, &SPARE);
    let mut say = |tone, line: &str| {
        let _ = writeln!(text, "{}", paint.paint(tone, &wrap(line, width, "  ")));
    };
    say(Tone::Plain, "");
    for note in &report.notes {
        say(Tone::Plain, &format!("· {note}"));
    }
    if !report.notes.is_empty() {
        say(Tone::Plain, "");
    }
    let groups = scenarios(report);
    let names = groups.iter().map(|group| group.name.chars().count()).max();
    let names = names.unwrap_or_default().min(20);
    for group in &groups {
        scenario(group, names, paint, width, &mut text);
    }
    let mut say = |kept, line: &str| {
        let line = format!("{} {line}", mark(kept));
        let line = paint.paint(Tone::of(kept), &wrap(&line, width, "  "));
        let _ = writeln!(text, "{line}");
    };
    for threshold in &report.thresholds {
        let line = format!("{}: {}", threshold.text, threshold.seen);
        say(threshold.kept, &line);
    }
    text.push('\n');
    let passed = report.passed();
    let line = format!(
        "{} {} in {:.0} s",
        mark(passed),
        headline(report),
        report.seconds
    );
    text + &paint.paint(Tone::of(passed), &line) + "\n"
}

/// Writes one line, and one more for each broken promise.
fn scenario(group: &Group<'_>, names: usize, paint: Paint, width: usize, text: &mut String) {
    let tallies = group.tallies();
    let (kept, of) = sum(&tallies);
    let (name, count) = (cut(&group.name, names), format!("{kept}/{of}"));
    let head = format!("{} {name:<names$}  {count:>5}", mark(kept == of));
    let promises: Vec<&str> = tallies.iter().map(|it| it.text).collect();
    let indent = " ".repeat(head.chars().count() + 2);
    let line = format!("{head}  {}", promises.join(" · "));
    let line = wrap(line.trim_end(), width, &indent);
    let (head, promises) = line.split_at(head.len().min(line.len()));
    let head = paint.paint(Tone::of(kept == of), head);
    let _ = writeln!(text, "{head}{promises}");
    let (ours, others) = (&tallies, &group.elsewhere());
    for (tone, verb, tallies) in [(Tone::Bad, "BROKEN", ours), (Tone::Dim, "not kept", others)] {
        for tally in tallies {
            for (title, seen) in &tally.broken {
                let line = format!("    {verb}: {title}: {}: {seen}", tally.text);
                let line = paint.paint(tone, &wrap(&line, width, "      "));
                let _ = writeln!(text, "{line}");
            }
        }
    }
}

/// Returns the line under a row: the limit that was met, and what the facts come to.
fn remark(run: &Run) -> Option<String> {
    let limit = run.limit.as_ref();
    let limit = limit.map(|limit| format!("the {limit} was the limit"));
    let summary = Some(run.summary.clone()).filter(|summary| !summary.is_empty());
    let parts: Vec<String> = limit.into_iter().chain(summary).collect();
    (!parts.is_empty()).then(|| parts.join("; "))
}

fn cells(run: &Run) -> Vec<Cell> {
    let verdict = match (run.kept(), run.counts()) {
        (true, _) => Tone::Good,
        (false, true) => Tone::Bad,
        (false, false) => Tone::Dim,
    };
    let mut cells = vec![
        (
            verdict,
            format!("{} {}", mark(run.kept()), cut(&run.app, 12)),
        ),
        (Tone::Plain, cut(&run.cache, 12)),
        (Tone::Plain, users(run)),
        (Tone::Bold, rate(run.per_second)),
        (Tone::Dim, spread(run.spread)),
    ];
    cells.extend(
        run.latency_us
            .figures()
            .map(|(_, us)| (Tone::Plain, time(us))),
    );
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

//! The report in a terminal: figures first, and last, where the eye is when it ends, the verdict.

use std::fmt::Write as _;

use super::columns::{Columns, Paint, Tone, width};
use super::groups::{Group, sum};
use super::text::{cut, many, plain, rate, spread, time, wrap};
use crate::schema::{Promise, Report, Run};

/// The columns that a narrow terminal does without, in this order: p99.9, p90, ±, users, max, p99, kept.
const SPARE: [usize; 7] = [8, 6, 4, 2, 9, 7, 10];

impl Report {
    /// For standard output.
    pub(crate) fn table(&self) -> String {
        self.shown(Paint::of_stdout(), width())
    }

    pub(crate) fn shown(&self, paint: Paint, width: usize) -> String {
        let mut text = self.figures(width).show(paint, width, &SPARE);
        text.push('\n');
        for note in &self.notes {
            let _ = writeln!(text, "{}", wrap(&format!("· {}", plain(note)), width, "  "));
        }
        if !self.notes.is_empty() {
            text.push('\n');
        }
        self.verdict(paint, width, &mut text);
        text
    }

    fn figures(&self, width: usize) -> Columns {
        let header = [
            "  app", "cache", "users", "per s", "±", "p50", "p90", "p99", "p99.9", "max", "kept",
        ];
        let mut columns = Columns::new(2, &header);
        for group in self.measurements() {
            columns.line(Tone::Bold, &cut(&group.name, width));
            for run in group.runs {
                columns.row(cells(run));
                if let Some(remark) = remark(run) {
                    columns.line(Tone::Dim, &cut(&format!("    {remark}"), width));
                }
            }
        }
        columns
    }

    fn verdict(&self, paint: Paint, width: usize, text: &mut String) {
        let groups = self.scenarios();
        let names = groups.iter().map(|group| group.name.chars().count()).max();
        let names = names.unwrap_or_default().min(20);
        for group in &groups {
            scenario(group, names, paint, width, text);
        }
        for Promise {
            text: wanted,
            kept,
            seen,
        } in &self.thresholds
        {
            let line = format!("{} {}: {}", mark(*kept), plain(wanted), plain(seen));
            let _ = writeln!(
                text,
                "{}",
                paint.paint(tone(*kept), &wrap(&line, width, "  "))
            );
        }
        let passed = self.passed();
        let line = format!(
            "{} {} in {:.0} s",
            mark(passed),
            headline(self),
            self.seconds
        );
        let _ = writeln!(text, "\n{}", paint.paint(tone(passed), &line));
    }
}

/// One line, and one more for each broken promise.
fn scenario(group: &Group<'_>, names: usize, paint: Paint, width: usize, text: &mut String) {
    let tallies = group.tallies();
    let (kept, of) = sum(&tallies);
    let head = format!(
        "{} {:<names$}  {:>5}",
        mark(kept == of),
        cut(&plain(&group.name), names),
        format!("{kept}/{of}")
    );
    let promises: Vec<String> = tallies.iter().map(|it| plain(it.text)).collect();
    let indent = " ".repeat(head.chars().count() + 2);
    let line = format!("{head}  {}", promises.join(" · "));
    let line = wrap(line.trim_end(), width, &indent);
    let (head, promises) = line.split_at(head.len().min(line.len()));
    let head = paint.paint(tone(kept == of), head);
    let _ = writeln!(text, "{head}{promises}");
    for (tone, verb, tallies) in [
        (Tone::Bad, "BROKEN", &tallies),
        (Tone::Dim, "not kept", &group.elsewhere()),
    ] {
        for tally in tallies {
            for (title, seen) in &tally.broken {
                let line = format!(
                    "    {verb}: {}: {}: {}",
                    plain(title),
                    plain(tally.text),
                    plain(seen)
                );
                let line = wrap(&line, width, "      ");
                let _ = writeln!(text, "{}", paint.paint(tone, &line));
            }
        }
    }
}

/// What stands under a row: whose limit was met, and what its facts come to.
fn remark(run: &Run) -> Option<String> {
    let limit = run
        .limit
        .as_ref()
        .map(|limit| format!("the {limit} was the limit"));
    let summary = Some(run.summary.clone()).filter(|summary| !summary.is_empty());
    let parts: Vec<String> = limit.into_iter().chain(summary).collect();
    (!parts.is_empty()).then(|| parts.join("; "))
}

fn cells(run: &Run) -> Vec<(Tone, String)> {
    let kept = run.promises.iter().filter(|promise| promise.kept).count();
    let verdict = match (run.kept(), run.counts()) {
        (true, _) => Tone::Good,
        (false, true) => Tone::Bad,
        (false, false) => Tone::Dim,
    };
    let latency = &run.latency_us;
    let times = [
        latency.p50,
        latency.p90,
        latency.p99,
        latency.p999,
        latency.max,
    ];
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
    cells.extend(times.map(|us| (Tone::Plain, time(us))));
    cells.push((verdict, format!("{kept}/{}", run.promises.len())));
    cells
}

/// `8`, or `32 on 4` processes.
pub(crate) fn users(run: &Run) -> String {
    match run.instances {
        0 | 1 => run.users.to_string(),
        instances => format!("{} on {instances}", run.users),
    }
}

pub(crate) fn mark(kept: bool) -> &'static str {
    if kept { "✓" } else { "✗" }
}

fn tone(kept: bool) -> Tone {
    if kept { Tone::Good } else { Tone::Bad }
}

/// What it comes to, in one sentence.
pub(crate) fn headline(report: &Report) -> String {
    let counting = || report.runs.iter().filter(|run| run.counts());
    let promises = counting().flat_map(|run| &run.promises);
    let (kept, broken): (Vec<_>, Vec<_>) = promises.partition(|promise| promise.kept);
    let crossed = report.thresholds.iter().filter(|it| !it.kept).count();
    let crossed = match crossed {
        0 => String::new(),
        crossed => format!(", {} crossed", many(crossed, "threshold")),
    };
    match broken.len() {
        0 if kept.is_empty() => format!("Nothing was promised{crossed}"),
        0 if !crossed.is_empty() => {
            let crossed = crossed.trim_start_matches(", ");
            format!("{crossed}; all {} were kept", many(kept.len(), "promise"))
        }
        0 => format!("Every promise was kept: {} of them", kept.len()),
        broken => format!(
            "{broken} of {} BROKEN{crossed}",
            many(kept.len() + broken, "promise")
        ),
    }
}

//! Every figure, in a table that a phone shows as cards.

use std::fmt::Write as _;

use super::section;
use crate::report::svg::{Text, series};
use crate::report::terminal::{mark, users};
use crate::report::text::{count, rate, spread, time};
use crate::schema::{Report, Run};

const HEADER: [&str; 11] = [
    "app",
    "cache",
    "users",
    "per second",
    "p50",
    "p90",
    "p99",
    "p99.9",
    "max",
    "requests",
    "kept",
];

impl Report {
    pub(super) fn all_figures(&self) -> String {
        let mut body = String::from("<table><thead><tr>");
        for (index, name) in HEADER.iter().enumerate() {
            let class = if index > 1 { " class=\"number\"" } else { "" };
            let _ = write!(body, "<th scope=\"col\"{class}>{name}</th>");
        }
        body.push_str("</tr></thead>\n");
        for group in self.measurements() {
            let _ = writeln!(
                body,
                "<tbody><tr class=\"group\"><th scope=\"rowgroup\" colspan=\"{}\">{}</th></tr>",
                HEADER.len(),
                Text(&group.name)
            );
            for run in group.runs {
                row(run, &mut body);
            }
            body.push_str("</tbody>\n");
        }
        body.push_str("</table>");
        section("figures", "All figures", &body)
    }
}

fn row(run: &Run, body: &mut String) {
    let latency = &run.latency_us;
    let state = if run.kept() {
        "good"
    } else if run.counts() {
        "bad"
    } else {
        "other"
    };
    let kept = run.promises.iter().filter(|promise| promise.kept).count();
    let _ = write!(
        body,
        "<tr><th scope=\"row\"><span class=\"dot {}\"></span>{}</th>",
        series(&run.app),
        Text(&run.app)
    );
    let per_second = format!("{} {}", rate(run.per_second), spread(run.spread));
    let mut cells = vec![run.cache.clone(), users(run), per_second.trim().to_owned()];
    let times = [
        latency.p50,
        latency.p90,
        latency.p99,
        latency.p999,
        latency.max,
    ];
    cells.extend(times.map(time));
    cells.push(count(latency.count));
    for (index, (cell, name)) in cells.iter().zip(&HEADER[1..]).enumerate() {
        let class = if index > 0 { " class=\"number\"" } else { "" };
        let _ = write!(body, "<td{class} data-name=\"{name}\">{}</td>", Text(cell));
    }
    let _ = writeln!(
        body,
        "<td class=\"number {state}\" data-name=\"kept\">{} {kept}/{}</td></tr>",
        mark(run.kept()),
        run.promises.len()
    );
    if let Some(remark) = remark(run) {
        let _ = writeln!(
            body,
            "<tr class=\"remark\"><td colspan=\"{}\">{remark}</td></tr>",
            HEADER.len()
        );
    }
}

/// What the facts come to, whose limit was met, and where goose tells more.
fn remark(run: &Run) -> Option<String> {
    let mut parts = Vec::new();
    if !run.summary.is_empty() {
        parts.push(Text(&run.summary).to_string());
    }
    if let Some(limit) = &run.limit {
        parts.push(format!(
            "<strong>the {} was the limit</strong>",
            Text(limit)
        ));
    }
    if run.repeats > 1 {
        parts.push(format!("median of {} rounds", run.repeats));
    }
    let file = |name: &&String| {
        // Beside the page, and nowhere else.
        let fine = |letter: char| letter.is_ascii_alphanumeric() || "-_.".contains(letter);
        name.chars().all(fine)
    };
    if let Some(goose) = run.goose.as_ref().filter(file) {
        parts.push(format!(
            "<a class=\"goose\" href=\"{}\">goose’s report</a>",
            Text(goose)
        ));
    }
    (!parts.is_empty()).then(|| parts.join(" · "))
}

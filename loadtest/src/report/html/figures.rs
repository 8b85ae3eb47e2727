//! Every figure, in a table that a phone shows as cards.

use maud::{Markup, html};

use crate::report::groups::measurements;
use crate::report::svg::{series, state};
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

pub(super) fn table(report: &Report) -> Markup {
    html! {
        table {
            thead {
                tr {
                    @for (index, name) in HEADER.iter().enumerate() {
                        th scope="col" class=[(index > 1).then_some("number")] { (name) }
                    }
                }
            }
            @for group in measurements(report) {
                tbody {
                    tr.group { th scope="rowgroup" colspan=(HEADER.len()) { (group.name) } }
                    @for run in group.runs { (row(run)) }
                }
            }
        }
    }
}

fn row(run: &Run) -> Markup {
    let state = if run.kept() || run.counts() {
        state(run.kept())
    } else {
        "other"
    };
    let per_second = format!("{} {}", rate(run.per_second), spread(run.spread));
    let mut cells = vec![run.cache.clone(), users(run), per_second.trim().to_owned()];
    cells.extend(run.latency_us.figures().map(|(_, us)| time(us)));
    cells.push(count(run.latency_us.count));
    let remarks = remarks(run);
    html! {
        tr {
            th scope="row" { span class={"dot " (series(&run.app))} {} (run.app) }
            @for (index, (cell, name)) in cells.iter().zip(&HEADER[1..]).enumerate() {
                td class=[(index > 0).then_some("number")] data-name=(name) { (cell) }
            }
            td class={"number " (state)} data-name="kept" { (mark(run.kept())) " " (run.score()) }
        }
        @if !remarks.is_empty() {
            tr.remark {
                td colspan=(HEADER.len()) {
                    @for (index, remark) in remarks.iter().enumerate() {
                        @if index > 0 { " · " }
                        (remark)
                    }
                }
            }
        }
    }
}

/// Returns what the facts come to, the limit that was met, and where goose tells more.
fn remarks(run: &Run) -> Vec<Markup> {
    let mut parts = Vec::new();
    if !run.summary.is_empty() {
        parts.push(html! { (run.summary) });
    }
    if let Some(limit) = &run.limit {
        parts.push(html! { strong { "the " (limit) " was the limit" } });
    }
    if run.repeats > 1 {
        parts.push(html! { "median of " (run.repeats) " rounds" });
    }
    // Beside the page, and nowhere else.
    let fine = |letter: char| letter.is_ascii_alphanumeric() || "-_.".contains(letter);
    if let Some(goose) = run.goose.as_ref().filter(|name| name.chars().all(fine)) {
        parts.push(html! { a.goose href=(goose) { "goose’s report" } });
    }
    parts
}

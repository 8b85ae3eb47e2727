//! The report as one page that needs nothing else: no request, no script, and no colour to
//! understand it.

mod about;
mod figures;
mod verdict;

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::groups::charts;
use super::svg::{bars, curves, fan_in, histogram, state, timeline};
use super::terminal::{headline, mark};
use super::text::{date, plain};
use crate::schema::Report;

const STYLE: &str = include_str!("html/page.css");
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'";

pub(crate) fn page(report: &Report) -> String {
    let headline = headline(report);
    let state = state(report.passed());
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta http-equiv="Content-Security-Policy" content=(POLICY);
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { "cachify load test: " (headline) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                header {
                    p.kicker { "cachify load test · " time { (date(report.started)) } }
                    h1 class=(state) {
                        span aria-hidden="true" { (mark(report.passed())) }
                        " " (headline)
                    }
                    (about::subline(report))
                }
                main {
                    (about::notes(report))
                    (section("verdict", "Verdict", &verdict::cards(report)))
                    (pictures(report))
                    (section("figures", "All figures", &figures::table(report)))
                    (section("about", "Where and how", &about::about(report)))
                }
            }
        }
    };
    let lines: Vec<String> = page.into_string().lines().map(plain).collect();
    lines.join("\n") + "\n"
}

/// Draws sections of figures; without figures there is no section.
fn pictures(report: &Report) -> Markup {
    let (charts, runs) = (&charts(report), &report.runs);
    let sections: [(&str, &str, &str, Vec<Markup>); 5] = [
        (
            "rates",
            "Answers per second",
            "Longer is better. Brackets at the end of a bar show how far the rounds lay apart. \
             Each chart has a scale of its own.",
            charts.iter().map(bars).collect(),
        ),
        (
            "latencies",
            "Latency",
            "The longest time that the fastest half, 90 %, 99 % of the requests took. Lower is \
             better, and so is flatter. Solid lines: in memory. Dashed: elsewhere.",
            charts.iter().filter_map(curves).collect(),
        ),
        (
            "stampedes",
            "Stampedes",
            "Everybody asks for an entry that nobody has read yet. The right side shows what the \
             database has to bear.",
            runs.iter().filter_map(fan_in).collect(),
        ),
        (
            "locks",
            "Who held the lock",
            "Each mark is a time during which a client held the contended lock. A staircase is a \
             queue: first come, first served. Gaps in the upper lane are hand-offs.",
            runs.iter().filter_map(timeline).collect(),
        ),
        (
            "waits",
            "Waiting in line",
            "The number of clients that waited so long for the lock, or for a place in the pool. \
             One hill is fair; a tail to the right means that some were passed over.",
            runs.iter().filter_map(histogram).collect(),
        ),
    ];
    html! {
        @for (id, title, how, figures) in &sections {
            @if !figures.is_empty() {
                (section(id, title, &html! {
                    p.how { (how) }
                    div.grid { @for figure in figures { (figure) } }
                }))
            }
        }
    }
}

fn section(id: &str, title: &str, body: &Markup) -> Markup {
    html! { section aria-labelledby=(id) { h2 id=(id) { (title) } (body) } }
}

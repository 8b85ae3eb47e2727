//! The report as one page that needs nothing else: no request, no script, and no colour to understand it.

mod about;
mod figures;
mod verdict;

use std::fmt::Write as _;

use super::headline;
use super::svg::{Figure, Text, bars, curves, fan_in, histogram, timeline};
use super::text::date;
use crate::schema::Report;

const STYLE: &str = include_str!("html/page.css");

impl Report {
    /// `report.html`.
    pub(crate) fn page(&self) -> String {
        let charts = self.charts();
        let mut figures = Figures::default();
        let rates = figures.section(
            "rates",
            "Answers per second",
            "Longer is better. Brackets at the end of a bar: how far the rounds lay apart. Each chart has a scale of its own.",
            charts.iter().map(bars),
        );
        let latencies = figures.section(
            "latencies",
            "Latency",
            "How long the fastest half, 90 %, 99 % of the requests took at most. Lower is better, and so is flatter. Solid lines: in memory. Dashed: elsewhere.",
            charts.iter().filter_map(curves),
        );
        let locks = figures.section(
            "locks",
            "Who held the lock",
            "Each mark is a time during which a client held the contended lock. A staircase is a queue: first come, first served. Gaps in the upper lane are hand-offs.",
            self.runs.iter().filter_map(timeline),
        );
        let waits = figures.section(
            "waits",
            "Waiting in line",
            "How many waited how long for the lock, or for a place in the pool. One hill is fair; a tail to the right means that some were passed over.",
            self.runs.iter().filter_map(histogram),
        );
        let stampedes = figures.section(
            "stampedes",
            "Stampedes",
            "Everybody asks for what nobody has read yet. What comes out on the right is what the database has to bear.",
            self.runs.iter().filter_map(fan_in),
        );
        let state = if self.passed() { "good" } else { "bad" };
        format!(
            "<!doctype html>\n<html lang=\"en\">\n<head><meta charset=\"utf-8\">\
             <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
             <meta name=\"color-scheme\" content=\"light dark\">\
             <title>cachify load test: {headline}</title>\n<style>\n{STYLE}</style></head>\n<body>\n\
             <header><p class=\"kicker\">cachify load test · <time>{date}</time></p>\
             <h1 class=\"{state}\"><span aria-hidden=\"true\">{mark}</span> {headline}</h1>{subline}</header>\n<main>\n\
             {notes}{verdict}{rates}{latencies}{stampedes}{locks}{waits}{table}{about}</main>\n</body>\n</html>\n",
            headline = Text(headline(self)),
            date = date(self.started),
            mark = super::terminal::mark(self.passed()),
            subline = self.subline(),
            notes = self.remarks(),
            verdict = self.verdicts(),
            table = self.all_figures(),
            about = self.about(),
        )
    }
}

/// Sections of figures, each of which gets an id.
#[derive(Default)]
struct Figures(usize);

impl Figures {
    /// Nothing if there are none.
    fn section(
        &mut self,
        id: &str,
        title: &str,
        how: &str,
        figures: impl Iterator<Item = Figure>,
    ) -> String {
        let mut shown = String::new();
        for figure in figures {
            self.0 += 1;
            shown.push_str(&figure.show(&format!("f{}", self.0)));
        }
        if shown.is_empty() {
            return shown;
        }
        section(
            id,
            title,
            &format!(
                "<p class=\"how\">{}</p><div class=\"grid\">\n{shown}</div>",
                Text(how)
            ),
        )
    }
}

fn section(id: &str, title: &str, body: &str) -> String {
    format!("<section aria-labelledby=\"{id}\"><h2 id=\"{id}\">{title}</h2>{body}</section>\n")
}

/// Names and what they stand for, where there is something.
fn list(entries: &[(&str, String)]) -> String {
    let mut list = String::from("<dl>");
    for (name, value) in entries.iter().filter(|(_, value)| !value.is_empty()) {
        let _ = write!(
            list,
            "<div><dt>{}</dt><dd>{}</dd></div>",
            Text(name),
            Text(value)
        );
    }
    list.push_str("</dl>");
    list
}

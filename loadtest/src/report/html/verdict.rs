//! What was promised, and whether it was kept.

use std::fmt::Write as _;

use super::section;
use crate::report::groups::{Group, Tally, sum};
use crate::report::svg::Text;
use crate::report::terminal::mark;
use crate::report::text::many;
use crate::schema::Report;

impl Report {
    pub(super) fn verdicts(&self) -> String {
        let mut cards = String::new();
        for group in self.scenarios() {
            card(&group, &mut cards);
        }
        if !self.thresholds.is_empty() {
            let kept = self.thresholds.iter().filter(|it| it.kept).count();
            head(
                "thresholds",
                kept,
                self.thresholds.len(),
                "asked for",
                &mut cards,
            );
            for threshold in &self.thresholds {
                item(
                    threshold.kept,
                    &threshold.text,
                    "",
                    &[&threshold.seen],
                    &mut cards,
                );
            }
            cards.push_str("</ul></article>\n");
        }
        section(
            "verdict",
            "Verdict",
            &format!("<div class=\"grid cards\">\n{cards}</div>"),
        )
    }
}

fn card(group: &Group<'_>, cards: &mut String) {
    let tallies = group.tallies();
    let (kept, of) = sum(&tallies);
    head(&group.name, kept, of, &many(group.runs.len(), "run"), cards);
    for tally in &tallies {
        let told: Vec<String> = tally.broken.iter().map(seen).collect();
        let told: Vec<&str> = told.iter().map(String::as_str).collect();
        let counted = format!("{}/{}", tally.kept, tally.of);
        item(tally.kept == tally.of, tally.text, &counted, &told, cards);
    }
    cards.push_str("</ul>");
    let elsewhere = group.elsewhere();
    if !elsewhere.is_empty() {
        cards.push_str("<p class=\"note\">Not kept by others, for comparison:</p><ul>");
        for Tally { text, broken, .. } in &elsewhere {
            for told in broken.iter().map(seen) {
                let _ = write!(
                    cards,
                    "<li class=\"other\">{}<p class=\"seen\">{}</p></li>",
                    Text(text),
                    Text(told)
                );
            }
        }
        cards.push_str("</ul>");
    }
    cards.push_str("</article>\n");
}

fn seen((title, seen): &(String, &str)) -> String {
    format!("{title}: {seen}")
}

fn head(name: &str, kept: usize, of: usize, runs: &str, cards: &mut String) {
    let state = state(kept == of);
    let _ = write!(
        cards,
        "<article class=\"card {state}\"><h3><span class=\"{state}\">{}</span> {}</h3>\
         <p class=\"count\">{kept} of {of} kept · {}</p><ul>",
        mark(kept == of),
        Text(name),
        Text(runs)
    );
}

fn item(kept: bool, text: &str, counted: &str, told: &[&str], cards: &mut String) {
    let state = state(kept);
    let word = if kept { "kept" } else { "broken" };
    let _ = write!(
        cards,
        "<li><span class=\"mark {state}\" role=\"img\" aria-label=\"{word}\">{}</span><span>{}</span><span class=\"n\">{}</span>",
        mark(kept),
        Text(text),
        Text(counted)
    );
    for told in told {
        let _ = write!(cards, "<p class=\"seen {state}\">{}</p>", Text(told));
    }
    cards.push_str("</li>");
}

fn state(kept: bool) -> &'static str {
    if kept { "good" } else { "bad" }
}

//! The promises, and whether they were kept.

use maud::{Markup, html};

use crate::report::groups::{Group, Tally, scenarios, sum};
use crate::report::svg::state;
use crate::report::terminal::mark;
use crate::report::text::many;
use crate::schema::Report;

pub(super) fn cards(report: &Report) -> Markup {
    let thresholds = &report.thresholds;
    let kept = thresholds.iter().filter(|it| it.kept).count();
    html! {
        div.grid.cards {
            @for group in scenarios(report) { (scenario(&group)) }
            @if !thresholds.is_empty() {
                (card("thresholds", (kept, thresholds.len()), "asked for", &html! {
                    ul {
                        @for it in thresholds {
                            (item(it.kept, &it.text, "", std::slice::from_ref(&it.seen)))
                        }
                    }
                }))
            }
        }
    }
}

fn scenario(group: &Group<'_>) -> Markup {
    let tallies = group.tallies();
    let elsewhere = group.elsewhere();
    let told = |tally: &Tally<'_>| {
        let broken = tally.broken.iter();
        broken
            .map(|(title, seen)| format!("{title}: {seen}"))
            .collect::<Vec<_>>()
    };
    let promises = html! {
        ul {
            @for it in &tallies {
                @let counted = format!("{}/{}", it.of - it.broken.len(), it.of);
                (item(it.broken.is_empty(), it.text, &counted, &told(it)))
            }
        }
        @if !elsewhere.is_empty() {
            p.note { "Not kept by others, for comparison:" }
            ul {
                @for it in &elsewhere {
                    @for told in told(it) { li.other { (it.text) p.seen { (told) } } }
                }
            }
        }
    };
    card(
        &group.name,
        sum(&tallies),
        &many(group.runs.len(), "run"),
        &promises,
    )
}

fn card(name: &str, (kept, of): (usize, usize), runs: &str, body: &Markup) -> Markup {
    let state = state(kept == of);
    html! {
        article class={"card " (state)} {
            h3 { span class=(state) { (mark(kept == of)) } " " (name) }
            p.count { (kept) " of " (of) " kept · " (runs) }
            (body)
        }
    }
}

fn item(kept: bool, text: &str, counted: &str, told: &[String]) -> Markup {
    let state = state(kept);
    let word = if kept { "kept" } else { "broken" };
    html! {
        li {
            span class={"mark " (state)} role="img" aria-label=(word) { (mark(kept)) }
            span { (text) }
            span.n { (counted) }
            @for told in told { p class={"seen " (state)} { (told) } }
        }
    }
}

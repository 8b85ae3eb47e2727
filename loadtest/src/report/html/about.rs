//! The machine, the build and the time, which a reader of a figure wants to know.

use maud::{Markup, html};

use crate::report::text::many;
use crate::schema::{Machine, Report, Versions};

const SHARED: &str = "The load, the apps and Redis shared this machine: compare figures of one \
    run, not those of two machines. Times are from sending a request to the last byte of its \
    answer, of every request, without the warm-up. ";

/// Returns what was run on what, for the place under the headline.
pub(super) fn subline(report: &Report) -> Markup {
    let Machine {
        cpu, processors, ..
    } = &report.machine;
    let Versions {
        cachify, commit, ..
    } = &report.versions;
    let mut parts = vec![
        many(report.runs.len(), "run"),
        format!("{:.0} s", report.seconds),
        match (*processors, cpu.is_empty()) {
            (0, _) => cpu.clone(),
            (_, true) => many(*processors, "processor"),
            (_, false) => format!("{} of {cpu}", many(*processors, "processor")),
        },
    ];
    if !cachify.is_empty() {
        parts.push(format!("cachify {cachify}"));
    }
    parts.extend(commit.iter().map(|commit| format!("commit {commit}")));
    parts.retain(|part| !part.is_empty());
    html! { p.subline { (parts.join(" · ")) } }
}

/// Returns what a reader must know before the first figure.
pub(super) fn notes(report: &Report) -> Markup {
    let debug = "This was a debug build: its figures mean nothing, its promises do.";
    let debug = report.debug_build.then_some(debug);
    html! {
        @if debug.is_some() || !report.notes.is_empty() {
            aside aria-label="Notes" {
                ul {
                    @if let Some(note) = debug { li { (note) } }
                    @for note in &report.notes { li { (note) } }
                }
            }
        }
    }
}

pub(super) fn about(report: &Report) -> Markup {
    let Report {
        machine, versions, ..
    } = report;
    let known = |number: &str, unit: &str| match number {
        "0" | "0.0" => String::new(),
        number => format!("{number} {unit}"),
    };
    let frameworks = versions.frameworks.iter();
    let frameworks: Vec<String> = frameworks
        .map(|(name, version)| format!("{name} {version}"))
        .collect();
    let build = if report.debug_build {
        "debug"
    } else {
        "release"
    };
    let entries = [
        ("processor", machine.cpu.clone()),
        ("processors", known(&machine.processors.to_string(), "")),
        (
            "memory",
            known(&format!("{:.1}", machine.memory_gib), "GiB"),
        ),
        ("system", machine.system.clone()),
        ("cachify", versions.cachify.clone()),
        ("commit", versions.commit.clone().unwrap_or_default()),
        ("rustc", versions.rustc.clone()),
        ("frameworks", frameworks.join(", ")),
        ("Redis", versions.redis.clone().unwrap_or_default()),
        ("Python", versions.python.clone().unwrap_or_default()),
        ("build", build.to_owned()),
        ("command line", report.flags.join(" ")),
    ];
    html! {
        dl {
            @for (name, value) in entries.iter().filter(|(_, value)| !value.is_empty()) {
                div { dt { (name) } dd { (value) } }
            }
        }
        p.how {
            (SHARED)
            code { "loadtest compare a.json b.json" }
            " shows what changed between two reports."
        }
    }
}

//! The machine, the build and the time, which a reader of a figure wants to know.

use itertools::Itertools;
use maud::{Markup, html};

use crate::report::text::many;
use crate::schema::Report;

const SHARED: &str = "The load, the apps and Redis shared this machine: compare figures of one \
    run, not those of two machines. Times are from sending a request to the last byte of its \
    answer, of every request, without the warm-up. ";

/// Returns what was run on what, for the place under the headline.
pub(super) fn subline(report: &Report) -> Markup {
    let (machine, versions) = (&report.machine, &report.versions);
    let cpu = &machine.cpu;
    let processors = many(machine.processors, "processor");
    let mut parts = vec![
        many(report.runs.len(), "run"),
        format!("{:.0} s", report.seconds),
        match (machine.processors, cpu.is_empty()) {
            (0, _) => cpu.clone(),
            (_, true) => processors,
            (_, false) => format!("{processors} of {cpu}"),
        },
    ];
    if !versions.cachify.is_empty() {
        parts.push(format!("cachify {}", versions.cachify));
    }
    parts.extend(
        versions
            .commit
            .iter()
            .map(|commit| format!("commit {commit}")),
    );
    parts.retain(|part| !part.is_empty());
    html! { p.subline { (parts.join(" · ")) } }
}

/// Returns what a reader must know before the first figure.
pub(super) fn notes(report: &Report) -> Markup {
    let debug = "This was a debug build: its figures mean nothing, its promises do.";
    let debug = report.debug_build.then_some(debug).into_iter();
    let notes: Vec<&str> = debug
        .chain(report.notes.iter().map(String::as_str))
        .collect();
    html! {
        @if !notes.is_empty() {
            aside aria-label="Notes" { ul { @for note in notes { li { (note) } } } }
        }
    }
}

pub(super) fn about(report: &Report) -> Markup {
    let Report {
        machine, versions, ..
    } = report;
    let processors = Some(machine.processors.to_string()).filter(|it| it != "0");
    let memory = Some(format!("{:.1} GiB", machine.memory_gib)).filter(|it| it != "0.0 GiB");
    let frameworks = versions.frameworks.iter();
    let frameworks = frameworks
        .map(|(name, version)| format!("{name} {version}"))
        .join(", ");
    let build = if report.debug_build {
        "debug"
    } else {
        "release"
    };
    let entries = [
        ("processor", machine.cpu.clone()),
        ("processors", processors.unwrap_or_default()),
        ("memory", memory.unwrap_or_default()),
        ("system", machine.system.clone()),
        ("cachify", versions.cachify.clone()),
        ("commit", versions.commit.clone().unwrap_or_default()),
        ("rustc", versions.rustc.clone()),
        ("frameworks", frameworks),
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

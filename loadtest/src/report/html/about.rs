//! Where, when and how: whoever reads a figure wants to know of what machine and what build.

use std::fmt::Write as _;

use super::{list, section};
use crate::report::svg::Text;
use crate::report::text::many;
use crate::schema::{Machine, Report, Versions};

impl Report {
    /// Under the headline: what was run on what.
    pub(super) fn subline(&self) -> String {
        let Machine {
            cpu, processors, ..
        } = &self.machine;
        let Versions {
            cachify, commit, ..
        } = &self.versions;
        let mut parts = vec![
            many(self.runs.len(), "run"),
            format!("{:.0} s", self.seconds),
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
        format!("<p class=\"subline\">{}</p>", Text(parts.join(" · ")))
    }

    /// What a reader must know before the first figure.
    pub(super) fn remarks(&self) -> String {
        let debug = "This was a debug build: its figures mean nothing, its promises do.";
        let debug = self.debug_build.then_some(debug);
        let notes = debug
            .into_iter()
            .chain(self.notes.iter().map(String::as_str));
        let mut items = String::new();
        for note in notes {
            let _ = write!(items, "<li>{}</li>", Text(note));
        }
        if items.is_empty() {
            items
        } else {
            format!("<aside aria-label=\"Notes\"><ul>{items}</ul></aside>\n")
        }
    }

    pub(super) fn about(&self) -> String {
        let Machine {
            cpu,
            processors,
            memory_gib,
            system,
        } = &self.machine;
        let Versions {
            cachify,
            rustc,
            commit,
            frameworks,
            redis,
            python,
        } = &self.versions;
        let known = |number: &str, unit: &str| match number {
            "0" | "0.0" => String::new(),
            number => format!("{number} {unit}"),
        };
        let frameworks: Vec<String> = frameworks
            .iter()
            .map(|(name, version)| format!("{name} {version}"))
            .collect();
        let entries = [
            ("processor", cpu.clone()),
            ("processors", known(&processors.to_string(), "")),
            ("memory", known(&format!("{memory_gib:.1}"), "GiB")),
            ("system", system.clone()),
            ("cachify", cachify.clone()),
            ("commit", commit.clone().unwrap_or_default()),
            ("rustc", rustc.clone()),
            ("frameworks", frameworks.join(", ")),
            ("Redis", redis.clone().unwrap_or_default()),
            ("Python", python.clone().unwrap_or_default()),
            (
                "build",
                if self.debug_build { "debug" } else { "release" }.to_owned(),
            ),
            ("command line", self.flags.join(" ")),
        ];
        let how = "<p class=\"how\">The load, the apps and Redis shared this machine: compare figures of one run, not those of two \
                   machines. Times are from sending a request to the last byte of its answer, of every request, without the warm-up. \
                   <code>loadtest compare a.json b.json</code> shows what changed between two reports.</p>";
        section(
            "about",
            "Where and how",
            &format!("{}{how}", list(&entries)),
        )
    }
}

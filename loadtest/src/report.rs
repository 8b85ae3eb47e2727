//! What is told in the end: a table, `report.json` and `report.html`.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context, Result};
use comfy_table::{CellAlignment, Table, presets};
use serde::Serialize;

use crate::load::Latency;

/// `report.json`.
#[derive(Serialize)]
pub(crate) struct Report {
    /// 1. Grows when a field is renamed or means something else; new fields may come without.
    pub(crate) schema: u32,
    /// Of this machine; the load, the apps and Redis share them.
    pub(crate) processors: usize,
    /// Of a debug build no figure means anything; promises do.
    pub(crate) debug_build: bool,
    /// Seconds since 1970.
    pub(crate) started: u64,
    /// How long everything took.
    pub(crate) seconds: f64,
    /// Whether every promise was kept.
    pub(crate) kept: bool,
    /// In the order in which they ran.
    pub(crate) runs: Vec<Run>,
}

/// One measurement of one scenario.
#[derive(Serialize)]
pub(crate) struct Run {
    pub(crate) scenario: &'static str,
    /// What was measured: scenarios with several measurements tell them apart by this.
    pub(crate) what: String,
    /// `axum`, `poem`, `warp`, or `floor`: a constant answer from an app that does nothing else.
    pub(crate) app: &'static str,
    /// `memory`, `redis`, or the scheme of the URL.
    pub(crate) cache: String,
    pub(crate) instances: u16,
    pub(crate) users: usize,
    /// How long requests were sent.
    pub(crate) seconds: f64,
    /// Requests answered as expected, per second.
    pub(crate) per_second: f64,
    /// Microseconds from sending a request to the last byte of its answer.
    pub(crate) latency_us: Latency,
    /// Numbers of this scenario; each scenario documents its own.
    pub(crate) facts: serde_json::Value,
    /// What the facts come to, for people.
    pub(crate) summary: String,
    pub(crate) promises: Vec<Promise>,
    /// Goose's report, beside `report.json`.
    pub(crate) goose: String,
}

/// Something that must hold, whatever the machine.
#[derive(Debug, Serialize)]
pub(crate) struct Promise {
    pub(crate) text: &'static str,
    pub(crate) kept: bool,
    /// What was seen.
    pub(crate) seen: String,
}

impl Promise {
    /// Kept if `seen` is what was `expected`.
    pub(crate) fn equal(text: &'static str, expected: u64, seen: u64) -> Self {
        Self {
            text,
            kept: expected == seen,
            seen: if expected == seen {
                format!("{seen}")
            } else {
                format!("{seen} instead of {expected}")
            },
        }
    }
}

impl Run {
    /// What was run on what.
    pub(crate) fn title(&self) -> String {
        format!("{} on {}, {}", self.name(), self.app, self.cache)
    }

    fn name(&self) -> String {
        format!("{} {}", self.scenario, self.what).trim().to_owned()
    }

    pub(crate) fn kept(&self) -> bool {
        self.promises.iter().all(|promise| promise.kept)
    }
}

impl Report {
    /// Every run as a row, then what they come to, then every broken promise.
    pub(crate) fn table(&self) -> String {
        let mut table = Table::new();
        table
            .load_style(presets::UTF8_BORDERS_ONLY)
            .set_header(HEADER);
        for run in &self.runs {
            table.add_row(cells(run));
        }
        for column in 4..10 {
            if let Some(column) = table.column_mut(column) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        let mut text = table.to_string();
        text.push_str("\n\n");
        for run in &self.runs {
            let _ = writeln!(text, "{}: {}", run.title(), run.summary);
        }
        text.push('\n');
        for run in &self.runs {
            for promise in run.promises.iter().filter(|promise| !promise.kept) {
                let _ = writeln!(
                    text,
                    "BROKEN  {}: {}: {}",
                    run.title(),
                    promise.text,
                    promise.seen
                );
            }
        }
        text
    }

    /// Writes both files into `directory`.
    pub(crate) fn write(&self, directory: &Path) -> Result<()> {
        let json = serde_json::to_vec_pretty(self)?;
        for (name, bytes) in [("report.json", json), ("report.html", self.html().into())] {
            let path = directory.join(name);
            std::fs::write(&path, bytes)
                .with_context(|| format!("cannot write {}", path.display()))?;
        }
        Ok(())
    }

    fn html(&self) -> String {
        let mut rows = String::new();
        for run in &self.runs {
            let _ = write!(
                rows,
                "<tr class=\"{}\">",
                if run.kept() { "kept" } else { "broken" }
            );
            for cell in cells(run) {
                let _ = write!(rows, "<td>{}</td>", escape(&cell));
            }
            let _ = write!(rows, "<td>{}</td>", escape(&run.summary));
            let _ = write!(
                rows,
                "<td><a href=\"{0}\">goose</a></td></tr>",
                escape(&run.goose)
            );
            for promise in &run.promises {
                let mark = if promise.kept { "✓" } else { "✗" };
                let _ = writeln!(
                    rows,
                    "<tr class=promise><td><td colspan=11>{mark} {}: {}</td></tr>",
                    escape(promise.text),
                    escape(&promise.seen)
                );
            }
        }
        let header = HEADER.join("</th><th>");
        format!(
            "<!doctype html><html lang=en><meta charset=utf-8><title>cachify load test</title><style>\
             body{{font:14px system-ui;margin:2em}}table{{border-collapse:collapse}}\
             td,th{{padding:.3em .8em;text-align:left;border-top:1px solid #ddd}}\
             .promise td{{border:0;color:#666}}.broken{{background:#fdd}}</style>\
             <h1>cachify load test</h1><p>{} processors, {:.0} s. Times in microseconds.</p>\
             <table><tr><th>{header}</th><th></th><th></th></tr>{rows}</table></html>\n",
            self.processors, self.seconds
        )
    }
}

const HEADER: [&str; 10] = [
    "scenario", "app", "cache", "users", "req/s", "p50 µs", "p90 µs", "p99 µs", "max µs",
    "promises",
];

fn cells(run: &Run) -> [String; 10] {
    let latency = &run.latency_us;
    let kept = run.promises.iter().filter(|promise| promise.kept).count();
    [
        run.name(),
        run.app.to_owned(),
        run.cache.clone(),
        match run.instances {
            1 => format!("{}", run.users),
            instances => format!("{} to {instances}", run.users),
        },
        format!("{:.0}", run.per_second),
        latency.p50.to_string(),
        latency.p90.to_string(),
        latency.p99.to_string(),
        latency.max.to_string(),
        format!("{kept}/{}", run.promises.len()),
    ]
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('"', "&quot;")
}

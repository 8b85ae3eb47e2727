//! What is told in the end: a table, `report.json` and `report.html`.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context, Result};
use comfy_table::{CellAlignment, Table, presets};

use crate::schema::{Report, Run};

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
                escape(run.goose.as_deref().unwrap_or_default())
            );
            for promise in &run.promises {
                let mark = if promise.kept { "✓" } else { "✗" };
                let _ = writeln!(
                    rows,
                    "<tr class=promise><td><td colspan=11>{mark} {}: {}</td></tr>",
                    escape(&promise.text),
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
            self.machine.processors, self.seconds
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
        run.app.clone(),
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

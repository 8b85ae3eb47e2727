//! What is told in the end: a table, `report.json` and `report.html`; and what changed since an earlier `report.json`.

mod columns;
mod compare;
mod groups;
mod html;
mod svg;
mod terminal;
mod text;
mod thresholds;

use std::io::Write as _;
use std::path::Path;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

pub(crate) use self::compare::{CompareFlags, compare};
use self::terminal::headline;
pub(crate) use self::thresholds::Thresholds;
use crate::schema::{Report, SCHEMA};

impl Report {
    /// Writes both files into `directory`.
    pub(crate) fn write(&self, directory: &Path) -> Result<()> {
        write(
            &directory.join("report.json"),
            &serde_json::to_vec_pretty(self)?,
        )?;
        self.write_page(&directory.join("report.html"))
    }

    pub(crate) fn write_page(&self, path: &Path) -> Result<()> {
        write(path, self.page().as_bytes())
    }

    /// Reads a `report.json` of this schema, whatever else there is in it.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let bytes =
            std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        Self::parse(&bytes).with_context(|| format!("cannot use {}", path.display()))
    }

    fn parse(bytes: &[u8]) -> Result<Self> {
        #[derive(Deserialize)]
        struct Schema {
            schema: u32,
        }
        // First, since the other fields of another schema may not even parse.
        let Schema { schema } =
            serde_json::from_slice(bytes).context("this is no report.json of a load test")?;
        if schema != SCHEMA {
            bail!(
                "its schema is {schema}, and this loadtest reads {SCHEMA}: run the load test again, or use the loadtest that wrote it"
            );
        }
        serde_json::from_slice(bytes).context("it does not keep to its schema")
    }
}

/// `loadtest render`: prints an earlier report, and writes its page anew; whether it passed.
pub(crate) fn render(json: &Path) -> Result<bool> {
    let report = Report::read(json)?;
    report.write_page(&json.with_file_name("report.html"))?;
    write!(std::io::stdout(), "{}", report.table())?;
    Ok(report.passed())
}

fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    std::fs::write(path, bytes).with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests;

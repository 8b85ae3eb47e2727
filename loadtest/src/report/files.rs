//! `report.json` and `report.html` on disk.

use std::io::Write as _;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use super::html;
use super::terminal::table;
use crate::schema::{Report, SCHEMA};

/// Writes both files into `directory`.
pub(crate) fn write(report: &Report, directory: &Path) -> Result<()> {
    let json = serde_json::to_vec_pretty(report)?;
    write_file(&directory.join("report.json"), &json)?;
    write_page(report, &directory.join("report.html"))
}

/// Prints an earlier report, and writes its page anew; returns whether it passed.
pub(crate) fn render(json: &Path) -> Result<bool> {
    let report = read(json)?;
    write_page(&report, &json.with_file_name("report.html"))?;
    write!(std::io::stdout(), "{}", table(&report))?;
    Ok(report.passed())
}

/// Reads a `report.json` of this schema, whatever else there is in it.
pub(crate) fn read(path: &Path) -> Result<Report> {
    let bytes = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    parse(&bytes).with_context(|| format!("cannot use {}", path.display()))
}

pub(crate) fn parse(bytes: &[u8]) -> Result<Report> {
    #[derive(Deserialize)]
    struct Schema {
        schema: u32,
    }
    // First, since the other fields of another schema may not even parse.
    let Schema { schema } =
        serde_json::from_slice(bytes).context("this is no report.json of a load test")?;
    ensure!(
        schema == SCHEMA,
        "its schema is {schema}, and this loadtest reads {SCHEMA}: run the load test again, or use \
         the loadtest that wrote it"
    );
    serde_json::from_slice(bytes).context("it does not keep to its schema")
}

fn write_page(report: &Report, path: &Path) -> Result<()> {
    write_file(path, html::page(report).as_bytes())
}

fn write_file(path: &Path, bytes: &[u8]) -> Result<()> {
    std::fs::write(path, bytes).with_context(|| format!("cannot write {}", path.display()))
}

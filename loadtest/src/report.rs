//! The end of a run: a table, `report.json` and `report.html`; and what changed since an earlier
//! `report.json`.

mod columns;
mod compare;
mod files;
mod groups;
mod html;
mod svg;
mod terminal;
mod text;
mod thresholds;

pub(crate) use self::compare::{CompareFlags, compare};
pub(crate) use self::files::{render, write};
pub(crate) use self::terminal::table;
pub(crate) use self::thresholds::Thresholds;

#[cfg(test)]
mod tests;

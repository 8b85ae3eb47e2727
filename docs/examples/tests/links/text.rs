//! A minimal reader of Markdown.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// A page, parsed.
pub(super) struct Page<'a> {
    /// The lines outside code blocks, with their numbers.
    pub(super) prose: Vec<(usize, &'a str)>,
    pub(super) codes: Vec<Code<'a>>,
}

/// A fenced code block.
pub(super) struct Code<'a> {
    /// The number of the line that opens it.
    pub(super) line: usize,
    pub(super) info: &'a str,
    /// The place that a comment above it names: `<!-- same as PATH:ANCHOR -->`.
    pub(super) same: Option<&'a str>,
    pub(super) lines: Vec<&'a str>,
    pub(super) is_closed: bool,
}

impl<'a> Page<'a> {
    pub(super) fn parse(text: &'a str) -> Self {
        let (mut prose, mut codes) = (Vec::new(), Vec::<Code<'a>>::new());
        let mut same = None;
        for (number, line) in (1..).zip(text.lines()) {
            let trimmed = line.trim();
            if let Some(code) = codes.last_mut().filter(|code| !code.is_closed) {
                match trimmed {
                    "```" => code.is_closed = true,
                    _ => code.lines.push(line),
                }
            } else if let Some(info) = trimmed.strip_prefix("```") {
                codes.push(Code {
                    line: number,
                    info,
                    same: same.take(),
                    lines: Vec::new(),
                    is_closed: false,
                });
            } else {
                let place = trimmed.strip_prefix("<!-- same as ");
                if let Some(place) = place.and_then(|rest| rest.strip_suffix(" -->")) {
                    same = Some(place);
                } else if !trimmed.is_empty() && !trimmed.starts_with("<!-- ") {
                    same = None;
                }
                prose.push((number, line));
            }
        }
        Self { prose, codes }
    }
}

/// Fills each block of `text` that names a source with the code that `code` finds there.
pub(super) fn filled(text: &str, code: impl Fn(&str) -> Option<Vec<String>>) -> String {
    let mut lines: Vec<_> = text.lines().map(str::to_owned).collect();
    for block in Page::parse(text).codes.iter().rev() {
        if let Some(found) = block.same.and_then(&code) {
            lines.splice(block.line..block.line + block.lines.len(), found);
        }
    }
    lines.join("\n") + "\n"
}

/// Returns the lines between the two marks of `anchor`, or all lines, without other anchors' marks.
pub(super) fn excerpt<'a>(text: &'a str, anchor: Option<&str>) -> Result<Vec<&'a str>, String> {
    let mark_of = |line: &'a str| {
        let comment = line.trim_start().trim_start_matches(['/', '#']).trim();
        let (mark, name) = comment.split_once(": ")?;
        matches!(mark, "ANCHOR" | "ANCHOR_END").then_some((mark, name.trim()))
    };
    let end_of = |mark: &str, anchor: &str| {
        let mut found = text
            .lines()
            .enumerate()
            .filter(|(_, line)| mark_of(line) == Some((mark, anchor)));
        match (found.next(), found.next()) {
            (Some((line, _)), None) => Ok(line),
            (None, _) => Err(format!("there is no `{mark}: {anchor}`")),
            _ => Err(format!("there is more than one `{mark}: {anchor}`")),
        }
    };
    let (from, to) = match anchor {
        Some(anchor) => (end_of("ANCHOR", anchor)? + 1, end_of("ANCHOR_END", anchor)?),
        None => (0, text.lines().count()),
    };
    let lines = text.lines().take(to).skip(from);
    let lines: Vec<_> = lines.filter(|line| mark_of(line).is_none()).collect();
    if lines.iter().all(|line| line.trim().is_empty()) {
        let what = anchor.map_or("the file".to_owned(), |anchor| {
            format!("the anchor `{anchor}`")
        });
        return Err(format!("{what} is empty"));
    }
    Ok(lines)
}

/// Removes the parts of a line between backquotes.
pub(super) fn without_code(line: &str) -> String {
    line.split('`').step_by(2).collect::<Vec<_>>().join(" ")
}

/// Returns the targets of a line's links and images.
pub(super) fn targets(line: &str) -> Vec<String> {
    let markdown = line
        .split("](")
        .skip(1)
        .filter_map(|rest| rest.split_once(')'));
    let html = ["src=\"", "href=\""].into_iter();
    let html = html.flat_map(|attribute| line.split(attribute).skip(1));
    let html = html.filter_map(|rest| rest.split_once('"'));
    markdown
        .chain(html)
        .map(|(target, _)| target.to_owned())
        .collect()
}

/// Returns the valid fragments of a page: mdBook's ids of headings, and ids given by hand.
pub(super) fn ids(page: &str) -> BTreeSet<String> {
    let mut ids = BTreeSet::new();
    let mut fenced = false;
    for line in page.lines() {
        fenced ^= line.trim_start().starts_with("```");
        if fenced {
            continue;
        }
        for rest in line.split("id=\"").skip(1) {
            ids.extend(rest.split('"').next().map(str::to_owned));
        }
        let heading = line.trim_start_matches('#');
        if heading.len() == line.len() || !heading.starts_with(' ') {
            continue;
        }
        let id: String = heading
            .trim()
            .chars()
            .filter_map(|letter| match letter {
                ' ' => Some('-'),
                '-' | '_' => Some(letter),
                _ => letter
                    .is_alphanumeric()
                    .then(|| letter.to_ascii_lowercase()),
            })
            .collect();
        ids.insert(id);
    }
    ids
}

pub(super) fn files(directory: &Path, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path, extension));
        } else if path.extension().is_some_and(|found| found == extension) {
            found.push(path.canonicalize().unwrap());
        }
    }
    found.sort();
    found
}

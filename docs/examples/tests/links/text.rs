//! What stands in Markdown.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// The lines between an anchor's two ends.
pub(super) fn excerpt<'a>(text: &'a str, anchor: &str) -> Result<Vec<&'a str>, String> {
    let end_of = |mark: &str| {
        let mut found = text.lines().enumerate().filter(|(_, line)| {
            line.trim_start()
                .trim_start_matches(['/', '#'])
                .trim()
                .strip_prefix(mark)
                .is_some_and(|name| name.trim() == anchor)
        });
        match (found.next(), found.next()) {
            (Some((line, _)), None) => Ok(line),
            (None, _) => Err(format!("there is no `{mark} {anchor}`")),
            _ => Err(format!("there is more than one `{mark} {anchor}`")),
        }
    };
    let (from, to) = (end_of("ANCHOR:")?, end_of("ANCHOR_END:")?);
    let lines: Vec<_> = text.lines().take(to).skip(from + 1).collect();
    if lines.iter().all(|line| line.trim().is_empty()) {
        return Err(format!("the anchor `{anchor}` is empty"));
    }
    Ok(lines)
}

/// What stands in `{{#..}}`.
pub(super) fn directives(line: &str) -> impl Iterator<Item = &str> {
    line.split("{{#")
        .skip(1)
        .filter_map(|rest| rest.split_once("}}").map(|(directive, _)| directive))
}

/// A line without what stands between backquotes.
pub(super) fn without_code(line: &str) -> String {
    line.split('`').step_by(2).collect::<Vec<_>>().join(" ")
}

/// Where the links and images of a line lead.
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

/// What a fragment may name: mdBook's ids of headings, and those given by hand.
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

use std::fs;
use std::path::Path;

use crate::run::Failure;

/// The blocks of a page, in order.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Page {
    pub(crate) blocks: Vec<Block>,
}

/// A fenced block with commands or their output, or a comment about one.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Block {
    /// The place of the block: `docs/src/page.md:12`.
    pub(crate) place: String,
    /// The language: `sh`, `console` or `rust`; empty for a comment alone.
    pub(crate) kind: String,
    pub(crate) lines: Vec<String>,
    /// The comment before the block, as in `<!-- try: serve -->`.
    pub(crate) how: String,
}

impl Page {
    /// Reads the page at `path` under `root`.
    pub(crate) fn read(root: &Path, path: &str) -> Result<Self, Failure> {
        let file = root.join(path);
        let text = fs::read_to_string(&file).map_err(|error| format!("{path}: {error}"))?;
        let directory = file.parent().unwrap_or(root);
        Self::parse(path, &text, &|include| expand(directory, include))
    }

    fn parse(
        path: &str,
        text: &str,
        include: &dyn Fn(&str) -> Result<Vec<String>, Failure>,
    ) -> Result<Self, Failure> {
        let mut blocks = Vec::new();
        let mut how = String::new();
        let mut open: Option<Block> = None;
        for (number, line) in (1..).zip(text.lines()) {
            let place = || format!("{path}:{number}");
            let trimmed = line.trim();
            if let Some(mut block) = open.take() {
                if trimmed == "```" {
                    blocks.push(block);
                    continue;
                }
                block.lines.push(line.to_owned());
                open = Some(block);
            } else if let Some(info) = trimmed.strip_prefix("```") {
                open = Some(Block {
                    place: place(),
                    kind: info.split([',', ' ']).next().unwrap_or_default().to_owned(),
                    lines: Vec::new(),
                    how: std::mem::take(&mut how),
                });
            } else if let Some(comment) = trimmed
                .strip_prefix("<!-- try: ")
                .and_then(|rest| rest.strip_suffix(" -->"))
            {
                // `FILE = PATH` names the whole file that the page shows in parts.
                match comment.split_once(" = ") {
                    Some((file, what)) => blocks.push(Block {
                        place: place(),
                        kind: String::new(),
                        lines: include(what)?,
                        how: file.to_owned(),
                    }),
                    None => comment.clone_into(&mut how),
                }
            } else if !trimmed.is_empty()
                && !trimmed.starts_with("<!-- same as ")
                && !how.is_empty()
            {
                return Err(format!("{}: `try: {how}` is not before a block", place()));
            }
        }
        blocks.retain(|block: &Block| {
            matches!(block.kind.as_str(), "sh" | "console") || !block.how.is_empty()
        });
        Ok(Self { blocks })
    }
}

/// Returns the lines of `PATH` or `PATH:ANCHOR`, as mdBook does.
fn expand(directory: &Path, include: &str) -> Result<Vec<String>, Failure> {
    let (path, anchor) = match include.split_once(':') {
        Some((path, anchor)) => (path, Some(anchor)),
        None => (include, None),
    };
    let text =
        fs::read_to_string(directory.join(path)).map_err(|error| format!("{include}: {error}"))?;
    Ok(excerpt(&text, anchor))
}

fn excerpt(text: &str, anchor: Option<&str>) -> Vec<String> {
    let mut inside = anchor.is_none();
    let mut lines = Vec::new();
    for line in text.lines() {
        let mark = line.trim_start().trim_start_matches(['/', ' ']);
        if let Some(name) = mark.strip_prefix("ANCHOR: ") {
            inside |= Some(name.trim()) == anchor;
        } else if let Some(name) = mark.strip_prefix("ANCHOR_END: ") {
            inside &= Some(name.trim()) != anchor;
        } else if inside {
            lines.push(line.to_owned());
        }
    }
    lines
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::{Page, excerpt};

    fn parse(text: &str) -> Result<Page, String> {
        Page::parse("p.md", text, &|what| Ok(vec![format!("<{what}>")]))
    }

    #[test]
    fn blocks_have_places_and_comments() {
        let text = "a\n```sh\nls\n```\n<!-- try: serve -->\n```sh\ncargo run\n```\n\
                    ```rust\nno\n```\n<!-- try: src/main.rs -->\n<!-- same as x.rs:y -->\n\n\
                    ```rust\nfn y() {}\n\n```\n<!-- try: a = b.rs -->\n```\nno\n```\n";
        let page = parse(text).unwrap();
        let found: Vec<_> = page
            .blocks
            .iter()
            .map(|block| {
                (
                    block.place.as_str(),
                    block.how.as_str(),
                    block.lines.join("|"),
                )
            })
            .collect();
        let expected = [
            ("p.md:2", "", "ls"),
            ("p.md:6", "serve", "cargo run"),
            ("p.md:15", "src/main.rs", "fn y() {}|"),
            ("p.md:19", "a", "<b.rs>"),
        ];
        assert_eq!(
            found,
            expected.map(|(place, how, lines)| (place, how, lines.to_owned()))
        );
    }

    #[test]
    fn a_comment_that_leads_nowhere_is_told() {
        let failure = parse("<!-- try: serve -->\ntext\n").unwrap_err();
        assert!(failure.contains("p.md:2"), "{failure}");
    }

    #[test]
    fn excerpts_are_without_their_marks() {
        let text =
            "a\n// ANCHOR: x\nb\n    // ANCHOR: y\nc\n// ANCHOR_END: y\n// ANCHOR_END: x\nd\n";
        assert_eq!(excerpt(text, Some("x")), ["b", "c"]);
        assert_eq!(excerpt(text, Some("y")), ["c"]);
        assert_eq!(excerpt(text, None), ["a", "b", "c", "d"]);
    }
}

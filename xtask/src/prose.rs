//! The form of comments, docs and pages: first words, and width.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::time::Duration;

use proc_macro2::{TokenStream, TokenTree};

use crate::run::{Failure, ask};

const WIDTH: usize = 100;

/// The words that no summary begins with: it begins with a verb, or with a noun that names the
/// thing.
const NOT_FIRST: [&str; 11] = [
    "what",
    "who",
    "whom",
    "whose",
    "whoever",
    "how",
    "whether",
    "where",
    "when",
    "which",
    "whichever",
];

/// Checks all Rust files and pages below the paths in `only`.
pub(crate) fn check(only: &[String]) -> Result<String, Failure> {
    let list = ["ls-files", "--cached", "--others", "--exclude-standard"];
    let list = [&list[..], &["--", "*.rs", "*.md"]].concat();
    let files = ask("git", &list, Duration::from_secs(10)).ok_or("`git ls-files` fails")?;
    let (mut checked, mut count, mut found) = (0, 0, String::new());
    for file in files.lines() {
        let is_meant = only.is_empty() || only.iter().any(|path| file.starts_with(path));
        let text = fs::read_to_string(file);
        let (true, Ok(text)) = (is_meant, text) else {
            continue;
        };
        checked += 1;
        let is_page = Path::new(file).extension().is_some_and(|end| end == "md");
        let findings = if is_page {
            in_page(&text)
        } else {
            in_rust(&text)
        };
        for (line, finding) in findings {
            count += 1;
            let _ = writeln!(found, "{file}:{line}: {finding}");
        }
    }
    if found.is_empty() {
        Ok(format!("{checked} files"))
    } else {
        Err(format!("{count} lines to write anew:\n{found}"))
    }
}

type Findings = Vec<(usize, String)>;

fn in_rust(text: &str) -> Findings {
    let data = raw_literals(text);
    let mut findings = Findings::new();
    let mut before = None;
    for (number, line) in (1..).zip(text.lines()) {
        let comment = ["/// ", "//! "].iter().find_map(|mark| {
            let rest = line.trim_start().strip_prefix(mark)?;
            Some((*mark, rest))
        });
        if let Some((mark, rest)) = comment
            && before != Some(mark)
        {
            let word = rest.trim_start_matches(['*', '_', '(']);
            let word = word.split(|letter: char| !letter.is_alphabetic()).next();
            let word = word.unwrap_or_default();
            if NOT_FIRST.contains(&word.to_lowercase().as_str()) {
                findings.push((number, format!("a summary begins with \"{word}\"")));
            }
        }
        let marked = ["///", "//!"].into_iter();
        let empty = marked
            .zip(["/// ", "//! "])
            .find(|(mark, _)| line.trim() == *mark);
        before = comment
            .map(|(mark, _)| mark)
            .or(empty.map(|(_, mark)| mark));
        let is_table = comment.is_some_and(|(_, rest)| rest.starts_with('|'));
        if !is_table && !data.contains(&number) {
            findings.extend(too_wide(line).map(|finding| (number, finding)));
        }
    }
    findings
}

fn in_page(text: &str) -> Findings {
    let mut findings = Findings::new();
    let mut is_code = false;
    for (number, line) in (1..).zip(text.lines()) {
        let trimmed = line.trim_start();
        is_code ^= trimmed.starts_with("```");
        if !is_code && !trimmed.starts_with('|') && !trimmed.starts_with("<!--") {
            findings.extend(too_wide(line).map(|finding| (number, finding)));
        }
    }
    findings
}

/// Returns a finding if a line is too wide. Targets of links do not count, since they cannot be
/// broken.
fn too_wide(line: &str) -> Option<String> {
    let width = line.chars().count();
    if width <= WIDTH {
        return None;
    }
    let mut targets = 0;
    for rest in line.split("](").skip(1) {
        targets += rest.find(')').unwrap_or(0);
    }
    for word in line.split_whitespace().filter(|word| word.contains("://")) {
        let is_counted = word.contains("](");
        targets += if is_counted { 0 } else { word.chars().count() };
    }
    (width - targets > WIDTH).then(|| format!("{width} columns"))
}

/// Returns the lines of raw literals, which are data: a line break would change them.
fn raw_literals(text: &str) -> HashSet<usize> {
    fn gather(tokens: TokenStream, lines: &mut HashSet<usize>) {
        for token in tokens {
            match token {
                TokenTree::Group(group) => gather(group.stream(), lines),
                TokenTree::Literal(literal) if is_raw(&literal.to_string()) => {
                    let span = literal.span();
                    lines.extend(span.start().line..=span.end().line);
                }
                _ => {}
            }
        }
    }
    let is_wide = text.lines().any(|line| line.len() > WIDTH);
    let mut lines = HashSet::new();
    if is_wide && let Ok(tokens) = text.parse() {
        gather(tokens, &mut lines);
    }
    lines
}

fn is_raw(literal: &str) -> bool {
    ["r\"", "r#", "br\"", "br#"]
        .iter()
        .any(|start| literal.starts_with(start))
}

#[cfg(test)]
mod tests {
    use super::{in_page, in_rust};

    fn lines(text: &str) -> Vec<usize> {
        in_rust(text).into_iter().map(|(line, _)| line).collect()
    }

    #[test]
    fn summaries_begin_with_a_verb_or_a_noun() {
        let text = "//! What it is.\n\n/// Whether it is.\nfn a() {}\n\
                    /// Returns it.\n///\n/// When done.\nfn b() {}\nstruct C {\n\
                    /// **How** it is.\nc: u8,\n/// However it is.\nd: u8,\n}\n";
        assert_eq!(lines(text), [1, 3, 10]);
    }

    #[test]
    fn wide_lines_are_found_unless_they_cannot_be_broken() {
        let wide = "x ".repeat(60);
        let raw = format!("const A: &str = r#\"\n{wide}\n\"#;\n");
        assert!(lines(&raw).is_empty());
        let table = format!("/// | {wide} |\nfn a() {{}}\n");
        assert!(lines(&table).is_empty());
        let url = format!(
            "/// See <https://example.org/{}>.\nfn a() {{}}\n",
            "x".repeat(90)
        );
        assert!(lines(&url).is_empty());
        for comment in ["//", "///", "fn a() {} //"] {
            assert_eq!(lines(&format!("{comment} {wide}\nfn b() {{}}\n")), [1]);
        }
        assert_eq!(lines(&format!("const A: &str = \"{wide}\";\n")), [1]);
    }

    #[test]
    fn code_and_tables_of_pages_may_be_wide() {
        let wide = "x ".repeat(60);
        let page = format!("{wide}\n| {wide} |\n```sh\n{wide}\n```\n- {wide}\n");
        let found = in_page(&page);
        assert_eq!(
            found.iter().map(|(line, _)| *line).collect::<Vec<_>>(),
            [1, 6]
        );
    }
}

//! Every link, include and anchor of the book leads somewhere, and all Rust in it is included from what is compiled.
#![allow(clippy::expect_used, clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

#[test]
fn nothing_in_the_book_is_broken() {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let complaints = check(
        &docs.join("src"),
        &[docs.join("examples"), docs.join("../examples/recipes")],
    );
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
}

/// What is wrong with the book in `src`. Each anchor in the files of `sources` must be on some page.
fn check(src: &Path, sources: &[PathBuf]) -> Vec<String> {
    let src = src.canonicalize().unwrap();
    let mut book = Book {
        complaints: Vec::new(),
        listed: BTreeSet::new(),
        included: BTreeSet::new(),
        included_pages: BTreeSet::new(),
        src,
    };
    let pages = files(&book.src, "md");
    for page in &pages {
        book.page(page);
    }
    for page in &pages {
        let is_part = book.included_pages.contains(page);
        if !book.listed.contains(page) && !is_part && !page.ends_with("SUMMARY.md") {
            book.complain(page, 0, "is not in SUMMARY.md");
        }
    }
    for source in sources.iter().flat_map(|source| files(source, "rs")) {
        book.source(&source);
    }
    book.complaints
}

struct Book {
    src: PathBuf,
    complaints: Vec<String>,
    /// The pages that SUMMARY.md links to.
    listed: BTreeSet<PathBuf>,
    /// Anchors that some page includes.
    included: BTreeSet<(PathBuf, String)>,
    /// Pages that are a part of another page.
    included_pages: BTreeSet<PathBuf>,
}

/// A fenced block that is being read.
struct Fence<'a> {
    mark: &'a str,
    is_rust: bool,
}

impl Book {
    fn complain(&mut self, page: &Path, line: usize, what: &str) {
        let page = page.strip_prefix(&self.src).unwrap_or(page).display();
        self.complaints.push(format!("{page}:{line}: {what}"));
    }

    fn page(&mut self, page: &Path) {
        let text = fs::read_to_string(page).unwrap();
        let mut fence: Option<Fence<'_>> = None;
        for (number, line) in (1..).zip(text.lines()) {
            for directive in directives(line) {
                self.include(page, number, directive);
            }
            let trimmed = line.trim_start();
            if let Some(open) = &fence {
                if trimmed.trim_end() == open.mark {
                    fence = None;
                } else if open.is_rust && !trimmed.is_empty() && !trimmed.starts_with("{{#include ")
                {
                    self.complain(page, number, "Rust that nothing compiles: include it");
                }
                continue;
            }
            if let Some(info) = trimmed.strip_prefix("```") {
                fence = Some(Fence {
                    mark: "```",
                    is_rust: info.starts_with("rust"),
                });
                continue;
            }
            for target in targets(&without_code(line)) {
                self.link(page, number, &target);
            }
        }
        if fence.is_some() {
            self.complain(page, text.lines().count(), "a code block is not closed");
        }
    }

    fn include(&mut self, page: &Path, line: usize, directive: &str) {
        let Some(argument) = directive.strip_prefix("include ") else {
            let what = format!("`{{{{#{directive}}}}}`: only `include` is checked, so use that");
            return self.complain(page, line, &what);
        };
        let (file, anchor) = match argument.trim().split_once(':') {
            Some((file, anchor)) => (file, Some(anchor)),
            None => (argument.trim(), None),
        };
        let Ok(path) = page.parent().unwrap().join(file).canonicalize() else {
            return self.complain(page, line, &format!("there is no file {file} to include"));
        };
        let Some(anchor) = anchor else {
            self.included_pages.insert(path);
            return;
        };
        let text = fs::read_to_string(&path).unwrap();
        match excerpt(&text, anchor) {
            Ok(_) => {
                self.included.insert((path, anchor.to_owned()));
            }
            Err(what) => self.complain(page, line, &format!("{file}: {what}")),
        }
    }

    fn link(&mut self, page: &Path, line: usize, target: &str) {
        if target.contains("://") || target.starts_with("mailto:") {
            return;
        }
        let (file, fragment) = match target.split_once('#') {
            Some((file, fragment)) => (file, Some(fragment)),
            None => (target, None),
        };
        let path = if file.is_empty() {
            page.to_owned()
        } else {
            let Ok(path) = page.parent().unwrap().join(file).canonicalize() else {
                return self.complain(page, line, &format!("there is no {file}"));
            };
            path
        };
        if !path.starts_with(&self.src) {
            let what = format!("{file} is not part of the book, where a reader cannot follow");
            return self.complain(page, line, &what);
        }
        if page.ends_with("SUMMARY.md") {
            self.listed.insert(path.clone());
        }
        if let Some(fragment) = fragment
            && !ids(&fs::read_to_string(&path).unwrap()).contains(fragment)
        {
            self.complain(page, line, &format!("nothing in {target} has that id"));
        }
    }

    fn source(&mut self, source: &Path) {
        let text = fs::read_to_string(source).unwrap();
        for (number, line) in (1..).zip(text.lines()) {
            if let Some(anchor) = line.trim_start().strip_prefix("// ANCHOR: ")
                && !self
                    .included
                    .contains(&(source.to_owned(), anchor.trim().to_owned()))
            {
                self.complain(source, number, "no page includes this anchor");
            }
        }
    }
}

/// The lines between an anchor's two ends.
fn excerpt<'a>(text: &'a str, anchor: &str) -> Result<Vec<&'a str>, String> {
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
fn directives(line: &str) -> impl Iterator<Item = &str> {
    line.split("{{#")
        .skip(1)
        .filter_map(|rest| rest.split_once("}}").map(|(directive, _)| directive))
}

/// A line without what stands between backquotes.
fn without_code(line: &str) -> String {
    line.split('`').step_by(2).collect::<Vec<_>>().join(" ")
}

/// Where the links and images of a line lead.
fn targets(line: &str) -> Vec<String> {
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
fn ids(page: &str) -> BTreeSet<String> {
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

fn files(directory: &Path, extension: &str) -> Vec<PathBuf> {
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

/// A small book with one page and one source, each as given.
fn complaints(page: &str, source: &str) -> Vec<String> {
    let root = tempfile::tempdir().unwrap();
    let (src, code) = (root.path().join("src"), root.path().join("code"));
    fs::create_dir(&src).unwrap();
    fs::create_dir(&code).unwrap();
    fs::write(src.join("SUMMARY.md"), "- [Page](page.md)\n").unwrap();
    fs::write(src.join("page.md"), page).unwrap();
    fs::write(code.join("code.rs"), source).unwrap();
    fs::write(root.path().join("outside.md"), "").unwrap();
    check(&src, &[code])
}

const CODE: &str = "// ANCHOR: whole\nfn f() {}\n// ANCHOR_END: whole\n";

#[test]
fn what_is_whole_passes() {
    let page = "# A heading\n[up](#a-heading) [self](page.md#a-heading) [out](https://example.org/none) `[code](none.md)`\n\
                ```rust\n{{#include ../code/code.rs:whole}}\n```\n```sh\n[no link](none.md)\n```\n";
    assert_eq!(complaints(page, CODE), [""; 0]);
}

#[test]
fn what_is_broken_is_told() {
    let include = "```rust\n{{#include ../code/code.rs:whole}}\n```\n";
    for (page, source, complaint) in [
        ("[gone](none.md)", "", "page.md:1: there is no none.md"),
        ("![gone](img/none.svg)", "", "there is no img/none.svg"),
        ("<img src=\"none.svg\">", "", "there is no none.svg"),
        ("[gone](page.md#none)", "", "has that id"),
        ("[out](../outside.md)", "", "is not part of the book"),
        ("{{#include ../none.rs}}", "", "there is no file ../none.rs"),
        (include, "", "there is no `ANCHOR: whole`"),
        (include, "// ANCHOR: whole\nf\n", "no `ANCHOR_END: whole`"),
        (include, "// ANCHOR: whole\n// ANCHOR_END: whole\n", "empty"),
        (include, &[CODE, CODE].concat(), "more than one"),
        ("", CODE, "no page includes this anchor"),
        ("```rust\nfn f() {}\n```", "", "nothing compiles"),
        ("{{#playground ../code/code.rs}}", "", "only `include`"),
        ("```sh\n", "", "is not closed"),
    ] {
        let found = complaints(page, source);
        assert!(
            found.iter().any(|found| found.contains(complaint)),
            "{page}: {found:?}"
        );
    }
}

#[test]
fn a_page_that_is_not_listed_is_told() {
    let root = tempfile::tempdir().unwrap();
    fs::write(root.path().join("SUMMARY.md"), "# Summary\n").unwrap();
    fs::write(root.path().join("lost.md"), "# Lost\n").unwrap();
    assert_eq!(check(root.path(), &[]), ["lost.md:0: is not in SUMMARY.md"]);
}

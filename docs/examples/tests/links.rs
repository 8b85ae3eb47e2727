//! Every link, include and anchor of the book leads somewhere, and all Rust in it is included from what is compiled. So do the links
//! of all other pages of the repository, whose Rust is compared with what is compiled, as a README can include nothing.
#![allow(clippy::expect_used, clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

#[path = "links/text.rs"]
mod text;
use text::{directives, excerpt, files, ids, targets, without_code};

#[test]
fn nothing_in_the_book_is_broken() {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let repository = docs.join("..").canonicalize().unwrap();
    let complaints = check(
        &docs.join("src"),
        &[docs.join("examples"), docs.join("../examples/recipes")],
        &others(&repository),
    );
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
}

#[test]
fn every_test_that_the_table_of_conformance_names_exists() {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let page = repository.join("docs/src/guides/http-conformance.md");
    let sources: String = [
        "cachify-core/src/http",
        "cachify-core/tests",
        "cachify-axum/tests",
    ]
    .iter()
    .flat_map(|directory| files(&repository.join(directory), "rs"))
    .map(|file| fs::read_to_string(file).unwrap())
    .collect();
    let page = fs::read_to_string(page).unwrap();
    let named: BTreeSet<_> = page
        .split('`')
        .filter(|word| word.starts_with(['c', 'h']) && word.contains('_') && !word.contains(' '))
        .collect();
    assert!(named.len() > 40, "{named:?}");
    for name in named {
        assert!(sources.contains(&format!("fn {name}(")), "{name}");
    }
}

/// The repository's pages outside of the book.
fn others(repository: &Path) -> Vec<PathBuf> {
    let beside = |directory: &Path| {
        let entries = fs::read_dir(directory).unwrap();
        let entries = entries.map(|entry| entry.unwrap().path());
        entries.collect::<Vec<_>>()
    };
    let mut pages: Vec<_> = beside(repository)
        .into_iter()
        .flat_map(|path| {
            if path.is_dir() {
                beside(&path)
            } else {
                vec![path]
            }
        })
        .chain(beside(&repository.join(".github/ISSUE_TEMPLATE")))
        .filter(|path| path.extension().is_some_and(|extension| extension == "md"))
        .collect();
    pages.sort();
    assert!(pages.len() > 8, "{pages:?}");
    pages
}

/// What is wrong with the book in `src`, and with `others`. Each anchor in the files of `sources` must be on some page.
fn check(src: &Path, sources: &[PathBuf], others: &[PathBuf]) -> Vec<String> {
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
    for other in others {
        book.other(other);
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

    /// A page that is not the book's, and is read as it is.
    fn other(&mut self, page: &Path) {
        let text = fs::read_to_string(page).unwrap();
        let directory = page.parent().unwrap();
        let (mut same, mut fence): (Option<String>, Option<Vec<&str>>) = (None, None);
        for (number, line) in (1..).zip(text.lines()) {
            if let Some(mut lines) = fence.take() {
                if line != "```" {
                    lines.push(line);
                    fence = Some(lines);
                } else if let Some(same) = same.take() {
                    self.same(page, number, &same, &lines);
                }
                continue;
            }
            if line.starts_with("```") {
                fence = Some(Vec::new());
                // Those of crates are doctests.
                let is_tested = directory.join("src/lib.rs").exists();
                if line.starts_with("```rust") && same.is_none() && !is_tested {
                    self.complain(page, number, "Rust that nothing compiles");
                }
                continue;
            }
            let comment = line.strip_prefix("<!-- same as ");
            if let Some(place) = comment.and_then(|rest| rest.strip_suffix(" -->")) {
                same = Some(place.to_owned());
            }
            for target in targets(&without_code(line)) {
                let file = target.split('#').next().unwrap_or_default();
                // A page's own headings, other sites, and items of Rust.
                let is_elsewhere = ["://", "::", "mailto:"]
                    .iter()
                    .any(|mark| target.contains(mark));
                if !is_elsewhere && !directory.join(file).exists() {
                    self.complain(page, number, &format!("there is no {file}"));
                }
            }
        }
    }

    /// What a README repeats must be what is compiled.
    fn same(&mut self, page: &Path, line: usize, place: &str, lines: &[&str]) {
        let (file, anchor) = place.split_once(':').unwrap_or((place, ""));
        let Ok(path) = page.parent().unwrap().join(file).canonicalize() else {
            return self.complain(page, line, &format!("there is no {file}"));
        };
        let text = fs::read_to_string(&path).unwrap();
        match excerpt(&text, anchor) {
            Ok(expected) if expected == lines => {
                self.included.insert((path, anchor.to_owned()));
            }
            Ok(_) => self.complain(page, line, &format!("is not the same as {place}")),
            Err(what) => self.complain(page, line, &format!("{file}: {what}")),
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
    check(&src, &[code], &[])
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
    assert_eq!(
        check(root.path(), &[], &[]),
        ["lost.md:0: is not in SUMMARY.md"]
    );
}

#[test]
fn a_readme_repeats_what_is_compiled_and_links_to_what_there_is() {
    let root = tempfile::tempdir().unwrap();
    let page = root.path().join("README.md");
    fs::write(root.path().join("SUMMARY.md"), "# Summary\n").unwrap();
    fs::write(root.path().join("code.rs"), CODE).unwrap();
    let complaints = |text: &str| {
        fs::write(&page, text).unwrap();
        let book = root.path().join("book");
        fs::create_dir_all(&book).unwrap();
        check(&book, &[], std::slice::from_ref(&page))
    };
    let same =
        "<!-- same as code.rs:whole -->\n```rust\nfn f() {}\n```\n[code](code.rs#x) [item](a::b)\n";
    assert_eq!(complaints(same), [""; 0]);
    for (text, complaint) in [
        (
            "<!-- same as code.rs:whole -->\n```rust\nfn g() {}\n```\n",
            "not the same",
        ),
        (
            "<!-- same as code.rs:part -->\n```rust\nfn f() {}\n```\n",
            "ANCHOR: part",
        ),
        ("```rust\nfn f() {}\n```\n", "nothing compiles"),
        ("[gone](none.md)\n", "there is no none.md"),
    ] {
        let found = complaints(text);
        assert!(
            found.iter().any(|found| found.contains(complaint)),
            "{found:?}"
        );
    }
}

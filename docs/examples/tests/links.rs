//! Checks the links of the book and of the repository's other pages, and that the Rust code on them
//! equals the compiled code. With `UPDATE_BOOK=1` in the environment, it first writes the compiled
//! code into the pages.
#![allow(clippy::expect_used, clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

#[path = "links/text.rs"]
mod text;
use text::{Code, Page, excerpt, files, filled, ids, targets, without_code};

/// The address where the book is published.
const BOOK: &str = "https://cachify.github.io/cachify/";

#[test]
fn nothing_in_the_book_is_broken() {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let repository = docs.join("..").canonicalize().unwrap();
    if std::env::var_os("UPDATE_BOOK").is_some() {
        let pages = files(&docs.join("src"), "md");
        for page in pages.iter().chain(&others(&repository)) {
            update(page);
        }
    }
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
        "cachify-core/src/testing/adapter",
    ]
    .iter()
    .flat_map(|directory| files(&repository.join(directory), "rs"))
    .map(|file| fs::read_to_string(file).unwrap())
    .collect();
    let page = fs::read_to_string(page).unwrap();
    let named: BTreeSet<_> = page
        .split('`')
        .filter(|word| {
            word.starts_with(['c', 'h']) && word.contains('_') && !word.contains([' ', '('])
        })
        .collect();
    assert!(named.len() > 40, "{named:?}");
    for name in named {
        assert!(sources.contains(&format!("fn {name}(")), "{name}");
    }
}

/// Copies the code that the page names into it.
fn update(page: &Path) {
    let text = fs::read_to_string(page).unwrap();
    let filled = filled(&text, |place| {
        let (path, anchor) = resolve(page, place);
        let source = fs::read_to_string(path).ok()?;
        let lines = excerpt(&source, anchor).ok()?;
        Some(lines.into_iter().map(str::to_owned).collect())
    });
    if filled != text {
        fs::write(page, filled).unwrap();
    }
}

/// The file and the anchor of `PATH:ANCHOR` or `PATH`, as seen from a page.
fn resolve<'a>(page: &Path, place: &'a str) -> (PathBuf, Option<&'a str>) {
    let (file, anchor) = match place.split_once(':') {
        Some((file, anchor)) => (file, Some(anchor)),
        None => (place, None),
    };
    (page.parent().unwrap().join(file), anchor)
}

/// Lists the repository's pages outside the book.
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

/// Lists the mistakes in the book in `src` and in `others`. Each anchor in the files of `sources`
/// must be on some page.
fn check(src: &Path, sources: &[PathBuf], others: &[PathBuf]) -> Vec<String> {
    let src = src.canonicalize().unwrap();
    let mut book = Book {
        complaints: Vec::new(),
        listed: BTreeSet::new(),
        repeated: BTreeSet::new(),
        src,
    };
    let pages = files(&book.src, "md");
    for page in &pages {
        book.page(page);
    }
    for page in &pages {
        if !book.listed.contains(page) && !page.ends_with("SUMMARY.md") {
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
    /// Anchors whose code is on some page.
    repeated: BTreeSet<(PathBuf, String)>,
}

impl Book {
    fn complain(&mut self, page: &Path, line: usize, what: &str) {
        let page = page.strip_prefix(&self.src).unwrap_or(page).display();
        self.complaints.push(format!("{page}:{line}: {what}"));
    }

    fn page(&mut self, page: &Path) {
        let text = fs::read_to_string(page).unwrap();
        let parsed = Page::parse(&text);
        for (number, line) in parsed.prose {
            for target in targets(&without_code(line)) {
                self.link(page, number, &target);
            }
        }
        for code in &parsed.codes {
            self.code(page, code, false);
        }
        for (number, line) in (1..).zip(text.lines()) {
            if line.contains("{{#") {
                let what = "an include, which shows nothing where the source is read";
                self.complain(page, number, what);
            }
        }
    }

    /// A code block that names its source must be equal to it, and a Rust block must name its
    /// source unless a doctest compiles it.
    fn code(&mut self, page: &Path, code: &Code<'_>, is_doctest: bool) {
        if !code.is_closed {
            return self.complain(page, code.line, "the code block is not closed");
        }
        let Some(place) = code.same else {
            if code.info.starts_with("rust") && !is_doctest {
                let what = "Rust that nothing compiles: say what it is the same as";
                self.complain(page, code.line, what);
            }
            return;
        };
        let (path, anchor) = resolve(page, place);
        let Ok(path) = path.canonicalize() else {
            let what = format!("there is no {place} to be the same as");
            return self.complain(page, code.line, &what);
        };
        let text = fs::read_to_string(&path).unwrap();
        match excerpt(&text, anchor) {
            Ok(expected) if expected == code.lines => {
                (self.repeated).insert((path, anchor.unwrap_or_default().to_owned()));
            }
            Ok(_) => {
                let what = format!("is not the same as {place}: `UPDATE_BOOK=1` makes it so");
                self.complain(page, code.line, &what);
            }
            Err(what) => self.complain(page, code.line, &format!("{place}: {what}")),
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

    /// Reads a page that is not part of the book.
    fn other(&mut self, page: &Path) {
        let text = fs::read_to_string(page).unwrap();
        let directory = page.parent().unwrap();
        let parsed = Page::parse(&text);
        // The READMEs of crates are doctests.
        let is_doctest = directory.join("src/lib.rs").exists();
        for code in &parsed.codes {
            self.code(page, code, is_doctest);
        }
        for (number, line) in parsed.prose {
            for target in targets(&without_code(line)) {
                let file = target.split('#').next().unwrap_or_default();
                if let Some(place) = target.strip_prefix(BOOK) {
                    self.published(page, number, place);
                } else if target.contains("docs/src/") {
                    self.complain(
                        page,
                        number,
                        "link to the published book, not to its source",
                    );
                }
                // A page's own headings, other sites, and Rust items.
                let is_elsewhere = ["://", "::", "mailto:"]
                    .iter()
                    .any(|mark| target.contains(mark));
                if !is_elsewhere && !directory.join(file).exists() {
                    self.complain(page, number, &format!("there is no {file}"));
                }
            }
        }
    }

    /// A link to the published book, whose pages have the names of their sources.
    fn published(&mut self, page: &Path, line: usize, place: &str) {
        let (file, fragment) = match place.split_once('#') {
            Some((file, fragment)) => (file, Some(fragment)),
            None => (place, None),
        };
        let stem = file.strip_suffix(".html").unwrap_or_default();
        let source = self.src.join(stem).with_extension("md");
        if !file.is_empty() && !self.listed.contains(&source) {
            self.complain(page, line, &format!("the book has no page {file}"));
        } else if let Some(fragment) = fragment
            && !fs::read_to_string(source).is_ok_and(|text| ids(&text).contains(fragment))
        {
            self.complain(page, line, &format!("nothing in {place} has that id"));
        }
    }

    fn source(&mut self, source: &Path) {
        let text = fs::read_to_string(source).unwrap();
        for (number, line) in (1..).zip(text.lines()) {
            if let Some(anchor) = line.trim_start().strip_prefix("// ANCHOR: ")
                && !self
                    .repeated
                    .contains(&(source.to_owned(), anchor.trim().to_owned()))
            {
                self.complain(source, number, "no page has the code of this anchor");
            }
        }
    }
}

/// Builds a small book from one page and one source.
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
                <!-- same as ../code/code.rs:whole -->\n<!-- try: not: an example -->\n```rust\nfn f() {}\n```\n```sh\n[no link](none.md)\n```\n";
    assert_eq!(complaints(page, CODE), [""; 0]);
}

#[test]
fn what_is_broken_is_told() {
    let same = "<!-- same as ../code/code.rs:whole -->\n```rust\nfn f() {}\n```\n";
    let include = "```rust\n{{#include ../code/code.rs:whole}}\n```\n";
    for (page, source, complaint) in [
        ("[gone](none.md)", "", "page.md:1: there is no none.md"),
        ("![gone](img/none.svg)", "", "there is no img/none.svg"),
        ("<img src=\"none.svg\">", "", "there is no none.svg"),
        ("[gone](page.md#none)", "", "has that id"),
        ("[out](../outside.md)", "", "is not part of the book"),
        (same, "", "there is no `ANCHOR: whole`"),
        (same, "// ANCHOR: whole\nf\n", "no `ANCHOR_END: whole`"),
        (same, "// ANCHOR: whole\n// ANCHOR_END: whole\n", "empty"),
        (same, &[CODE, CODE].concat(), "more than one"),
        (same, &CODE.replace("f()", "g()"), "is not the same"),
        (include, CODE, "page.md:2: an include"),
        ("", CODE, "no page has the code of this anchor"),
        ("```rust\nfn f() {}\n```", "", "nothing compiles"),
        ("{{#include page.md}}", "", "page.md:1: an include"),
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
fn a_readme_links_to_the_published_book() {
    let root = tempfile::tempdir().unwrap();
    let (src, readme) = (root.path().join("docs/src"), root.path().join("README.md"));
    fs::create_dir_all(&src).unwrap();
    fs::write(src.join("SUMMARY.md"), "- [Page](page.md)\n").unwrap();
    fs::write(src.join("page.md"), "# A heading\n").unwrap();
    let complaints = |target: &str| {
        let target = target.replace("BOOK/", BOOK);
        fs::write(&readme, format!("[book]({target})\n")).unwrap();
        check(&src, &[], std::slice::from_ref(&readme))
    };
    for right in ["BOOK/", "BOOK/page.html", "BOOK/page.html#a-heading"] {
        assert_eq!(complaints(right), [""; 0], "{right}");
    }
    for (wrong, complaint) in [
        ("docs/src/page.md", "not to its source"),
        (
            "https://host/blob/main/docs/src/page.md",
            "not to its source",
        ),
        ("BOOK/none.html", "no page none.html"),
        ("BOOK/page.md", "no page page.md"),
        ("BOOK/page.html#none", "has that id"),
    ] {
        let found = complaints(wrong);
        assert!(
            found.iter().any(|found| found.contains(complaint)),
            "{wrong}: {found:?}"
        );
    }
}

#[test]
fn code_is_written_into_the_page_that_names_it() {
    let root = tempfile::tempdir().unwrap();
    let page = root.path().join("page.md");
    let code = "// ANCHOR: a\nfn a() {\n    // ANCHOR: b\n    b();\n    // ANCHOR_END: b\n}\n// ANCHOR_END: a\n";
    fs::write(root.path().join("code.rs"), code).unwrap();
    let text = |a: &str, b: &str| {
        format!(
            "<!-- same as code.rs:a -->\n```rust\n{a}```\n\n\
             <!-- same as code.rs:b -->\n\n```rust\n{b}```\n\n\
             <!-- same as code.rs:none -->\n```rust\nnone\n```\n\n```rust\nmine\n```\n"
        )
    };
    let expected = text("fn a() {\n    b();\n}\n", "    b();\n");
    for outdated in [text("", ""), text("old\n", "older\n\noldest\n")] {
        fs::write(&page, outdated).unwrap();
        for _ in 0..2 {
            update(&page);
            assert_eq!(fs::read_to_string(&page).unwrap(), expected);
        }
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

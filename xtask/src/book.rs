//! Builds the book, with a program that is fetched if needed.

use std::path::Path;
use std::time::Duration;

use crate::run::{Failure, ask, on_path, run};
use crate::workspace::{self, cargo};

/// The versions of mdBook whose output was checked.
const VERSION: &str = "0.5";

/// Builds the book, and returns its path.
pub(crate) fn build() -> Result<String, Failure> {
    let (_, target) = workspace::load()?;
    let mdbook = provide(&target)?;
    // An absolute path: mdbook resolves a relative one against the book's directory.
    let book = target.join("book").display().to_string();
    run(&mdbook, &["build", "docs", "--dest-dir", &book])?;
    Ok(format!("{book}/index.html"))
}

/// Builds the book as a step of `ci`. It fetches no mdBook: tests check links and code anyway.
pub(crate) fn step() -> Result<String, Failure> {
    let (_, target) = workspace::load()?;
    match found(&target) {
        Some(_) => build(),
        None => Ok(format!(
            "left out: no mdbook {VERSION} here; `cargo xtask book` fetches one"
        )),
    }
}

fn provide(target: &Path) -> Result<String, Failure> {
    if let Some(mdbook) = found(target) {
        return Ok(mdbook);
    }
    println!(
        "mdbook {VERSION}: not found, so building one into the build directory; that takes \
         minutes, once"
    );
    let (version, root) = (
        format!("^{VERSION}"),
        target.join("tools").display().to_string(),
    );
    let install = [
        "install",
        "mdbook",
        "--locked",
        "--no-default-features",
        "--features",
        "search",
        "--version",
        &version,
        "--root",
        &root,
    ];
    run(cargo(), &install)?;
    found(target).ok_or_else(|| "mdbook was installed and does not run".into())
}

/// Finds an mdbook of the right version: one that an earlier run installed, or else the machine's.
fn found(target: &Path) -> Option<String> {
    let own = target.join("tools/bin/mdbook").display().to_string();
    let fits = |mdbook: &String| {
        ask(mdbook, &["--version"], Duration::from_secs(10))
            .is_some_and(|version| is_right(&version))
    };
    std::iter::once(own).chain(on_path("mdbook")).find(fits)
}

/// Returns whether a version, such as `mdbook v0.5.1`, is the right one.
fn is_right(version: &str) -> bool {
    let number = version.trim().trim_start_matches("mdbook ");
    number
        .trim_start_matches('v')
        .strip_prefix(VERSION)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

#[cfg(test)]
mod tests {
    use super::is_right;

    #[test]
    fn versions_are_told_apart() {
        assert!(is_right("mdbook v0.5.1\n") && is_right("mdbook 0.5.0"));
        assert!(!is_right("mdbook v0.4.52") && !is_right("mdbook v0.51.0") && !is_right(""));
    }
}

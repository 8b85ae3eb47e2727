//! The checks that must pass besides the tests.

use std::time::Duration;

use crate::run::{Failure, Step, ask, exists, run, run_with};
use crate::workspace::{self, cargo};
use crate::{circles, prose, weight};

pub(crate) const STEPS: &[Step] = &[
    ("fmt", fmt),
    ("circles", circles),
    ("prose", prose),
    ("clippy", clippy),
    ("doc", doc),
    ("features", features),
    ("weight", weight::count),
    ("deny", deny),
    ("machete", machete),
    ("semver", semver),
];

fn fmt() -> Result<String, Failure> {
    run(cargo(), &["fmt", "--all", "--check"])?;
    Ok(String::new())
}

fn circles() -> Result<String, Failure> {
    circles::check(&[])
}

/// Checks the files and folders whose prose has been edited.
fn prose() -> Result<String, Failure> {
    const DONE: &[&str] = &[
        "cachify-axum/",
        "cachify-core/",
        "cachify-macros/",
        "cachify-poem/",
        "cachify-syntax/",
        "cachify-warp/",
        "contract/",
        "examples/",
        "fuzz/",
        "loadtest/",
        "peers/",
        "redis-fixture/",
        "xtask/",
    ];
    prose::check(&DONE.iter().map(ToString::to_string).collect::<Vec<_>>())
}

fn clippy() -> Result<String, Failure> {
    let args = [
        "clippy",
        "--workspace",
        "--all-targets",
        "--all-features",
        "--",
        "-D",
        "warnings",
    ];
    run(cargo(), &args)?;
    Ok(String::new())
}

fn doc() -> Result<String, Failure> {
    let args = ["doc", "--workspace", "--no-deps", "--all-features"];
    run_with(cargo(), &args, &[("RUSTDOCFLAGS", "-D warnings")])?;
    Ok(String::new())
}

/// Checks that every published crate compiles without warnings, with each feature alone and with
/// none.
fn features() -> Result<String, Failure> {
    let (packages, _) = workspace::load()?;
    let mut checked = 0;
    for package in packages.iter().filter(|package| package.published) {
        let features = package.features.iter().map(String::as_str);
        for feature in std::iter::once("").chain(features) {
            let alone = ["--no-default-features", "--features", feature];
            let head = ["clippy", "--quiet", "--package", &package.name];
            run(
                cargo(),
                &[&head[..], &alone, &["--", "-D", "warnings"]].concat(),
            )?;
            checked += 1;
        }
    }
    Ok(format!("{checked} checked, each alone"))
}

fn deny() -> Result<String, Failure> {
    let mut args = vec!["deny", "check", "bans", "licenses", "sources"];
    // The database of advisories is on a code host that not every machine can reach.
    let fetched = exists("cargo-deny")
        && ask(cargo(), &["deny", "fetch", "db"], Duration::from_mins(1)).is_some();
    if fetched {
        args.push("advisories");
    }
    let remark = optional("cargo-deny", cargo(), &args)?;
    Ok(if fetched || !remark.is_empty() {
        remark
    } else {
        "without advisories: their database is out of reach".to_owned()
    })
}

fn machete() -> Result<String, Failure> {
    // Run by its own name: below `cargo run`, `cargo machete` would take `machete` for a folder.
    optional("cargo-machete", "cargo-machete", &["."])
}

fn semver() -> Result<String, Failure> {
    let tag = ["describe", "--tags", "--abbrev=0", "--match", "v*"];
    match ask("git", &tag, Duration::from_secs(10)) {
        Some(tag) => optional(
            "cargo-semver-checks",
            cargo(),
            &["semver-checks", "--baseline-rev", tag.trim()],
        ),
        None => Ok("left out: no release to compare with".into()),
    }
}

fn optional(needed: &str, program: &str, args: &[&str]) -> Result<String, Failure> {
    if !exists(needed) {
        return Ok(format!("left out: {needed} is not installed"));
    }
    run(program, args)?;
    Ok(String::new())
}

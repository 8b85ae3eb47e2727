//! The cost of an adapter: its dependencies, its oldest compiler, and the time of a first build.

use std::collections::BTreeSet;
use std::fs;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::run::{Failure, ask, run};
use crate::workspace::{self, cargo};

/// The platform that is counted everywhere, since dependencies differ a little between platforms.
const TARGET: &str = "x86_64-unknown-linux-gnu";

struct Adapter {
    name: &'static str,
    /// The most crates that may be added to the framework's own, with default features.
    crates: usize,
    /// The most time for a cold build, in cold builds of the framework alone.
    build: f64,
}

const ADAPTERS: [Adapter; 3] = [
    Adapter {
        name: "axum",
        crates: 70,
        build: 3.0,
    },
    Adapter {
        name: "poem",
        crates: 55,
        build: 2.5,
    },
    Adapter {
        name: "warp",
        crates: 65,
        build: 3.0,
    },
];

/// Counts as a step of `lint`, and checks that README.md has the same counts.
pub(crate) fn count() -> Result<String, Failure> {
    let readme = fs::read_to_string("README.md").map_err(|error| error.to_string())?;
    let mut counted = Vec::new();
    for Adapter { name, crates, .. } in ADAPTERS {
        let (all, own) = (tree(&format!("cachify-{name}"), &[])?, tree(name, &[])?);
        let (total, added) = (all.len(), all.difference(&own).count());
        if added > crates {
            return Err(format!(
                "cachify-{name} brings {added} crates along, {crates} at most: see `cargo tree -p \
                 cachify-{name}`"
            ));
        }
        let row = format!("| `cachify-{name}` | {total} | {added} |");
        if !readme.contains(&row) {
            return Err(format!("README.md says otherwise than counted:\n{row}"));
        }
        counted.push(format!("{name} {total}"));
    }
    let oldest = oldest_compiler()?;
    Ok(format!(
        "crates: {}; Rust {oldest} suffices",
        counted.join(", ")
    ))
}

/// Builds each framework and each adapter from scratch, and compares the times.
pub(crate) fn cold() -> Result<String, Failure> {
    let (_, target) = workspace::load()?;
    let dir = target.join("cold");
    let build = |package: &str| {
        fs::remove_dir_all(&dir).ok();
        let start = Instant::now();
        let into = dir.display().to_string();
        run(
            cargo(),
            &["build", "--package", package, "--target-dir", &into],
        )?;
        fs::remove_dir_all(&dir).ok();
        Ok::<_, Failure>(start.elapsed().as_secs_f64())
    };
    let (mut lines, mut slow) = (Vec::new(), Vec::new());
    for Adapter {
        name, build: limit, ..
    } in ADAPTERS
    {
        let (own, all) = (build(name)?, build(&format!("cachify-{name}"))?);
        let ratio = all / own;
        lines.push(format!(
            "cachify-{name} {all:.0} s, {name} alone {own:.0} s: {ratio:.1} times as long, \
             {limit:.1} at most"
        ));
        if ratio > limit {
            slow.push(name);
        }
    }
    let lines = lines.join("\n");
    if slow.is_empty() {
        Ok(lines)
    } else {
        Err(format!("{lines}\ntoo slow: {}", slow.join(", ")))
    }
}

/// Returns the packages that a package is compiled from, including itself: `name v1.2.3`.
fn tree(package: &str, features: &[&str]) -> Result<BTreeSet<String>, Failure> {
    let args = [
        "tree",
        "--quiet",
        "--package",
        package,
        "--target",
        TARGET,
        "--edges",
        "normal",
        "--prefix",
        "none",
        "--no-dedupe",
    ];
    let args = [&args[..], features].concat();
    let printed = ask(cargo(), &args, Duration::from_mins(5));
    let printed = printed.ok_or_else(|| format!("`cargo {}` fails", args.join(" ")))?;
    Ok(crates(&printed))
}

/// Removes everything after the version: `(proc-macro)`, a path, `(*)`.
fn crates(printed: &str) -> BTreeSet<String> {
    printed
        .lines()
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            Some(format!("{} {}", words.next()?, words.next()?))
        })
        .collect()
}

/// Returns the compiler that all published crates promise, if all their dependencies support it.
fn oldest_compiler() -> Result<String, Failure> {
    let args = ["metadata", "--format-version=1", "--all-features"];
    let printed = ask(cargo(), &args, Duration::from_mins(5));
    let printed = printed.ok_or("`cargo metadata` fails")?;
    let metadata: Value = serde_json::from_str(&printed).map_err(|error| error.to_string())?;
    let packages = metadata["packages"].as_array();
    let packages = packages.ok_or("`cargo metadata` names no packages")?;
    let promised = packages
        .iter()
        .find(|package| package["name"] == "cachify-core")
        .and_then(|package| package["rust_version"].as_str())
        .ok_or("cachify-core names no rust-version")?;
    let mut needed = BTreeSet::new();
    for Adapter { name, .. } in ADAPTERS {
        needed.extend(tree(&format!("cachify-{name}"), &["--all-features"])?);
    }
    for package in packages {
        let (name, version) = (&package["name"], &package["version"]);
        let id = format!(
            "{} v{}",
            name.as_str().unwrap_or_default(),
            version.as_str().unwrap_or_default()
        );
        let wants = package["rust_version"].as_str().unwrap_or("1.0");
        if needed.contains(&id) && numbers(wants) > numbers(promised) {
            return Err(format!(
                "{id} needs Rust {wants}, and we promise {promised}"
            ));
        }
    }
    Ok(promised.to_owned())
}

fn numbers(version: &str) -> Vec<u32> {
    version
        .split('.')
        .map(|part| part.parse().unwrap_or(0))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{crates, numbers};

    #[test]
    fn a_tree_counts_each_crate_once() {
        let printed = "a v1.0.0 (/src/a)\nb v2.0.0 (proc-macro)\nb v2.0.0 (*)\nb v3.0.0\n\n";
        let expected = ["a v1.0.0", "b v2.0.0", "b v3.0.0"];
        assert_eq!(crates(printed), expected.map(str::to_owned).into());
    }

    #[test]
    fn versions_compare_by_number() {
        assert!(numbers("1.100") > numbers("1.91") && numbers("1.91.1") > numbers("1.91"));
        assert!(numbers("1.85") < numbers("1.91"));
    }
}

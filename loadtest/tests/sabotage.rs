//! Each promise can be seen to be broken: an app that breaks it turns its scenario red, and the
//! exit code 1.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use common::{ended, loadtest, report};

fn broken(sabotage: &str, scenario: &str, cache: &str, promise: &str) {
    let output = tempfile::tempdir().unwrap();
    let arguments = [
        "--scenario",
        scenario,
        "--cache",
        cache,
        "--framework",
        "axum",
    ];
    let mut command = loadtest(output.path(), &arguments);
    let short = ["--duration", "1s", "--repeats", "1"];
    let (code, stdout, stderr) = ended(command.args(short).env("LOADTEST_SABOTAGE", sabotage));
    assert_eq!(code, Some(1), "{stdout}{stderr}");

    let report = report(output.path());
    assert_eq!(report["kept"], false);
    let runs = report["runs"].as_array().unwrap().iter();
    let promises = runs.flat_map(|run| run["promises"].as_array().unwrap());
    let broken = promises.filter(|promise| promise["kept"] == false);
    let broken: Vec<_> = broken
        .map(|promise| promise["text"].as_str().unwrap())
        .collect();
    assert!(broken.contains(&promise), "{broken:?}");
}

#[test]
fn a_reset_that_does_nothing() {
    broken(
        "reset",
        "reset",
        "memory",
        "no read was older than an update before it",
    );
    broken(
        "reset",
        "reset",
        "redis",
        "in the end all say what the database says",
    );
}

#[test]
fn a_lock_that_always_succeeds() {
    broken(
        "lock",
        "contention",
        "memory",
        "never two updates at the same time",
    );
    broken(
        "lock",
        "contention",
        "redis",
        "never two holders at the same time",
    );
}

#[test]
fn no_single_flight() {
    broken(
        "flight",
        "stampede",
        "memory",
        "exactly one computation each",
    );
    broken(
        "flight",
        "stampede",
        "redis",
        "exactly one computation each",
    );
}

#[test]
fn a_pool_without_walls() {
    broken(
        "pool",
        "pool",
        "redis",
        "never more inside than there are places",
    );
}

#[test]
fn updates_that_are_answered_and_not_committed() {
    broken(
        "commit",
        "reset",
        "memory",
        "each update that was answered was written, once",
    );
}

#[test]
fn computations_among_the_hits() {
    broken("flight", "hit", "memory", "nothing was computed");
}

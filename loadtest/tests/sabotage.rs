//! Each promise can be seen to be broken: an app that breaks it turns its scenario red, and the
//! exit code 1.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

fn broken(sabotage: &str, scenario: &str, promise: &str) {
    let arguments = format!("--scenario {scenario} --framework axum --duration 1s --repeats 1");
    let report = common::run(&arguments, &[("LOADTEST_SABOTAGE", sabotage)]).report(1);
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
    let stale = "no read was older than an update before it";
    broken("reset", "reset --cache memory", stale);
    let differ = "in the end all say what the database says";
    broken("reset", "reset --cache redis", differ);
}

#[test]
fn a_lock_that_always_succeeds() {
    let updates = "never two updates at the same time";
    broken("lock", "contention --cache memory", updates);
    let holders = "never two holders at the same time";
    broken("lock", "contention --cache redis", holders);
}

#[test]
fn no_single_flight() {
    for cache in ["memory", "redis"] {
        let scenario = format!("stampede --cache {cache}");
        broken("flight", &scenario, "exactly one computation each");
    }
}

#[test]
fn a_pool_without_walls() {
    let promise = "never more inside than there are places";
    broken("pool", "pool --cache redis", promise);
}

#[test]
fn a_tier_that_is_deaf() {
    let promise = "no read was stale for longer than 1s";
    broken("tier", "tier --cache redis", promise);
}

#[test]
fn entries_that_are_never_stale() {
    for promise in [
        "no reader saw an error",
        "no reader waited for the database",
    ] {
        broken("stale", "stale --cache memory", promise);
    }
}

#[test]
fn updates_that_are_answered_and_not_committed() {
    let promise = "each update that was answered was written, once";
    broken("commit", "reset --cache memory", promise);
}

#[test]
fn computations_among_the_hits() {
    broken("flight", "hit --cache memory", "nothing was computed");
}

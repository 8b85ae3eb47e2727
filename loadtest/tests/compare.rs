//! `loadtest compare` and `loadtest render`, as CI calls them: by their exit codes.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use tempfile::TempDir;

/// The report of `tests/report.json`, changed.
fn report(dir: &TempDir, name: &str, change: impl FnOnce(&mut Value)) -> PathBuf {
    let golden = include_bytes!("report.json");
    let mut report: Value = serde_json::from_slice(golden).unwrap();
    change(&mut report);
    let path = dir.path().join(name);
    std::fs::write(&path, report.to_string()).unwrap();
    path
}

fn loadtest(arguments: &str, paths: &[&Path]) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_loadtest"));
    let ended = command
        .args(arguments.split(' '))
        .args(paths)
        .output()
        .unwrap();
    let told = [ended.stdout, ended.stderr].concat();
    (ended.status.code(), String::from_utf8(told).unwrap())
}

#[test]
fn a_regression_is_shown_and_ends_with_1_only_if_that_was_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let before = report(&dir, "before.json", |_| {});
    let after = report(&dir, "after.json", |report| {
        let per_second = &mut report["runs"][1]["per_second"];
        *per_second = json!(per_second.as_f64().unwrap() * 0.7);
    });
    let paths = [before.as_path(), after.as_path()];
    let regression = "✗ hit uniform on axum, memory: answers per second -30 %";
    let strict = "compare --max-regression 10%";
    for (arguments, code) in [
        ("compare", 0),
        (strict, 1),
        ("compare --max-regression 40%", 0),
    ] {
        let (ended, told) = loadtest(arguments, &paths);
        assert_eq!(ended, Some(code), "{told}");
        assert_eq!(
            told.contains(regression),
            !arguments.ends_with("40%"),
            "{told}"
        );
        assert!(!told.contains('\x1b'), "colours, and no terminal: {told}");
    }
    let (ended, told) = loadtest(strict, &[&after, &before]);
    assert_eq!(ended, Some(0), "{told}");
    assert!(told.contains("nothing got worse"), "{told}");
}

#[test]
fn what_cannot_be_compared_ends_with_2_and_says_why() {
    let dir = tempfile::tempdir().unwrap();
    let golden = report(&dir, "report.json", |_| {});
    let older = report(&dir, "older.json", |report| report["schema"] = json!(1));
    let other = report(&dir, "other.json", |report| report["runs"] = json!([]));
    let missing = dir.path().join("missing.json");
    for (path, why) in [
        (&older, "schema is 1"),
        (&other, "no run in common"),
        (&missing, "cannot read"),
    ] {
        let (ended, told) = loadtest("compare", &[&golden, path]);
        assert!(ended == Some(2) && told.contains(why), "{told}");
    }
}

#[test]
fn rendering_ends_as_the_run_did() {
    let dir = tempfile::tempdir().unwrap();
    let golden = report(&dir, "report.json", |_| {});
    let (ended, told) = loadtest("render", &[&golden]);
    assert_eq!(ended, Some(0), "{told}");
    assert!(told.contains("Every promise was kept"), "{told}");
    assert!(dir.path().join("report.html").is_file());

    let broken = report(&dir, "report.json", |report| report["kept"] = json!(false));
    assert_eq!(loadtest("render", &[&broken]).0, Some(1));
    let crossed = report(&dir, "report.json", |report| {
        report["thresholds"] = json!([{"text": "p99 of hit", "kept": false, "seen": "3 ms"}]);
    });
    let (ended, told) = loadtest("render", &[&crossed]);
    assert_eq!(ended, Some(1), "{told}");
    assert!(told.contains("1 threshold crossed"), "{told}");
}

#[test]
fn the_verdict_has_a_colour_where_colours_are_forced() {
    let dir = tempfile::tempdir().unwrap();
    let broken = report(&dir, "report.json", |report| report["kept"] = json!(false));
    let mut render = Command::new(env!("CARGO_BIN_EXE_loadtest"));
    let render = render.arg("render").arg(broken).env("CLICOLOR_FORCE", "1");
    let told = render.output().unwrap().stdout;
    let told = String::from_utf8(told).unwrap();
    assert!(told.contains("\x1b[31m\x1b[1m✗"), "{told}");
}

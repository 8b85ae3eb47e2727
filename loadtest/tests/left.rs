//! No process is left behind, however the program ends.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use common::loadtest;

#[test]
fn after_a_signal() {
    for signal in ["-INT", "-TERM", "-KILL"] {
        ended_by(signal);
    }
}

#[test]
fn after_a_panic() {
    // It panics once its first app runs.
    assert_eq!(ended_with("panic").code(), Some(101));
}

#[test]
fn after_an_app_that_does_not_start() {
    // Not the first one: another runs already.
    assert_eq!(ended_with("start").code(), Some(2));
}

fn ended_by(signal: &str) {
    let output = tempfile::tempdir().unwrap();
    let mut child = loadtest(output.path(), "--duration 4m --cache redis")
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // Its first line about a scenario comes just before its children.
    let stderr = BufReader::new(child.stderr.take().unwrap());
    let mut lines = stderr.lines().map(Result::unwrap);
    assert!(lines.any(|line| line.contains("hit on axum")));
    // Redis with its watchdog; the floor; and those after it are started when it serves.
    let children = within(|| Some(children(&child)).filter(|it| it.len() > 3));
    let id = child.id().to_string();
    let kill = Command::new("kill").args([signal, &id]).status().unwrap();
    assert!(kill.success());
    assert!(!child.wait().unwrap().success());
    within(|| all_gone(&children));
}

fn ended_with(sabotage: &str) -> ExitStatus {
    let output = tempfile::tempdir().unwrap();
    let mut child = loadtest(output.path(), "--scenario hit --cache redis")
        .env("LOADTEST_SABOTAGE", sabotage)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut seen = Vec::new();
    let status = within(|| {
        seen.extend(children(&child));
        child.try_wait().unwrap()
    });
    assert!(!seen.is_empty(), "it had no children");
    within(|| all_gone(&seen));
    status
}

fn all_gone(ids: &[String]) -> Option<()> {
    let there = |id: &String| Path::new("/proc").join(id).exists();
    (!ids.iter().any(there)).then_some(())
}

fn children(parent: &Child) -> Vec<String> {
    let tasks = std::fs::read_dir(format!("/proc/{}/task", parent.id()));
    let mut children = Vec::new();
    for task in tasks.into_iter().flatten().flatten() {
        let text = std::fs::read_to_string(task.path().join("children"));
        let text = text.unwrap_or_default();
        children.extend(text.split_whitespace().map(str::to_owned));
    }
    children
}

fn within<T>(mut ready: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + Duration::from_secs(30);
    loop {
        if let Some(value) = ready() {
            return value;
        }
        assert!(Instant::now() < end, "not within half a minute");
        sleep(Duration::from_millis(10));
    }
}

//! The program as somebody starts it.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::Value;

fn loadtest(output: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_loadtest"));
    command.args(arguments).arg("--output").arg(output);
    command
}

#[test]
fn every_scenario_runs_and_every_promise_is_kept() {
    let output = tempfile::tempdir().unwrap();
    let arguments = ["--users", "4", "--duration", "2s"];
    let ended = loadtest(output.path(), &arguments).output().unwrap();
    let stdout = String::from_utf8_lossy(&ended.stdout);
    assert!(
        ended.status.success(),
        "{stdout}{}",
        String::from_utf8_lossy(&ended.stderr)
    );

    let report = std::fs::read(output.path().join("report.json")).unwrap();
    let report: Value = serde_json::from_slice(&report).unwrap();
    assert_eq!(report["schema"], 2);
    assert_eq!(report["kept"], true);
    let runs = report["runs"].as_array().unwrap();
    for scenario in ["hit", "stampede", "contention", "reset"] {
        let run = runs.iter().find(|run| run["scenario"] == scenario);
        let run = run.unwrap_or_else(|| panic!("{scenario} is not in the report"));
        assert!(stdout.contains(scenario), "{stdout}");
        assert!(run["latency_us"]["p50"].as_u64().unwrap() > 0, "{run}");
        assert!(!run["promises"].as_array().unwrap().is_empty(), "{run}");
        let goose = output.path().join(run["goose"].as_str().unwrap());
        assert!(goose.is_file(), "{} is missing", goose.display());
    }
    assert!(output.path().join("report.html").is_file());
}

#[test]
fn what_it_does_not_know_is_an_error_before_anything_starts() {
    let output = tempfile::tempdir().unwrap();
    for (arguments, text) in [
        (
            ["--scenario", "nonsense"],
            "hit, stampede, contention, reset",
        ),
        (["--cache", "nonsense"], "redis://"),
        (["--duration", "1h"], "1s to 4m"),
    ] {
        let ended = loadtest(output.path(), &arguments).output().unwrap();
        let stderr = String::from_utf8_lossy(&ended.stderr);
        assert_eq!(ended.status.code(), Some(2), "{stderr}");
        assert!(stderr.contains(text), "{stderr}");
    }
}

#[test]
fn without_a_redis_to_start_it_says_what_to_do() {
    let output = tempfile::tempdir().unwrap();
    let mut command = loadtest(output.path(), &["--cache", "redis"]);
    let ended = command
        .env("PATH", "")
        .env_remove("CACHIFY_REDIS_SERVER")
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.code(), Some(2), "{stderr}");
    assert!(stderr.contains("install redis-server"), "{stderr}");
}

#[cfg(target_os = "linux")]
mod nothing_is_left {
    use super::*;

    #[test]
    fn after_ctrl_c() {
        ended_by("-INT");
    }

    #[test]
    fn after_sigkill() {
        ended_by("-KILL");
    }

    fn ended_by(signal: &str) {
        let output = tempfile::tempdir().unwrap();
        let mut child = loadtest(output.path(), &["--duration", "4m"])
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // Its first line about a scenario comes just before its children.
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let mut lines = stderr.lines().map(Result::unwrap);
        assert!(lines.any(|line| line.starts_with("hit on axum")));
        // The second is started when the first one serves.
        let children = within(|| Some(children(&child)).filter(|it| it.len() > 1));
        let id = child.id().to_string();
        assert!(
            Command::new("kill")
                .args([signal, &id])
                .status()
                .unwrap()
                .success()
        );
        assert!(!child.wait().unwrap().success());
        within(|| {
            children
                .iter()
                .all(|id| !Path::new("/proc").join(id).exists())
                .then_some(())
        });
    }

    fn children(parent: &Child) -> Vec<String> {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", parent.id()));
        let mut children = Vec::new();
        for task in tasks.into_iter().flatten().flatten() {
            let text = std::fs::read_to_string(task.path().join("children"));
            children.extend(
                text.unwrap_or_default()
                    .split_whitespace()
                    .map(str::to_owned),
            );
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
}

//! The program as somebody starts it.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use common::{ended, loadtest, report, serve};

#[test]
fn every_scenario_runs_and_every_promise_is_kept() {
    let output = tempfile::tempdir().unwrap();
    let arguments = ["--users", "4", "--duration", "1s", "--repeats", "2"];
    let (code, stdout, stderr) = ended(&mut loadtest(output.path(), &arguments));
    assert_eq!(code, Some(0), "{stdout}{stderr}");

    let report = report(output.path());
    assert_eq!(report["schema"], 2);
    assert_eq!(report["kept"], true);
    assert_eq!(report["flags"][2], "--users");
    assert!(!report["machine"]["cpu"].as_str().unwrap().is_empty());
    assert!(report["versions"]["redis"].is_string(), "{report}");
    let notes = report["notes"].to_string();
    assert!(notes.contains("coordinated omission"), "{notes}");
    let runs = report["runs"].as_array().unwrap();
    for scenario in [
        "hit",
        "uncached",
        "miss",
        "stampede",
        "reset",
        "contention",
        "pool",
        "redis-away",
    ] {
        let run = runs.iter().find(|run| run["scenario"] == scenario);
        let run = run.unwrap_or_else(|| panic!("{scenario} is not in the report"));
        assert!(stdout.contains(scenario), "{stdout}");
        let latency = &run["latency_us"];
        assert!(latency["p50"].as_u64().unwrap() > 0, "{run}");
        assert!(latency["p999"].as_u64() <= latency["max"].as_u64(), "{run}");
        assert!(!latency["curve"].as_array().unwrap().is_empty(), "{run}");
        assert!(!run["promises"].as_array().unwrap().is_empty(), "{run}");
        let goose = output.path().join(run["goose"].as_str().unwrap());
        assert!(goose.is_file(), "{} is missing", goose.display());
    }
    for app in ["axum", "poem", "warp"] {
        let hit = |what| {
            runs.iter()
                .any(|run| run["app"] == app && run["what"] == what)
        };
        assert!(hit("uniform") && hit("zipf"), "{app} is not in the report");
    }
    let hand_over = runs.iter().find(|run| run["what"] == "hand-over").unwrap();
    assert!(!hand_over["holds"].as_array().unwrap().is_empty());
    assert!(!hand_over["waits_us"].as_array().unwrap().is_empty());
    let stampede = runs
        .iter()
        .rfind(|run| run["scenario"] == "stampede")
        .unwrap();
    assert_eq!(stampede["fan_in"]["processes"], 4);
    assert!(output.path().join("report.html").is_file());
}

#[test]
fn what_it_does_not_know_is_an_error_before_anything_starts() {
    let output = tempfile::tempdir().unwrap();
    for (arguments, text) in [
        (
            &["--scenario", "nonsense"][..],
            "hit, uncached, miss, stampede",
        ),
        (&["--cache", "nonsense"], "redis://"),
        (&["--duration", "1h"], "1s to 4m"),
        (
            &["--target", "http://example.com", "--hit-path", "/"],
            "--allow-remote",
        ),
        (&["--target", "http://127.0.0.1:1"], "--hit-path"),
        (
            &[
                "--target",
                "http://127.0.0.1:1",
                "--hit-path",
                "http://example.com/",
            ],
            "another host",
        ),
        (
            &["--target", "http://127.0.0.1:1", "--hit-path", "/"],
            "nothing answers at http://127.0.0.1:1",
        ),
        (&["--max-p99", "hit/axim=2ms"], "`axim`"),
    ] {
        let mut command = loadtest(output.path(), arguments);
        let (code, _, stderr) = ended(command.env("RUST_BACKTRACE", "1"));
        assert_eq!(code, Some(2), "{stderr}");
        assert!(stderr.contains(text), "{stderr}");
        assert!(!stderr.contains("backtrace"), "{stderr}");
    }
}

#[test]
fn without_a_redis_to_start_it_says_what_to_do() {
    let output = tempfile::tempdir().unwrap();
    let mut command = loadtest(output.path(), &["--cache", "redis"]);
    let command = command.env("PATH", "").env_remove("CACHIFY_REDIS_SERVER");
    let (code, _, stderr) = ended(command);
    assert_eq!(code, Some(2), "{stderr}");
    assert!(stderr.contains("install redis-server"), "{stderr}");
}

#[test]
fn flags_of_goose_reach_goose() {
    let output = tempfile::tempdir().unwrap();
    let hit = [
        "--scenario",
        "hit",
        "--framework",
        "axum",
        "--cache",
        "memory",
        "--repeats",
        "1",
    ];
    let goose = [
        "--users",
        "3",
        "--run-time",
        "1s",
        "--throttle-requests",
        "100",
    ];
    let mut command = loadtest(output.path(), &hit);
    let (code, stdout, stderr) = ended(command.arg("--").args(goose));
    assert_eq!(code, Some(0), "{stdout}{stderr}");
    let report = report(output.path());
    let run = &report["runs"][1];
    assert_eq!(run["users"], 3);
    assert!(run["seconds"].as_f64().unwrap() < 2.0, "{run}");
    // The first of them come at once: goose's bucket is empty.
    assert!(run["per_second"].as_f64().unwrap() < 300.0, "{run}");

    let mut command = loadtest(output.path(), &hit);
    let (code, _, stderr) = ended(command.args(["--", "--nonsense"]));
    assert_eq!(code, Some(2), "{stderr}");
    assert!(stderr.contains("nonsense"), "{stderr}");
}

#[test]
fn at_a_rate_there_are_as_many_requests_as_asked_for() {
    let output = tempfile::tempdir().unwrap();
    let hit = [
        "--scenario",
        "hit",
        "--framework",
        "axum",
        "--cache",
        "memory",
    ];
    let mut command = loadtest(output.path(), &hit);
    let rate = ["--rate", "100", "--repeats", "1", "--duration", "2s"];
    let (code, stdout, stderr) = ended(command.args(rate));
    assert_eq!(code, Some(0), "{stdout}{stderr}");
    let report = report(output.path());
    let per_second = report["runs"][1]["per_second"].as_f64().unwrap();
    assert!((60.0..110.0).contains(&per_second), "{per_second}");
}

#[test]
fn the_matrix_has_all_numbers_of_processes() {
    let output = tempfile::tempdir().unwrap();
    let hit = [
        "--scenario",
        "hit",
        "--framework",
        "axum",
        "--cache",
        "memory,redis",
    ];
    let mut command = loadtest(output.path(), &hit);
    let matrix = ["--instances", "1,2", "--repeats", "1", "--duration", "1s"];
    let (code, stdout, stderr) = ended(command.args(matrix));
    assert_eq!(code, Some(0), "{stdout}{stderr}");
    let report = report(output.path());
    let runs = report["runs"].as_array().unwrap().iter();
    let runs = runs.filter(|run| run["what"] == "uniform");
    let runs = runs.map(|run| {
        (
            run["cache"].as_str().unwrap(),
            run["instances"].as_u64().unwrap(),
        )
    });
    assert_eq!(
        runs.collect::<Vec<_>>(),
        [("memory", 1), ("redis", 1), ("redis", 2)]
    );
}

#[test]
fn without_python_it_says_so_and_goes_on() {
    let output = tempfile::tempdir().unwrap();
    let stampede = [
        "--with-python",
        "--scenario",
        "stampede",
        "--cache",
        "redis",
        "--duration",
        "1s",
    ];
    let mut command = loadtest(output.path(), &stampede);
    let (code, stdout, stderr) = ended(command.env("LOADTEST_PYTHON", "/nonexistent/python3"));
    assert_eq!(code, Some(0), "{stdout}{stderr}");
    let report = report(output.path());
    assert!(
        report["notes"]
            .to_string()
            .contains("Without the Python original"),
        "{report}"
    );
    assert_eq!(report["runs"].as_array().unwrap().len(), 1);
}

#[test]
fn a_service_of_ones_own_is_measured_from_outside() {
    let service = serve("axum");
    let user = r#"{"name":"Ann","email":"ann@example.com"}"#;
    service.request("POST", "/users/", user);
    let output = tempfile::tempdir().unwrap();
    let target = [
        "--target",
        &service.url,
        "--repeats",
        "2",
        "--duration",
        "1s",
    ];
    let lock = ["--lock-path", "/users/1", "--lock-body", user];
    let mut command = loadtest(output.path(), &target);
    let (code, stdout, stderr) = ended(command.args(["--hit-path", "/users/1"]).args(lock));
    assert_eq!(code, Some(0), "{stdout}{stderr}");
    let report = report(output.path());
    let [hit, contention] = [&report["runs"][0], &report["runs"][1]];
    assert_eq!(
        (&hit["scenario"], &hit["app"]),
        (&"hit".into(), &"target".into())
    );
    assert!(hit["facts"]["hit_share"].as_f64().unwrap() > 0.9, "{hit}");
    assert_eq!(contention["scenario"], "contention");
    assert!(
        contention["facts"]["done"].as_u64().unwrap() > 0,
        "{contention}"
    );

    let mut command = loadtest(output.path(), &target);
    let (code, stdout, stderr) = ended(command.args(["--hit-path", "/users/2"]));
    assert_eq!(code, Some(1), "{stdout}{stderr}");
    assert!(stdout.contains("every answer was a success"), "{stdout}");
    let stdout = stdout.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(stdout.contains("for example GET got 404"), "{stdout}");
}

//! The program as somebody starts it.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use common::{run, serve};

const HIT: &str = "--scenario hit --framework axum";

#[test]
fn every_scenario_runs_and_every_promise_is_kept() {
    let ended = run("--users 4 --duration 1s --repeats 2", &[]);
    let report = ended.report(0);
    let output = ended.output.path();
    assert_eq!(report["schema"], 2);
    assert_eq!(report["kept"], true);
    assert_eq!(report["flags"][2], "--users");
    assert!(!report["machine"]["cpu"].as_str().unwrap().is_empty());
    let versions = &report["versions"];
    assert!(versions["redis"].is_string(), "{versions}");
    assert!(
        versions["rustc"].as_str().unwrap().starts_with("rustc "),
        "{versions}"
    );
    let frameworks = versions["frameworks"].as_object().unwrap();
    assert_eq!(frameworks.len(), 5, "{versions}");
    let notes = report["notes"].to_string();
    assert!(notes.contains("coordinated omission"), "{notes}");
    let runs = report["runs"].as_array().unwrap();
    let scenarios = "hit uncached miss stampede reset contention pool tier stale redis-away";
    for scenario in scenarios.split(' ') {
        let run = runs.iter().find(|run| run["scenario"] == scenario);
        let run = run.unwrap_or_else(|| panic!("{scenario} is not in the report"));
        assert!(ended.stdout.contains(scenario), "{}", ended.stdout);
        let latency = &run["latency_us"];
        assert!(latency["p50"].as_u64().unwrap() > 0, "{run}");
        assert!(latency["p999"].as_u64() <= latency["max"].as_u64(), "{run}");
        assert!(!latency["curve"].as_array().unwrap().is_empty(), "{run}");
        assert!(!run["promises"].as_array().unwrap().is_empty(), "{run}");
        let goose = output.join(run["goose"].as_str().unwrap());
        assert!(goose.is_file(), "{} is missing", goose.display());
    }
    for app in ["axum", "poem", "warp"] {
        let of_app = || runs.iter().filter(|run| run["app"] == app);
        let hit = |what| of_app().any(|run| run["what"] == what);
        assert!(hit("uniform") && hit("zipf"), "{app} is not in the report");
    }
    let hand_over = runs.iter().find(|run| run["what"] == "hand-over").unwrap();
    assert!(!hand_over["holds"].as_array().unwrap().is_empty());
    assert!(!hand_over["waits_us"].as_array().unwrap().is_empty());
    let stampede = runs.iter().rfind(|run| run["scenario"] == "stampede");
    assert_eq!(stampede.unwrap()["fan_in"]["processes"], 4);
    assert!(output.join("report.html").is_file());
}

#[test]
fn what_it_does_not_know_is_an_error_before_anything_starts() {
    let here = "--target http://127.0.0.1:1";
    for (arguments, text) in [
        ("--scenario nonsense", "hit, uncached, miss, stampede"),
        ("--framework floor", "axum, poem, warp"),
        ("--cache nonsense", "redis://"),
        ("--duration 1h", "1s to 4m"),
        ("--target http://example.com --hit-path /", "--allow-remote"),
        (here, "--hit-path"),
        (
            &format!("{here} --hit-path http://example.com/"),
            "another host",
        ),
        (
            &format!("{here} --hit-path /"),
            "nothing answers at http://127.0.0.1:1",
        ),
        ("--max-p99 hit/axim=2ms", "`axim`"),
        (&format!("{HIT} -- --nonsense"), "nonsense"),
    ] {
        let ended = run(arguments, &[("RUST_BACKTRACE", "1")]);
        assert_eq!(ended.code, Some(2), "{}", ended.stderr);
        assert!(ended.stderr.contains(text), "{}", ended.stderr);
        assert!(!ended.stderr.contains("backtrace"), "{}", ended.stderr);
    }
}

#[test]
fn without_a_redis_to_start_it_says_what_to_do() {
    let output = tempfile::tempdir().unwrap();
    let mut command = common::loadtest(output.path(), "--cache redis");
    let command = command.env("PATH", "").env_remove("CACHIFY_REDIS_SERVER");
    let ended = command.output().unwrap();
    let stderr = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.code(), Some(2), "{stderr}");
    assert!(stderr.contains("install redis-server"), "{stderr}");
}

#[test]
fn flags_of_goose_reach_goose() {
    let goose = "--users 3 --run-time 1s --throttle-requests 100";
    let arguments = format!("{HIT} --cache memory --repeats 1 -- {goose}");
    let run = &run(&arguments, &[]).report(0)["runs"][1];
    assert_eq!(run["users"], 3);
    assert!(run["seconds"].as_f64().unwrap() < 2.0, "{run}");
    // The first of them come at once: goose's bucket is empty.
    assert!(run["per_second"].as_f64().unwrap() < 300.0, "{run}");
}

#[test]
fn at_a_rate_there_are_as_many_requests_as_asked_for() {
    let arguments = format!("{HIT} --cache memory --rate 100 --repeats 1 --duration 2s");
    let report = run(&arguments, &[]).report(0);
    let per_second = report["runs"][1]["per_second"].as_f64().unwrap();
    assert!((60.0..110.0).contains(&per_second), "{per_second}");
}

#[test]
fn the_matrix_has_all_numbers_of_processes() {
    let matrix = "--cache memory,redis --instances 1,2 --repeats 1 --duration 1s";
    let report = run(&format!("{HIT} {matrix}"), &[]).report(0);
    let runs = report["runs"].as_array().unwrap().iter();
    let runs = runs.filter(|run| run["what"] == "uniform");
    let runs = runs.map(|run| {
        (
            run["cache"].as_str().unwrap(),
            run["instances"].as_u64().unwrap(),
        )
    });
    let expected = [("memory", 1), ("redis", 1), ("redis", 2)];
    assert_eq!(runs.collect::<Vec<_>>(), expected);
}

#[test]
fn without_python_it_says_so_and_goes_on() {
    let stampede = "--with-python --scenario stampede --cache redis --duration 1s";
    let report = run(stampede, &[("LOADTEST_PYTHON", "/nonexistent/python3")]).report(0);
    let notes = report["notes"].to_string();
    assert!(notes.contains("Without the Python original"), "{notes}");
    assert_eq!(report["runs"].as_array().unwrap().len(), 1);
}

#[test]
fn a_service_of_ones_own_is_measured_from_outside() {
    let service = serve("axum");
    let user = r#"{"name":"Ann","email":"ann@example.com"}"#;
    service.request("POST", "/users/", user);
    let target = format!("--target {} --repeats 2 --duration 1s", service.url);
    let lock = format!("--lock-path /users/1 --lock-body {user}");
    let report = run(&format!("{target} --hit-path /users/1 {lock}"), &[]).report(0);
    let [hit, contention] = [&report["runs"][0], &report["runs"][1]];
    assert_eq!([&hit["scenario"], &hit["app"]], ["hit", "target"]);
    assert!(hit["facts"]["hit_share"].as_f64().unwrap() > 0.9, "{hit}");
    assert_eq!(contention["scenario"], "contention");
    let done = contention["facts"]["done"].as_u64();
    assert!(done.unwrap() > 0, "{contention}");

    let ended = run(&format!("{target} --hit-path /users/2"), &[]);
    ended.report(1);
    let stdout = ended
        .stdout
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ");
    assert!(stdout.contains("every answer was a success"), "{stdout}");
    assert!(stdout.contains("for example GET got 404"), "{stdout}");
}

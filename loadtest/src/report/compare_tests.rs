use super::*;
use crate::schema::{Latency, Promise};

fn report(per_second: f64, p99: u64, spread: Option<f64>) -> Report {
    let run = |app: &str| Run {
        scenario: "hit".into(),
        app: app.into(),
        cache: "memory".into(),
        per_second,
        spread,
        latency_us: Latency {
            p50: 100,
            p99,
            ..Latency::default()
        },
        promises: vec![Promise::equal("nothing was computed", 0, 0)],
        ..Run::default()
    };
    Report {
        runs: vec![run("axum"), run("floor"), run("python")],
        ..Report::default()
    }
}

fn regressions(before: &Report, after: &Report, most: f64) -> Vec<String> {
    Comparison::of(before, after).regressions(most)
}

#[test]
fn only_what_is_beyond_the_spread_of_both_is_a_regression() {
    let before = report(1_000.0, 500, Some(0.04));
    assert!(regressions(&before, &report(930.0, 500, Some(0.04)), 0.0).is_empty());
    let found = regressions(&before, &report(910.0, 500, Some(0.04)), 0.0);
    assert_eq!(found.len(), 1, "{found:?}");
    let expected =
        "hit on axum, memory: answers per second -9.0 % (1,000 to 910); both vary by 8 % together";
    assert_eq!(found[0], expected);
    // A latency is worse when it grows, a rate when it shrinks.
    let slower = report(1_100.0, 600, Some(0.04));
    let found = regressions(&before, &slower, 0.0);
    assert!(
        found.len() == 1 && found[0].contains("p99 +20 %"),
        "{found:?}"
    );
    let found = regressions(&slower, &before, 0.0);
    assert!(found.iter().all(|it| it.contains("second")), "{found:?}");
}

#[test]
fn what_varies_is_no_regression() {
    // Per second, p99 and spread before and after, a threshold, and the regressions.
    for (before, after, most, count) in [
        // A machine drifts from run to run.
        ((1_000.0, 500, Some(0.0)), (960.0, 520, Some(0.0)), 0.0, 0),
        ((1_000.0, 500, Some(0.0)), (940.0, 520, Some(0.0)), 0.0, 1),
        // A threshold forgives what is below it.
        (
            (1_000.0, 500, Some(0.01)),
            (900.0, 500, Some(0.01)),
            0.05,
            1,
        ),
        (
            (1_000.0, 500, Some(0.01)),
            (900.0, 500, Some(0.01)),
            0.11,
            0,
        ),
        // Figures that were taken once are taken to vary.
        ((1_000.0, 500, None), (850.0, 500, None), 0.0, 0),
        ((1_000.0, 500, None), (750.0, 500, None), 0.0, 1),
        // Nothing was measured: neither better nor worse.
        ((1_000.0, 500, None), (0.0, 0, None), 0.0, 0),
    ] {
        let reports = [before, after].map(|(rate, p99, spread)| report(rate, p99, spread));
        let found = regressions(&reports[0], &reports[1], most);
        assert_eq!(found.len(), count, "{before:?}, {after:?}: {found:?}");
    }
}

#[test]
fn a_latency_is_judged_by_its_own_spread() {
    let before = report(1_000.0, 500, Some(0.01));
    let mut after = report(1_000.0, 550, Some(0.01));
    assert_eq!(regressions(&before, &after, 0.0).len(), 1);
    after.runs[0].latency_us.p99_spread = Some(0.2);
    assert!(regressions(&before, &after, 0.0).is_empty());
}

#[test]
fn newly_broken_promises_and_missing_runs_are_regressions() {
    let before = report(1_000.0, 500, Some(0.04));
    let mut after = before.clone();
    for run in &mut after.runs {
        run.promises = vec![Promise::equal("nothing was computed", 0, 3)];
    }
    let found = regressions(&before, &after, 0.5);
    assert_eq!(
        found.len(),
        2,
        "axum and floor, python is not ours: {found:?}"
    );
    let broken = "BROKEN: nothing was computed: 3 instead of 0";
    assert!(found[0].contains(broken), "{found:?}");
    assert!(regressions(&after, &after, 0.5).is_empty());

    after = before.clone();
    after.runs.remove(0);
    let missing = "hit on axum, memory: there is no such run any more";
    assert_eq!(regressions(&before, &after, 0.5), [missing]);
}

#[test]
fn it_fits_into_a_terminal_and_says_why_figures_may_differ() {
    let before = report(123_456.0, 999_999, None);
    let mut after = report(1.0, 12_345_678, None);
    after.debug_build = true;
    after.machine.processors = 64;
    let text = Comparison::of(&before, &after).shown(Some(0.1));
    for line in text.lines() {
        assert!(console::measure_text_width(line) <= WIDTH, "{line}");
    }
    for part in [
        "machines differ",
        "debug build",
        "6 runs measured once",
        "regression",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[test]
fn percents_are_read_with_and_without_their_sign() {
    assert_eq!(percent("10%"), Ok(0.1));
    assert_eq!(percent("2.5"), Ok(0.025));
    for text in ["", "%", "-1%", "NaN", "ten"] {
        assert!(percent(text).is_err(), "{text}");
    }
}

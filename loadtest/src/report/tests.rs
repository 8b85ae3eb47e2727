//! Against the report that `tests/report.json` holds.
#![allow(clippy::unwrap_used)]

use super::compare::Comparison;
use super::files::parse;
use super::html::page;
use super::terminal::shown;
use crate::schema::{Promise, Report};

const GOLDEN: &[u8] = include_bytes!("../../tests/report.json");

fn golden() -> Report {
    parse(GOLDEN).unwrap()
}

/// The table without colours, also if this test runs in a terminal.
fn terminal(report: &Report) -> String {
    console::set_colors_enabled(false);
    shown(report, 100)
}

/// The same with a promise broken, and a threshold crossed.
fn broken() -> Report {
    let mut report = golden();
    report.kept = false;
    let promise = &mut report.runs[1].promises[0];
    (promise.kept, promise.seen) = (false, "3 instead of 0".into());
    let crossed = Promise::new("p99 of hit is at most 2 ms", false, "3.10 ms on hit");
    report.thresholds.push(crossed);
    report
}

#[test]
fn json_comes_back_as_it_went() {
    let report = golden();
    let json = serde_json::to_value(&report).unwrap();
    let again = parse(json.to_string().as_bytes()).unwrap();
    assert_eq!(serde_json::to_value(&again).unwrap(), json);
    // Nothing of the file is lost on the way.
    let file: serde_json::Value = serde_json::from_slice(GOLDEN).unwrap();
    assert_eq!(json, file);
}

#[test]
fn fields_may_be_new_or_missing_but_not_another_schema() {
    let text = String::from_utf8_lossy(GOLDEN);
    let newer = text.replacen("\"kept\"", "\"colour\":{\"of\":[1]},\"kept\"", 3);
    let newer = parse(newer.as_bytes()).unwrap();
    assert_eq!(newer.runs.len(), golden().runs.len());
    assert!(parse(b"{\"schema\":2}").unwrap().runs.is_empty());

    let refused = |bytes: &[u8]| format!("{:#}", parse(bytes).unwrap_err());
    let older = refused(b"{\"schema\":1,\"runs\":{}}");
    assert!(
        older.contains("schema is 1") && older.contains("reads 2"),
        "{older}"
    );
    for bytes in [&b""[..], b"[]", b"{\"runs\":[]}", b"\xff"] {
        let refused = refused(bytes);
        assert!(refused.contains("no report.json"), "{refused}");
    }
    assert!(refused(b"{\"schema\":2,\"runs\":3}").contains("its schema"));
}

#[test]
fn the_terminal_shows_lines_that_fit_and_ends_with_the_verdict() {
    let (good, bad) = (terminal(&golden()), terminal(&broken()));
    for line in good.lines().chain(bad.lines()) {
        assert!(line.chars().count() <= 100, "{line}");
    }
    for part in [
        "\n✓ hit ",
        "\n✓ stampede ",
        "\n✓ reset ",
        "\n✓ contention ",
        // A promise that the original broke is reported, but does not count.
        "not kept: stampede on python, redis",
        "\n✓ Every promise was kept: ",
    ] {
        assert!(good.contains(part), "{part}: {good}");
    }
    assert!(good.ends_with(" in 168 s\n"), "{good}");
    for part in [
        "\n✗ hit ",
        "BROKEN: hit uniform on axum, memory: every answer was the right one: 3 instead of 0",
        "\n✗ p99 of hit is at most 2 ms: 3.10 ms on hit",
        " BROKEN, 1 threshold crossed in 168 s\n",
    ] {
        assert!(bad.contains(part), "{part}: {bad}");
    }
    assert!(!broken().passed() && golden().passed());
}

#[test]
fn the_page_asks_for_nothing_and_every_picture_has_words() {
    for page in [page(&golden()), page(&broken())] {
        for outside in "http: https: src= url( @import <script <link javascript:".split(' ') {
            assert!(!page.contains(outside), "{outside}");
        }
        let pictures = page.matches("<figure>").count();
        assert!(pictures > 20, "{pictures}");
        let words = page.split("<figure>").skip(1);
        let words = words.filter_map(|it| {
            it.split_once("role=\"img\" aria-label=\"")?
                .1
                .split_once('"')
        });
        let words = words.filter(|(words, _)| !words.ends_with(": "));
        assert_eq!(words.count(), pictures, "a picture without words");
        for number in ["NaN", "inf"] {
            assert!(!page.contains(&format!("\"{number}\"")), "{number}");
        }
    }
    assert!(page(&broken()).contains("3 instead of 0"));
    assert!(page(&golden()).contains("AMD EPYC 7B13"));
}

#[test]
fn no_text_of_a_report_becomes_markup() {
    const HOSTILE: &str = "</title><script>alert(1)</script>\"'><b onload=x>&\u{1b}[31m";
    fn poison(value: &mut serde_json::Value) {
        match value {
            serde_json::Value::String(text) => *text = HOSTILE.into(),
            serde_json::Value::Array(values) => values.iter_mut().for_each(poison),
            serde_json::Value::Object(fields) => fields.values_mut().for_each(poison),
            _ => {}
        }
    }
    let mut json = serde_json::to_value(broken()).unwrap();
    json["versions"]["frameworks"] = serde_json::json!({ HOSTILE: "1" });
    poison(&mut json);
    let report = parse(json.to_string().as_bytes()).unwrap();
    let page = page(&report);
    for markup in ["<script", "<b ", "'>", "onload=x>", "\x1b"] {
        assert!(!page.contains(markup), "{markup}");
    }
    assert!(page.contains("&lt;script&gt;"));
    let text = terminal(&report);
    assert!(!text.contains('\x1b') && text.contains("·[31m"), "{text}");
}

#[test]
fn figures_that_make_no_sense_draw_something_and_do_not_panic() {
    fn grow(value: &mut serde_json::Value, number: &serde_json::Value) {
        match value {
            serde_json::Value::Number(_) => *value = number.clone(),
            serde_json::Value::Array(values) => values.iter_mut().for_each(|it| grow(it, number)),
            serde_json::Value::Object(fields) => {
                fields.values_mut().for_each(|it| grow(it, number));
            }
            _ => {}
        }
    }
    for (float, whole) in [(0.0, 0), (1e308, u64::MAX), (-1.0, 1)] {
        let mut json = serde_json::to_value(golden()).unwrap();
        grow(&mut json["runs"], &whole.into());
        for run in json["runs"].as_array_mut().unwrap() {
            for (field, most) in [("instances", u64::from(u16::MAX)), ("users", u64::MAX)] {
                run[field] = whole.min(most).into();
            }
            for field in ["per_second", "spread", "seconds"] {
                run[field] = float.into();
            }
            for hold in run["holds"].as_array_mut().into_iter().flatten() {
                hold["who"] = whole.min(u32::MAX.into()).into();
            }
            for list in ["holds", "waits_us"] {
                if let Some(item) = run[list].get_mut(0) {
                    grow(item, &3.into());
                }
            }
        }
        let report = parse(json.to_string().as_bytes()).unwrap();
        let page = page(&report);
        assert!(!page.contains("\"NaN") && !page.contains("\"inf"));
        terminal(&report);
        let comparison = Comparison::of(&report, &report);
        assert!(comparison.regressions(0.0).is_empty());
        comparison.shown(Some(0.1));
    }
    assert!(page(&Report::default()).contains("Nothing was promised"));
}

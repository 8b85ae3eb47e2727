//! The page on observability. Each metric that it names must exist.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;

use cachify_core::{Cachify, key};
// ANCHOR: recorder
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder};

/// Seconds. Histograms with buckets can be summed over processes; quantiles of summaries cannot.
const BUCKETS: [f64; 11] = [
    0.0001, 0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 30.0,
];

fn prometheus() -> Result<PrometheusBuilder, BuildError> {
    let ours = Matcher::Prefix("cachify_".to_owned());
    PrometheusBuilder::new().set_buckets_for_metric(ours, &BUCKETS)
}
// ANCHOR_END: recorder

/// Returns the words in `text` that start with the metrics' prefix.
fn names(text: &str) -> BTreeSet<String> {
    text.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_')
        .filter(|word| word.starts_with("cachify_"))
        .map(|word| {
            ["_bucket", "_sum", "_count"]
                .iter()
                .fold(word, |word, end| word.strip_suffix(end).unwrap_or(word))
                .to_owned()
        })
        .filter(|word| !word.starts_with("cachify_core") && word.len() > "cachify_".len())
        .collect()
}

#[test]
fn the_page_and_the_dashboard_name_all_metrics_and_no_other() {
    let observe = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../cachify-core/src/observe"
    );
    let mut known = BTreeSet::new();
    for file in std::fs::read_dir(observe).unwrap() {
        let source = std::fs::read_to_string(file.unwrap().path()).unwrap();
        let code = source.lines().filter(|line| !line.trim().starts_with("//"));
        known.append(&mut names(&code.collect::<Vec<_>>().join("\n")));
    }
    assert!(known.len() >= 6, "{known:?}");
    assert_eq!(
        names(include_str!("../../src/guides/observability.md")),
        known
    );
    assert_eq!(names(include_str!("../../src/guides/grafana.json")), known);
}

#[test]
fn the_dashboard_is_one() {
    let text = include_str!("../../src/guides/grafana.json");
    let dashboard: serde_json::Value = serde_json::from_str(text).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let ids: BTreeSet<_> = panels.iter().map(|panel| panel["id"].as_u64()).collect();
    assert_eq!(ids.len(), panels.len());
    for panel in panels {
        assert!(panel["targets"][0]["expr"].is_string(), "{panel}");
        assert_eq!(panel["datasource"]["uid"], "${datasource}", "{panel}");
    }
}

#[test]
fn metrics_are_counted_by_template() {
    let recorder = prometheus().unwrap().build_recorder();
    metrics::with_local_recorder(&recorder, || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        runtime.unwrap().block_on(async {
            let cachify = Cachify::memory();
            for user_id in [7, 7] {
                let entry = cachify.cached(&key!("read_user-{user_id}"));
                entry.get_or_compute(async || 1).await;
            }
            let lock = cachify.lock(&key!("charge-7"));
            let _guard = lock.acquire().await.unwrap();
            lock.acquire().await.unwrap_err();
        });
    });
    let text = recorder.handle().render();
    for line in [
        r#"cachify_requests_total{template="read_user-{user_id}",outcome="hit"} 1"#,
        r#"cachify_requests_total{template="read_user-{user_id}",outcome="miss"} 1"#,
        r#"cachify_lock_total{kind="lock",template="charge-7",outcome="contended"} 1"#,
    ] {
        assert!(text.contains(line), "{text}");
    }
    assert!(text.contains("cachify_compute_seconds_bucket{"), "{text}");
}

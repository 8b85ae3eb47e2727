//! No crate contains `unsafe`, and none can add it unnoticed. No log contains a key or a value.
#![allow(clippy::unwrap_used)]

#[path = "common/log.rs"]
mod log;

use std::fs;
use std::path::Path;
use std::time::Duration;

use cachify_core::clock::Clock;
use cachify_core::testing::{Fault, Faulty};
use cachify_core::{Cachify, cached, key, once};
use log::Log;

#[cached(key = "row-{id}", with = cachify)]
async fn row(cachify: &Cachify, id: &str) -> String {
    let _ = cachify;
    format!("value of {id}")
}

#[once(key = "job-{id}", with = cachify, on_locked = false, on_unavailable = false)]
async fn job(cachify: &Cachify, id: &str) -> bool {
    let _ = cachify;
    !id.is_empty()
}

#[tokio::test(start_paused = true)]
async fn s1_no_log_tells_a_key_or_a_value() {
    let log = Log::start();
    let (id, moment) = ("s3cret", Duration::from_millis(10));
    let memory = Cachify::builder().memory().clock(Clock::test());
    let (cachify, backend) = Faulty::wrap(&memory.connect_lazy().unwrap());
    for fault in [
        None,
        Some(Fault::Reject),
        Some(Fault::Hang),
        Some(Fault::Refuse),
    ] {
        backend.heal();
        tokio::time::sleep(Duration::from_secs(5)).await;
        let lock = cachify.lock(&key!("door-{id}"));
        let pool = cachify.pool(&key!("pool-{id}"), 1);
        let held = (lock.acquire().await, pool.acquire().await);
        if let Some(fault) = fault {
            backend.fail_all(fault);
        }
        for _ in 0..2 {
            row(&cachify, id).await;
            job(&cachify, id).await;
        }
        let _ = row::set(&cachify, id, "s3cret value".to_owned()).await;
        // Stored with another type: it can't be read.
        let _ = cachify
            .cached(&key!("row-{id}"))
            .get_or_compute(async || 1)
            .await;
        let _ = row::reset(&cachify, id).await;
        let _ = lock.clone().wait(moment).acquire().await;
        let _ = pool.clone().wait(moment).acquire().await;
        // A hold that can't be renewed is lost.
        tokio::time::sleep(Duration::from_mins(1)).await;
        drop(held);
    }
    let _ = cachify.close(Duration::from_secs(1)).await;
    let log = log.text();
    for told in [
        "row-{id}",
        "door-{id}",
        "pool-{id}",
        "lost",
        "circuit breaker",
    ] {
        assert!(
            log.contains(told),
            "{told} is not among what was logged:\n{log}"
        );
    }
    assert!(!log.contains("s3cret"), "{log}");
}

#[test]
fn s2_every_crate_forbids_unsafe_code() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let manifest = fs::read_to_string(root.join("Cargo.toml")).unwrap();
    assert!(manifest.contains("unsafe_code = \"forbid\""));
    let members = manifest
        .split_once("members = [")
        .and_then(|(_, rest)| rest.split_once(']'))
        .map(|(members, _)| members)
        .unwrap();
    let members: Vec<_> = members.split('"').skip(1).step_by(2).collect();
    assert!(members.contains(&"cachify-core"));
    for member in members {
        let manifest = fs::read_to_string(root.join(member).join("Cargo.toml")).unwrap();
        assert!(
            manifest.contains("[lints]\nworkspace = true"),
            "{member} has lints of its own"
        );
    }
}

#[test]
fn the_front_page_names_every_feature() {
    let manifest = include_str!("../Cargo.toml");
    let features = manifest
        .split_once("[features]")
        .and_then(|(_, rest)| rest.split_once("\n["))
        .map(|(features, _)| features)
        .unwrap();
    let page = include_str!("../README.md");
    for line in features.lines().filter(|line| !line.starts_with("##")) {
        if let Some((name, _)) = line.split_once(" = ")
            && name != "default"
        {
            assert!(page.contains(&format!("\n| `{name}` |")), "{name}");
        }
    }
}

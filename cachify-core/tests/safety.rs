//! No crate writes `unsafe`, and none can start to unnoticed.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;

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

//! A browser for the tests of the load test's page.

use std::time::Duration;

use crate::packages::install;
use crate::run::{ask, on_path};

/// The names of browsers, as in `loadtest/tests/page.rs`. This crate does not depend on it, to
/// build quickly.
const NAMES: [&str; 4] = [
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
];

/// Finds a browser, or installs one. Without one, the tests that need it fail and say so.
pub(crate) fn provide() -> Option<String> {
    let named = std::env::var("CACHIFY_BROWSER").ok();
    let program = named.or_else(installed).or_else(|| {
        println!("Browser: none found, so installing one");
        // A machine without a screen may have no font.
        let done = install(&["chromium", "fonts-dejavu-core"], &["--cask", "chromium"]);
        done.then(installed).flatten()
    });
    match &program {
        Some(program) => {
            let version = ask(program, &["--version"], Duration::from_secs(30));
            let version = version.unwrap_or_else(|| "whose version it does not tell".into());
            println!("Browser: {program}, {}", version.trim());
        }
        None => println!(
            "Browser: none to be had by apt-get or brew, so the tests of the load test's page will \
             fail"
        ),
    }
    program
}

fn installed() -> Option<String> {
    NAMES.iter().copied().find_map(on_path)
}

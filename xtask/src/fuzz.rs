//! Runs every target of `fuzz/` for some time each: `cargo xtask fuzz`.

use std::path::Path;

use crate::run::{Failure, exists, run, run_with};
use crate::workspace::cargo;

const TARGETS: &[&str] = &["template", "envelope", "stored", "fields", "message"];
/// The default time for each target, in seconds.
const SECONDS: u32 = 60;

pub(crate) fn run_all(seconds: Option<&str>) -> Result<String, Failure> {
    let seconds = match seconds {
        None => SECONDS,
        Some(text) => text
            .parse()
            .map_err(|_| format!("`{text}` is not a number of seconds"))?,
    };
    if !exists("cargo-fuzz") {
        println!("There is no cargo-fuzz on the PATH: installing it.");
        run(cargo(), &["install", "--locked", "cargo-fuzz"])?;
    }
    for target in TARGETS {
        // A sanitizer needs a nightly compiler, and finds nothing in crates without `unsafe`.
        let time = format!("-max_total_time={seconds}");
        let args = [
            "fuzz",
            "run",
            "--sanitizer",
            "none",
            target,
            "--",
            &time,
            "-rss_limit_mb=2048",
            "-print_final_stats=1",
        ];
        // cargo-fuzz looks for `fuzz` below the current directory, which is the root.
        if !Path::new("fuzz/fuzz_targets")
            .join(format!("{target}.rs"))
            .is_file()
        {
            return Err(format!("there is no target `{target}` in fuzz/"));
        }
        run_with(cargo(), &args, &[])?;
    }
    Ok(format!("{} targets, {seconds} s each", TARGETS.len()))
}

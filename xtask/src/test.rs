//! Runs every test of the workspace, against a real Redis and a real browser.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::time::Instant;

use crate::redis::{self, Redis};
use crate::run::{Failure, announce};
use crate::workspace::{self, Package};
use crate::{browser, docker};

/// The feature that needs a Docker engine.
const CONTAINERS: &str = "redis-fixture/containers";

/// The results of test runners, added up.
#[derive(Debug, Default, PartialEq, Eq)]
struct Count {
    binaries: usize,
    passed: usize,
    failed: usize,
    ignored: usize,
}

/// Runs `cargo test` with the given arguments and a Redis.
pub(crate) fn some(args: &[String]) -> Result<(), Failure> {
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let mut envs = match redis::provide()? {
        Redis::Program(program) => vec![("CACHIFY_REDIS_SERVER", program)],
        Redis::Docker => vec![("CACHIFY_REDIS_IMAGE", docker::image(None)?)],
    };
    let features: &[&str] = match envs[0].0 {
        "CACHIFY_REDIS_SERVER" => &[],
        _ => &["--features", CONTAINERS],
    };
    if args.contains(&"loadtest") {
        envs.extend(browser::provide().map(|browser| ("CACHIFY_BROWSER", browser)));
    }
    let args = [&["test"], features, &args].concat();
    cargo_test(&args, &envs, &mut Count::default())
}

/// Runs everything: all packages, features, targets and doctests. If a Docker engine answers, also
/// tests containers.
pub(crate) fn all() -> Result<String, Failure> {
    let start = Instant::now();
    let redis = redis::provide()?;
    let image = image(&redis)?;
    let mut envs = Vec::new();
    envs.extend(image.clone().map(|image| ("CACHIFY_REDIS_IMAGE", image)));
    envs.extend(browser::provide().map(|browser| ("CACHIFY_BROWSER", browser)));
    let source = match redis {
        Redis::Program(program) => {
            envs.push(("CACHIFY_REDIS_SERVER", program.clone()));
            program
        }
        Redis::Docker => CONTAINERS.into(),
    };

    let (packages, _) = workspace::load()?;
    let mut features: Vec<String> = packages
        .iter()
        .flat_map(Package::qualified_features)
        .collect();
    features.retain(|feature| feature != CONTAINERS || source == CONTAINERS);
    let features = features.join(",");
    let everything = [
        "test",
        "--no-fail-fast",
        "--workspace",
        "--features",
        &features,
    ];
    let mut count = Count::default();
    let mut result = cargo_test(&everything, &envs, &mut count);
    if source != CONTAINERS && image.is_some() {
        let containers = [
            "test",
            "-p",
            "redis-fixture",
            "--features",
            CONTAINERS,
            "--test",
            "container",
        ];
        result = result.and(cargo_test(&containers, &envs, &mut count));
    }

    let Count {
        binaries,
        passed,
        failed,
        ignored,
    } = count;
    let summary = format!(
        "{passed} tests passed, {failed} failed, {ignored} ignored, in {binaries} binaries and \
         {:.0} s; servers: {source}; containers: {}",
        start.elapsed().as_secs_f64(),
        image.as_deref().unwrap_or("not tested"),
    );
    match result {
        Ok(()) if passed == 0 => Err("no test ran".into()),
        Ok(()) => Ok(summary),
        Err(failure) => Err(format!("{summary}\n{failure}")),
    }
}

/// Returns the image to test containers with, or `None` if containers cannot be tested.
fn image(redis: &Redis) -> Result<Option<String>, Failure> {
    let Some(version) = docker::engine() else {
        println!("Docker: no engine answers, so servers in containers are not tested here");
        return Ok(None);
    };
    let server = match redis {
        Redis::Program(program) => Some(program.clone()),
        Redis::Docker => None,
    };
    match (docker::image(server), redis) {
        (Ok(image), _) => {
            println!("Docker: engine {version}, image {image}");
            Ok(Some(image))
        }
        (Err(failure), Redis::Docker) => Err(failure),
        (Err(failure), Redis::Program(_)) => {
            println!("Docker: {failure}; so servers in containers are not tested here");
            Ok(None)
        }
    }
}

/// Runs `cargo test` with its output on the terminal, and adds up the results of its runners.
fn cargo_test(args: &[&str], envs: &[(&str, String)], count: &mut Count) -> Result<(), Failure> {
    let line = announce("cargo", args);
    let mut command = Command::new(workspace::cargo());
    command.args(args).envs(envs.iter().cloned());
    let failed = |error: std::io::Error| format!("{line}: {error}");
    let mut child = command.stdout(Stdio::piped()).spawn().map_err(failed)?;
    if let Some(stdout) = child.stdout.take() {
        let mut stdout = BufReader::new(stdout);
        let mut text = Vec::new();
        while stdout.read_until(b'\n', &mut text).map_err(failed)? > 0 {
            std::io::stdout().write_all(&text).map_err(failed)?;
            count.add(&String::from_utf8_lossy(&text));
            text.clear();
        }
    }
    let status = child.wait().map_err(failed)?;
    status
        .success()
        .then_some(())
        .ok_or_else(|| format!("{line}: {status}"))
}

impl Count {
    /// Adds a line such as `test result: ok. 3 passed; 0 failed; 1 ignored; ...`, and ignores other
    /// lines.
    fn add(&mut self, line: &str) {
        let Some(result) = line.trim_start().strip_prefix("test result: ") else {
            return;
        };
        let number = |what: &str| {
            let part = result
                .split(&[';', '.'][..])
                .find(|part| part.trim_end().ends_with(what));
            let digits = part.and_then(|part| part.split_whitespace().next()?.parse().ok());
            digits.unwrap_or(0)
        };
        self.binaries += 1;
        self.passed += number("passed");
        self.failed += number("failed");
        self.ignored += number("ignored");
    }
}

#[cfg(test)]
mod tests {
    use super::Count;

    #[test]
    fn results_add_up() {
        let mut count = Count::default();
        for line in [
            "running 5 tests",
            "test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; finished in 0.30s",
            "test result: FAILED. 7 passed; 2 failed; 0 ignored; 0 measured; finished in 0.30s\n",
            "test result_is_kept ... ok",
        ] {
            count.add(line);
        }
        let expected = Count {
            binaries: 2,
            passed: 10,
            failed: 2,
            ignored: 1,
        };
        assert_eq!(count, expected);
    }
}

//! The command line.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::builder::PossibleValuesParser;
use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::report::{CompareFlags, Thresholds};
use crate::scenario;

/// Measures the sample apps, and proves while it does that they keep their promises.
///
/// Without flags it compares all frameworks at `hit`, and runs the other scenarios on axum, over memory and, where there is a server to start, over Redis:
/// in less than three minutes. The exit code is 0 if every promise was kept, 1 if one was broken or a threshold crossed, 2 if something else went wrong.
///
/// What follows `--` goes to goose, which makes the load: `loadtest -- --users 50 --increase-rate 5 --run-time 30s`,
/// `loadtest -- --test-plan "10,10s;50,30s;0,5s"`, `loadtest -- --throttle-requests 500`. With a run time, iterations or a plan of goose's, each round lasts as long as
/// that says, and --duration does not count; see --repeats.
#[derive(Parser)]
#[command(version, args_conflicts_with_subcommands = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    #[command(flatten)]
    pub(crate) flags: Flags,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// What the children of this program do.
    #[command(hide = true)]
    Serve {
        #[arg(long)]
        app: App,
        #[command(flatten)]
        flags: users::Flags,
    },
    /// Show what changed from one report.json to another
    Compare(CompareFlags),
    /// Show a report.json again, and write its report.html anew beside it
    Render { report: PathBuf },
}

#[derive(Args)]
pub(crate) struct Flags {
    /// Sample apps to run [default: all at `hit`, else axum]
    #[arg(long, value_delimiter = ',')]
    pub(crate) framework: Vec<Framework>,

    /// Where they cache: `memory`, `redis` (starts a server of its own) or a URL [default: memory, and redis if there is a server to start]
    #[arg(long, value_delimiter = ',')]
    pub(crate) cache: Vec<Cache>,

    /// What to run [default: all]
    #[arg(long, value_delimiter = ',', value_parser = PossibleValuesParser::new(scenario::names()))]
    pub(crate) scenario: Vec<String>,

    /// Concurrent clients of a measurement; contention and pool take four times as many
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub(crate) users: u16,

    /// Requests per second of all clients together, begun on time whether or not those before were answered; a late one counts its lateness
    /// [default: each client sends the next request when it has its answer]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) rate: Option<u32>,

    /// How long a measurement takes, all rounds together, from 1s to 4m: entries live for 5 minutes
    // Goose sees every half second whether its users are done: a round of 320 ms and its warm-up take one.
    #[arg(long, default_value = "1600ms", value_parser = duration)]
    pub(crate) duration: Duration,

    /// Rounds of a measurement; figures are medians of them
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=100))]
    pub(crate) repeats: u16,

    /// Processes of an app that share a Redis, such as `1,2,4`: all scenarios with each [default: what the scenario needs]
    #[arg(long, value_delimiter = ',', value_parser = clap::value_parser!(u16).range(1..=64))]
    pub(crate) instances: Vec<u16>,

    /// Where report.json, report.html and the logs of the apps go
    #[arg(long, default_value = "target/loadtest", value_name = "DIRECTORY")]
    pub(crate) output: PathBuf,

    /// Compare with the original, py-cachify on `FastAPI`, over the same Redis: fetches it from `PyPI` for this run. Without Python it says so and goes on
    #[arg(long)]
    pub(crate) with_python: bool,

    #[command(flatten)]
    pub(crate) target: TargetFlags,

    #[command(flatten)]
    pub(crate) thresholds: Thresholds,

    /// Flags of goose
    #[arg(last = true, value_name = "GOOSE")]
    pub(crate) goose: Vec<String>,
}

#[derive(Args)]
#[command(next_help_heading = "Your own service")]
pub(crate) struct TargetFlags {
    /// Run `hit` and `contention` against a service that runs already, instead of the sample apps
    #[arg(
        long,
        value_name = "URL",
        conflicts_with_all = ["framework", "cache", "scenario", "instances", "with_python"]
    )]
    pub(crate) target: Option<String>,

    /// Path to read, such as `/users/1`; several times for several
    #[arg(long, value_name = "PATH", requires = "target")]
    pub(crate) hit_path: Vec<String>,

    /// Path of an operation that is done by one at a time
    #[arg(long, value_name = "PATH", requires = "target")]
    pub(crate) lock_path: Option<String>,

    /// Its method
    #[arg(long, value_name = "METHOD", default_value = "PUT")]
    pub(crate) lock_method: reqwest::Method,

    /// Its body, in JSON
    #[arg(long, value_name = "JSON", requires = "lock_path")]
    pub(crate) lock_body: Option<String>,

    /// Let the target be on another machine: make sure that it is yours
    #[arg(long, requires = "target")]
    pub(crate) allow_remote: bool,
}

/// A sample app.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Framework {
    Axum,
    Poem,
    Warp,
}

/// What can be measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum App {
    Axum,
    Poem,
    Warp,
    /// A constant answer: what this machine and this harness can do at best.
    Floor,
    /// Routes of the load test itself, on axum.
    Lab,
    /// The original; a child of another program.
    #[value(skip)]
    Python,
    /// Somebody's own service.
    #[value(skip)]
    Target,
}

impl From<Framework> for App {
    fn from(framework: Framework) -> Self {
        match framework {
            Framework::Axum => Self::Axum,
            Framework::Poem => Self::Poem,
            Framework::Warp => Self::Warp,
        }
    }
}

impl App {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Axum => "axum",
            Self::Poem => "poem",
            Self::Warp => "warp",
            Self::Floor => "floor",
            Self::Lab => "lab",
            Self::Python => "python",
            Self::Target => "target",
        }
    }
}

/// Where an app caches.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Cache {
    Memory,
    /// A server of our own.
    Redis,
    Url(String),
}

impl FromStr for Cache {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "memory" | "memory://" => Ok(Self::Memory),
            "redis" => Ok(Self::Redis),
            url if url.contains("://") => Ok(Self::Url(url.to_owned())),
            _ => Err("expected `memory`, `redis` or a URL such as `redis://127.0.0.1:6379`".into()),
        }
    }
}

/// The name in tables and file names: of a URL its scheme alone, since the rest may hold a password.
impl fmt::Display for Cache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Memory => f.write_str("memory"),
            Self::Redis => f.write_str("redis"),
            Self::Url(url) => {
                f.write_str(url.split_once("://").map_or("url", |(scheme, _)| scheme))
            }
        }
    }
}

/// The command line as it was given, less the passwords in URLs.
pub(crate) fn as_given(arguments: impl Iterator<Item = String>) -> Vec<String> {
    let hidden = |part: &str| {
        let (scheme, rest) = part.split_once("://")?;
        let (_, host) = rest.rsplit_once('@')?;
        Some(format!("{scheme}://***@{host}"))
    };
    let argument = |argument: String| {
        let parts = argument.split(',');
        let parts = parts.map(|part| hidden(part).unwrap_or_else(|| part.to_owned()));
        parts.collect::<Vec<_>>().join(",")
    };
    arguments.map(argument).collect()
}

fn duration(text: &str) -> Result<Duration, String> {
    let duration = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    if (Duration::from_secs(1)..=Duration::from_mins(4)).contains(&duration) {
        Ok(duration)
    } else {
        Err("expected 1s to 4m".into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_password_is_told() {
        let given = [
            "--cache",
            "memory,redis://ann:s3cr@et@h:1/0",
            "--cache=redis://:s3cret@h",
        ];
        let told = as_given(given.map(str::to_owned).into_iter());
        let expected = [
            "--cache",
            "memory,redis://***@h:1/0",
            "--cache=redis://***@h",
        ];
        assert_eq!(told, expected);
    }
}

//! The command line.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::builder::PossibleValuesParser;
use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::scenario;

/// Measures the sample apps, and proves while it does that they keep their promises.
///
/// Without flags it runs every scenario on every framework, over memory and, where there is a server to start, over Redis. The exit code
/// is 0 if every promise was kept, 1 if one was broken, 2 if something else went wrong.
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
}

#[derive(Args)]
pub(crate) struct Flags {
    /// Sample apps to run
    #[arg(long, value_delimiter = ',', default_value = DEFAULT_FRAMEWORKS)]
    pub(crate) framework: Vec<Framework>,

    /// Where they cache: `memory`, `redis` (starts a server of its own) or a URL [default: memory, and redis if there is a server to start]
    #[arg(long, value_delimiter = ',')]
    pub(crate) cache: Vec<Cache>,

    /// What to run [default: all]
    #[arg(long, value_delimiter = ',', value_parser = PossibleValuesParser::new(scenario::names()))]
    pub(crate) scenario: Vec<String>,

    /// Concurrent clients of a measurement; contention takes four times as many
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub(crate) users: u16,

    /// How long a scenario measures, from 1s to 4m: entries live for 5 minutes
    #[arg(long, default_value = "4s", value_parser = duration)]
    pub(crate) duration: Duration,

    /// Processes of an app that share a Redis [default: what the scenario needs]
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub(crate) instances: Option<u16>,

    /// Where report.json, report.html and the logs of the apps go
    #[arg(long, default_value = "target/loadtest", value_name = "DIRECTORY")]
    pub(crate) output: PathBuf,
}

/// All of them.
const DEFAULT_FRAMEWORKS: &str = "axum,poem,warp";

/// A sample app.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Framework {
    Axum,
    Poem,
    Warp,
}

/// What a child can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum App {
    Axum,
    Poem,
    Warp,
    /// A constant answer: what this machine and this harness can do at best.
    Floor,
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

fn duration(text: &str) -> Result<Duration, String> {
    let duration = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    if (Duration::from_secs(1)..=Duration::from_mins(4)).contains(&duration) {
        Ok(duration)
    } else {
        Err("expected 1s to 4m".into())
    }
}

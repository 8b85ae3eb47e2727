//! The command line.

use std::path::PathBuf;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, Parser, Subcommand, ValueEnum};
use itertools::Itertools;

use crate::app::{App, Cache};
use crate::bench::Settings;
use crate::report::{CompareFlags, Thresholds};
use crate::scenario;
use crate::target::TargetFlags;

/// Measures the sample apps, and proves while it does that they keep their promises.
///
/// Without flags it compares all frameworks at `hit`, and runs the other scenarios on axum, over
/// memory and, where there is a server to start, over Redis: in less than three minutes. The exit
/// code is 0 if every promise was kept, 1 if one was broken or a threshold crossed, 2 if something
/// else went wrong.
///
/// Flags after `--` go to goose, which makes the load:
/// `loadtest -- --users 50 --increase-rate 5 --run-time 30s`,
/// `loadtest -- --test-plan "10,10s;50,30s;0,5s"`, `loadtest -- --throttle-requests 500`. With a
/// run time, iterations or a plan of goose's, each round lasts as long as that says, and --duration
/// does not count; see --repeats.
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
    /// Serve an app, as a child of this program
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
    #[arg(long, value_delimiter = ',', value_parser = sample_app())]
    pub(crate) framework: Vec<App>,

    /// Their caches: `memory`, `redis` (starts a server of its own), `tiered` (memory in front of
    /// such a server) or a URL [default: memory, and redis if there is a server to start]
    #[arg(long, value_delimiter = ',')]
    pub(crate) cache: Vec<Cache>,

    /// Scenarios to run [default: all]
    #[arg(long, value_delimiter = ',', value_parser = PossibleValuesParser::new(scenario::names()))]
    pub(crate) scenario: Vec<String>,

    #[command(flatten)]
    pub(crate) settings: Settings,

    /// Processes of an app that share a Redis, such as `1,2,4`: all scenarios with each [default:
    /// as the scenario needs]
    #[arg(long, value_delimiter = ',', value_parser = clap::value_parser!(u16).range(1..=64))]
    pub(crate) instances: Vec<u16>,

    /// Compare with the original, py-cachify on `FastAPI`, over the same Redis: fetches it from
    /// `PyPI` for this run. Without Python it says so and goes on
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

fn sample_app() -> impl TypedValueParser<Value = App> {
    let names = App::SAMPLES.map(App::name);
    PossibleValuesParser::new(names).try_map(|name| App::from_str(&name, false))
}

/// Returns the command line as it was given, less the passwords in URLs.
pub(crate) fn as_given(arguments: impl Iterator<Item = String>) -> Vec<String> {
    let hidden = |part: &str| {
        let (scheme, rest) = part.split_once("://")?;
        let (_, host) = rest.rsplit_once('@')?;
        Some(format!("{scheme}://***@{host}"))
    };
    let shown = |part: &str| hidden(part).unwrap_or_else(|| part.to_owned());
    arguments
        .map(|argument| argument.split(',').map(shown).join(","))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_password_is_told() {
        let given = [
            "memory,redis://ann:s3cr@et@h:1/0",
            "--cache=redis://:s3cret@h",
        ];
        let told = as_given(given.map(str::to_owned).into_iter());
        assert_eq!(told, ["memory,redis://***@h:1/0", "--cache=redis://***@h"]);
    }
}

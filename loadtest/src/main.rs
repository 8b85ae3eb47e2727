//! Measures the sample apps, and proves while it does that they keep their promises.
//!
//! The apps run as child processes of this program, which is also the child: `serve.rs` is the child's side, `fleet.rs` the
//! parent's. A scenario starts the apps it needs, puts load on them with goose (`load.rs`), and returns what it measured and which promises were kept
//! (`report.rs`).

mod flags;
mod fleet;
mod load;
mod place;
mod progress;
mod report;
mod scenario;
mod schema;
mod serve;

use std::io::Write;
use std::process::ExitCode;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use clap::Parser;
use tokio::sync::oneshot;

use crate::flags::{Cache, Cli, Command, Flags};
use crate::place::{Place, can_start_redis};
use crate::progress::Progress;
use crate::scenario::{Scenario, Stage};
use crate::schema::{Machine, Report, SCHEMA};

#[tokio::main]
async fn main() -> ExitCode {
    let Cli { command, flags } = Cli::parse();
    let result = match command {
        Some(Command::Serve { app, flags }) => serve::serve(app, flags).await.map(|()| true),
        None => interruptible(flags).await,
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "error: {error:?}");
            ExitCode::from(2)
        }
    }
}

/// Runs until it is done or the process is asked to end; in both cases whatever was started is ended.
async fn interruptible(flags: Flags) -> Result<bool> {
    // Before goose, which would otherwise end its run on Ctrl-C and let us go on with the next one.
    let (sender, interrupted) = oneshot::channel();
    let mut sender = Some(sender);
    ctrlc::set_handler(move || {
        // Sending to a run that is over already fails, and does not matter.
        sender.take().map(|sender| sender.send(()).ok());
    })?;
    tokio::select! {
        result = run(flags) => result,
        Ok(()) = interrupted => bail!("interrupted"),
    }
}

async fn run(flags: Flags) -> Result<bool> {
    let begin = Instant::now();
    let started = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    std::fs::create_dir_all(&flags.output)
        .with_context(|| format!("cannot make {}", flags.output.display()))?;
    let progress = Progress::new();
    if cfg!(debug_assertions) {
        progress.say(
            "This is a debug build: its figures mean nothing, its promises do. Add --release.",
        );
    }
    let mut runs = Vec::new();
    for cache in caches(&flags, &progress) {
        let place = Place::open(cache).await?;
        for framework in &flags.framework {
            let stage = Stage {
                app: (*framework).into(),
                place: &place,
                flags: &flags,
                progress: &progress,
            };
            for scenario in wanted(&flags) {
                let what = format!("{} on {}, {}", scenario.name, stage.app.name(), place.cache);
                progress.say(&format!("{what}: {}", scenario.about));
                progress.begin(&what);
                runs.extend((scenario.run)(&stage).await.context(what)?);
            }
        }
    }
    drop(progress);

    let report = Report {
        schema: SCHEMA,
        machine: Machine {
            processors: std::thread::available_parallelism().map_or(0, usize::from),
            ..Machine::default()
        },
        debug_build: cfg!(debug_assertions),
        started,
        seconds: begin.elapsed().as_secs_f64(),
        kept: runs.iter().all(|run| run.kept() || !run.counts()),
        runs,
        ..Report::default()
    };
    report.write(&flags.output)?;
    let mut stdout = std::io::stdout();
    write!(stdout, "{}", report.table())?;
    writeln!(
        stdout,
        "{} in {:.0} s; report.html, report.json and logs are in {}",
        if report.kept {
            "Every promise was kept"
        } else {
            "A promise was BROKEN"
        },
        report.seconds,
        flags.output.display()
    )?;
    Ok(report.kept)
}

fn wanted(flags: &Flags) -> impl Iterator<Item = &'static Scenario> {
    scenario::ALL
        .iter()
        .filter(|it| flags.scenario.is_empty() || flags.scenario.iter().any(|name| name == it.name))
}

fn caches(flags: &Flags, progress: &Progress) -> Vec<Cache> {
    if !flags.cache.is_empty() {
        return flags.cache.clone();
    }
    if can_start_redis() {
        return vec![Cache::Memory, Cache::Redis];
    }
    progress
        .say("There is no redis-server or valkey-server to start, so this runs over memory only.");
    vec![Cache::Memory]
}

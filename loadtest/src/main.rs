//! Measures the sample apps, and proves while it does that they keep their promises.
//!
//! The apps run as child processes of this program, which is also the child: `serve.rs` is the
//! child's side, `fleet.rs` the parent's. `plan.rs` decides what runs on what. A scenario starts
//! the apps it needs, puts load on them in rounds (`turns.rs`) with goose (`load.rs`), and returns
//! what it measured and which promises were kept (`schema.rs`); `report.rs` shows it.

mod app;
mod bench;
mod client;
mod cpu;
mod flags;
mod fleet;
mod lab;
mod listen;
mod load;
mod machine;
mod meter;
mod place;
mod plan;
mod python;
mod quiet;
mod report;
mod sabotage;
mod scenario;
mod schema;
mod scratch;
mod serve;
mod stage;
mod target;
mod turns;
mod versions;
mod visits;

use std::cell::RefCell;
use std::io::Write;
use std::process::ExitCode;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use clap::Parser;
use itertools::Itertools;
use tokio::sync::oneshot;

use crate::bench::{Bench, Progress};
use crate::flags::{Cli, Command, Flags};
use crate::load::Goose;
use crate::plan::Plan;
use crate::quiet::Quiet;
use crate::schema::{Report, Run, SCHEMA};
use crate::target::Target;

#[tokio::main]
async fn main() -> ExitCode {
    let Cli { command, flags } = Cli::parse();
    let result = match command {
        Some(Command::Serve { app, flags }) => serve::serve(app, flags).await.map(|()| true),
        Some(Command::Compare(flags)) => report::compare(&flags),
        Some(Command::Render { report }) => report::render(&report),
        None => interruptible(flags).await,
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            // The causes without a backtrace, which tells a user nothing.
            let _ = writeln!(std::io::stderr(), "error: {error:#}");
            ExitCode::from(2)
        }
    }
}

/// Runs until it is done or the process is asked to end; in both cases all children are ended.
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
    let goose = Goose::new(flags.goose.clone()).context("goose does not take what follows `--`")?;
    let target = Target::new(&flags.target)?;
    flags.thresholds.validate(&flags.cache)?;
    let output = &flags.settings.output;
    std::fs::create_dir_all(output).with_context(|| format!("cannot make {}", output.display()))?;
    let progress = Progress::new();
    if cfg!(debug_assertions) {
        let debug = "This is a debug build: its figures mean nothing, its promises do.";
        progress.say(&format!("{debug} Add --release."));
    }
    let bench = Bench {
        settings: &flags.settings,
        goose: &goose,
        progress: &progress,
        notes: RefCell::default(),
    };
    scratch::sweep();
    let quiet = Quiet::new()?;
    let mut versions = machine::versions();
    let runs = match target {
        Some(target) => {
            progress.say(&plan::announce(target.parts(), &bench));
            target.run(&bench).await?
        }
        None => Plan::new(&bench, &flags).await.run(&mut versions).await?,
    };
    let mut notes = bench.notes.take();
    notes.extend(what_to_know(&flags, &runs));
    drop((progress, quiet));

    let mut report = Report {
        schema: SCHEMA,
        machine: machine::machine(),
        versions,
        flags: flags::as_given(std::env::args().skip(1)),
        debug_build: cfg!(debug_assertions),
        started,
        seconds: begin.elapsed().as_secs_f64(),
        notes,
        kept: runs.iter().all(|run| run.kept() || !run.counts()),
        thresholds: Vec::new(),
        runs,
    };
    report.thresholds = flags.thresholds.check(&report);
    report::write(&report, output)?;
    let mut stdout = std::io::stdout();
    write!(stdout, "{}", report::table(&report))?;
    let output = output.display();
    writeln!(stdout, "report.html, report.json and logs are in {output}")?;
    Ok(report.passed())
}

/// Says what the figures are, and what they are not.
fn what_to_know(flags: &Flags, runs: &[Run]) -> Vec<String> {
    let mut notes = vec![match flags.settings.rate {
        Some(rate) => format!(
            "{rate} requests per second were begun on time, whether or not those before were \
             answered; a late one counts its lateness, so that nothing is left out where an app is \
             slow."
        ),
        None => {
            "Each client sent its next request when it had its answer. Latencies are what these \
                 clients saw; where an app was slow they asked less, and requests that would have \
                 come meanwhile are in no figure (coordinated omission). --rate measures that."
                .to_owned()
        }
    }];
    for limit in [cpu::LOAD_GENERATOR, cpu::MACHINE] {
        let limited = runs
            .iter()
            .filter(|run| run.limit.as_deref() == Some(limit));
        let limited = limited.map(Run::title).join("; ");
        if !limited.is_empty() {
            notes.push(format!(
                "The {limit} was the limit, so that the app alone could do more, in: {limited}."
            ));
        }
    }
    notes
}

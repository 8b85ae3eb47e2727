//! The settings and helpers that all measurements have in common.

use std::cell::RefCell;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};

use crate::load::Goose;

/// Unmeasured, at the beginning of a round.
pub(crate) const WARM_UP: Duration = Duration::from_millis(150);

#[derive(Args)]
pub(crate) struct Settings {
    /// Concurrent clients of a measurement; contention and pool take four times as many
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub(crate) users: u16,

    /// Requests per second of all clients together, begun on time whether or not those before were
    /// answered; a late one counts its lateness
    /// [default: each client sends the next request when it has its answer]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) rate: Option<u32>,

    /// Length of a measurement, all rounds together, from 1s to 4m: entries live for 5 minutes
    // Goose sees every half second whether its users are done: a round of 320 ms and its warm-up
    // take one.
    #[arg(long, default_value = "1600ms", value_parser = duration)]
    pub(crate) duration: Duration,

    /// Rounds of a measurement; figures are medians of them
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=100))]
    pub(crate) repeats: u16,

    /// Directory for report.json, report.html and the logs of the apps
    #[arg(long, default_value = "target/loadtest", value_name = "DIRECTORY")]
    pub(crate) output: PathBuf,
}

fn duration(text: &str) -> Result<Duration, String> {
    let duration = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    if (Duration::from_secs(1)..=Duration::from_mins(4)).contains(&duration) {
        Ok(duration)
    } else {
        Err("expected 1s to 4m".into())
    }
}

/// Everything that a measurement needs besides its subject.
pub(crate) struct Bench<'a> {
    pub(crate) settings: &'a Settings,
    pub(crate) goose: &'a Goose,
    pub(crate) progress: &'a Progress,
    /// Notes that a reader of the figures should know.
    pub(crate) notes: RefCell<Vec<String>>,
}

impl Bench<'_> {
    /// Says something now and in the report.
    pub(crate) fn note(&self, text: impl Into<String>) {
        let text = text.into();
        self.progress.say(&text);
        self.notes.borrow_mut().push(text);
    }
}

/// The progress of a run on standard error: a line that moves on a terminal, plain lines elsewhere.
pub(crate) struct Progress {
    bar: ProgressBar,
}

impl Progress {
    pub(crate) fn new() -> Self {
        let bar = ProgressBar::new_spinner();
        if let Ok(style) = ProgressStyle::with_template("{spinner} {elapsed:>4} {prefix}  {msg}") {
            bar.set_style(style);
        }
        bar.enable_steady_tick(Duration::from_millis(200));
        Self { bar }
    }

    /// Says a line that stays.
    #[expect(clippy::print_stderr, reason = "where there is no terminal")]
    pub(crate) fn say(&self, line: &str) {
        if self.bar.is_hidden() {
            eprintln!("{line}");
        } else {
            self.bar.println(line);
        }
    }

    pub(crate) fn begin(&self, what: &str) {
        self.bar.set_prefix(what.to_owned());
        self.bar.set_message("");
    }

    pub(crate) fn show(&self, step: &str) {
        self.bar.set_message(step.to_owned());
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

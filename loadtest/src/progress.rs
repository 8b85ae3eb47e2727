//! The progress of a run on standard error: a line that moves on a terminal, plain lines elsewhere.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

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

    /// Shows what is being run.
    pub(crate) fn begin(&self, what: &str) {
        self.bar.set_prefix(what.to_owned());
        self.bar.set_message("");
    }

    /// Shows the step that it has reached.
    pub(crate) fn show(&self, step: &str) {
        self.bar.set_message(step.to_owned());
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

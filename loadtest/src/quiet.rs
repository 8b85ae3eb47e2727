//! Silence on standard output. Goose announces there in every round that users were launched,
//! whatever its flags say, which would drown our own report.

use std::fs::File;
use std::io::Write;
use std::os::fd::OwnedFd;

use anyhow::{Context, Result};

/// Nothing is shown on standard output until this is dropped.
pub(crate) struct Quiet(OwnedFd);

impl Quiet {
    pub(crate) fn new() -> Result<Self> {
        let shown = rustix::io::dup(std::io::stdout()).context("there is no standard output")?;
        let nowhere = File::options().write(true).open("/dev/null")?;
        rustix::stdio::dup2_stdout(&nowhere)?;
        Ok(Self(shown))
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        // What is still on its way belongs to the silence.
        std::io::stdout().flush().ok();
        rustix::stdio::dup2_stdout(&self.0).ok();
    }
}

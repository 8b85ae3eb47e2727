//! The original beside us: py-cachify on `FastAPI`, fetched from `PyPI` for this run alone.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tempfile::TempDir;
use tokio::process::Command;
use tokio::time::timeout;

use crate::bench::Progress;
use crate::scratch;

/// The tutorial's app, with our command line.
const APP: &str = include_str!("../python/app.py");
/// The packages that it needs. `greenlet`: `SQLAlchemy`'s asyncio does not bring it along
/// everywhere.
const PACKAGES: &str = "py-cachify redis fastapi uvicorn[standard] sqlalchemy aiosqlite greenlet";
const INSTALL: &str = "-m pip install --quiet --disable-pip-version-check --no-input";
/// Fetching packages takes its time, but not more.
const TIMEOUT: Duration = Duration::from_mins(3);
const VERSIONS: &str = "import platform, importlib.metadata as m; \
    packages = ['py-cachify', 'fastapi', 'uvicorn', 'redis']; \
    print(platform.python_implementation(), platform.python_version() + ',', \
    ', '.join(f'{p} {m.version(p)}' for p in packages))";

/// An environment that is gone with this.
pub(crate) struct Python {
    pub(crate) versions: String,
    program: PathBuf,
    script: PathBuf,
    _directory: TempDir,
}

impl Python {
    /// Makes the environment.
    ///
    /// # Errors
    ///
    /// If there is no Python, or its packages cannot be had.
    pub(crate) async fn set_up(progress: &Progress) -> Result<Self> {
        let directory = scratch::folder()?;
        let environment = directory.path().join("venv");
        progress.begin("python: an environment of its own");
        let python = std::env::var_os("LOADTEST_PYTHON").unwrap_or_else(|| "python3".into());
        run(Command::new(python).args(["-m", "venv"]).arg(&environment))
            .await
            .context("there is no `python3` that can make an environment (`python3 -m venv`)")?;
        let program = environment.join("bin").join("python");
        progress.begin("python: its packages from PyPI");
        let words = INSTALL.split(' ').chain(PACKAGES.split(' '));
        run(Command::new(&program).args(words))
            .await
            .context("pip could not install what the app needs")?;
        let versions = run(Command::new(&program).args(["-c", VERSIONS])).await?;
        let script = directory.path().join("app.py");
        std::fs::write(&script, APP)?;
        Ok(Self {
            versions,
            program,
            script,
            _directory: directory,
        })
    }

    /// Runs the app; its command line is still to be told.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.arg(&self.script);
        command
    }
}

/// Returns the output of a program, if it succeeds in time.
async fn run(command: &mut Command) -> Result<String> {
    let output = command.stdin(Stdio::null()).kill_on_drop(true).output();
    let output = timeout(TIMEOUT, output)
        .await
        .context("it takes too long")??;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned());
    }
    let stderr = String::from_utf8_lossy(&output.stderr);
    let last = stderr.lines().last().unwrap_or_default();
    bail!("{}: {last}", output.status)
}

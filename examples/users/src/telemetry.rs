//! What every server needs: a log, metrics, an end.

use std::io::{self, IsTerminal, Write};
use std::net::SocketAddr;
use std::sync::OnceLock;

use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use tokio::task::JoinError;
use tokio_util::task::TaskTracker;
use tracing_subscriber::EnvFilter;

/// Writes events to standard error: those that `RUST_LOG` names, else `info` and above. A second call changes nothing.
pub fn log_to_stderr() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    // The only error is that there is a subscriber already.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(io::stderr().is_terminal())
        .with_writer(io::stderr)
        .try_init();
}

/// All metrics of this process in Prometheus's text format. The first call starts to collect them, so make one early.
pub fn render_metrics() -> String {
    static HANDLE: OnceLock<Option<PrometheusHandle>> = OnceLock::new();
    HANDLE
        .get_or_init(|| {
            PrometheusBuilder::new()
                .install_recorder()
                .inspect_err(|error| tracing::warn!(%error, "there will be no metrics"))
                .ok()
        })
        .as_ref()
        .map(|handle| {
            handle.run_upkeep();
            handle.render()
        })
        .unwrap_or_default()
}

/// Tells whoever started the process where it listens: the only line on standard output.
///
/// # Errors
///
/// If nobody reads standard output any more.
pub fn announce(address: SocketAddr) -> io::Result<()> {
    tracing::info!(%address, "listening");
    let mut stdout = io::stdout();
    writeln!(stdout, "listening on http://{address}")?;
    stdout.flush()
}

/// Resolves when the process is asked to end: by SIGTERM or Ctrl-C. Both are caught from this call on, not only from the first poll.
///
/// # Errors
///
/// If the signals cannot be caught.
pub fn shutdown() -> io::Result<impl Future<Output = ()> + Send + 'static> {
    #[cfg(unix)]
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    #[cfg(unix)]
    let mut interrupt = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::interrupt())?;
    #[cfg(windows)]
    let mut terminate = tokio::signal::windows::ctrl_shutdown()?;
    #[cfg(windows)]
    let mut interrupt = tokio::signal::windows::ctrl_c()?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

/// Updates, which come to their end although their clients go away, under their locks and with their resets: a write that is under way
/// at the database cannot be taken back. The app ends after them.
#[derive(Debug, Clone, Default)]
pub struct Updates(TaskTracker);

impl Updates {
    /// Runs an update to its end.
    ///
    /// # Errors
    ///
    /// If it panics.
    pub async fn run<F>(&self, update: F) -> Result<F::Output, JoinError>
    where
        F: Future<Output: Send> + Send + 'static,
    {
        self.0.spawn(update).await
    }

    /// Waits until none is left, once no new ones can come.
    pub async fn end(&self) {
        self.0.close();
        self.0.wait().await;
    }
}

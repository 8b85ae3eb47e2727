//! Infrastructure of every server: the log, metrics, and a socket to listen on.

use std::io::{self, IsTerminal, Write};
use std::net::SocketAddr;
use std::sync::OnceLock;

use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use tokio::net::TcpListener;
use tracing_subscriber::EnvFilter;

/// The default filter. It mutes warp's server, which logs each disconnected client as an error.
const DEFAULT_LOG: &str = "info,warp::server=off";

/// The upper bounds of all histograms, in seconds: from a hit in memory to a hung computation.
const BUCKETS: [f64; 12] = [
    0.0001, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0, 10.0,
];

/// Writes events to standard error. `RUST_LOG` selects them; the default is `info` and above. A
/// second call changes nothing.
pub fn log_to_stderr() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(DEFAULT_LOG));
    // Fails only if there is a subscriber already.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(io::stderr().is_terminal())
        .with_writer(io::stderr)
        .try_init();
}

/// Returns all metrics of this process in Prometheus's text format. The first call starts
/// collecting them, so call it early.
pub fn render_metrics() -> String {
    static HANDLE: OnceLock<Option<PrometheusHandle>> = OnceLock::new();
    HANDLE
        .get_or_init(|| {
            PrometheusBuilder::new()
                .set_buckets(&BUCKETS)
                .and_then(PrometheusBuilder::install_recorder)
                .inspect_err(|error| tracing::warn!(%error, "cannot collect metrics"))
                .ok()
        })
        .as_ref()
        .map(|handle| {
            handle.run_upkeep();
            handle.render()
        })
        .unwrap_or_default()
}

/// Binds an address.
///
/// # Errors
///
/// Returns an error that names the address if it is in use or does not belong to this machine.
pub async fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let listener = TcpListener::bind(address).await;
    listener.map_err(|error| {
        let message = format!("cannot listen on {address}: {error}");
        io::Error::new(error.kind(), message)
    })
}

/// Prints the address as the only line on standard output, for the parent process.
///
/// # Errors
///
/// Returns an error if standard output is closed.
pub fn announce(address: SocketAddr) -> io::Result<()> {
    tracing::info!(%address, "listening");
    let mut stdout = io::stdout();
    writeln!(stdout, "listening on http://{address}")?;
    stdout.flush()
}

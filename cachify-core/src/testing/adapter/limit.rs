//! The time limit of the steps of a case.

use std::time::Duration;

use tokio::time::timeout;

/// Awaits `future`, and panics after 30 s, so that a case fails rather than hangs.
pub(super) async fn soon<F: Future>(what: &str, future: F) -> F::Output {
    let output = timeout(Duration::from_secs(30), future).await;
    output.unwrap_or_else(|_| panic!("{what}: not within 30 s"))
}

//! Shutdown of a server, on request and with a time limit.

use std::error::Error;
use std::io;
use std::process::ExitCode;
use std::time::Duration;

use tokio::task::JoinError;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// A request to end a server.
///
/// The first signal lets requests in flight finish, for a limited time. The second signal stops
/// waiting for them. In both cases, the server then sends its pending releases and resets.
#[derive(Debug, Clone, Default)]
pub struct Ending {
    asked: CancellationToken,
    now: CancellationToken,
}

impl Ending {
    /// Makes a request that comes with SIGTERM or Ctrl-C. Both are caught from this call on.
    ///
    /// # Errors
    ///
    /// Returns an error if the signals cannot be caught.
    ///
    /// # Panics
    ///
    /// Panics if called outside a tokio runtime.
    pub fn on_signals() -> io::Result<Self> {
        #[cfg(unix)]
        use tokio::signal::unix::{SignalKind, signal};
        #[cfg(unix)]
        let (mut terminate, mut interrupt) = (
            signal(SignalKind::terminate())?,
            signal(SignalKind::interrupt())?,
        );
        #[cfg(windows)]
        let (mut terminate, mut interrupt) = (
            tokio::signal::windows::ctrl_shutdown()?,
            tokio::signal::windows::ctrl_c()?,
        );
        let ending = Self::default();
        let Self { asked, now } = ending.clone();
        tokio::spawn(async move {
            for token in [asked, now] {
                tokio::select! {
                    _ = terminate.recv() => {}
                    _ = interrupt.recv() => {}
                }
                token.cancel();
            }
        });
        Ok(ending)
    }

    /// Makes a request that comes when `asked` resolves.
    ///
    /// # Panics
    ///
    /// Panics if called outside a tokio runtime.
    pub fn after(asked: impl Future<Output = ()> + Send + 'static) -> Self {
        let ending = Self::default();
        let token = ending.asked.clone();
        tokio::spawn(async move {
            asked.await;
            token.cancel();
        });
        ending
    }

    /// Resolves when the server is asked to end.
    pub fn asked(&self) -> impl Future<Output = ()> + Send + 'static {
        self.asked.clone().cancelled_owned()
    }

    /// Runs a server until it ends. After a request to end, it may run for at most `grace`, or
    /// until a second request. Returns `None` if requests were still in flight then.
    pub async fn drain<T>(&self, grace: Duration, server: impl Future<Output = T>) -> Option<T> {
        let enough = async {
            self.asked.cancelled().await;
            tokio::select! {
                () = self.now.cancelled() => {}
                () = tokio::time::sleep(grace) => {}
            }
        };
        tokio::select! {
            biased;
            served = server => Some(served),
            () = enough => {
                tracing::warn!("requests are still in flight; ending without them");
                None
            }
        }
    }
}

/// Updates that run to their end even if their client disconnects, including lock and reset: the
/// database does not take back a write in progress. The app ends after them.
#[derive(Debug, Clone, Default)]
pub struct Updates(TaskTracker);

impl Updates {
    /// Runs an update to its end.
    ///
    /// # Errors
    ///
    /// Returns an error if the update panics.
    pub async fn run<F>(&self, update: F) -> Result<F::Output, JoinError>
    where
        F: Future<Output: Send> + Send + 'static,
    {
        self.0.spawn(update).await
    }

    /// Waits until all updates have ended. Call it when no new ones can start.
    pub async fn end(&self) {
        self.0.close();
        self.0.wait().await;
    }
}

/// Returns the exit code of a program, after printing an error and its causes to standard error.
pub fn exit(result: Result<(), Box<dyn Error + Send + Sync>>) -> ExitCode {
    let Err(error) = result else {
        return ExitCode::SUCCESS;
    };
    let mut message = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        message = format!("{message}: {cause}");
        source = cause.source();
    }
    tracing::error!("{message}");
    ExitCode::FAILURE
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::future::pending;
    use std::time::Duration;

    use tokio::time::Instant;

    use super::Ending;

    #[tokio::test(start_paused = true)]
    async fn s4_requests_in_flight_are_waited_for_until_the_grace_is_over() {
        let start = Instant::now();
        let ending = Ending::after(async { tokio::time::sleep(Duration::from_secs(3)).await });
        let stuck = ending.drain(Duration::from_secs(10), pending::<()>());
        assert_eq!(stuck.await, None);
        assert_eq!(start.elapsed(), Duration::from_secs(13));

        let ending = Ending::after(async {});
        let served = ending.drain(Duration::from_secs(10), async {
            tokio::time::sleep(Duration::from_secs(9)).await;
            7
        });
        assert_eq!(served.await, Some(7));
    }

    #[tokio::test(start_paused = true)]
    async fn s4_a_second_signal_ends_at_once() {
        let start = Instant::now();
        let ending = Ending::after(async {});
        ending.now.cancel();
        let stuck = ending.drain(Duration::from_secs(10), pending::<()>());
        assert_eq!(stuck.await, None);
        assert_eq!(start.elapsed(), Duration::ZERO);
    }
}

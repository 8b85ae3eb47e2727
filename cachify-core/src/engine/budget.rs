//! Limits on the time that one operation, or one call with several operations, may take.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use crate::{Error, ErrorKind, runtime};

/// The time that one call may spend on the backend, however many operations it makes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Budget {
    left: Duration,
}

impl Budget {
    pub(crate) const fn new(total: Duration) -> Self {
        Self { left: total }
    }

    /// Returns the time that is left.
    ///
    /// # Errors
    ///
    /// [`Timeout`](ErrorKind::Timeout) if no time is left.
    pub(crate) fn left(&self) -> Result<Duration, Error> {
        if self.left.is_zero() {
            return Err(Error::new(
                ErrorKind::Timeout,
                "the call has no time left for the backend; raise the handle's `backend_timeout`",
            ));
        }
        Ok(self.left)
    }

    /// Subtracts the time that an operation took.
    pub(crate) fn take(&mut self, time: Duration) {
        self.left = self.left.saturating_sub(time);
    }
}

/// Runs `operation` for at most `within`.
pub(crate) async fn limit<T>(
    within: Duration,
    operation: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    let mut operation = pin!(operation);
    // An operation that completes at once, as in memory, needs neither a timer nor a runtime.
    let first = poll_fn(|cx| Poll::Ready(operation.as_mut().poll(cx))).await;
    if let Poll::Ready(result) = first {
        return result;
    }
    runtime::current()?;
    if let Ok(result) = tokio::time::timeout(within, operation).await {
        return result;
    }
    #[cfg(feature = "blocking")]
    if let Some(error) = Box::pin(runtime::blocked::explain()).await {
        return Err(error);
    }
    Err(Error::new(
        ErrorKind::Timeout,
        "the backend did not answer in time; see whether it is overloaded or hung, or raise the \
         handle's `backend_timeout`",
    ))
}

//! Run-once: work that is skipped while another caller runs the same key.

use std::future::Future;
use std::time::Duration;

use super::lock::{Guard, Lock, LockStatus};
use crate::{Error, ErrorKind, IntoTime};

/// The right to run work that at most one caller runs at a time, made by
/// [`Cachify::once`](crate::Cachify::once).
#[must_use = "a `Once` does nothing until `run` or `acquire`"]
#[derive(Debug, Clone)]
pub struct Once(pub(crate) Lock);

impl Once {
    /// Sets the time to live of the lock: how long a run whose process died blocks the next one.
    /// Default: the handle's `lock_ttl`, 30 s. At least 1 s.
    ///
    /// A live run renews the lock, however long it takes.
    ///
    /// # Panics
    ///
    /// If the time is a string that cannot be parsed.
    #[track_caller]
    pub fn ttl(self, ttl: impl IntoTime<Duration>) -> Self {
        Self(self.0.ttl(ttl))
    }

    /// Limits how long a run takes: after this time it is cancelled, and the next one may start.
    /// Default: no limit. At least 1 s.
    ///
    /// # Panics
    ///
    /// If the time is a string that cannot be parsed.
    #[track_caller]
    pub fn max_hold(self, max_hold: impl IntoTime<Duration>) -> Self {
        Self(self.0.max_hold(max_hold))
    }

    /// Runs `work`, or returns `None` at once if another caller is running the key.
    ///
    /// # Errors
    ///
    /// [`Unavailable`](ErrorKind::Unavailable) or [`Timeout`](ErrorKind::Timeout) if the backend
    /// fails to answer whether the key is running; `work` does not run then.
    /// [`Lost`](ErrorKind::Lost) if the lock was lost halfway; `work` has been dropped. The output
    /// of `work` is returned unchanged, even if it is an error.
    ///
    /// [`Configuration`](ErrorKind::Configuration) for a `ttl` or `max_hold` under 1 s.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, `work` is dropped and the lock is released in the background; then
    /// the next run may start.
    ///
    /// # Panics
    ///
    /// If `work` panics, or if called outside a tokio runtime.
    ///
    /// # Examples
    ///
    /// ```
    /// use cachify_core::{Cachify, key};
    ///
    /// # async fn send() -> &'static str { tokio::task::yield_now().await; "sent" }
    /// #[tokio::main]
    /// async fn main() -> Result<(), cachify_core::Error> {
    ///     let cachify = Cachify::memory();
    ///     let report = cachify.once(&key!("daily-report"));
    ///
    ///     // Two servers start the same job at the same time, and one of them runs it.
    ///     let (one, other) = tokio::join!(report.run(send()), report.run(send()));
    ///     assert_eq!([one?, other?], [Some("sent"), None]);
    ///     Ok(())
    /// }
    /// ```
    pub async fn run<F: Future>(&self, work: F) -> Result<Option<F::Output>, Error> {
        match self.0.acquire().await {
            Ok(guard) => {
                let output = guard.run(work).await?;
                guard.finish().await;
                Ok(Some(output))
            }
            Err(error) if error.kind() == ErrorKind::Held => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Acquires the right to run, as a guard.
    ///
    /// # Errors
    ///
    /// [`AlreadyRunning`](ErrorKind::AlreadyRunning) if another caller is running the key.
    /// Otherwise those of [`Lock::acquire`].
    ///
    /// # Cancel safety
    ///
    /// As for [`Lock::acquire`].
    ///
    /// # Examples
    ///
    /// ```
    /// use cachify_core::{Cachify, ErrorKind, key};
    ///
    /// #[tokio::main]
    /// async fn main() -> Result<(), cachify_core::Error> {
    ///     let cachify = Cachify::memory();
    ///     let migration = cachify.once(&key!("migration"));
    ///
    ///     let guard = migration.acquire().await?;
    ///     let error = migration.acquire().await.unwrap_err();
    ///     assert_eq!(error.kind(), ErrorKind::AlreadyRunning);
    ///     guard.release().await?;
    ///     Ok(())
    /// }
    /// ```
    pub async fn acquire(&self) -> Result<Guard, Error> {
        self.0.acquire().await.map_err(Error::of_once)
    }

    /// Returns whether a caller is running the key, as [`Lock::is_locked`] does.
    ///
    /// # Errors
    ///
    /// [`Unavailable`](ErrorKind::Unavailable) or [`Timeout`](ErrorKind::Timeout) if the backend
    /// fails to answer within the backend timeout.
    ///
    /// # Cancel safety
    ///
    /// Safe: it changes nothing.
    ///
    /// # Examples
    ///
    /// ```
    /// use cachify_core::{Cachify, key};
    ///
    /// #[tokio::main]
    /// async fn main() -> Result<(), cachify_core::Error> {
    ///     let cachify = Cachify::memory();
    ///     let report = cachify.once(&key!("daily-report"));
    ///     assert!(!report.is_locked().await?);
    ///
    ///     let running = report.run(async { report.is_locked().await }).await?;
    ///     assert_eq!(running.transpose()?, Some(true));
    ///     Ok(())
    /// }
    /// ```
    pub async fn is_locked(&self) -> Result<bool, Error> {
        self.0.is_locked().await
    }

    /// Returns the caller that is running the key, if there is one, as [`Lock::status`] does.
    ///
    /// # Errors
    ///
    /// [`Unavailable`](ErrorKind::Unavailable) or [`Timeout`](ErrorKind::Timeout) if the backend
    /// fails to answer within the backend timeout.
    ///
    /// # Cancel safety
    ///
    /// Safe: it changes nothing.
    ///
    /// # Examples
    ///
    /// ```
    /// use cachify_core::{Cachify, key};
    ///
    /// #[tokio::main]
    /// async fn main() -> Result<(), cachify_core::Error> {
    ///     let cachify = Cachify::memory();
    ///     let report = cachify.once(&key!("daily-report"));
    ///     let _guard = report.acquire().await?;
    ///
    ///     if let Some(runner) = report.status().await?.holder {
    ///         println!("{} is running it", runner.owner);
    ///     }
    /// #     assert!(report.status().await?.holder.is_some());
    ///     Ok(())
    /// }
    /// ```
    pub async fn status(&self) -> Result<LockStatus, Error> {
        self.0.status().await
    }

    /// Lets the next run start before the current one is done. Returns `false` if there was none.
    ///
    /// The current run is cancelled when it [learns](Guard::lost) of this at its next renewal, as
    /// with [`Lock::force_release`].
    ///
    /// # Errors
    ///
    /// [`Unavailable`](ErrorKind::Unavailable) or [`Timeout`](ErrorKind::Timeout) if the backend
    /// did not acknowledge the release.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the lock may or may not have been released.
    ///
    /// # Examples
    ///
    /// ```
    /// use cachify_core::{Cachify, key};
    ///
    /// #[tokio::main]
    /// async fn main() -> Result<(), cachify_core::Error> {
    ///     let cachify = Cachify::memory();
    ///     let report = cachify.once(&key!("daily-report"));
    ///     let _stuck = report.acquire().await?;
    ///
    ///     // An operator lets the report start again.
    ///     assert!(report.force_release().await?);
    ///     assert_eq!(report.run(async { "sent" }).await?, Some("sent"));
    ///     Ok(())
    /// }
    /// ```
    pub async fn force_release(&self) -> Result<bool, Error> {
        self.0.force_release().await
    }
}

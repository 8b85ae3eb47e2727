//! Run only if no other caller is running the same key.

use std::future::Future;
use std::time::Duration;

use super::lock::{Guard, Lock, LockStatus};
use crate::{Error, ErrorKind, IntoTime};

/// A handle for running something once at a time, made by [`Cachify::once`](crate::Cachify::once).
#[must_use = "nothing runs before `run` or `acquire`"]
#[derive(Debug, Clone)]
pub struct Once(pub(crate) Lock);

impl Once {
    /// Sets how long a run that died blocks the next one. Default: the handle's `lock_ttl`, 30 s.
    /// At least 1 s. A run that lives keeps the lock, however long it takes.
    ///
    /// # Panics
    ///
    /// If a text is not a time.
    #[track_caller]
    pub fn ttl(self, ttl: impl IntoTime<Duration>) -> Self {
        Self(self.0.ttl(ttl))
    }

    /// Sets how long a run may take at most before it is cancelled and the next one may start.
    /// Default: without end. At least 1 s.
    ///
    /// # Panics
    ///
    /// If a text is not a time.
    #[track_caller]
    pub fn max_hold(self, max_hold: impl IntoTime<Duration>) -> Self {
        Self(self.0.max_hold(max_hold))
    }

    /// Runs `work`, or returns `None` at once if another caller is running the key.
    ///
    /// # Errors
    ///
    /// [`Unavailable`](ErrorKind::Unavailable) or [`Timeout`](ErrorKind::Timeout) if the backend
    /// cannot say whether another caller is: then nothing runs. [`Lost`](ErrorKind::Lost) if the
    /// lock was lost halfway; `work` was dropped then. What `work` returns passes through as it is.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future drops `work`, and the next run may start.
    ///
    /// # Panics
    ///
    /// If `work` does; and outside a tokio runtime.
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
    ///     // Two servers start the same job at the same time: one runs it.
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
    /// [`AlreadyRunning`](ErrorKind::AlreadyRunning) if another caller is running the key;
    /// otherwise those of [`Lock::acquire`].
    ///
    /// # Cancel safety
    ///
    /// As [`Lock::acquire`].
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

    /// Returns whether a caller is running the key. See [`Lock::is_locked`].
    ///
    /// # Errors
    ///
    /// [`Unavailable`](ErrorKind::Unavailable) or [`Timeout`](ErrorKind::Timeout) if the backend
    /// cannot say.
    ///
    /// # Cancel safety
    ///
    /// It only looks.
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

    /// Returns the caller that is running the key, if there is one. See [`Lock::status`].
    ///
    /// # Errors
    ///
    /// [`Unavailable`](ErrorKind::Unavailable) or [`Timeout`](ErrorKind::Timeout) if the backend
    /// cannot say.
    ///
    /// # Cancel safety
    ///
    /// It only looks.
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

    /// Lets the next run start although the present one is not done; that one is cancelled as soon
    /// as it notices. See [`Lock::force_release`].
    ///
    /// # Errors
    ///
    /// [`Unavailable`](ErrorKind::Unavailable) or [`Timeout`](ErrorKind::Timeout) if the backend
    /// did not acknowledge it.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, it may have happened or not.
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
    ///     // An operator lets the report start anew.
    ///     assert!(report.force_release().await?);
    ///     assert_eq!(report.run(async { "sent" }).await?, Some("sent"));
    ///     Ok(())
    /// }
    /// ```
    pub async fn force_release(&self) -> Result<bool, Error> {
        self.0.force_release().await
    }
}

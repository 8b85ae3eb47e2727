//! Mutual exclusion on a key.

use std::future::Future;
use std::time::Duration;

use super::hold::Holding;
use super::request::Request;
use crate::{Error, IntoTime, Key};

/// The lock of a key, made by [`Cachify::lock`](crate::Cachify::lock).
#[must_use = "a `Lock` does nothing until `acquire` or `run`"]
#[derive(Debug, Clone)]
#[doc(alias = "mutex")]
pub struct Lock(pub(crate) Request);

impl Lock {
    /// Sets the time to live: how long the lock stays taken after its holder died. Default: the
    /// handle's `lock_ttl`, 30 s. At least 1 s.
    ///
    /// A live holder renews the lock every third of this time.
    ///
    /// # Panics
    ///
    /// If the time is a string that cannot be parsed.
    #[track_caller]
    pub fn ttl(mut self, ttl: impl IntoTime<Duration>) -> Self {
        self.0.ttl = ttl.time();
        self
    }

    /// Sets how long to wait for the lock. Default: no wait.
    ///
    /// Waiters get the lock in order of arrival, and no newcomer overtakes them.
    ///
    /// # Panics
    ///
    /// If the time is a string that cannot be parsed.
    #[track_caller]
    pub fn wait(mut self, wait: impl IntoTime<Duration>) -> Self {
        self.0.wait = wait.time();
        self
    }

    /// Limits how long the lock is held: after this time it is lost, even if its holder is alive.
    /// Default: no limit. At least 1 s.
    ///
    /// # Panics
    ///
    /// If the time is a string that cannot be parsed.
    #[track_caller]
    pub fn max_hold(mut self, max_hold: impl IntoTime<Duration>) -> Self {
        self.0.max_hold = Some(max_hold.time());
        self
    }

    /// Acquires the lock.
    ///
    /// # Errors
    ///
    /// [`Held`](crate::ErrorKind::Held) if another caller still holds the lock when the wait is
    /// over; `retry_after` says when its time to live ends.
    /// [`Unavailable`](crate::ErrorKind::Unavailable) or [`Timeout`](crate::ErrorKind::Timeout) if
    /// the backend fails to answer within the handle's backend timeout (default 250 ms): without
    /// the backend, no caller gets a lock. [`Configuration`](crate::ErrorKind::Configuration) for a
    /// `ttl` or `max_hold` under 1 s.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, neither a lock nor a place in the queue stays behind for longer
    /// than a round trip.
    ///
    /// # Examples
    ///
    /// ```
    /// use cachify_core::{Cachify, ErrorKind, key};
    ///
    /// #[tokio::main]
    /// async fn main() -> Result<(), cachify_core::Error> {
    ///     let cachify = Cachify::memory();
    ///     let order = 7;
    ///     let lock = cachify.lock(&key!("charge-{order}"));
    ///     let guard = lock.acquire().await?;
    ///
    ///     // Without `wait`, the next caller is refused at once.
    ///     let error = lock.acquire().await.unwrap_err();
    ///     assert_eq!(error.kind(), ErrorKind::Held);
    ///
    ///     // With `wait`, the caller gets the lock as soon as the holder releases it.
    ///     let patient = lock.clone().wait("5s");
    ///     let (next, released) = tokio::join!(patient.acquire(), guard.release());
    ///     released?;
    ///     assert!(!next?.is_lost());
    ///     Ok(())
    /// }
    /// ```
    pub async fn acquire(&self) -> Result<Guard, Error> {
        let (holding, fence) = self.0.acquire().await?;
        Ok(Guard { holding, fence })
    }

    /// Acquires the lock, runs `work` under it, and releases it.
    ///
    /// If the backend does not acknowledge the release, the result is returned all the same; the
    /// failure is logged, and the release is repeated in the background.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use cachify_core::{Cachify, ErrorKind, KeyTemplate};
    ///
    /// #[tokio::main]
    /// async fn main() -> Result<(), cachify_core::Error> {
    ///     let cachify = Cachify::memory();
    ///     let key = KeyTemplate::parse("charge-{order}")?.render(&[&7]);
    ///
    ///     let lock = cachify.lock(&key).wait(Duration::from_secs(2));
    ///     match lock.run(async { "charged" }).await {
    ///         Ok(done) => assert_eq!(done, "charged"),
    ///         Err(error) if error.kind() == ErrorKind::Held => println!("try again later"),
    ///         Err(error) if error.kind() == ErrorKind::Lost => println!("stopped halfway"),
    ///         Err(error) => return Err(error),
    ///     }
    ///     Ok(())
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`acquire`](Self::acquire), and [`Lost`](crate::ErrorKind::Lost) if the lock was
    /// lost; `work` has been dropped.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, `work` is dropped and the lock is released in the background.
    ///
    /// # Panics
    ///
    /// If `work` panics, or if called outside a tokio runtime.
    pub async fn run<F: Future>(&self, work: F) -> Result<F::Output, Error> {
        let guard = self.acquire().await?;
        let output = guard.run(work).await?;
        guard.finish().await;
        Ok(output)
    }

    /// Returns whether a caller holds the lock.
    ///
    /// # Errors
    ///
    /// [`Unavailable`](crate::ErrorKind::Unavailable) or [`Timeout`](crate::ErrorKind::Timeout) if
    /// the backend fails to answer within the backend timeout.
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
    ///     let import = cachify.lock(&key!("import"));
    ///     assert!(!import.is_locked().await?);
    ///
    ///     let _guard = import.acquire().await?;
    ///     assert!(import.is_locked().await?);
    ///     Ok(())
    /// }
    /// ```
    pub async fn is_locked(&self) -> Result<bool, Error> {
        Ok(self.0.inspect().await?.holders != 0)
    }

    /// Returns the holder of the lock, if there is one, and the number of waiters.
    ///
    /// # Examples
    ///
    /// ```
    /// use cachify_core::{Cachify, key};
    ///
    /// #[tokio::main]
    /// async fn main() -> Result<(), cachify_core::Error> {
    ///     let cachify = Cachify::memory();
    ///     let lock = cachify.lock(&key!("door")).ttl("20s");
    ///     let _guard = lock.acquire().await?;
    ///
    ///     let status = lock.status().await?;
    ///     let holder = status.holder.expect("the guard is alive");
    ///     println!("{} has it for {:?}", holder.owner, holder.ttl_left);
    ///     assert_eq!(status.waiters, 0);
    ///     Ok(())
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Unavailable`](crate::ErrorKind::Unavailable) or [`Timeout`](crate::ErrorKind::Timeout) if
    /// the backend fails to answer within the backend timeout.
    ///
    /// # Cancel safety
    ///
    /// Safe: it changes nothing.
    pub async fn status(&self) -> Result<LockStatus, Error> {
        let inspection = self.0.inspect().await?;
        let holder = inspection.first.map(|(token, ttl_left)| LockHolder {
            owner: match token.split_once('@') {
                Some((_, node)) => node.to_owned(),
                None => token,
            },
            ttl_left,
        });
        Ok(LockStatus {
            holder,
            waiters: inspection.waiters,
        })
    }

    /// Takes the lock from its holder and hands it to the first waiter. Returns `false` if there
    /// was no holder.
    ///
    /// The holder [learns](Guard::lost) of it at its next renewal, within a third of its time to
    /// live.
    ///
    /// # Errors
    ///
    /// [`Unavailable`](crate::ErrorKind::Unavailable) or [`Timeout`](crate::ErrorKind::Timeout) if
    /// the backend did not acknowledge the release.
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
    ///     let import = cachify.lock(&key!("import"));
    ///     let _stuck = import.acquire().await?;
    ///
    ///     // An operator knows that the holder is stuck.
    ///     assert!(import.force_release().await?);
    ///     let _next = import.acquire().await?;
    ///     Ok(())
    /// }
    /// ```
    pub async fn force_release(&self) -> Result<bool, Error> {
        self.0.evict().await
    }
}

/// The state of a lock at one moment, returned by [`Lock::status`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct LockStatus {
    /// The caller that holds the lock; `None` if it is free.
    pub holder: Option<LockHolder>,
    /// The number of callers that wait for the lock.
    pub waiters: usize,
}

/// The holder of a lock, in a [`LockStatus`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct LockHolder {
    /// The name of the holder's process, set by
    /// [`CachifyBuilder::owner`](crate::CachifyBuilder::owner), with a unique suffix.
    pub owner: String,
    /// The time until the lock expires unless the holder renews it.
    pub ttl_left: Duration,
}

/// A lock that is held. Dropping the guard releases the lock in the background.
///
/// While the guard lives, it renews the lock. If that fails for too long, or if the lock is
/// released by force, the lock is [lost](Self::lost).
///
/// Bind the guard to a name: `let _ = lock.acquire().await?` drops it at once, and the compiler
/// warns about that only with `#![warn(let_underscore_drop)]`.
#[must_use = "dropping the guard releases the lock: bind it to a name, such as `_guard`"]
#[derive(Debug)]
pub struct Guard {
    pub(crate) holding: Holding,
    pub(crate) fence: u64,
}

impl Guard {
    /// Returns the fencing token: a number greater than that of every earlier holder of the same
    /// key.
    ///
    /// Send it with every write that the lock protects, and have the receiver refuse a number that
    /// is smaller than the largest it has seen. Then a holder that was suspended, and does not know
    /// yet that it lost the lock, does no harm.
    pub fn fencing_token(&self) -> u64 {
        self.fence
    }

    /// Returns the locked key.
    pub fn key(&self) -> &Key {
        self.holding.key()
    }

    /// Returns whether the lock was lost: released by force, forgotten by the backend, or not
    /// renewed in time.
    ///
    /// The time to live is counted from before the request was sent, by a clock that keeps running
    /// while the machine is suspended. A holder whose lease expires therefore learns of it before
    /// another caller can acquire the lock.
    pub fn is_lost(&self) -> bool {
        self.holding.is_lost()
    }

    /// Waits until the lock is lost, or forever if that never happens.
    ///
    /// # Cancel safety
    ///
    /// Safe: dropping the future does not affect the lock.
    ///
    /// # Panics
    ///
    /// If called outside a tokio runtime.
    ///
    /// # Examples
    ///
    /// ```
    /// use cachify_core::{Cachify, key};
    ///
    /// # async fn lead() { std::future::pending().await }
    /// #[tokio::main]
    /// async fn main() -> Result<(), cachify_core::Error> {
    ///     let cachify = Cachify::memory();
    ///     let leader = cachify.lock(&key!("leader")).ttl("1s");
    ///     let guard = leader.acquire().await?;
    ///     leader.force_release().await?; // as an operator would
    ///
    ///     tokio::select! {
    ///         () = lead() => {}
    ///         () = guard.lost() => println!("another process leads from now on"),
    ///     }
    ///     assert!(guard.is_lost());
    ///     Ok(())
    /// }
    /// ```
    pub async fn lost(&self) {
        self.holding.lost().await;
    }

    /// Runs `work`, and drops it if the lock is lost meanwhile.
    ///
    /// # Errors
    ///
    /// [`Lost`](crate::ErrorKind::Lost) if the lock was lost; `work` has been dropped.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, `work` is dropped; the guard still holds the lock.
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
    /// # async fn import(page: u32) -> u32 { page * 100 }
    /// #[tokio::main]
    /// async fn main() -> Result<(), cachify_core::Error> {
    ///     let cachify = Cachify::memory();
    ///     let guard = cachify.lock(&key!("import")).acquire().await?;
    ///
    ///     // Several steps under one lock. If the lock is lost, the current step stops, and no
    ///     // further one begins.
    ///     let mut rows = 0;
    ///     for page in 1..=3 {
    ///         rows += guard.run(import(page)).await?;
    ///     }
    ///     guard.release().await?;
    ///     assert_eq!(rows, 600);
    ///     Ok(())
    /// }
    /// ```
    pub async fn run<F: Future>(&self, work: F) -> Result<F::Output, Error> {
        self.holding.run(work).await
    }

    /// Releases the lock, and waits until the backend has acknowledged it.
    ///
    /// # Errors
    ///
    /// [`Lost`](crate::ErrorKind::Lost) if the lock was no longer held: another caller may have
    /// acquired it already. [`Unavailable`](crate::ErrorKind::Unavailable) or
    /// [`Timeout`](crate::ErrorKind::Timeout) if the backend did not acknowledge the release, which
    /// is then repeated in the background until the time to live ends. `Unavailable` also if the
    /// connection broke after the request was sent and the repeated release no longer finds the
    /// lock: the first request may have released it, or the lock was lost before.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the lock is released in the background.
    ///
    /// # Examples
    ///
    /// ```
    /// use cachify_core::{Cachify, ErrorKind, key};
    ///
    /// #[tokio::main]
    /// async fn main() -> Result<(), cachify_core::Error> {
    ///     let cachify = Cachify::memory();
    ///     let lock = cachify.lock(&key!("import"));
    ///
    ///     // Unlike a drop, `release` returns when the lock is free.
    ///     lock.acquire().await?.release().await?;
    ///     assert!(!lock.is_locked().await?);
    ///
    ///     // It also tells a holder that it lost the lock meanwhile.
    ///     let guard = lock.acquire().await?;
    ///     lock.force_release().await?;
    ///     let error = guard.release().await.unwrap_err();
    ///     assert_eq!(error.kind(), ErrorKind::Lost);
    ///     Ok(())
    /// }
    /// ```
    pub async fn release(self) -> Result<(), Error> {
        self.holding.release().await
    }

    /// Releases the lock, and never fails: a failed release is logged and repeated in the
    /// background.
    ///
    /// Use it after work whose result must be returned even if the release fails.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the lock is released in the background.
    ///
    /// # Examples
    ///
    /// ```
    /// use cachify_core::{Cachify, key};
    ///
    /// # async fn charge(order: i64) -> String { format!("receipt {order}") }
    /// #[tokio::main]
    /// async fn main() -> Result<(), cachify_core::Error> {
    ///     let cachify = Cachify::memory();
    ///     let order = 7;
    ///     let guard = cachify.lock(&key!("charge-{order}")).acquire().await?;
    ///
    ///     let receipt = guard.run(charge(order)).await?;
    ///     // The customer was charged, whether or not the release is acknowledged.
    ///     guard.finish().await;
    ///     assert_eq!(receipt, "receipt 7");
    ///     Ok(())
    /// }
    /// ```
    pub async fn finish(self) {
        self.holding.finish().await;
    }
}

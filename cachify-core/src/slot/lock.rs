//! Mutual exclusion on a key.

use std::future::Future;
use std::time::Duration;

use super::hold::Holding;
use super::request::Request;
use crate::{Error, IntoTime, Key};

/// A handle for a lock, made by [`Cachify::lock`](crate::Cachify::lock).
#[must_use = "a lock is taken by `acquire` or `run`"]
#[derive(Debug, Clone)]
#[doc(alias = "mutex")]
pub struct Lock(pub(crate) Request);

impl Lock {
    /// Sets how long the lock outlives a holder that died. Default: the handle's `lock_ttl`, 30 s.
    /// At least 1 s.
    ///
    /// A holder that lives renews the lock at every third of it.
    ///
    /// # Panics
    ///
    /// If a text is not a time.
    #[track_caller]
    pub fn ttl(mut self, ttl: impl IntoTime<Duration>) -> Self {
        self.0.ttl = ttl.time();
        self
    }

    /// Sets how long to wait for the lock. Default: not at all.
    ///
    /// Waiters get it in the order in which they came, and no new caller overtakes them.
    ///
    /// # Panics
    ///
    /// If a text is not a time.
    #[track_caller]
    pub fn wait(mut self, wait: impl IntoTime<Duration>) -> Self {
        self.0.wait = wait.time();
        self
    }

    /// Sets how long the lock is renewed; then it is lost, even if its holder is alive. Default:
    /// without end. At least 1 s.
    ///
    /// # Panics
    ///
    /// If a text is not a time.
    #[track_caller]
    pub fn max_hold(mut self, max_hold: impl IntoTime<Duration>) -> Self {
        self.0.max_hold = Some(max_hold.time());
        self
    }

    /// Takes the lock.
    ///
    /// # Errors
    ///
    /// [`Held`](crate::ErrorKind::Held) if another caller has it, also after waiting; `retry_after`
    /// says when its time to live ends. [`Unavailable`](crate::ErrorKind::Unavailable) or
    /// [`Timeout`](crate::ErrorKind::Timeout) if the backend cannot say, within the handle's
    /// backend timeout (default 250 ms): without the backend, no caller gets a lock.
    /// [`Configuration`](crate::ErrorKind::Configuration) for a `ttl` or `max_hold` under 1 s.
    ///
    /// # Cancel safety
    ///
    /// A dropped future leaves nothing behind for longer than a round trip: neither the lock nor a
    /// place in the queue.
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
    ///     // With it, the caller gets the lock as soon as the holder gives it back.
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

    /// Takes the lock, runs `work` under it, and gives it back.
    ///
    /// A release that the backend does not acknowledge is logged and repeated in the background: it
    /// does not cost the result.
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
    ///         Err(error) if error.kind() == ErrorKind::Lost => println!("it was stopped halfway"),
    ///         Err(error) => return Err(error),
    ///     }
    ///     Ok(())
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`acquire`](Self::acquire), and [`Lost`](crate::ErrorKind::Lost) if the lock was
    /// lost; `work` was dropped then.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future drops `work` and releases.
    ///
    /// # Panics
    ///
    /// If `work` does; and outside a tokio runtime.
    pub async fn run<F: Future>(&self, work: F) -> Result<F::Output, Error> {
        let guard = self.acquire().await?;
        let output = guard.run(work).await?;
        guard.finish().await;
        Ok(output)
    }

    /// Returns whether a caller holds it.
    ///
    /// # Errors
    ///
    /// [`Unavailable`](crate::ErrorKind::Unavailable) or [`Timeout`](crate::ErrorKind::Timeout) if
    /// the backend cannot say.
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

    /// Returns the lock's holder, if there is one, and the number of waiters.
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
    /// the backend cannot say.
    ///
    /// # Cancel safety
    ///
    /// It only looks.
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

    /// Takes the lock from its holder and hands it to the first waiter. The holder
    /// [learns](Guard::lost) of it at its next renewal (within a third of its time to live).
    /// Returns `false` if there was no holder.
    ///
    /// # Errors
    ///
    /// [`Unavailable`](crate::ErrorKind::Unavailable) or [`Timeout`](crate::ErrorKind::Timeout) if
    /// the backend did not acknowledge it.
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
    ///     let import = cachify.lock(&key!("import"));
    ///     let _stuck = import.acquire().await?;
    ///
    ///     // An operator knows that the holder does nothing any more.
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
    /// The number of callers in the queue.
    pub waiters: usize,
}

/// The holder of a lock, in a [`LockStatus`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct LockHolder {
    /// The name that the holder's process set with
    /// [`CachifyBuilder::owner`](crate::CachifyBuilder::owner), with a unique suffix.
    pub owner: String,
    /// The time until the lock expires unless the holder renews it.
    pub ttl_left: Duration,
}

/// A lock that is held. Dropping it gives the lock back, in the background.
///
/// Bind it to a name: `let _ = lock.acquire().await?` drops it at once, and the compiler says so
/// only with `#![warn(let_underscore_drop)]`.
#[must_use = "the lock is given back when the guard is dropped: bind it to a name, such as `_guard`"]
#[derive(Debug)]
pub struct Guard {
    pub(crate) holding: Holding,
    pub(crate) fence: u64,
}

impl Guard {
    /// Returns a number that is larger than that of every earlier holder of the same key.
    ///
    /// Send it along with what the lock protects, and have the receiver refuse numbers that are
    /// smaller than the last it saw: then a holder that was stopped and does not know yet that it
    /// lost the lock does no harm.
    pub fn fencing_token(&self) -> u64 {
        self.fence
    }

    /// Returns the key that is locked.
    pub fn key(&self) -> &Key {
        self.holding.key()
    }

    /// Returns whether the lock was lost: released by force, forgotten by the backend, or not
    /// renewed in time. The time counts from before the lock was requested, by a clock that runs on
    /// while the machine is suspended. So the loss is known here before another caller gets the
    /// lock.
    pub fn is_lost(&self) -> bool {
        self.holding.is_lost()
    }

    /// Waits until the lock is lost; forever if it is not.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost if the future is dropped.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime.
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

    /// Runs `work` as long as the lock is held.
    ///
    /// # Errors
    ///
    /// [`Lost`](crate::ErrorKind::Lost) if the lock was lost; `work` was dropped then.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future drops `work`; the guard goes on holding the lock.
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
    /// # async fn import(page: u32) -> u32 { page * 100 }
    /// #[tokio::main]
    /// async fn main() -> Result<(), cachify_core::Error> {
    ///     let cachify = Cachify::memory();
    ///     let guard = cachify.lock(&key!("import")).acquire().await?;
    ///
    ///     // Several steps under one lock. If it is lost, the step stops and no other begins.
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

    /// Gives the lock back, and waits for the acknowledgement.
    ///
    /// # Errors
    ///
    /// [`Lost`](crate::ErrorKind::Lost) if the lock was no longer held: another caller may already
    /// have got it. [`Unavailable`](crate::ErrorKind::Unavailable) or
    /// [`Timeout`](crate::ErrorKind::Timeout) if the backend did not acknowledge it: the release is
    /// then repeated in the background until the time to live ends. `Unavailable` also if the
    /// connection broke after the request was sent and the repeated release no longer finds the
    /// lock: the first request may have released it, or the lock was lost before.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the lock is given back in the background.
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
    ///     // It also tells a holder that it was not alone all the time.
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

    /// Gives the lock back after work whose result must not be lost to a failed release: that is
    /// logged, and repeated in the background.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the lock is given back in the background.
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

//! A limited number of holders of a key.

use std::future::Future;
use std::time::Duration;

use crate::backend::SlotKind;
use crate::slot::hold::{Holding, Request};
use crate::{Cachify, Error, IntoTime, Key};

impl Cachify {
    /// Makes a pool of `max` permits on `key`, for all callers that share the backend together.
    ///
    /// Each caller brings its own `max`; a caller with a smaller one waits until fewer permits are
    /// out. Pools and locks never meet, even under one key.
    ///
    /// # Examples
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
    /// use cachify_core::{Cachify, KeyTemplate};
    ///
    /// let cachify = Cachify::memory();
    /// let key = KeyTemplate::parse("vendor-{tenant}")?.render(&[&"acme"]);
    ///
    /// let permit = cachify.pool(&key, 10).acquire().await?;
    /// assert_eq!(cachify.pool(&key, 10).status().await?.in_use, 1);
    /// permit.release().await?;
    /// # Ok::<(), cachify_core::Error>(()) })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[doc(alias = "semaphore")]
    pub fn pool(&self, key: &Key, max: u32) -> Pool {
        Pool(Request::new(self, SlotKind::Pool, key, max))
    }
}

/// A handle for a pool, made by [`Cachify::pool`].
#[must_use = "a permit is taken by `acquire` or `run`"]
#[derive(Debug, Clone)]
#[doc(alias = "semaphore")]
pub struct Pool(Request);

impl Pool {
    /// Sets how long a permit outlives a holder that died. Default: the handle's `lock_ttl`, 30 s.
    /// At least 1 s. A holder that lives renews it.
    ///
    /// # Panics
    ///
    /// If a text is not a time.
    #[track_caller]
    pub fn ttl(mut self, ttl: impl IntoTime<Duration>) -> Self {
        self.0.ttl = ttl.time();
        self
    }

    /// Sets how long to wait for a permit, first come, first served. Default: not at all.
    ///
    /// # Panics
    ///
    /// If a text is not a time.
    #[track_caller]
    pub fn wait(mut self, wait: impl IntoTime<Duration>) -> Self {
        self.0.wait = wait.time();
        self
    }

    /// Sets how long a permit is renewed; then it is lost. Default: without end. At least 1 s.
    ///
    /// # Panics
    ///
    /// If a text is not a time.
    #[track_caller]
    pub fn max_hold(mut self, max_hold: impl IntoTime<Duration>) -> Self {
        self.0.max_hold = Some(max_hold.time());
        self
    }

    /// Takes a permit.
    ///
    /// # Errors
    ///
    /// [`Full`](crate::ErrorKind::Full) if all are taken, also after waiting; `retry_after` says
    /// when the first one's time to live ends. [`Unavailable`](crate::ErrorKind::Unavailable) or
    /// [`Timeout`](crate::ErrorKind::Timeout) if the backend cannot say, within the handle's
    /// backend timeout. [`Configuration`](crate::ErrorKind::Configuration) for a pool of no
    /// permits, or a `ttl` or `max_hold` under 1 s.
    ///
    /// # Cancel safety
    ///
    /// A dropped future leaves nothing behind for longer than a round trip.
    pub async fn acquire(&self) -> Result<Permit, Error> {
        let (holding, _) = self.0.acquire().await?;
        Ok(Permit { holding })
    }

    /// Takes a permit, runs `work` under it, and gives it back.
    ///
    /// # Errors
    ///
    /// Those of [`acquire`](Self::acquire), and [`Lost`](crate::ErrorKind::Lost) if the permit was
    /// lost; `work` was dropped then. A release that fails is logged and repeated: it does not cost
    /// the result.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future drops `work` and gives the permit back.
    pub async fn run<F: Future>(&self, work: F) -> Result<F::Output, Error> {
        let permit = self.acquire().await?;
        let output = permit.run(work).await?;
        permit.finish().await;
        Ok(output)
    }

    /// Returns the number of permits in use, the number of waiters, and the maximum.
    ///
    /// # Errors
    ///
    /// [`Unavailable`](crate::ErrorKind::Unavailable) or [`Timeout`](crate::ErrorKind::Timeout) if
    /// the backend cannot say.
    ///
    /// # Cancel safety
    ///
    /// It only looks.
    pub async fn status(&self) -> Result<PoolStatus, Error> {
        let inspection = self.0.inspect().await?;
        Ok(PoolStatus {
            in_use: inspection.holders,
            waiters: inspection.waiters,
            max: self.0.slot.max,
        })
    }
}

/// The state of a pool at one moment, returned by [`Pool::status`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct PoolStatus {
    /// The number of permits that callers hold. It may be larger than `max`, if other callers allow
    /// more.
    pub in_use: usize,
    /// The number of callers in the queue.
    pub waiters: usize,
    /// The maximum that was given to [`Cachify::pool`]. Other callers may have given another one.
    pub max: u32,
}

/// A permit that is held. Dropping it gives it back, in the background.
///
/// Bind it to a name: `let _ = pool.acquire().await?` drops it at once, and the compiler says so
/// only with `#![warn(let_underscore_drop)]`.
#[must_use = "the permit is given back when it is dropped: bind it to a name, such as `_permit`"]
#[derive(Debug)]
pub struct Permit {
    holding: Holding,
}

impl Permit {
    /// Returns the pool's key.
    pub fn key(&self) -> &Key {
        self.holding.key()
    }

    /// Returns whether the permit was lost. See [`Guard::is_lost`](crate::Guard::is_lost).
    pub fn is_lost(&self) -> bool {
        self.holding.is_lost()
    }

    /// Waits until the permit is lost; forever if it is not.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost if the future is dropped.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime.
    pub async fn lost(&self) {
        self.holding.lost().await;
    }

    /// Runs `work` as long as the permit is held.
    ///
    /// # Errors
    ///
    /// [`Lost`](crate::ErrorKind::Lost) if the permit was lost; `work` was dropped then.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future drops `work`; the permit stays.
    ///
    /// # Panics
    ///
    /// If `work` does; and outside a tokio runtime.
    pub async fn run<F: Future>(&self, work: F) -> Result<F::Output, Error> {
        self.holding.run(work).await
    }

    /// Gives the permit back, and waits for the acknowledgement.
    ///
    /// # Errors
    ///
    /// [`Lost`](crate::ErrorKind::Lost) if it was no longer held;
    /// [`Unavailable`](crate::ErrorKind::Unavailable) or [`Timeout`](crate::ErrorKind::Timeout) if
    /// the backend did not acknowledge it: it is then repeated in the background. `Unavailable`
    /// also if the connection broke after the request was sent and the repeated release no longer
    /// finds the permit: the first request may have released it, or the permit was lost before.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the permit is given back in the background.
    pub async fn release(self) -> Result<(), Error> {
        self.holding.release().await
    }

    /// Gives the permit back after work whose result must not be lost to a failed release: that is
    /// logged, and repeated in the background.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the permit is given back in the background.
    pub async fn finish(self) {
        self.holding.finish().await;
    }
}

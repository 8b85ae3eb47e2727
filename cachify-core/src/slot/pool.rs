//! A limited number of holders of a key.

use std::future::Future;
use std::time::Duration;

use super::hold::Holding;
use super::request::Request;
use crate::{Error, IntoTime, Key};

/// The pool of a key, made by [`Cachify::pool`](crate::Cachify::pool).
#[must_use = "a `Pool` does nothing until `acquire` or `run`"]
#[derive(Debug, Clone)]
#[doc(alias = "semaphore")]
pub struct Pool(pub(crate) Request);

impl Pool {
    /// Sets the time to live: how long a permit stays taken after its holder died. Default: the
    /// handle's `lock_ttl`, 30 s. At least 1 s.
    ///
    /// A live holder renews its permit every third of this time.
    ///
    /// # Panics
    ///
    /// If the time is a string that cannot be parsed.
    #[track_caller]
    pub fn ttl(mut self, ttl: impl IntoTime<Duration>) -> Self {
        self.0.ttl = ttl.time();
        self
    }

    /// Sets how long to wait for a permit. Default: no wait.
    ///
    /// Waiters get permits in order of arrival, and no newcomer overtakes them.
    ///
    /// # Panics
    ///
    /// If the time is a string that cannot be parsed.
    #[track_caller]
    pub fn wait(mut self, wait: impl IntoTime<Duration>) -> Self {
        self.0.wait = wait.time();
        self
    }

    /// Limits how long a permit is held: after this time it is lost, even if its holder is alive.
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

    /// Acquires a permit.
    ///
    /// # Errors
    ///
    /// [`Full`](crate::ErrorKind::Full) if no permit is free when the wait is over; `retry_after`
    /// says when the first permit's time to live ends.
    /// [`Unavailable`](crate::ErrorKind::Unavailable) or [`Timeout`](crate::ErrorKind::Timeout) if
    /// the backend fails to answer within the handle's backend timeout (default 250 ms): without
    /// the backend, no caller gets a permit. [`Configuration`](crate::ErrorKind::Configuration) for
    /// a pool of zero permits, or a `ttl` or `max_hold` under 1 s.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, neither a permit nor a place in the queue stays behind for longer
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
    ///     let vendor = cachify.pool(&key!("vendor"), 2);
    ///
    ///     let first = vendor.acquire().await?;
    ///     let _second = vendor.acquire().await?;
    ///     let error = vendor.acquire().await.unwrap_err();
    ///     assert_eq!(error.kind(), ErrorKind::Full);
    ///
    ///     // With `wait`, the caller gets the first permit that is released.
    ///     let patient = vendor.clone().wait("5s");
    ///     let (third, released) = tokio::join!(patient.acquire(), first.release());
    ///     released?;
    ///     assert!(!third?.is_lost());
    ///     Ok(())
    /// }
    /// ```
    pub async fn acquire(&self) -> Result<Permit, Error> {
        let (holding, _) = self.0.acquire().await?;
        Ok(Permit { holding })
    }

    /// Acquires a permit, runs `work` under it, and releases it.
    ///
    /// If the backend does not acknowledge the release, the result is returned all the same; the
    /// failure is logged, and the release is repeated in the background.
    ///
    /// # Errors
    ///
    /// Those of [`acquire`](Self::acquire), and [`Lost`](crate::ErrorKind::Lost) if the permit was
    /// lost; `work` has been dropped.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, `work` is dropped and the permit is released in the background.
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
    /// # async fn ask_vendor(id: u32) -> u32 { tokio::task::yield_now().await; id * 10 }
    /// #[tokio::main]
    /// async fn main() -> Result<(), cachify_core::Error> {
    ///     let cachify = Cachify::memory();
    ///     // The vendor accepts two requests at a time from all our servers together.
    ///     let vendor = cachify.pool(&key!("vendor"), 2).wait("5s");
    ///
    ///     let prices = tokio::join!(
    ///         vendor.run(ask_vendor(1)),
    ///         vendor.run(ask_vendor(2)),
    ///         vendor.run(ask_vendor(3)), // waits for one of the others
    ///     );
    ///     assert_eq!((prices.0?, prices.1?, prices.2?), (10, 20, 30));
    ///     Ok(())
    /// }
    /// ```
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
    ///     let vendor = cachify.pool(&key!("vendor"), 10);
    ///     let _permit = vendor.acquire().await?;
    ///
    ///     let status = vendor.status().await?;
    ///     println!("{} of {} in use, {} wait", status.in_use, status.max, status.waiters);
    ///     assert_eq!(status.in_use, 1);
    ///     Ok(())
    /// }
    /// ```
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
    /// The number of permits in use. It may be greater than `max` if other callers gave a greater
    /// maximum.
    pub in_use: usize,
    /// The number of callers that wait for a permit.
    pub waiters: usize,
    /// The maximum given to [`Cachify::pool`](crate::Cachify::pool). Other callers may give another
    /// maximum for the same key.
    pub max: u32,
}

/// A permit that is held. Dropping it releases the permit in the background.
///
/// Bind it to a name: `let _ = pool.acquire().await?` drops it at once, and the compiler warns of
/// that only with `#![warn(let_underscore_drop)]`.
#[must_use = "dropping the permit releases it: bind it to a name, such as `_permit`"]
#[derive(Debug)]
pub struct Permit {
    pub(crate) holding: Holding,
}

impl Permit {
    /// Returns the pool's key.
    pub fn key(&self) -> &Key {
        self.holding.key()
    }

    /// Returns whether the permit was lost, as [`Guard::is_lost`](crate::Guard::is_lost) does for a
    /// lock.
    pub fn is_lost(&self) -> bool {
        self.holding.is_lost()
    }

    /// Waits until the permit is lost, or forever if that never happens.
    ///
    /// # Cancel safety
    ///
    /// Safe: dropping the future does not affect the permit.
    ///
    /// # Panics
    ///
    /// If called outside a tokio runtime.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use cachify_core::{Cachify, key};
    ///
    /// #[tokio::main]
    /// async fn main() -> Result<(), cachify_core::Error> {
    ///     let cachify = Cachify::memory();
    ///     let vendor = cachify.pool(&key!("vendor"), 10).max_hold("1s");
    ///     let permit = vendor.acquire().await?;
    ///
    ///     tokio::select! {
    ///         () = tokio::time::sleep(Duration::from_secs(60)) => {} // the vendor hangs
    ///         () = permit.lost() => println!("another caller may use the permit now"),
    ///     }
    ///     assert!(permit.is_lost());
    ///     Ok(())
    /// }
    /// ```
    pub async fn lost(&self) {
        self.holding.lost().await;
    }

    /// Runs `work`, and drops it if the permit is lost meanwhile.
    ///
    /// # Errors
    ///
    /// [`Lost`](crate::ErrorKind::Lost) if the permit was lost; `work` has been dropped.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, `work` is dropped; the permit is still held.
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
    /// # async fn ask_vendor(id: u32) -> u32 { tokio::task::yield_now().await; id * 10 }
    /// #[tokio::main]
    /// async fn main() -> Result<(), cachify_core::Error> {
    ///     let cachify = Cachify::memory();
    ///     let permit = cachify.pool(&key!("vendor"), 10).acquire().await?;
    ///
    ///     // Two requests under one permit. If the permit is lost, the request stops.
    ///     let price = permit.run(ask_vendor(1)).await? + permit.run(ask_vendor(2)).await?;
    ///     permit.release().await?;
    ///     assert_eq!(price, 30);
    ///     Ok(())
    /// }
    /// ```
    pub async fn run<F: Future>(&self, work: F) -> Result<F::Output, Error> {
        self.holding.run(work).await
    }

    /// Releases the permit, and waits until the backend has acknowledged it.
    ///
    /// # Errors
    ///
    /// As [`Guard::release`](crate::Guard::release): [`Lost`](crate::ErrorKind::Lost) if the permit
    /// was no longer held; [`Unavailable`](crate::ErrorKind::Unavailable) or
    /// [`Timeout`](crate::ErrorKind::Timeout) if the backend did not acknowledge the release, which
    /// is then repeated in the background.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the permit is released in the background.
    ///
    /// # Examples
    ///
    /// ```
    /// use cachify_core::{Cachify, key};
    ///
    /// #[tokio::main]
    /// async fn main() -> Result<(), cachify_core::Error> {
    ///     let cachify = Cachify::memory();
    ///     let vendor = cachify.pool(&key!("vendor"), 1);
    ///
    ///     // Unlike a drop, `release` returns when the permit is free.
    ///     vendor.acquire().await?.release().await?;
    ///     let _next = vendor.acquire().await?;
    ///     Ok(())
    /// }
    /// ```
    pub async fn release(self) -> Result<(), Error> {
        self.holding.release().await
    }

    /// Releases the permit, and never fails: a failed release is logged and repeated in the
    /// background.
    ///
    /// Use it after work whose result must be returned even if the release fails.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the permit is released in the background.
    ///
    /// # Examples
    ///
    /// ```
    /// use cachify_core::{Cachify, key};
    ///
    /// # async fn ask_vendor(id: u32) -> u32 { tokio::task::yield_now().await; id * 10 }
    /// #[tokio::main]
    /// async fn main() -> Result<(), cachify_core::Error> {
    ///     let cachify = Cachify::memory();
    ///     let permit = cachify.pool(&key!("vendor"), 10).acquire().await?;
    ///
    ///     let price = permit.run(ask_vendor(1)).await?;
    ///     // The price is known, whether or not the release is acknowledged.
    ///     permit.finish().await;
    ///     assert_eq!(price, 10);
    ///     Ok(())
    /// }
    /// ```
    pub async fn finish(self) {
        self.holding.finish().await;
    }
}

//! A limited number of holders of a key.

use std::future::Future;
use std::time::Duration;

use super::hold::Holding;
use super::request::Request;
use crate::{Error, IntoTime, Key};

/// A handle for a pool, made by [`Cachify::pool`](crate::Cachify::pool).
#[must_use = "a permit is taken by `acquire` or `run`"]
#[derive(Debug, Clone)]
#[doc(alias = "semaphore")]
pub struct Pool(pub(crate) Request);

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
    ///     // With `wait`, the caller gets the first permit that is given back.
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
    /// # async fn ask_vendor(id: u32) -> u32 { tokio::task::yield_now().await; id * 10 }
    /// #[tokio::main]
    /// async fn main() -> Result<(), cachify_core::Error> {
    ///     let cachify = Cachify::memory();
    ///     // The vendor takes two requests at a time from all our servers together.
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
    /// The number of permits that callers hold. It may be larger than `max`, if other callers allow
    /// more.
    pub in_use: usize,
    /// The number of callers in the queue.
    pub waiters: usize,
    /// The maximum that was given to [`Cachify::pool`](crate::Cachify::pool). Other callers may
    /// have given another one.
    pub max: u32,
}

/// A permit that is held. Dropping it gives it back, in the background.
///
/// Bind it to a name: `let _ = pool.acquire().await?` drops it at once, and the compiler says so
/// only with `#![warn(let_underscore_drop)]`.
#[must_use = "the permit is given back when it is dropped: bind it to a name, such as `_permit`"]
#[derive(Debug)]
pub struct Permit {
    pub(crate) holding: Holding,
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
    ///         () = permit.lost() => println!("someone else may use the permit now"),
    ///     }
    ///     assert!(permit.is_lost());
    ///     Ok(())
    /// }
    /// ```
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
    ///     // Two requests by one permit. A request stops if another caller got the permit.
    ///     let price = permit.run(ask_vendor(1)).await? + permit.run(ask_vendor(2)).await?;
    ///     permit.release().await?;
    ///     assert_eq!(price, 30);
    ///     Ok(())
    /// }
    /// ```
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

    /// Gives the permit back after work whose result must not be lost to a failed release: that is
    /// logged, and repeated in the background.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the permit is given back in the background.
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

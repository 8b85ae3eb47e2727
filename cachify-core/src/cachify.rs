//! The handle, and how to get one.

use std::borrow::Cow;
use std::fmt;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::Notify;

use crate::backend::{Backend, Node};
use crate::clock::Clock;
use crate::codec::Encoding;
use crate::engine::breaker::{Breaker, Pending, limit};
use crate::engine::renewal::Renewal;
use crate::key::Prefix;
use crate::read::flight::Flights;
use crate::slot::waiting::Lines;
use crate::{Error, ErrorKind, Key, Keys, Ttl};

mod builder;
mod owed;
mod reset;

pub use builder::CachifyBuilder;
pub(crate) use owed::{Debt, Owed};

/// A handle to entries, locks and pools: cheap to clone, safe to share.
///
/// All clones are one handle. When the last one is dropped, with all that
/// [`with_prefix`](Self::with_prefix) made of them and the last guard and permit, its background
/// tasks end.
#[derive(Clone)]
pub struct Cachify {
    pub(crate) inner: Arc<Inner>,
    /// `None`: the one that the handle was built with.
    pub(crate) prefix: Option<Prefix>,
}

/// The settings that a handle was built with.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) prefix: String,
    pub(crate) default_ttl: Ttl,
    pub(crate) lock_ttl: Duration,
    pub(crate) backend_timeout: Duration,
    /// How long a caller waits for the computation of another one before it may compute too.
    pub(crate) compute_wait: Duration,
    pub(crate) encoding: Encoding,
}

pub(crate) struct Inner {
    pub(crate) backend: Arc<dyn Backend>,
    pub(crate) settings: Settings,
    pub(crate) node: Node,
    pub(crate) clock: Clock,
    pub(crate) flights: Flights,
    pub(crate) renewal: Renewal,
    pub(crate) waiting: Lines,
    pub(crate) breaker: Breaker,
    pub(crate) pending: Pending,
    pub(crate) owed: Owed,
    background: Background,
}

/// Tasks that outlive the call that started them: releases, resets, probes.
#[derive(Debug)]
struct Background {
    runtime: Option<Handle>,
    /// Those that [`Cachify::close`] waits for.
    live: AtomicUsize,
    idle: Notify,
}

impl Cachify {
    /// Starts to build a handle.
    pub fn builder() -> CachifyBuilder {
        CachifyBuilder::default()
    }

    /// Connects to where `url` says: `memory://`, `redis://`, `rediss://` (feature `tls`) or
    /// `unix://`.
    ///
    /// # Errors
    ///
    /// [`Configuration`](ErrorKind::Configuration) if the URL is not understood or the server is
    /// not fit for use, with the fix; [`Unavailable`](ErrorKind::Unavailable) or
    /// [`Timeout`](ErrorKind::Timeout) if it cannot be reached. To start while it is away, use
    /// [`CachifyBuilder::connect_lazy`].
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves nothing behind.
    ///
    /// # Examples
    ///
    /// ```
    /// use cachify_core::Cachify;
    ///
    /// #[tokio::main]
    /// async fn main() -> Result<(), cachify_core::Error> {
    ///     let cachify = Cachify::connect("memory://").await?;
    ///     Ok(())
    /// }
    /// ```
    pub async fn connect(url: &str) -> Result<Self, Error> {
        Self::builder().url(url).connect().await
    }

    /// Makes a handle over this process's memory, with the defaults: at most 100 000 entries and
    /// 256 MiB, which live for 5 minutes. Each call makes a new and empty one.
    pub fn memory() -> Self {
        Self::over(
            Arc::new(crate::backend::memory::Memory::default()),
            CachifyBuilder::default().settings(),
            Node::new("local"),
            Clock::default(),
        )
    }

    /// Makes a handle whose keys begin with `prefix`: its entries, locks and pools never meet those
    /// of another prefix.
    ///
    /// It costs a look-up, so that a handle can be made for each request of a tenant. Everything
    /// but the names is shared: the connections to the server, the circuit breaker, the settings,
    /// the capacity of memory and the background tasks. Handles with the same prefix share their
    /// entries and locks, in this process and in others, however they were made:
    /// [`CachifyBuilder::prefix`] names the same place.
    ///
    /// The prefix takes the place of the one that this handle has; it is not appended to it. A user
    /// of Redis with limited rights needs `~PREFIX:*` and `&PREFIX:*` for each prefix.
    ///
    /// # Errors
    ///
    /// [`Configuration`](ErrorKind::Configuration) if the prefix is not one or more of letters,
    /// digits and `_.:-`.
    ///
    /// # Examples
    ///
    /// ```
    /// use cachify_core::{Cachify, key};
    ///
    /// #[tokio::main]
    /// async fn main() -> Result<(), cachify_core::Error> {
    ///     let cachify = Cachify::memory();
    ///     let tenant = cachify.with_prefix("tenant-7")?;
    ///     tenant.cached(&key!("seats")).set(7).await?;
    ///     assert_eq!(cachify.cached(&key!("seats")).get::<i32>().await?, None);
    ///     Ok(())
    /// }
    /// ```
    pub fn with_prefix(&self, prefix: &str) -> Result<Self, Error> {
        let own = prefix == self.inner.settings.prefix;
        Ok(Self {
            inner: Arc::clone(&self.inner),
            prefix: if own {
                None
            } else {
                Some(Prefix::new(prefix)?)
            },
        })
    }

    /// Returns the key with this handle's prefix.
    #[inline]
    pub(crate) fn own<'a>(&self, key: &'a Key) -> Cow<'a, Key> {
        key.within(self.prefix.as_ref())
    }

    fn own_all<'a>(&self, keys: Cow<'a, [Key]>) -> Cow<'a, [Key]> {
        if keys.iter().all(|key| key.prefix() == self.prefix.as_ref()) {
            return keys;
        }
        keys.iter().map(|key| self.own(key).into_owned()).collect()
    }

    pub(crate) fn over(
        backend: Arc<dyn Backend>,
        settings: Settings,
        node: Node,
        clock: Clock,
    ) -> Self {
        #[cfg(feature = "metrics")]
        crate::observe::describe();
        Self {
            prefix: None,
            inner: Arc::new(Inner {
                backend,
                settings,
                node,
                clock,
                flights: Flights::default(),
                renewal: Renewal::default(),
                waiting: Lines::default(),
                breaker: Breaker::default(),
                pending: Pending::new(10_000),
                owed: Owed::default(),
                background: Background {
                    runtime: Handle::try_current().ok(),
                    live: AtomicUsize::new(0),
                    idle: Notify::new(),
                },
            }),
        }
    }

    /// Removes the entry, as if it had never been cached: no read that starts after this returned
    /// `Ok`, in any process, returns a value whose computation started before.
    ///
    /// Takes one key or [several](Keys). Several are reset at the same time, up to 128 at once, and
    /// a reset that fails does not keep the others from happening.
    ///
    /// # Errors
    ///
    /// [`Unconfirmed`](ErrorKind::Unconfirmed) if the backend did not acknowledge it within the
    /// backend timeout. It is then retried until it is, and this process reads past the backend's
    /// copy of the key meanwhile; other processes may still see the old value.
    /// [`NotQueued`](ErrorKind::NotQueued) if there are too many such resets already (10 000 keys):
    /// reset again later; or if the handle was closed.
    ///
    /// Of several resets, the error says how many were not acknowledged, and names their templates.
    /// It is `NotQueued` if at least one of them is not retried.
    ///
    /// # Cancel safety
    ///
    /// Once the future was polled, every reset happens, even if the future is dropped.
    ///
    /// # Examples
    ///
    /// ```
    /// use cachify_core::{Cachify, ErrorKind, key};
    ///
    /// #[tokio::main]
    /// async fn main() -> Result<(), cachify_core::Error> {
    ///     let cachify = Cachify::memory();
    ///     let id = 7;
    ///     match cachify.reset([&key!("read_user-{id}"), &key!("list_users")]).await {
    ///         Ok(()) => {}
    ///         // It is repeated until it succeeds; nothing is left to do.
    ///         Err(error) if error.kind() == ErrorKind::Unconfirmed => eprintln!("{error}"),
    ///         Err(error) => return Err(error),
    ///     }
    ///     Ok(())
    /// }
    /// ```
    #[doc(alias("invalidate", "evict", "remove", "delete"))]
    pub async fn reset(&self, keys: impl Keys) -> Result<(), Error> {
        self.inner.reset_each(&self.own_all(keys.list())).await
    }

    /// Runs `change`, and resets the key, or [several](Keys), afterwards: whether `change`
    /// succeeds, fails, panics or is dropped halfway.
    ///
    /// This is the way to write an update. The reset is part of it even when the client goes away
    /// between the database's commit and the answer. A reset that the backend did not acknowledge
    /// is logged and retried.
    ///
    /// # Cancel safety
    ///
    /// If this future is dropped after its first poll, `change` is dropped and every reset happens.
    /// But a `change` that was dropped may still be running: a database that was sent a statement
    /// carries it out, whether or not the client waits for the answer. It may then commit *after*
    /// the reset, and a read in between keeps the old value until it expires. Where clients go
    /// away, run the whole update in a task of its own (`tokio::spawn`), or give the entry a `ttl`
    /// that you can live with.
    ///
    /// # Panics
    ///
    /// If `change` does, after the resets were queued.
    ///
    /// # Examples
    ///
    /// ```
    /// use cachify_core::{Cachify, key};
    ///
    /// # async fn rename(id: i64, name: &str) -> Result<(), std::io::Error> { let _ = (id, name); Ok(()) }
    ///
    /// #[tokio::main]
    /// async fn main() -> Result<(), std::io::Error> {
    ///     let cachify = Cachify::memory();
    ///     let id = 7;
    ///     let user = key!("read_user-{id}");
    ///     cachify.update([&user, &key!("list_users")], rename(id, "Eve")).await?;
    ///     Ok(())
    /// }
    /// ```
    pub async fn update<T>(&self, keys: impl Keys, change: impl Future<Output = T>) -> T {
        let keys = self.own_all(keys.list());
        let late = self.inner.late_resets(&keys);
        let output = change.await;
        // From here on `reset_each` itself sees to it that they happen.
        let reset = self.inner.reset_each(&keys);
        late.disarm();
        if let Err(error) = reset.await {
            tracing::warn!(%error, "reset after an update is not confirmed yet");
        }
        output
    }

    /// Checks that the backend answers and is fit for use, as [`connect`](Self::connect) does.
    ///
    /// An app that connects with [`connect_lazy`](CachifyBuilder::connect_lazy) calls this to
    /// report the state of its backend. It waits for the answer for one second, or for the backend
    /// timeout if that is longer.
    ///
    /// # Errors
    ///
    /// As [`connect`](Self::connect).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves nothing behind.
    ///
    /// # Examples
    ///
    /// ```
    /// use cachify_core::Cachify;
    ///
    /// #[tokio::main]
    /// async fn main() -> Result<(), cachify_core::Error> {
    ///     let cachify = Cachify::builder().memory().connect_lazy()?;
    ///     let health = match cachify.check().await {
    ///         Ok(()) => "ok".to_owned(),
    ///         Err(error) => format!("without a cache: {error}"),
    ///     };
    ///     assert_eq!(health, "ok");
    ///     Ok(())
    /// }
    /// ```
    pub async fn check(&self) -> Result<(), Error> {
        let inner = &self.inner;
        let within = inner.settings.backend_timeout.max(Duration::from_secs(1));
        limit(within, inner.backend.check()).await
    }

    /// Waits until what this handle still has to do is done: locks to release, resets to repeat.
    /// Then the handle is closed: locks and pools answer [`Unavailable`](ErrorKind::Unavailable),
    /// and cached calls compute what is not in this process's memory.
    ///
    /// The handle that was built waits for all that [`with_prefix`](Self::with_prefix) made of it,
    /// and closes them, too: a program that ends needs to close only that one. A handle with a
    /// prefix of its own waits for what is left to do under its prefix, and closes nothing, since
    /// other handles may have the same prefix.
    ///
    /// # Errors
    ///
    /// [`Timeout`](ErrorKind::Timeout) if `timeout` passes before; the message says what is left.
    /// The handle is closed all the same.
    ///
    /// # Cancel safety
    ///
    /// A dropped future closes nothing; call again.
    ///
    /// # Examples
    ///
    /// ```
    /// use cachify_core::Cachify;
    /// use std::time::Duration;
    ///
    /// #[tokio::main]
    /// async fn main() {
    ///     let cachify = Cachify::memory();
    ///     // When the last request was answered:
    ///     if let Err(error) = cachify.close(Duration::from_secs(5)).await {
    ///         eprintln!("{error}");
    ///     }
    /// }
    /// ```
    pub async fn close(&self, timeout: Duration) -> Result<(), Error> {
        let inner = &self.inner;
        inner.kick();
        let drained = limit(timeout, async {
            loop {
                let idle = inner.background.idle.notified();
                if self.left() == (0, 0) {
                    return Ok(());
                }
                idle.await;
            }
        })
        .await;
        if self.prefix.is_none() {
            inner.breaker.shut_down();
        }
        drained.map_err(|error| {
            if error.kind() != ErrorKind::Timeout {
                return error;
            }
            let (releases, resets) = self.left();
            Error::new(
                ErrorKind::Timeout,
                format!(
                    "closed with work left: {releases} releases, {resets} resets; the backend may be away"
                ),
            )
        })
    }

    /// Returns how many releases and resets [`close`](Self::close) waits for.
    fn left(&self) -> (usize, usize) {
        let Inner { owed, pending, .. } = &*self.inner;
        match &self.prefix {
            None => {
                let live = self.inner.background.live.load(Ordering::Acquire);
                (owed.len().max(live), pending.len())
            }
            Some(prefix) => {
                let own = |key: &Key| key.prefix() == Some(prefix);
                (owed.count(own), pending.count(own))
            }
        }
    }
}

impl fmt::Debug for Cachify {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cachify")
            .field("backend", &self.backend)
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

/// Queues a reset when it is dropped.
pub(crate) struct LateReset<'a> {
    inner: &'a Arc<Inner>,
    key: Option<&'a Key>,
}

impl LateReset<'_> {
    pub(crate) fn disarm(mut self) {
        self.key = None;
    }
}

impl Drop for LateReset<'_> {
    fn drop(&mut self) {
        if let Some(key) = self.key {
            self.inner.reset_later(key);
        }
    }
}

impl Inner {
    /// The first poll arms a guard that sees to it that the reset happens.
    pub(crate) async fn reset(self: &Arc<Self>, key: &Key) -> Result<(), Error> {
        let late = self.late_reset(key);
        let result = match self.admit() {
            Ok(()) => self.insist(self.backend.reset(key)).await,
            Err(error) => Err(error),
        };
        // Afterwards: the next flight must not begin before the reset.
        self.flights.end(key, None);
        late.disarm();
        result.map_err(|error| self.unconfirmed(key, error))
    }

    /// Queues the reset of a key whose entry may be old now, and says so as an error.
    pub(crate) fn unconfirmed(self: &Arc<Self>, key: &Key, cause: Error) -> Error {
        let (kind, message) = if self.breaker.is_shut_down() {
            // If there is room, reads of this handle no longer trust the entry, but the reset is
            // not repeated.
            self.pending.add(key);
            (
                ErrorKind::NotQueued,
                "this cachify handle was closed; the reset did not happen and is not repeated: connect a new one and reset again",
            )
        } else if self.reset_later(key) {
            (
                ErrorKind::Unconfirmed,
                "the backend did not acknowledge the reset; it is queued and will be repeated until it does",
            )
        } else {
            (
                ErrorKind::NotQueued,
                "the backend did not acknowledge the reset, and too many are queued already; reset again later",
            )
        };
        Error::new(kind, message)
            .with_template(key.template())
            .with_source(cause)
    }

    /// Queues a reset and has it replayed. `false`: the queue is full.
    fn reset_later(self: &Arc<Self>, key: &Key) -> bool {
        let queued = self.pending.add(key);
        self.flights.end(key, None);
        if !queued {
            tracing::error!(
                template = key.template(),
                "reset dropped: too many are queued"
            );
        }
        self.kick();
        queued
    }

    /// Runs an operation that may be refused at once while the backend is known to be away.
    pub(crate) async fn attempt<T>(
        self: &Arc<Self>,
        operation: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        self.admit()?;
        self.insist(operation).await
    }

    /// Returns whether an operation may be tried. If not, there must be a probe: the last one may
    /// have ended with its runtime.
    pub(crate) fn admit(self: &Arc<Self>) -> Result<(), Error> {
        self.breaker.admit().inspect_err(|_| self.kick())
    }

    /// Runs an operation that is tried even while the backend is thought to be away: to release, to
    /// renew, to replay.
    pub(crate) async fn insist<T>(
        self: &Arc<Self>,
        operation: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        let result = limit(self.settings.backend_timeout, operation).await;
        self.settle(&result);
        result
    }

    /// Takes note of how an operation ended. Background work may be due although it succeeded: its
    /// task may have ended with a runtime.
    pub(crate) fn settle<T>(self: &Arc<Self>, result: &Result<T, Error>) {
        self.breaker.record(result.as_ref().err());
        if result.is_err()
            || !self.pending.is_empty()
            || self.owed.are_left()
            || self.renewal.is_orphaned()
        {
            self.kick();
        }
    }

    /// Queues a reset unless it is disarmed.
    pub(crate) fn late_reset<'a>(self: &'a Arc<Self>, key: &'a Key) -> LateReset<'a> {
        LateReset {
            inner: self,
            key: Some(key),
        }
    }

    /// Starts the background work that is due: renewals, releases that are owed, a probe for an
    /// open breaker, a replay of pending resets.
    pub(crate) fn kick(self: &Arc<Self>) {
        if self.renewal.is_orphaned() {
            self.renewal.ensure(self);
        }
        if self.owed.claim_collection() {
            let claim = Claim {
                inner: Arc::downgrade(self),
                end: |inner| inner.owed.end_collection(),
            };
            self.spawn(owed::collect(claim));
        }
        if self.breaker.is_shut_down() {
            return;
        }
        if self.breaker.claim_probe() {
            let claim = Claim {
                inner: Arc::downgrade(self),
                end: |inner| inner.breaker.end_probe(),
            };
            self.spawn(probe(claim));
        }
        if self.pending.claim_replay() {
            let claim = Claim {
                inner: Arc::downgrade(self),
                end: |inner| inner.pending.end_replay(),
            };
            self.spawn(replay(claim));
        }
    }

    /// Runs `future` in the background, on the present runtime or else on the one that the handle
    /// was made in. `false`: there is none.
    pub(crate) fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) -> bool {
        match Handle::try_current()
            .ok()
            .or_else(|| self.background.runtime.clone())
        {
            Some(runtime) => {
                runtime.spawn(future);
                true
            }
            None => false,
        }
    }

    /// Like [`spawn`](Self::spawn), for work that [`Cachify::close`] waits for. Polls it once right
    /// here: the memory backend is then done, and a connection has sent the request, before the
    /// caller continues. So the caller's next request finds the lock free.
    pub(crate) fn spawn_tracked(
        self: &Arc<Self>,
        future: impl Future<Output = ()> + Send + 'static,
    ) -> bool {
        self.background.live.fetch_add(1, Ordering::AcqRel);
        let done = Tracked(Arc::clone(self));
        let mut task = Box::pin(async move {
            future.await;
            drop(done);
        });
        let mut nobody = Context::from_waker(Waker::noop());
        // Where there is no runtime at all, memory still does it, and a connection leaves it to the
        // next call.
        if Handle::try_current().is_ok() || self.background.runtime.is_none() {
            // This may be the drop of a guard: it must not panic, which a timer of a runtime that
            // was shut down does.
            let begin = AssertUnwindSafe(|| task.as_mut().poll(&mut nobody));
            match catch_unwind(begin) {
                Ok(Poll::Pending) => {}
                Ok(Poll::Ready(())) => return true,
                Err(_) => return false,
            }
        }
        self.spawn(task)
    }
}

/// Counts a background task down, however it ends.
struct Tracked(Arc<Inner>);

impl Drop for Tracked {
    fn drop(&mut self) {
        self.0.background.live.fetch_sub(1, Ordering::AcqRel);
        self.0.background.idle.notify_waiters();
    }
}

/// How long the background waits before it tries a backend again that is away.
struct Backoff(Duration);

impl Backoff {
    const FIRST: Duration = Duration::from_millis(50);
    const LAST: Duration = Duration::from_secs(1);

    async fn pause(&mut self) {
        tokio::time::sleep(self.0).await;
        self.0 = (self.0 * 2).min(Self::LAST);
    }
}

/// The exclusive right to one piece of background work; ends when dropped, with the task or with
/// its runtime.
struct Claim {
    inner: Weak<Inner>,
    end: fn(&Inner),
}

impl Drop for Claim {
    fn drop(&mut self) {
        if let Some(inner) = self.inner.upgrade() {
            (self.end)(&inner);
        }
    }
}

/// Asks an absent backend again and again whether it is back.
async fn probe(claim: Claim) {
    let mut backoff = Backoff(Backoff::FIRST);
    let mut warned = None;
    loop {
        backoff.pause().await;
        let Some(inner) = claim
            .inner
            .upgrade()
            .filter(|inner| !inner.breaker.is_shut_down())
        else {
            return;
        };
        let Err(error) = limit(inner.settings.backend_timeout, inner.backend.probe()).await else {
            return inner.breaker.recover();
        };
        // Waiting does not help: say so, once for each reason.
        let reason = (error.kind() == ErrorKind::Configuration).then(|| error.to_string());
        if reason.is_some() && reason != warned {
            tracing::warn!(%error, "the backend is not used until it is set up right");
            warned = reason;
        } else {
            tracing::debug!(%error, "the backend is still away");
        }
    }
}

/// Repeats resets until the backend has acknowledged all of them.
async fn replay(claim: Claim) {
    let mut backoff = Backoff(Backoff::FIRST);
    let mut failed = None;
    loop {
        let Some(inner) = claim
            .inner
            .upgrade()
            .filter(|inner| !inner.breaker.is_shut_down())
        else {
            return;
        };
        let Some((key, round)) = inner.pending.next(failed.as_ref()) else {
            drop(claim);
            inner.background.idle.notify_waiters();
            // For what was added between the last look and the end of the claim.
            return inner.kick();
        };
        match limit(inner.settings.backend_timeout, inner.backend.reset(&key)).await {
            Ok(()) => {
                inner.pending.acknowledge(&key, round);
                inner.background.idle.notify_waiters();
                backoff = Backoff(Backoff::FIRST);
            }
            Err(error) => {
                tracing::debug!(%error, template = key.template(), "a reset is still not confirmed");
                drop(inner);
                failed = Some(key);
                backoff.pause().await;
            }
        }
    }
}

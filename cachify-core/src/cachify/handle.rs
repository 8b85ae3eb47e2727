//! The handle.

use std::borrow::Cow;
use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use crate::backend::{Backend, Node, Slot, SlotKind, Typed};
use crate::clock::Clock;
use crate::engine::budget::limit;
use crate::engine::{Engine, Settings};
use crate::key::Prefix;
use crate::read::entries::Entries;
use crate::read::{Cacheable, Cached};
use crate::slot::request::Request;
use crate::slot::waiting::Lines;
use crate::slot::{Lock, Once, Pool};
use crate::{Error, Key, Keys};

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

/// What all clones of a handle share.
pub(crate) struct Inner {
    pub(crate) engine: Arc<Engine>,
    pub(crate) entries: Arc<Entries>,
    pub(crate) lines: Arc<Lines>,
}

impl Cachify {
    /// Makes a handle whose keys begin with `prefix`: its entries, locks and pools never meet those
    /// of another prefix.
    ///
    /// It costs a look-up, so that a handle can be made for each request of a tenant. Everything
    /// but the names is shared: the connections to the server, the circuit breaker, the settings,
    /// the capacity of memory and the background tasks. Handles with the same prefix share their
    /// entries and locks, in this process and in others, however they were made:
    /// [`CachifyBuilder::prefix`](crate::CachifyBuilder::prefix) names the same place.
    ///
    /// The prefix takes the place of the one that this handle has; it is not appended to it. A user
    /// of Redis with limited rights needs `~PREFIX:*` and `&PREFIX:*` for each prefix.
    ///
    /// # Errors
    ///
    /// [`Configuration`](crate::ErrorKind::Configuration) if the prefix is not one or more of
    /// letters, digits and `_.:-`.
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
        let own = prefix == self.inner.engine.settings.prefix;
        Ok(Self {
            inner: Arc::clone(&self.inner),
            prefix: if own {
                None
            } else {
                Some(Prefix::new(prefix)?)
            },
        })
    }

    /// Starts a cached read (or write) of `key`.
    ///
    /// # Examples
    ///
    /// ```
    /// use cachify_core::{Cachify, key};
    ///
    /// #[tokio::main]
    /// async fn main() -> Result<(), cachify_core::Error> {
    ///     let cachify = Cachify::memory();
    ///     let id = 7;
    ///     let cached = cachify.cached(&key!("square-{id}")).ttl("5m");
    ///     assert_eq!(cached.get_or_compute(async || id * id).await, 49);
    ///     assert_eq!(cached.get::<i32>().await?, Some(49));
    ///     Ok(())
    /// }
    /// ```
    pub fn cached(&self, key: &Key) -> Cached {
        Cached::new(&self.inner.entries, self.own(key).into_owned())
    }

    /// Makes a lock on `key`. Of all callers that share the backend, one holds it at a time.
    ///
    /// It is a lease: a holder who dies, hangs or is cut off loses it when its time to live ends,
    /// so that others can go on. A holder who lives renews it, and [learns](crate::Guard::lost)
    /// when it cannot. What must not happen twice in any case is protected by the [fencing
    /// token](crate::Guard::fencing_token).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use cachify_core::{Cachify, KeyTemplate};
    ///
    /// #[tokio::main]
    /// async fn main() -> Result<(), cachify_core::Error> {
    ///     let cachify = Cachify::memory();
    ///     let key = KeyTemplate::parse("update-user-{user_id}")?.render(&[&7]);
    ///
    ///     let guard = cachify.lock(&key).wait(Duration::from_secs(2)).acquire().await?;
    ///     assert!(cachify.lock(&key).is_locked().await?);
    ///     guard.release().await?;
    ///     Ok(())
    /// }
    /// ```
    #[doc(alias = "mutex")]
    pub fn lock(&self, key: &Key) -> Lock {
        Lock(self.request(SlotKind::Lock, key, 1))
    }

    /// Makes a handle that runs work unless another caller is running it at the same moment, in any
    /// process.
    ///
    /// It uses the [lock](Self::lock) of the same key, without waiting for it.
    ///
    /// # Examples
    ///
    /// ```
    /// use cachify_core::{Cachify, KeyTemplate};
    ///
    /// #[tokio::main]
    /// async fn main() -> Result<(), cachify_core::Error> {
    ///     let cachify = Cachify::memory();
    ///     let key = KeyTemplate::parse("daily-report")?.render(&[]);
    ///
    ///     match cachify.once(&key).run(async { "sent" }).await? {
    ///         Some(done) => assert_eq!(done, "sent"),
    ///         None => println!("another caller is at it"),
    ///     }
    ///     Ok(())
    /// }
    /// ```
    pub fn once(&self, key: &Key) -> Once {
        Once(self.lock(key))
    }

    /// Makes a pool of `max` permits on `key`, for all callers that share the backend together.
    ///
    /// Each caller brings its own `max`; a caller with a smaller one waits until fewer permits are
    /// out. Pools and locks never meet, even under one key.
    ///
    /// # Examples
    ///
    /// ```
    /// use cachify_core::{Cachify, KeyTemplate};
    ///
    /// #[tokio::main]
    /// async fn main() -> Result<(), cachify_core::Error> {
    ///     let cachify = Cachify::memory();
    ///     let key = KeyTemplate::parse("vendor-{tenant}")?.render(&[&"acme"]);
    ///
    ///     let permit = cachify.pool(&key, 10).acquire().await?;
    ///     assert_eq!(cachify.pool(&key, 10).status().await?.in_use, 1);
    ///     permit.release().await?;
    ///     Ok(())
    /// }
    /// ```
    #[doc(alias = "semaphore")]
    pub fn pool(&self, key: &Key, max: u32) -> Pool {
        Pool(self.request(SlotKind::Pool, key, max))
    }

    /// Removes the entry, as if it had never been cached: no read that starts after this returned
    /// `Ok`, in any process, returns a value whose computation started before.
    ///
    /// Takes one key or [several](Keys). Several are reset at the same time, up to 128 at once, and
    /// a reset that fails does not keep the others from happening.
    ///
    /// # Errors
    ///
    /// [`Unconfirmed`](crate::ErrorKind::Unconfirmed) if the backend did not acknowledge it within
    /// the backend timeout. It is then retried until it is, and this process reads past the
    /// backend's copy of the key meanwhile; other processes may still see the old value.
    /// [`NotQueued`](crate::ErrorKind::NotQueued) if there are too many such resets already (10 000
    /// keys): reset again later; or if the handle was closed.
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
        self.inner
            .entries
            .reset_each(&self.own_all(keys.list()))
            .await
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
        let late = self.inner.entries.late_resets(&keys);
        let output = change.await;
        // From here on `reset_each` itself sees to it that they happen.
        let reset = self.inner.entries.reset_each(&keys);
        late.disarm();
        if let Err(error) = reset.await {
            tracing::warn!(%error, "reset after an update is not confirmed yet");
        }
        output
    }

    /// Checks that the backend answers and is fit for use, as [`connect`](Self::connect) does.
    ///
    /// An app that connects with [`connect_lazy`](crate::CachifyBuilder::connect_lazy) calls this
    /// to report the state of its backend. It waits for the answer for one second, or for the
    /// backend timeout if that is longer.
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
        let engine = &self.inner.engine;
        let within = engine.settings.backend_timeout.max(Duration::from_secs(1));
        limit(within, engine.backend.check()).await
    }

    /// Waits until what this handle still has to do is done: locks to release, resets to repeat.
    /// Then the handle is closed: locks and pools answer
    /// [`Unavailable`](crate::ErrorKind::Unavailable), and cached calls compute what is not in this
    /// process's memory.
    ///
    /// The handle that was built waits for all that [`with_prefix`](Self::with_prefix) made of it,
    /// and closes them, too: a program that ends needs to close only that one. A handle with a
    /// prefix of its own waits for what is left to do under its prefix, and closes nothing, since
    /// other handles may have the same prefix.
    ///
    /// # Errors
    ///
    /// [`Timeout`](crate::ErrorKind::Timeout) if `timeout` passes before; the message says what is
    /// left. The handle is closed all the same.
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
        self.inner.engine.close(self.prefix.as_ref(), timeout).await
    }

    pub(crate) fn over(
        backend: Arc<dyn Backend>,
        settings: Settings,
        node: Node,
        clock: Clock,
    ) -> Self {
        #[cfg(feature = "metrics")]
        crate::observe::describe();
        let engine = Engine::new(backend, settings, node, clock);
        Self {
            prefix: None,
            inner: Arc::new(Inner {
                entries: Arc::new(Entries::new(Arc::clone(&engine))),
                lines: Arc::default(),
                engine,
            }),
        }
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

    /// Returns the value, if it is at hand without waiting: what a hit in memory costs, and nothing
    /// more.
    #[inline]
    pub(crate) fn local<T: Cacheable>(&self, key: &Key) -> Option<T> {
        self.at_hand(key)?.downcast_ref::<T>().cloned()
    }

    /// As [`local`](Self::local), of any type.
    #[inline]
    pub(crate) fn at_hand(&self, key: &Key) -> Option<Typed> {
        self.inner.entries.local(&self.own(key))
    }

    /// Makes a request for a lock or a permit.
    pub(crate) fn request(&self, kind: SlotKind, key: &Key, max: u32) -> Request {
        let slot = Slot {
            kind,
            key: self.own(key).into_owned(),
            max,
        };
        Request::new(&self.inner.engine, &self.inner.lines, slot)
    }
}

impl fmt::Debug for Cachify {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Engine {
            backend, settings, ..
        } = &*self.inner.engine;
        f.debug_struct("Cachify")
            .field("backend", backend)
            .field("settings", settings)
            .finish_non_exhaustive()
    }
}

//! The public handle.

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
use crate::read::resets::Change;
use crate::read::{Cacheable, Cached};
use crate::slot::request::Request;
use crate::slot::waiting::Lines;
use crate::slot::{Lock, Once, Pool};
use crate::{Error, Key, Keys};

/// A handle to entries, locks and pools. It is cheap to clone and safe to share.
///
/// Clones share everything. The background tasks end when the last clone is dropped, along with all
/// handles that [`with_prefix`](Self::with_prefix) made and all guards and permits.
#[derive(Clone)]
pub struct Cachify {
    pub(crate) inner: Arc<Inner>,
    /// The prefix of this handle; `None` is the prefix that the handle was built with.
    pub(crate) prefix: Option<Prefix>,
}

/// The state that all clones of a handle share.
pub(crate) struct Inner {
    pub(crate) engine: Arc<Engine>,
    pub(crate) entries: Arc<Entries>,
    pub(crate) lines: Arc<Lines>,
}

impl Cachify {
    /// Returns a handle whose keys begin with `prefix`. Its entries, locks and pools never collide
    /// with those of another prefix.
    ///
    /// The call is cheap enough to make a handle for each request of a tenant. Both handles share
    /// the connections to the server, the circuit breaker, the settings, the capacity of memory and
    /// the background tasks. Handles of the same prefix share their entries and locks, in this
    /// process and in others, even if one of them got its prefix from
    /// [`CachifyBuilder::prefix`](crate::CachifyBuilder::prefix).
    ///
    /// The new prefix replaces the prefix of this handle; it is not appended to it. A Redis user
    /// with limited rights needs `~PREFIX:*` and `&PREFIX:*` for each prefix.
    ///
    /// # Errors
    ///
    /// [`Configuration`](crate::ErrorKind::Configuration) if the prefix does not consist of one or
    /// more letters, digits and `_.:-`.
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

    /// Starts a cached read or write of `key`.
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

    /// Returns the lock of `key`. At most one of all callers that share the backend holds it at a
    /// time.
    ///
    /// The lock is a lease: a holder that dies, hangs or is cut off loses it when its time to live
    /// ends, so that other callers can go on. A live holder renews the lock, and
    /// [learns](crate::Guard::lost) when that fails. Where two holders at once would do harm, use
    /// the [fencing token](crate::Guard::fencing_token) too.
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

    /// Returns a handle that runs work unless another caller, in any process, is running the same
    /// key.
    ///
    /// It uses the [lock](Self::lock) of `key`, without waiting for it.
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
    ///         None => println!("another caller is running it"),
    ///     }
    ///     Ok(())
    /// }
    /// ```
    pub fn once(&self, key: &Key) -> Once {
        Once(self.lock(key))
    }

    /// Returns the pool of `key`, with `max` permits for all callers that share the backend.
    ///
    /// Each caller gives its own `max`; a caller that gives a smaller one waits until fewer permits
    /// are in use. A pool and a lock never collide, even under the same key.
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

    /// Removes the entry, as if it had never been cached.
    ///
    /// After this has returned `Ok`, no read that starts later, in any process, returns a value
    /// whose computation started before the reset.
    ///
    /// It takes one key or [several](Keys). Several keys are reset concurrently, up to 128 at a
    /// time, and a reset that fails does not stop the others.
    ///
    /// # Errors
    ///
    /// [`Unconfirmed`](crate::ErrorKind::Unconfirmed) if the backend did not acknowledge the reset
    /// within the backend timeout. The reset is then retried until it is acknowledged. Meanwhile
    /// this process ignores the backend's copy of the entry, but other processes may still see the
    /// old value. [`NotQueued`](crate::ErrorKind::NotQueued) if the reset is not retried, because
    /// 10 000 keys wait for a retry already (reset again later), or because the handle was closed.
    /// Dropping the last handle gives up the retries; [`close`](Self::close) waits for them.
    ///
    /// A reset that was acknowledged at most 60 s ago is repeated if the backend may have lost it,
    /// as after a restart with older data or a fail-over.
    ///
    /// If several keys were reset, the error says how many resets were not acknowledged, and names
    /// their templates. It is `NotQueued` if at least one of them is not retried.
    ///
    /// # Cancel safety
    ///
    /// Once the future has been polled, every reset happens, even if the future is dropped.
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
    ///         // The reset is repeated until it succeeds; there is nothing left to do.
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
            .change_each(&self.own_all(keys.list()), Change::Reset)
            .await
    }

    /// Makes the entry stale, as if its time to live were over, instead of removing it. Use it
    /// where an old value is better than an error.
    ///
    /// After this has returned `Ok`, a value whose computation started before is stale for every
    /// read that starts later, in any process. Only callers that allow stale values by
    /// [`Cached::stale`] may get it, until its stale time is over. All others compute, as after a
    /// [reset](Self::reset). An entry that is stale already stays as it is.
    ///
    /// It takes one key or [several](Keys), as a reset does.
    ///
    /// # Errors
    ///
    /// As [`reset`](Self::reset). What the backend did not acknowledge is retried as a reset, which
    /// removes the entry.
    ///
    /// # Cancel safety
    ///
    /// Once the future has been polled, every entry becomes stale or is removed, even if the future
    /// is dropped.
    ///
    /// # Examples
    ///
    /// ```
    /// use cachify_core::{Cachify, key};
    ///
    /// #[tokio::main]
    /// async fn main() -> Result<(), cachify_core::Error> {
    ///     let cachify = Cachify::memory();
    ///     let rates = cachify.cached(&key!("rates")).ttl("5m").stale("1h");
    ///     rates.set(7).await?;
    ///
    ///     // The provider has new rates: ask for them, and use the old ones while it is away.
    ///     cachify.expire(&key!("rates")).await?;
    ///     let down = async || Err::<i32, _>("the provider is away");
    ///     assert_eq!(rates.get_or_try_compute(down).await, Ok(7));
    ///     assert_eq!(cachify.cached(&key!("rates")).get::<i32>().await?, None);
    ///     Ok(())
    /// }
    /// ```
    #[doc(alias = "stale")]
    pub async fn expire(&self, keys: impl Keys) -> Result<(), Error> {
        self.inner
            .entries
            .change_each(&self.own_all(keys.list()), Change::Expire)
            .await
    }

    /// Runs `change`, and then resets the key, or [several](Keys), no matter whether `change`
    /// succeeds, fails, panics or is dropped halfway.
    ///
    /// Use this for every update of a cached value: the reset happens even if the client
    /// disconnects between the database's commit and the response. A reset that the backend did not
    /// acknowledge is logged and retried.
    ///
    /// # Cancel safety
    ///
    /// If this future is dropped after its first poll, `change` is dropped and every reset happens.
    /// However, the effect of a dropped `change` may still be under way: a database executes a
    /// statement that it has received, even if nobody waits for the answer. It may then commit
    /// *after* the reset, and a read in between stores the old value until it expires. If clients
    /// may disconnect, run the whole update in a task of its own (`tokio::spawn`), or give the
    /// entry a `ttl` for which you can accept an old value.
    ///
    /// # Panics
    ///
    /// If `change` panics. The resets happen all the same.
    ///
    /// # Examples
    ///
    /// ```
    /// use cachify_core::{Cachify, key};
    ///
    /// # async fn rename(id: i64, name: &str) -> std::io::Result<()> { let _ = (id, name); Ok(()) }
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
        // From here on, `change_each` itself makes sure that the resets happen.
        let reset = self.inner.entries.change_each(&keys, Change::Reset);
        late.disarm();
        if let Err(error) = reset.await {
            tracing::warn!(%error, "reset after an update is not confirmed yet");
        }
        output
    }

    /// Checks that the backend answers and is fit for use, as [`connect`](Self::connect) does.
    ///
    /// An app that connects with [`connect_lazy`](crate::CachifyBuilder::connect_lazy) calls this
    /// to report the state of its backend. The call waits for the answer for up to 1 s, or for the
    /// backend timeout if that is longer.
    ///
    /// # Errors
    ///
    /// As [`connect`](Self::connect).
    ///
    /// # Cancel safety
    ///
    /// Safe: dropping the future leaves nothing behind.
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

    /// Finishes the pending work of this handle, which is releases of locks and permits and
    /// repeated resets, and then closes it. Refreshes in the background are ended.
    ///
    /// On a closed handle, locks and pools fail with
    /// [`Unavailable`](crate::ErrorKind::Unavailable), and cached calls compute every value that is
    /// not in this process's memory.
    ///
    /// Closing the handle that was built also finishes and closes all handles that
    /// [`with_prefix`](Self::with_prefix) made of it, so a program that ends needs to close only
    /// that one. On a handle made by `with_prefix`, this finishes the pending work of its prefix
    /// and closes nothing, since other handles may have the same prefix.
    ///
    /// # Errors
    ///
    /// [`Timeout`](crate::ErrorKind::Timeout) if work is left after `timeout`; the message says how
    /// much. The handle is closed all the same.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the handle is not closed; call again.
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
    ///     // After the last request was answered:
    ///     if let Err(error) = cachify.close(Duration::from_secs(5)).await {
    ///         eprintln!("{error}");
    ///     }
    /// }
    /// ```
    pub async fn close(&self, timeout: Duration) -> Result<(), Error> {
        let Inner {
            engine, entries, ..
        } = &*self.inner;
        if self.prefix.is_none() {
            entries.end_refreshes();
        }
        let closed = engine.close(self.prefix.as_ref(), timeout).await;
        if self.prefix.is_none() {
            // Those that began meanwhile.
            entries.end_refreshes();
        }
        closed
    }

    /// Returns a handle that does not keep this one's background tasks alive, for one of them.
    pub(crate) fn detached(&self) -> Self {
        let Inner {
            engine,
            entries,
            lines,
        } = &*self.inner;
        let (entries, _) = entries.detached();
        Self {
            inner: Arc::new(Inner {
                engine: Arc::clone(engine),
                entries,
                lines: Arc::clone(lines),
            }),
            prefix: self.prefix.clone(),
        }
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

    /// Returns the value if it is in this process's memory, without waiting. This is the whole cost
    /// of a hit in memory.
    #[inline]
    pub(crate) fn local<T: Cacheable>(&self, key: &Key) -> Option<T> {
        self.at_hand(key)?.downcast_ref::<T>().cloned()
    }

    /// Returns the value, of any type, if it is in this process's memory.
    #[inline]
    pub(crate) fn at_hand(&self, key: &Key) -> Option<Typed> {
        self.inner.entries.local(&self.own(key))
    }

    /// Creates a request for a lock or a permit.
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

//! The builder of a handle.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::handle::Cachify;
use crate::backend::memory::{Memory, MemoryBuilder};
#[cfg(feature = "redis")]
use crate::backend::tiered::{TierOptions, Tiered};
use crate::backend::{Backend, Node};
use crate::clock::Clock;
use crate::codec::Encoding;
use crate::engine::Settings;
use crate::key::Prefix;
use crate::{Error, ErrorKind, IntoTime, Ttl};

/// Builds a [`Cachify`]. The default backend is this process's memory.
///
/// # Examples
///
/// ```
/// use cachify_core::Cachify;
/// use std::time::Duration;
///
/// #[tokio::main]
/// async fn main() -> Result<(), cachify_core::Error> {
///     let cachify = Cachify::builder()
///         .url("memory://") // or redis://127.0.0.1:6379
///         .prefix("shop")
///         .default_ttl(Duration::from_mins(10))
///         .backend_timeout(Duration::from_millis(100))
///         .connect()
///         .await?;
///     Ok(())
/// }
/// ```
#[must_use = "a builder does nothing before `connect` or `build`"]
#[derive(Clone)]
pub struct CachifyBuilder {
    backend_choice: BackendChoice,
    prefix: String,
    label: Option<String>,
    default_ttl: Ttl,
    lock_ttl: Duration,
    backend_timeout: Duration,
    compute_wait: Duration,
    encoding: Encoding,
    memory: MemoryBuilder,
    #[cfg_attr(
        not(feature = "redis"),
        allow(dead_code, reason = "only Redis evicts locks")
    )]
    allow_evicting_locks: bool,
    #[cfg_attr(
        not(feature = "redis"),
        allow(dead_code, reason = "only Redis names its connections")
    )]
    client_name: Option<String>,
    #[cfg(feature = "redis")]
    entries_share: Option<f64>,
    #[cfg(feature = "redis")]
    tier: TierOptions,
    #[cfg(feature = "tls")]
    tls: crate::backend::redis::TlsOptions,
    clock: Clock,
}

/// Begins a URL that asks for memory in front of the server that the rest names.
#[cfg(feature = "redis")]
const TIERED: &str = "tiered+";

#[derive(Clone)]
enum BackendChoice {
    Memory,
    Url(String),
    Backend(Arc<dyn Backend>),
}

impl Default for CachifyBuilder {
    fn default() -> Self {
        Self {
            backend_choice: BackendChoice::Memory,
            prefix: "cachify".to_owned(),
            label: None,
            default_ttl: Ttl::new(Duration::from_mins(5)),
            lock_ttl: Duration::from_secs(30),
            backend_timeout: Duration::from_millis(250),
            compute_wait: Duration::from_secs(30),
            encoding: Encoding::default(),
            memory: Memory::builder(),
            allow_evicting_locks: false,
            client_name: None,
            #[cfg(feature = "redis")]
            entries_share: None,
            #[cfg(feature = "redis")]
            tier: TierOptions::default(),
            #[cfg(feature = "tls")]
            tls: crate::backend::redis::TlsOptions::default(),
            clock: Clock::default(),
        }
    }
}

impl Cachify {
    /// Returns a builder with the default settings.
    pub fn builder() -> CachifyBuilder {
        CachifyBuilder::default()
    }

    /// Connects to the backend that `url` names: `memory://`, `redis://`, `rediss://` (feature
    /// `tls`) or `unix://`, or one of the last three with `tiered+` before it; see
    /// [`CachifyBuilder::tiered`].
    ///
    /// # Errors
    ///
    /// [`Configuration`](ErrorKind::Configuration) if the URL is not valid or the server is not fit
    /// for use; the message names the fix. [`Unavailable`](ErrorKind::Unavailable) or
    /// [`Timeout`](ErrorKind::Timeout) if the server cannot be reached. To start while the server
    /// is away, use [`CachifyBuilder::connect_lazy`].
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
    ///     let cachify = Cachify::connect("memory://").await?;
    ///     Ok(())
    /// }
    /// ```
    pub async fn connect(url: &str) -> Result<Self, Error> {
        Self::builder().url(url).connect().await
    }

    /// Creates a handle over this process's memory, with the default settings: at most 100 000
    /// entries and 256 MiB, and a time to live of 5 minutes. Each call creates a new, empty memory.
    pub fn memory() -> Self {
        Self::over(
            Arc::new(Memory::default()),
            CachifyBuilder::default().settings(),
            Node::new("local"),
            Clock::default(),
        )
    }
}

impl CachifyBuilder {
    /// Keeps everything in this process's memory (the default).
    pub fn memory(mut self) -> Self {
        self.backend_choice = BackendChoice::Memory;
        self
    }

    /// Keeps everything in the Redis at `url`: `redis://`, `rediss://` (feature `tls`) or
    /// `unix://`.
    #[cfg(feature = "redis")]
    pub fn redis(self, url: impl Into<String>) -> Self {
        self.url(url)
    }

    /// Keeps everything in the Redis at `url`, and copies of entries in this process's memory.
    ///
    /// A hit costs what a hit in memory costs. After a reset or set in another process, a value
    /// from memory can be old until a message about it arrives, and for
    /// [`tier_staleness`](Self::tier_staleness) at most. After a reset or set in this process, a
    /// value from memory is never old. [`capacity`](Self::capacity) and
    /// [`capacity_bytes`](Self::capacity_bytes) bound the memory. Locks and pools are in Redis
    /// alone.
    ///
    /// This is the same as [`url`](Self::url) with `tiered+` before the server's URL. Handles with
    /// and without a tier can share a server.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use cachify_core::Cachify;
    ///
    /// #[tokio::main]
    /// async fn main() -> Result<(), cachify_core::Error> {
    ///     let cachify = Cachify::builder()
    ///         .tiered("redis://127.0.0.1:6379")
    ///         .tier_staleness("500ms")
    ///         .capacity_bytes(64 << 20)
    ///         .connect()
    ///         .await?;
    ///     Ok(())
    /// }
    /// ```
    #[cfg(feature = "redis")]
    #[doc(alias("near cache", "two-level", "L1", "client-side caching"))]
    pub fn tiered(self, url: impl Into<String>) -> Self {
        let url = url.into();
        if url.starts_with(TIERED) {
            return self.url(url);
        }
        self.url(format!("{TIERED}{url}"))
    }

    /// Keeps everything in the backend that `url` names: `memory://`, `redis://`, `rediss://`
    /// (feature `tls`) or `unix://`. With `tiered+` before it, as in `tiered+redis://`, memory
    /// stands in front of the server; see [`tiered`](Self::tiered).
    pub fn url(mut self, url: impl Into<String>) -> Self {
        self.backend_choice = BackendChoice::Url(url.into());
        self
    }

    /// Keeps everything in a backend of your own, which several handles may share.
    ///
    /// Settings of the built-in backends, such as [`prefix`](Self::prefix) and
    /// [`capacity`](Self::capacity), have no effect on it. Handles that share a backend therefore
    /// share its keys, unless they were made by [`with_prefix`](Cachify::with_prefix).
    pub fn backend(mut self, backend: Arc<dyn Backend>) -> Self {
        self.backend_choice = BackendChoice::Backend(backend);
        self
    }

    /// Sets the prefix of all names in Redis, so that several programs can share a server. Default:
    /// `cachify`.
    ///
    /// A prefix consists of one or more letters, digits and `_.:-`; otherwise connecting fails with
    /// [`Configuration`](ErrorKind::Configuration).
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// Sets the name of this process as the owner of a lock. Default: `pid-` and the process id.
    pub fn owner(mut self, label: impl Into<String>) -> Self {
        self.label = Some(label.into());
        self
    }

    /// Sets the default time to live of entries, to the millisecond. Default: 5 minutes.
    /// [`Ttl::NEVER`] keeps entries until they are reset.
    ///
    /// # Panics
    ///
    /// If the time is a string that cannot be parsed.
    #[track_caller]
    pub fn default_ttl(mut self, ttl: impl IntoTime<Ttl>) -> Self {
        self.default_ttl = ttl.time();
        self
    }

    /// Sets the default time to live of locks and permits: how long a process that died keeps
    /// others out. Default: 30 s; at least 1 s.
    ///
    /// # Panics
    ///
    /// If the time is a string that cannot be parsed.
    #[track_caller]
    pub fn lock_ttl(mut self, ttl: impl IntoTime<Duration>) -> Self {
        self.lock_ttl = ttl.time();
        self
    }

    /// Sets the longest time that one call may lose to a failing backend, over all its requests.
    /// Default: 250 ms; at least 1 ms, at most 1 hour.
    ///
    /// Choose more for a backend that is more than a few milliseconds away, or that stores large
    /// values. An answer that takes longer counts as a failure, and three failures in a row open
    /// the circuit breaker until the backend answers a probe.
    pub fn backend_timeout(mut self, timeout: Duration) -> Self {
        self.backend_timeout = timeout;
        self
    }

    /// Sets how long a cached call waits for another caller's computation of the same key before it
    /// may compute too. Default: 30 s, at most 100 years.
    ///
    /// Choose more time than the slowest computation takes. One caller starts after this time, two
    /// more after the same time again, then four, and so on; see [`Cached`](crate::Cached). No
    /// caller waits for longer than 16 times this.
    pub fn compute_wait(mut self, wait: Duration) -> Self {
        self.compute_wait = wait;
        self
    }

    /// Sets the encoding of values in Redis. Default: [`Encoding::MessagePack`].
    pub fn encoding(mut self, encoding: Encoding) -> Self {
        self.encoding = encoding;
        self
    }

    /// Limits the number of entries that the memory backend or the memory of a tiered handle keeps.
    /// The least used entries are evicted first. Default: 100 000; at least 1.
    pub fn capacity(mut self, entries: usize) -> Self {
        self.memory = self.memory.capacity(entries);
        self
    }

    /// Limits the entries in memory, those of the memory backend or the copies of a tiered handle,
    /// to an estimated number of bytes. The least used entries are evicted first. Default: 256 MiB.
    /// See
    /// [`MemoryBuilder::capacity_bytes`](crate::backend::memory::MemoryBuilder::capacity_bytes).
    pub fn capacity_bytes(mut self, bytes: u64) -> Self {
        self.memory = self.memory.capacity_bytes(bytes);
        self
    }

    /// Allows locks and pools on a server whose `maxmemory-policy` may evict them. If it does, two
    /// callers may hold one lock. Default: such a server's locks and pools are refused.
    #[cfg(feature = "redis")]
    pub fn allow_evicting_locks(mut self) -> Self {
        self.allow_evicting_locks = true;
        self
    }

    /// Stores no entries while the server uses more than this share of its `maxmemory`, such as
    /// `0.8`. The rest is left for locks and pools. Default: entries may fill the server.
    ///
    /// Above that share, values are computed but not stored. This is logged once, and counted in
    /// `cachify_no_room_total`. Stored entries are still read and reset as usual. The memory is
    /// checked before an entry is stored, unless it was checked less than a second ago and this
    /// process has stored little since. A hit never checks it. The Redis user needs the right
    /// `+info` for the check. The share must be above 0 and at most 1; otherwise connecting fails
    /// with [`Configuration`](ErrorKind::Configuration).
    #[cfg(feature = "redis")]
    pub fn entries_share(mut self, share: f64) -> Self {
        self.entries_share = Some(share);
        self
    }

    /// Sets for how long after a reset in another process a [tiered](Self::tiered) handle may
    /// return an old value from memory. Default: 1 s; at least 10 ms, otherwise connecting fails
    /// with [`Configuration`](ErrorKind::Configuration).
    ///
    /// Normally an old value is gone as soon as the message of the reset arrives. The bound holds
    /// even if that message is lost: the process sends itself a heartbeat through the server, three
    /// times within the bound, and reads from Redis while no heartbeat comes back. If the bound is
    /// shorter than a few round trips, memory stays unused. An entry's own time to live bounds its
    /// copy, too.
    ///
    /// # Panics
    ///
    /// If the time is a string that cannot be parsed.
    #[cfg(feature = "redis")]
    #[track_caller]
    pub fn tier_staleness(mut self, bound: impl IntoTime<Duration>) -> Self {
        self.tier = self.tier.staleness(bound.time());
        self
    }

    /// Sets the life of copies in a [tiered](Self::tiered) handle's memory, as a share of the
    /// entry's remaining life. Default: `1.0`.
    ///
    /// With `0.1`, the copy of an entry that lives for another 10 minutes is dropped after 1
    /// minute, and the next read asks Redis. Choose less than `1.0` if other programs change
    /// entries in Redis without cachify, since no process learns of that. The share must be above 0
    /// and at most 1; otherwise connecting fails with [`Configuration`](ErrorKind::Configuration).
    #[cfg(feature = "redis")]
    pub fn tier_share(mut self, share: f64) -> Self {
        self.tier = self.tier.share(share);
        self
    }

    /// Sets the name of the connections in `CLIENT LIST`: printable ASCII without spaces, or empty.
    /// Default: the prefix and the [`owner`](Self::owner) with a random part.
    ///
    /// The Redis user needs no additional right for this. The connection that listens for messages
    /// has no name.
    #[cfg(feature = "redis")]
    pub fn client_name(mut self, name: impl Into<String>) -> Self {
        self.client_name = Some(name.into());
        self
    }

    /// Trusts only these certificate authorities for a `rediss://` server.
    ///
    /// By default, the authorities in the file named by the environment variable `SSL_CERT_FILE`
    /// are trusted, or otherwise Mozilla's list of public authorities. A file is read once, by
    /// [`connect`](Self::connect) or [`connect_lazy`](Self::connect_lazy).
    #[cfg(feature = "tls")]
    pub fn tls_authorities(mut self, certificates: impl Into<crate::Pem>) -> Self {
        self.tls.authorities = Some(certificates.into());
        self
    }

    /// Presents these certificates, the client's own first, and their private key to a `rediss://`
    /// server that asks for them.
    #[cfg(feature = "tls")]
    pub fn tls_identity(
        mut self,
        certificates: impl Into<crate::Pem>,
        key: impl Into<crate::Pem>,
    ) -> Self {
        self.tls.identity = Some((certificates.into(), key.into()));
        self
    }

    /// Reads the time from `clock`, so that tests can control it.
    #[cfg(any(test, feature = "testing"))]
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// Connects, and checks that the server is fit for use.
    ///
    /// # Errors
    ///
    /// [`Configuration`](ErrorKind::Configuration) if a setting is not valid or the server is not
    /// fit for use; the message names the fix. [`Unavailable`](ErrorKind::Unavailable) or
    /// [`Timeout`](ErrorKind::Timeout) if the server cannot be reached within 5 s.
    ///
    /// # Cancel safety
    ///
    /// Safe: dropping the future leaves nothing behind.
    ///
    /// # Examples
    ///
    /// ```
    /// use cachify_core::{Cachify, ErrorKind};
    ///
    /// #[tokio::main]
    /// async fn main() -> Result<(), cachify_core::Error> {
    ///     let cachify = Cachify::builder()
    ///         .url("memory://") // or redis://127.0.0.1:6379
    ///         .prefix("shop")
    ///         .default_ttl("10m")
    ///         .connect()
    ///         .await?;
    ///     assert!(cachify.check().await.is_ok());
    ///
    ///     // A mistake shows when the program starts, and the message names the fix.
    ///     let error = Cachify::builder().prefix("my shop").connect().await.unwrap_err();
    ///     assert_eq!(error.kind(), ErrorKind::Configuration);
    ///     Ok(())
    /// }
    /// ```
    pub async fn connect(self) -> Result<Cachify, Error> {
        let cachify = self.connect_lazy()?;
        cachify.inner.engine.backend.check().await?;
        Ok(cachify)
    }

    /// Creates a handle that connects when it is first used, so that a program can start while its
    /// Redis is down.
    ///
    /// The server is not checked here. If it is not fit for use, the first calls report that in
    /// their errors and in the log.
    ///
    /// # Errors
    ///
    /// [`Configuration`](ErrorKind::Configuration) if a setting is not valid.
    pub fn connect_lazy(self) -> Result<Cachify, Error> {
        let settings = self.settings();
        if self.lock_ttl < Duration::from_secs(1) {
            return Err(Error::new(
                ErrorKind::Configuration,
                "`lock_ttl` must be at least 1 s, so that it can be renewed in time",
            ));
        }
        Prefix::check(&self.prefix)?;
        let label = self
            .label
            .clone()
            .unwrap_or_else(|| format!("pid-{}", std::process::id()));
        let node = Node::new(&label);
        let clock = self.clock.clone();
        let backend: Arc<dyn Backend> = match &self.backend_choice {
            BackendChoice::Backend(backend) => Arc::clone(backend),
            BackendChoice::Memory => self.memory_backend(),
            BackendChoice::Url(url) if url == "memory://" || url == "memory:" => {
                self.memory_backend()
            }
            BackendChoice::Url(url) => self.remote(url, &node)?,
        };
        Ok(Cachify::over(backend, settings, node, clock))
    }

    fn memory_backend(&self) -> Arc<dyn Backend> {
        Arc::new(self.memory.clone().clock(self.clock.clone()).build())
    }

    #[cfg(feature = "redis")]
    fn remote(&self, url: &str, node: &Node) -> Result<Arc<dyn Backend>, Error> {
        use crate::backend::redis::{Redis, RedisOptions};

        let tiered = url.strip_prefix(TIERED);
        let url = tiered.unwrap_or(url);
        if tiered.is_some() && url.starts_with("memory:") {
            return Err(Error::new(
                ErrorKind::Configuration,
                "a tier is memory in front of a Redis; use `memory://` for memory alone, or name \
                 the server, as in `tiered+redis://HOST`",
            ));
        }
        let mut options = RedisOptions::new(url)
            .prefix(&self.prefix)
            .node(node.clone())
            .backend_timeout(self.settings().backend_timeout)
            .allow_evicting_locks(self.allow_evicting_locks)
            .clock(self.clock.clone());
        if let Some(share) = self.entries_share {
            if !(share > 0.0 && share <= 1.0) {
                return Err(Error::new(
                    ErrorKind::Configuration,
                    "`entries_share` must be more than 0 and at most 1",
                ));
            }
            options = options.entries_share(share);
        }
        if let Some(name) = &self.client_name {
            options = options.client_name(name);
        }
        #[cfg(feature = "tls")]
        let options = options.tls(self.tls.clone());
        if tiered.is_some() {
            let memory = self.memory.clone();
            return Ok(Arc::new(Tiered::lazy(options, memory, self.tier)?));
        }
        Ok(Arc::new(Redis::lazy(options)?))
    }

    #[cfg(not(feature = "redis"))]
    #[allow(clippy::unused_self)]
    fn remote(&self, _: &str, _: &Node) -> Result<Arc<dyn Backend>, Error> {
        Err(Error::new(
            ErrorKind::Configuration,
            "the URL names a server, but cachify was built without its feature `redis`; turn it \
             on or use `memory://`",
        ))
    }

    fn settings(&self) -> Settings {
        Settings {
            prefix: self.prefix.clone(),
            default_ttl: self.default_ttl,
            lock_ttl: self.lock_ttl,
            // With a timeout of zero, retries would never pause; with an endless one, they would
            // never come.
            backend_timeout: self
                .backend_timeout
                .clamp(Duration::from_millis(1), Duration::from_hours(1)),
            // A longer time could overflow the clock.
            compute_wait: self.compute_wait.min(Duration::from_hours(24 * 366 * 100)),
            encoding: self.encoding,
        }
    }
}

impl fmt::Debug for CachifyBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The URL is left out: it may hold a password.
        f.debug_struct("CachifyBuilder")
            .field("prefix", &self.prefix)
            .field("default_ttl", &self.default_ttl)
            .field("lock_ttl", &self.lock_ttl)
            .field("backend_timeout", &self.backend_timeout)
            .finish_non_exhaustive()
    }
}

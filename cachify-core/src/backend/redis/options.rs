//! The options of a connection to Redis.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::follower::Follower;
#[cfg(feature = "tls")]
use super::tls::TlsOptions;
use crate::backend::Node;
use crate::clock::Clock;

/// Configures the connection to a Redis server.
#[must_use = "options do nothing before `Redis::lazy`"]
#[derive(Clone)]
pub struct RedisOptions {
    pub(super) url: String,
    pub(super) prefix: String,
    pub(super) node: Option<Node>,
    pub(super) backend_timeout: Duration,
    pub(super) allow_evicting_locks: bool,
    pub(super) entries_share: Option<f64>,
    pub(super) client_name: Option<String>,
    #[cfg(feature = "tls")]
    pub(super) tls: TlsOptions,
    pub(crate) clock: Clock,
    pub(super) follower: Option<Arc<dyn Follower>>,
}

impl RedisOptions {
    /// Creates the options for the server at `url`: `redis://[[USER]:PASSWORD@]HOST[:PORT][/DB]`,
    /// `rediss://` for TLS, or `unix://PATH`.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            prefix: "cachify".to_owned(),
            node: None,
            backend_timeout: Duration::from_millis(250),
            allow_evicting_locks: false,
            entries_share: None,
            client_name: None,
            #[cfg(feature = "tls")]
            tls: TlsOptions::default(),
            clock: Clock::default(),
            follower: None,
        }
    }

    /// Sets the prefix of all names. Default: `cachify`.
    pub fn prefix(mut self, prefix: &str) -> Self {
        prefix.clone_into(&mut self.prefix);
        self
    }

    /// Sets the node of this process, which names the channel of its messages. Default: a new node.
    pub fn node(mut self, node: Node) -> Self {
        self.node = Some(node);
        self
    }

    /// Sets the time for which a caller waits for an answer. Default: 250 ms.
    pub fn backend_timeout(mut self, timeout: Duration) -> Self {
        self.backend_timeout = timeout;
        self
    }

    /// Allows locks and pools on a server that may evict them. Default: `false`.
    pub fn allow_evicting_locks(mut self, allow: bool) -> Self {
        self.allow_evicting_locks = allow;
        self
    }

    /// Sets the part of `maxmemory` above which no more entries are stored. Default: no limit.
    pub fn entries_share(mut self, share: f64) -> Self {
        self.entries_share = Some(share);
        self
    }

    /// Sets the name of the connections that `CLIENT LIST` shows. Default: `PREFIX:NODE`.
    pub fn client_name(mut self, name: impl Into<String>) -> Self {
        self.client_name = Some(name.into());
        self
    }

    /// Sets the authorities that TLS trusts and the certificates that it presents.
    #[cfg(feature = "tls")]
    pub fn tls(mut self, tls: TlsOptions) -> Self {
        self.tls = tls;
        self
    }

    /// Sets the local clock. Default: the system's clock.
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// Tells resets to `follower`, a memory in front of the server.
    pub(crate) fn follower(mut self, follower: Arc<dyn Follower>) -> Self {
        self.follower = Some(follower);
        self
    }
}

impl fmt::Debug for RedisOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The URL is left out: it may hold a password.
        f.debug_struct("RedisOptions")
            .field("prefix", &self.prefix)
            .field("backend_timeout", &self.backend_timeout)
            .finish_non_exhaustive()
    }
}

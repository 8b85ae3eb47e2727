//! What to connect to, and how.

use std::fmt;
use std::time::Duration;

use redis::{Client, IntoConnectionInfo, ProtocolVersion};

use crate::backend::Node;
use crate::clock::Clock;
use crate::{Error, ErrorKind};

/// What to connect to, and how.
#[must_use = "options do nothing before `Redis::lazy`"]
#[derive(Clone)]
pub struct RedisOptions {
    pub(super) url: String,
    pub(super) prefix: String,
    pub(super) node: Option<Node>,
    pub(super) budget: Duration,
    pub(super) allow_evicting_locks: bool,
    pub(super) clock: Clock,
}

impl RedisOptions {
    /// Options for the server at `url`: `redis://[[USER]:PASSWORD@]HOST[:PORT][/DB]`, `rediss://` for TLS, or `unix://PATH`.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            prefix: "cachify".to_owned(),
            node: None,
            budget: Duration::from_millis(250),
            allow_evicting_locks: false,
            clock: Clock::default(),
        }
    }

    /// What all names begin with. Default `cachify`.
    pub fn prefix(mut self, prefix: &str) -> Self {
        prefix.clone_into(&mut self.prefix);
        self
    }

    /// Whose tokens are used: those of other nodes that wait are told on their own channels.
    pub fn node(mut self, node: Node) -> Self {
        self.node = Some(node);
        self
    }

    /// How long a caller listens for an answer. Default 250 ms.
    pub fn budget(mut self, budget: Duration) -> Self {
        self.budget = budget;
        self
    }

    /// Allows locks and pools on a server that may evict them. Default `false`.
    pub fn allow_evicting_locks(mut self, allow: bool) -> Self {
        self.allow_evicting_locks = allow;
        self
    }

    /// Reads the time from `clock`.
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }
}

impl fmt::Debug for RedisOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not the URL: it may hold a password.
        f.debug_struct("RedisOptions")
            .field("prefix", &self.prefix)
            .field("budget", &self.budget)
            .finish_non_exhaustive()
    }
}

/// The client for `url`, and the address as it may be shown.
pub(super) fn open(url: &str) -> Result<(Client, String), Error> {
    let wrong = |message: &'static str| Error::new(ErrorKind::Configuration, message);
    if cfg!(not(feature = "tls")) && (url.starts_with("rediss:") || url.starts_with("valkeys:")) {
        return Err(wrong(
            "the URL asks for TLS, but cachify was built without its feature `tls`; turn it on",
        ));
    }
    let info = url.into_connection_info().map_err(|_| {
        // The cause is not told: it may quote the URL, which may hold a password.
        wrong(
            "the URL is not understood; it reads redis://[[USER]:PASSWORD@]HOST[:PORT][/DB], rediss:// for TLS, or unix://PATH[?db=DB]; special characters in a \
             password are percent-encoded",
        )
    })?;
    let redis = info
        .redis_settings()
        .clone()
        .set_protocol(ProtocolVersion::RESP2)
        .set_skip_set_lib_name();
    let tcp = info.tcp_settings().clone().set_nodelay(true);
    let info = info.set_redis_settings(redis).set_tcp_settings(tcp);
    let place = info.addr().to_string();
    #[cfg(feature = "tls")]
    if rustls::crypto::CryptoProvider::get_default().is_none() {
        // Without one, the first connection would panic. Whoever installs another one first is served by that.
        let _ = rustls::crypto::ring::default_provider().install_default();
    }
    let client = Client::open(info)
        .map_err(|_| wrong("the URL names a server that cannot be connected to from here"))?;
    Ok((client, place))
}

//! The options of a connection to Redis.

use std::fmt;
use std::time::Duration;

use redis::{Client, Cmd, ConnectionInfo, IntoConnectionInfo, ProtocolVersion, cmd};

use crate::backend::Node;
use crate::clock::Clock;
use crate::{Error, ErrorKind};

/// Configures which server to connect to, and how.
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
    pub(super) tls: super::tls::TlsOptions,
    pub(super) clock: Clock,
}

impl RedisOptions {
    /// Options for the server at `url`: `redis://[[USER]:PASSWORD@]HOST[:PORT][/DB]`, `rediss://`
    /// for TLS, or `unix://PATH`.
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
            tls: super::tls::TlsOptions::default(),
            clock: Clock::default(),
        }
    }

    /// Sets the prefix of all names. Default: `cachify`.
    pub fn prefix(mut self, prefix: &str) -> Self {
        prefix.clone_into(&mut self.prefix);
        self
    }

    /// Sets the node of this process. Waiters of other nodes get messages on their own channels.
    pub fn node(mut self, node: Node) -> Self {
        self.node = Some(node);
        self
    }

    /// Sets how long a caller waits for an answer. Default: 250 ms.
    pub fn backend_timeout(mut self, timeout: Duration) -> Self {
        self.backend_timeout = timeout;
        self
    }

    /// Allows locks and pools on a server that may evict them. Default `false`.
    pub fn allow_evicting_locks(mut self, allow: bool) -> Self {
        self.allow_evicting_locks = allow;
        self
    }

    /// Stores no more entries while more than this part of `maxmemory` is used.
    pub fn entries_share(mut self, share: f64) -> Self {
        self.entries_share = Some(share);
        self
    }

    /// Names the connections, as `CLIENT LIST` shows them. Default `PREFIX:NODE`.
    pub fn client_name(mut self, name: impl Into<String>) -> Self {
        self.client_name = Some(name.into());
        self
    }

    /// Sets what TLS trusts and shows.
    #[cfg(feature = "tls")]
    pub fn tls(mut self, tls: super::tls::TlsOptions) -> Self {
        self.tls = tls;
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
            .field("backend_timeout", &self.backend_timeout)
            .finish_non_exhaustive()
    }
}

/// How to reach a server, as the URL says.
pub(super) struct Address {
    /// Connects without logging in: see [`hello`](Self::hello).
    pub(super) client: Client,
    /// Connects and logs in, to subscribe.
    pub(super) listener: Client,
    /// Logs in, names the connection and asks what the server is. Every user may send it, whatever
    /// its rights.
    pub(super) hello: Cmd,
    /// Another database than 0.
    pub(super) database: Option<i64>,
    /// The address without user and password, to be shown.
    pub(super) place: String,
}

/// Understands the URL.
pub(super) fn open(options: &RedisOptions, node: &Node) -> Result<Address, Error> {
    let wrong = |message: &'static str| Error::new(ErrorKind::Configuration, message);
    let url = options.url.as_str();
    if url.contains("+sentinel:") {
        return Err(wrong(
            "the URL names a Sentinel, which is not supported yet; connect to the primary",
        ));
    }
    if cfg!(not(feature = "tls")) && (url.starts_with("rediss:") || url.starts_with("valkeys:")) {
        return Err(wrong(
            "the URL asks for TLS, but cachify was built without its feature `tls`; turn it on",
        ));
    }
    if url.ends_with("#insecure") {
        return Err(wrong(
            "the URL ends in `#insecure`, which would trust any server with the password and the data; give the server's authority with the builder's \
             `tls_authorities` or `SSL_CERT_FILE` instead",
        ));
    }
    let info = url.into_connection_info().map_err(|_| {
        // The cause is not told: it may quote the URL, which may hold a password.
        wrong(
            "the URL is not understood; it reads redis://[[USER]:PASSWORD@]HOST[:PORT][/DB], rediss:// for TLS, or unix://PATH[?db=DB]; special characters in a \
             password are percent-encoded",
        )
    })?;
    let name = match &options.client_name {
        Some(name) if name.bytes().all(|b| b.is_ascii_graphic()) => name.clone(),
        Some(_) => {
            return Err(wrong(
                "the client name may only have printable ASCII characters without spaces",
            ));
        }
        None => format!("{}:{}", options.prefix, node.as_str()),
    };
    let settings = info.redis_settings();
    let user = settings.username().unwrap_or("default");
    let database = Some(settings.db()).filter(|database| *database != 0);
    let mut hello = cmd("HELLO");
    hello.arg(2);
    let anonymous = redis::RedisConnectionInfo::default()
        .set_protocol(ProtocolVersion::RESP2)
        .set_skip_set_lib_name();
    let mut known = anonymous.clone();
    if let Some(password) = settings.password() {
        hello.arg("AUTH").arg(user).arg(password);
        known = known.set_username(user).set_password(password);
    }
    if !name.is_empty() {
        hello.arg("SETNAME").arg(name);
    }
    let tcp = info.tcp_settings().clone().set_nodelay(true);
    let place = info.addr().to_string();
    let info = info.set_tcp_settings(tcp);
    let client = |settings| {
        let info = info.clone().set_redis_settings(settings);
        #[cfg(feature = "tls")]
        return options.tls.client(info);
        #[cfg(not(feature = "tls"))]
        plain(info)
    };
    Ok(Address {
        client: client(anonymous)?,
        listener: client(known)?,
        hello,
        database,
        place,
    })
}

/// A client that uses TLS only if the URL says so, and then trusts the public authorities.
pub(super) fn plain(info: ConnectionInfo) -> Result<Client, Error> {
    let wrong = "the URL names a server that cannot be connected to from here";
    Client::open(info).map_err(|_| Error::new(ErrorKind::Configuration, wrong))
}

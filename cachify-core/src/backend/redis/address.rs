//! The address of a server, parsed from its URL.

use redis::{Client, Cmd, IntoConnectionInfo, ProtocolVersion, cmd};

#[cfg(not(feature = "tls"))]
use super::client::plain;
use super::options::RedisOptions;
use crate::backend::Node;
use crate::{Error, ErrorKind};

/// The address of a server, and the clients that connect to it.
pub(super) struct Address {
    /// Connects without logging in, which [`hello`](Self::hello) does afterwards.
    pub(super) client: Client,
    /// Connects and logs in, for subscriptions.
    pub(super) listener: Client,
    /// The command that logs in, names the connection and asks the server to identify itself. Every
    /// user may send it, whatever its rights.
    pub(super) hello: Cmd,
    /// The database, unless it is 0.
    pub(super) database: Option<i64>,
    /// The address without user and password, for messages.
    pub(super) place: String,
}

/// Parses the URL and creates the clients.
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
            "the URL ends in `#insecure`, which would trust any server with the password and the \
             data; give the server's authority with the builder's `tls_authorities` or \
             `SSL_CERT_FILE` instead",
        ));
    }
    let info = url.into_connection_info().map_err(|_| {
        // The cause is left out: it may quote the URL, which may hold a password.
        wrong(
            "the URL cannot be parsed; write redis://[[USER]:PASSWORD@]HOST[:PORT][/DB], \
             rediss:// for TLS, or unix://PATH[?db=DB], and percent-encode special characters in \
             the password",
        )
    })?;
    let name = match &options.client_name {
        Some(name) if name.bytes().all(|b| b.is_ascii_graphic()) => name.clone(),
        Some(_) => {
            return Err(wrong(
                "the client name may contain only printable ASCII characters and no spaces",
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

//! A certificate authority, its certificates, and TLS in front of a server without it.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex, PoisonError};
use std::{fmt, fs, thread};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection};

use crate::net::{is_peer, tunnel};

/// A throwaway certificate authority.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate and its key, in PEM.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Identity {
    /// The certificate.
    pub pem: String,
    /// Its private key.
    pub key: String,
}

impl Identity {
    /// Returns this certificate with another private key.
    pub fn with_key(mut self, key: impl Into<String>) -> Self {
        self.key = key.into();
        self
    }
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority").finish_non_exhaustive()
    }
}

impl Default for Authority {
    fn default() -> Self {
        Self::new()
    }
}

impl Authority {
    /// Creates an authority that nobody trusts yet.
    pub fn new() -> Self {
        let mut params = CertificateParams::new([]).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let name = "the authority of redis-fixture";
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().expect("a key");
        Self(CertifiedIssuer::self_signed(params, key).expect("a certificate"))
    }

    /// Returns its own certificate.
    pub fn pem(&self) -> String {
        self.0.pem()
    }

    /// Issues a certificate for the host, address or client `name`.
    pub fn issue(&self, name: &str) -> Identity {
        self.issue_between(&[name], 2000, 2100)
    }

    /// Issues a certificate that expired long ago.
    pub fn issue_expired(&self, name: &str) -> Identity {
        self.issue_between(&[name], 2000, 2001)
    }

    /// Issues a certificate that is not valid yet.
    pub fn issue_early(&self, name: &str) -> Identity {
        self.issue_between(&[name], 2099, 2100)
    }

    fn issue_between(&self, names: &[&str], from: i32, to: i32) -> Identity {
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        // A certificate with the name of its issuer counts as self-signed.
        let subject = names.join(" or ");
        let mut params = CertificateParams::new(names).expect("names of hosts");
        params.distinguished_name.push(DnType::CommonName, subject);
        params.not_before = date_time_ymd(from, 1, 1);
        params.not_after = date_time_ymd(to, 1, 1);
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.0).expect("a certificate");
        Identity {
            pem: certificate.pem(),
            key: key.serialize_pem(),
        }
    }

    fn roots(&self) -> Arc<RootCertStore> {
        let mut roots = RootCertStore::empty();
        roots.add(self.0.der().clone()).expect("a valid authority");
        Arc::new(roots)
    }
}

/// Certificates for servers and for a client, all of one throwaway [`Authority`].
///
/// [`Builder::tls`](crate::Builder::tls) and the builders of groups take it:
///
/// ```
/// use redis_fixture::{Server, Tls};
///
/// let tls = Tls::new().require_client_certificate();
/// let server = Server::builder().tls(&tls).spawn();
/// assert!(server.url().starts_with("rediss://127.0.0.1:"));
/// // For the client's settings:
/// let (authority, client) = (tls.authority().pem(), tls.client());
/// assert!(authority.starts_with("-----BEGIN CERTIFICATE-----"));
/// assert!(client.key.starts_with("-----BEGIN PRIVATE KEY-----"));
/// ```
#[derive(Clone, Debug)]
pub struct Tls {
    authority: Arc<Authority>,
    server: Identity,
    client: Identity,
    asks: bool,
}

impl Default for Tls {
    fn default() -> Self {
        Self::new()
    }
}

impl Tls {
    /// Creates an authority, and with it certificates for `localhost` and 127.0.0.1 and for a
    /// client.
    pub fn new() -> Self {
        let authority = Authority::new();
        Self {
            server: authority.issue_between(&["localhost", "127.0.0.1"], 2000, 2100),
            client: authority.issue("client"),
            authority: Arc::new(authority),
            asks: false,
        }
    }

    /// Lets servers refuse clients without a certificate of this authority.
    pub fn require_client_certificate(mut self) -> Self {
        self.asks = true;
        self
    }

    /// Returns the authority, for its certificate and for further ones.
    pub fn authority(&self) -> &Authority {
        &self.authority
    }

    /// Returns the certificate of a client that servers accept.
    pub fn client(&self) -> &Identity {
        &self.client
    }

    /// Writes the certificates to `dir`, and returns the arguments for a server with TLS.
    pub(crate) fn args(&self, port: u16, dir: &Path) -> Vec<String> {
        let file = |name: &str, pem: &str| {
            let path = dir.join(name);
            fs::write(&path, pem).expect("a file in our own directory");
            path.display().to_string()
        };
        [
            ("port", port.to_string()),
            ("cert-file", file("server.pem", &self.server.pem)),
            ("key-file", file("server.key", &self.server.key)),
            (
                "ca-cert-file",
                file("authority.pem", &self.authority().pem()),
            ),
            (
                "auth-clients",
                if self.asks { "yes" } else { "no" }.to_owned(),
            ),
            ("replication", "yes".to_owned()),
        ]
        .into_iter()
        .flat_map(|(name, value)| [format!("--tls-{name}"), value])
        .collect()
    }

    pub(crate) fn proxy(&self, server: u16, for_peers: bool) -> TlsProxy {
        let clients = self.asks.then(|| self.authority());
        TlsProxy::between(server, &self.server, clients, for_peers)
    }
}

/// Terminates TLS in front of a local server. It ends on drop.
#[derive(Debug)]
pub struct TlsProxy {
    address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    server: u16,
    config: Arc<ServerConfig>,
    /// Lets connections of other servers pass without TLS.
    for_peers: bool,
    connections: AtomicU64,
    ended: AtomicBool,
}

impl TlsProxy {
    /// Presents `identity` in front of the port `server`, and demands a certificate of `clients` if
    /// given.
    pub fn start(server: u16, identity: &Identity, clients: Option<&Authority>) -> Self {
        Self::between(server, identity, clients, false)
    }

    fn between(
        server: u16,
        identity: &Identity,
        clients: Option<&Authority>,
        for_peers: bool,
    ) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let address = listener.local_addr().expect("a listener has an address");
        let shared = Arc::new(Shared {
            server,
            config: config(identity, clients),
            for_peers,
            connections: AtomicU64::new(0),
            ended: AtomicBool::new(false),
        });
        let accepting = Arc::clone(&shared);
        thread::spawn(move || accepting.accept(&listener));
        Self { address, shared }
    }

    /// Returns its address, `rediss://localhost:PORT`.
    pub fn url(&self) -> String {
        format!("rediss://localhost:{}", self.port())
    }

    /// Returns its port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Returns the number of connections accepted so far.
    pub fn connections(&self) -> u64 {
        self.shared.connections.load(SeqCst)
    }
}

impl Drop for TlsProxy {
    fn drop(&mut self) {
        self.shared.ended.store(true, SeqCst);
        TcpStream::connect(self.address).ok(); // wakes the accepting thread
    }
}

fn config(identity: &Identity, clients: Option<&Authority>) -> Arc<ServerConfig> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .expect("ring has them");
    let config = match clients {
        Some(clients) => {
            let verifier = WebPkiClientVerifier::builder_with_provider(clients.roots(), provider);
            config.with_client_cert_verifier(verifier.build().expect("an authority"))
        }
        None => config.with_no_client_auth(),
    };
    let chain = CertificateDer::from_pem_slice(identity.pem.as_bytes()).expect("a certificate");
    let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes()).expect("a key");
    let config = config.with_single_cert(vec![chain], key);
    Arc::new(config.expect("the key of the certificate"))
}

impl Shared {
    fn accept(self: Arc<Self>, listener: &TcpListener) {
        for client in listener.incoming().flatten() {
            if self.ended.load(SeqCst) {
                return;
            }
            if self.for_peers && is_peer(&client) {
                tunnel(client, self.server);
                continue;
            }
            self.connections.fetch_add(1, SeqCst);
            let tls = ServerConnection::new(Arc::clone(&self.config)).expect("a valid setting");
            let server = self.server;
            thread::spawn(move || serve(client, tls, server));
        }
    }
}

/// Copies in both directions until one end closes.
fn serve(mut client: TcpStream, tls: ServerConnection, port: u16) -> Option<()> {
    let mut server = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).ok()?;
    let tls = Arc::new(Mutex::new(tls));
    let replies = {
        let (tls, mut client) = (Arc::clone(&tls), client.try_clone().ok()?);
        let mut server = server.try_clone().ok()?;
        move || {
            let mut reply = [0; 4096];
            while let Ok(count @ 1..) = server.read(&mut reply) {
                let mut tls = tls.lock().unwrap_or_else(PoisonError::into_inner);
                if tls.writer().write_all(&reply[..count]).is_err()
                    || flush(&mut tls, &mut client).is_none()
                {
                    break;
                }
            }
            client.shutdown(Shutdown::Both).ok();
        }
    };
    thread::spawn(replies);
    let mut record = [0; 4096];
    while let Ok(count @ 1..) = client.read(&mut record) {
        let mut tls = tls.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(request) = decrypt(&mut tls, &record[..count], &mut client) else {
            break;
        };
        drop(tls);
        if server.write_all(&request).is_err() {
            break;
        }
    }
    client.shutdown(Shutdown::Write).ok();
    server.shutdown(Shutdown::Both).ok();
    Some(())
}

/// Returns the plain text in `bytes`; `None` when the connection is over.
fn decrypt(
    tls: &mut ServerConnection,
    mut bytes: &[u8],
    client: &mut TcpStream,
) -> Option<Vec<u8>> {
    let mut plain = Vec::new();
    while !bytes.is_empty() {
        tls.read_tls(&mut bytes).ok()?;
        let state = tls.process_new_packets();
        // An alert names the problem.
        flush(tls, client)?;
        let available = state.ok()?.plaintext_bytes_to_read();
        let start = plain.len();
        plain.resize(start + available, 0);
        tls.reader().read_exact(&mut plain[start..]).ok()?;
    }
    Some(plain)
}

fn flush(tls: &mut ServerConnection, client: &mut TcpStream) -> Option<()> {
    while tls.wants_write() {
        tls.write_tls(client).ok()?;
    }
    Some(())
}

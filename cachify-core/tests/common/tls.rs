//! A certificate authority, its certificates, and TLS in front of a server.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used)]

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, date_time_ymd};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection};

pub struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate and its key, in PEM.
pub struct Identity {
    pub pem: String,
    pub key: String,
}

impl Authority {
    pub fn new() -> Self {
        let mut params = CertificateParams::new([]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        Self(CertifiedIssuer::self_signed(params, key).unwrap())
    }

    pub fn pem(&self) -> String {
        self.0.pem()
    }

    /// Issues a certificate for the host or client `name`.
    pub fn issue(&self, name: &str) -> Identity {
        self.issue_between(name, 2000, 2100)
    }

    pub fn issue_expired(&self, name: &str) -> Identity {
        self.issue_between(name, 2000, 2001)
    }

    pub fn issue_early(&self, name: &str) -> Identity {
        self.issue_between(name, 2099, 2100)
    }

    fn issue_between(&self, name: &str, from: i32, to: i32) -> Identity {
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        params.not_before = date_time_ymd(from, 1, 1);
        params.not_after = date_time_ymd(to, 1, 1);
        let key = KeyPair::generate().unwrap();
        let pem = params.signed_by(&key, &self.0).unwrap().pem();
        let key = key.serialize_pem();
        Identity { pem, key }
    }

    fn roots(&self) -> Arc<RootCertStore> {
        let mut roots = RootCertStore::empty();
        roots.add(self.0.der().clone()).unwrap();
        Arc::new(roots)
    }
}

/// Terminates TLS in front of a local server.
pub struct TlsProxy {
    port: u16,
    connections: Arc<AtomicU64>,
}

impl TlsProxy {
    /// Presents `identity`, and asks for a certificate of `clients` if given.
    pub fn start(server: u16, identity: &Identity, clients: Option<&Authority>) -> Self {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .unwrap();
        let config = match clients {
            Some(clients) => {
                let roots = clients.roots();
                let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider);
                config.with_client_cert_verifier(verifier.build().unwrap())
            }
            None => config.with_no_client_auth(),
        };
        let chain = CertificateDer::from_pem_slice(identity.pem.as_bytes()).unwrap();
        let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes()).unwrap();
        let config = Arc::new(config.with_single_cert(vec![chain], key).unwrap());

        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let connections = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&connections);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                counted.fetch_add(1, Ordering::SeqCst);
                let tls = ServerConnection::new(Arc::clone(&config)).unwrap();
                thread::spawn(move || serve(client, tls, server));
            }
        });
        Self { port, connections }
    }

    pub fn url(&self) -> String {
        format!("rediss://localhost:{}", self.port)
    }

    pub fn connections(&self) -> u64 {
        self.connections.load(Ordering::SeqCst)
    }
}

/// Copies in both directions until one end closes.
fn serve(mut client: TcpStream, tls: ServerConnection, port: u16) {
    let mut server = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let tls = Arc::new(Mutex::new(tls));
    let replies = {
        let (tls, mut client) = (Arc::clone(&tls), client.try_clone().unwrap());
        let mut server = server.try_clone().unwrap();
        move || {
            let mut reply = [0; 4096];
            while let Ok(count @ 1..) = server.read(&mut reply) {
                let mut tls = tls.lock().unwrap();
                tls.writer().write_all(&reply[..count]).unwrap();
                if flush(&mut tls, &mut client).is_none() {
                    break;
                }
            }
            let _ = client.shutdown(std::net::Shutdown::Both);
        }
    };
    thread::spawn(replies);
    let mut record = [0; 4096];
    while let Ok(count @ 1..) = client.read(&mut record) {
        let Some(request) = decrypt(&mut tls.lock().unwrap(), &record[..count], &mut client) else {
            break;
        };
        if server.write_all(&request).is_err() {
            break;
        }
    }
    let _ = client.shutdown(std::net::Shutdown::Write);
    let _ = server.shutdown(std::net::Shutdown::Both);
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

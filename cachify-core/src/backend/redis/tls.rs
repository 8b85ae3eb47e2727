//! The authorities that TLS trusts, and the client's own certificate.

use std::fmt;
use std::path::{Path, PathBuf};

use redis::{Client, ClientTlsConfig, ConnectionAddr, ConnectionInfo, TlsCertificates};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::client::plain;
use crate::{Error, ErrorKind};

/// The environment variable that names a file of trusted authorities. Other programs use it too.
const FILE: &str = "SSL_CERT_FILE";

/// Certificates or a private key in PEM, as bytes or as a file that is read when the handle is
/// created.
///
/// # Examples
///
/// ```
/// use cachify_core::{Cachify, Pem};
///
/// let builder = Cachify::builder()
///     .redis("rediss://cache.internal")
///     .tls_authorities(Pem::file("/etc/ssl/internal-ca.pem"))
///     .tls_identity(Pem::file("/run/tls/client.pem"), Pem::file("/run/tls/client.key"));
/// # drop(builder);
/// ```
#[derive(Clone)]
pub struct Pem(PemSource);

#[derive(Clone)]
enum PemSource {
    File(PathBuf),
    Bytes(Vec<u8>),
}

impl Pem {
    /// Names a PEM file, which is read when the handle is created.
    pub fn file(path: impl Into<PathBuf>) -> Self {
        Self(PemSource::File(path.into()))
    }

    /// Takes the contents of a PEM file.
    pub fn bytes(pem: impl Into<Vec<u8>>) -> Self {
        Self(PemSource::Bytes(pem.into()))
    }

    fn read(&self) -> Result<Vec<u8>, Error> {
        match &self.0 {
            PemSource::Bytes(bytes) => Ok(bytes.clone()),
            PemSource::File(path) => std::fs::read(path)
                .map_err(|error| wrong(format!("{} cannot be read: {error}", path.display()))),
        }
    }
}

impl From<PathBuf> for Pem {
    fn from(path: PathBuf) -> Self {
        Self::file(path)
    }
}

impl From<&Path> for Pem {
    fn from(path: &Path) -> Self {
        Self::file(path)
    }
}

impl From<Vec<u8>> for Pem {
    fn from(pem: Vec<u8>) -> Self {
        Self::bytes(pem)
    }
}

impl From<&[u8]> for Pem {
    fn from(pem: &[u8]) -> Self {
        Self::bytes(pem)
    }
}

/// Shows the path, not the contents, which may be a private key.
impl fmt::Debug for Pem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            PemSource::File(path) => write!(f, "Pem({})", path.display()),
            PemSource::Bytes(_) => f.write_str("Pem(..)"),
        }
    }
}

impl fmt::Display for Pem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            PemSource::File(path) => path.display().fmt(f),
            PemSource::Bytes(_) => f.write_str("the given text"),
        }
    }
}

/// The authorities to trust and the certificates to present.
#[derive(Clone, Debug, Default)]
pub struct TlsOptions {
    /// The authorities to trust instead of the public ones.
    pub authorities: Option<Pem>,
    /// The certificates to present, and their key.
    pub identity: Option<(Pem, Pem)>,
}

impl TlsOptions {
    /// Creates a client that connects as the URL says, with these authorities and certificates.
    pub(super) fn client(&self, info: ConnectionInfo) -> Result<Client, Error> {
        if !matches!(info.addr(), ConnectionAddr::TcpTls { .. }) {
            if self.authorities.is_some() || self.identity.is_some() {
                return Err(wrong(
                    "certificates are given, but the URL does not ask for TLS; use `rediss://`",
                ));
            }
            return plain(info);
        }
        if rustls::crypto::CryptoProvider::get_default().is_none() {
            // Without a provider, the first connection would panic. A provider that the program
            // installs in the meantime is kept.
            let _ = rustls::crypto::ring::default_provider().install_default();
        }
        let of_environment = || Some(Pem::file(std::env::var_os(FILE).filter(|f| !f.is_empty())?));
        let certificates = TlsCertificates {
            root_cert: match self.authorities.clone().or_else(of_environment) {
                Some(pem) => Some(certificates(&pem)?),
                None => None,
            },
            client_tls: match &self.identity {
                Some((pem, key)) => Some(ClientTlsConfig {
                    client_cert: certificates(pem)?,
                    client_key: private_key(key)?,
                }),
                None => None,
            },
        };
        Client::build_with_tls(info, certificates)
            .map_err(|_| wrong("the given certificates or the key cannot be used for TLS"))
    }
}

fn certificates(pem: &Pem) -> Result<Vec<u8>, Error> {
    let bytes = pem.read()?;
    let mut count = 0;
    for certificate in CertificateDer::pem_slice_iter(&bytes) {
        certificate.map_err(|_| wrong(format!("{pem} is not valid PEM")))?;
        count += 1;
    }
    if count == 0 {
        return Err(wrong(format!("{pem} holds no certificate in PEM")));
    }
    Ok(bytes)
}

fn private_key(pem: &Pem) -> Result<Vec<u8>, Error> {
    let bytes = pem.read()?;
    PrivateKeyDer::from_pem_slice(&bytes)
        .map_err(|_| wrong(format!("{pem} holds no private key in PEM")))?;
    Ok(bytes)
}

fn wrong(message: impl Into<std::borrow::Cow<'static, str>>) -> Error {
    Error::new(ErrorKind::Configuration, message)
}

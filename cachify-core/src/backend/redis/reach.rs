//! Explains why a server cannot be reached, and names the fix if there is one.

use std::error::Error as StdError;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use redis::{ConnectionAddr, ErrorKind as Kind, RedisError};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::{Error, ErrorKind};

pub(super) fn unreachable(place: &str, reason: &str) -> Error {
    failed(place, ErrorKind::Unavailable, reason)
}

/// Translates an error of the connection itself.
pub(super) fn broken(error: &RedisError, place: &str) -> Error {
    let (kind, reason) = reason(error);
    failed(place, kind, &reason)
}

fn failed(place: &str, kind: ErrorKind, reason: &str) -> Error {
    let message = format!("Redis at {place} cannot be reached: {reason}");
    Error::new(kind, message).with_down(true)
}

fn reason(error: &RedisError) -> (ErrorKind, String) {
    #[cfg(feature = "tls")]
    if let Some(error) = find::<rustls::Error>(error) {
        return tls::reason(error);
    }
    if error.kind() == Kind::InvalidClientConfig {
        let detail = error.detail().unwrap_or("its address is not usable");
        return (ErrorKind::Configuration, detail.to_owned());
    }
    let unavailable = |reason: &str| (ErrorKind::Unavailable, reason.to_owned());
    let Some(error) = find::<io::Error>(error) else {
        return unavailable("the connection was closed");
    };
    match error.kind() {
        io::ErrorKind::ConnectionRefused => unavailable("the connection was refused"),
        io::ErrorKind::NotFound => unavailable("there is no such socket"),
        io::ErrorKind::TimedOut => unavailable(LATE),
        io::ErrorKind::ConnectionReset
        | io::ErrorKind::ConnectionAborted
        | io::ErrorKind::BrokenPipe
        | io::ErrorKind::NotConnected
        | io::ErrorKind::UnexpectedEof => unavailable("the connection was closed"),
        io::ErrorKind::PermissionDenied => (
            ErrorKind::Configuration,
            "permission denied; let the user of this process read and write the socket".to_owned(),
        ),
        io::ErrorKind::InvalidInput => (ErrorKind::Configuration, error.to_string()),
        kind => {
            // Errors of the resolver have no kind of their own. Their text quotes nothing secret.
            let text = error.to_string();
            let lookup = text.strip_prefix("failed to lookup address information: ");
            unavailable(&lookup.map_or_else(
                || kind.to_string(),
                |problem| format!("the host name cannot be resolved ({problem})"),
            ))
        }
    }
}

pub(super) const LATE: &str = "it did not answer in time";

/// Returns the first error of type `T` among the causes of `error`. Some causes are hidden in an
/// `Arc`, and the inner error of an [`io::Error`] is not its source.
fn find<T: StdError + 'static>(error: &RedisError) -> Option<&T> {
    type Shared = Arc<dyn StdError + Send + Sync>;

    let mut next = error.source();
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        next = if let Some(shared) = error.downcast_ref::<Shared>() {
            Some(&**shared)
        } else if let Some(error) = error.downcast_ref::<io::Error>() {
            error.get_ref().map(|error| error as _)
        } else {
            error.source()
        };
    }
    None
}

/// Returns an error if the server speaks TLS although the URL says otherwise, or the other way
/// round. Neither kind of server reports the mistake: one closes the connection, and the other
/// waits for the end of a line.
pub(super) async fn wrong_scheme(
    address: &ConnectionAddr,
    place: &str,
    within: Duration,
) -> Option<Error> {
    /// The start of a handshake. A TLS server answers it with a record, even if only an alert.
    const CLIENT_HELLO: &[u8] = b"\x16\x03\x01\x00\x2f\x01\x00\x00\x2b\x03\x03\
        \0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\
        \x00\x00\x04\xc0\x2f\xc0\x30\x01\x00";

    let (host, port, request, answers, reason): (_, _, _, &[u8], _) = match address {
        ConnectionAddr::Tcp(host, port) => (
            host,
            port,
            CLIENT_HELLO,
            b"\x15\x16",
            "it expects TLS; use `rediss://`",
        ),
        ConnectionAddr::TcpTls { host, port, .. } => (
            host,
            port,
            &b"PING\r\n"[..],
            b"+-",
            "it does not speak TLS; use `redis://`",
        ),
        _ => return None,
    };
    let first = timeout(within, async {
        let mut stream = TcpStream::connect((host.as_str(), *port)).await?;
        stream.write_all(request).await?;
        stream.read_u8().await
    });
    let first = first.await.ok()?.ok()?;
    answers
        .contains(&first)
        .then(|| failed(place, ErrorKind::Configuration, reason))
}

#[cfg(feature = "tls")]
mod tls {
    use rustls::{AlertDescription, CertificateError, Error};

    use crate::ErrorKind;

    pub(super) fn reason(error: &Error) -> (ErrorKind, String) {
        let reason = match error {
            Error::InvalidCertificate(problem) => certificate(problem),
            Error::InvalidMessage(_) => "it does not speak TLS; use `redis://`".to_owned(),
            Error::AlertReceived(
                AlertDescription::CertificateRequired | AlertDescription::HandshakeFailure,
            ) => "it requires a client certificate; give one with the builder's `tls_identity`"
                .to_owned(),
            Error::AlertReceived(alert) => {
                format!("it refuses the client certificate of `tls_identity` ({alert:?})")
            }
            other => format!("TLS failed: {other}"),
        };
        (ErrorKind::Configuration, reason)
    }

    fn certificate(problem: &CertificateError) -> String {
        match problem {
            // A new authority under the name of an old one shows as a bad signature.
            CertificateError::UnknownIssuer | CertificateError::BadSignature => {
                "its certificate was issued by an unknown authority; give that authority with the \
                 builder's `tls_authorities` or `SSL_CERT_FILE`"
                    .to_owned()
            }
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                "its certificate has expired".to_owned()
            }
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                "its certificate is not valid yet; check the clocks".to_owned()
            }
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                "its certificate is for a host name other than the URL's".to_owned()
            }
            other => format!("its certificate is not accepted: {other}"),
        }
    }
}

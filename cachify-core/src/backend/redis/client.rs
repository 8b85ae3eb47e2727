//! A client that needs no certificates.

use redis::{Client, ConnectionInfo};

use crate::{Error, ErrorKind};

/// Creates a client that uses TLS only if the URL says so, and then trusts the public authorities.
pub(super) fn plain(info: ConnectionInfo) -> Result<Client, Error> {
    let wrong = "the URL names a server that cannot be connected to from here";
    Client::open(info).map_err(|_| Error::new(ErrorKind::Configuration, wrong))
}

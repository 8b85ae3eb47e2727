use std::io;
use std::net::{IpAddr, Ipv4Addr, Shutdown, TcpListener, TcpStream, UdpSocket};
use std::thread;

/// The address from which servers of a group connect to one another where proxies stand between
/// them and their clients. Only Linux answers on it without further setup.
pub(crate) const PEERS: Option<Ipv4Addr> = if cfg!(target_os = "linux") {
    Some(Ipv4Addr::new(127, 0, 0, 2))
} else {
    None
};

/// A port of 127.0.0.1 for a server that may be stopped and started again.
///
/// Its number is never assigned to outgoing connections. A UDP socket of the same number keeps
/// other fixtures away until the port is dropped or the process ends, even while nobody listens.
#[derive(Debug)]
pub(crate) struct Port {
    number: u16,
    _claim: UdpSocket,
}

impl Port {
    /// Claims a port that is free at the time of the call.
    pub(crate) fn claim() -> Self {
        Self::listen().0
    }

    /// Claims a port and listens on it.
    pub(crate) fn listen() -> (Self, TcpListener) {
        let try_one = |_| {
            let address = (Ipv4Addr::LOCALHOST, fastrand::u16(20_000..32_000));
            let (number, claim) = (address.1, UdpSocket::bind(address).ok()?);
            let port = Self {
                number,
                _claim: claim,
            };
            Some((port, TcpListener::bind(address).ok()?))
        };
        (0..200)
            .find_map(try_one)
            .expect("200 ports between 20000 and 32000 are all taken")
    }

    pub(crate) fn number(&self) -> u16 {
        self.number
    }
}

/// Returns whether another server of the group opened this connection.
pub(crate) fn is_peer(stream: &TcpStream) -> bool {
    let address = stream.peer_addr().map(|address| address.ip()).ok();
    PEERS.is_some() && address == PEERS.map(IpAddr::V4)
}

/// Carries a connection to `port` of 127.0.0.1 until either end closes it.
pub(crate) fn tunnel(client: TcpStream, port: u16) {
    let carry = |mut from: &TcpStream, mut to: &TcpStream| {
        io::copy(&mut from, &mut to).ok();
        from.shutdown(Shutdown::Both).ok();
        to.shutdown(Shutdown::Both).ok();
    };
    thread::spawn(move || {
        let Ok(server) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)) else {
            return;
        };
        for stream in [&client, &server] {
            stream.set_nodelay(true).ok();
        }
        thread::scope(|scope| {
            scope.spawn(|| carry(&server, &client));
            carry(&client, &server);
        });
    });
}

/// Splits `redis://user:password@host:port/db` into the part before the address, the address, and
/// the part after it.
pub(crate) fn split(url: &str) -> (&str, &str, &str) {
    let start = url.find("://").map_or(0, |at| at + 3);
    let end = url[start..]
        .find(['/', '?'])
        .map_or(url.len(), |at| start + at);
    let start = url[start..end]
        .rfind('@')
        .map_or(start, |at| start + at + 1);
    (&url[..start], &url[start..end], &url[end..])
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::Port;

    #[test]
    fn a_url_comes_apart_around_its_address() {
        for (url, parts) in [
            ("redis://127.0.0.1:1", ("redis://", "127.0.0.1:1", "")),
            (
                "redis://h:1/2?protocol=resp3",
                ("redis://", "h:1", "/2?protocol=resp3"),
            ),
            ("redis://u:p@h:1/0", ("redis://u:p@", "h:1", "/0")),
            ("redis://h:1?x=a@b", ("redis://", "h:1", "?x=a@b")),
        ] {
            assert_eq!(super::split(url), parts);
        }
    }

    #[test]
    fn a_claimed_port_is_claimed_once_and_can_be_listened_on() {
        // Of 12 000 numbers, 500 random ones are distinct with a probability of 3 in 100 000.
        let ports: Vec<Port> = (0..500).map(|_| Port::claim()).collect();
        let mut numbers: Vec<u16> = ports.iter().map(Port::number).collect();
        numbers.sort_unstable();
        numbers.dedup();
        assert_eq!(numbers.len(), ports.len());
        TcpListener::bind(("127.0.0.1", ports[0].number())).expect("free for a server");
    }
}

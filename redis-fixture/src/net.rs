use std::net::TcpListener;

/// Listens on a port that is never assigned to outgoing connections, so it can be closed and
/// reopened.
pub(crate) fn listen() -> TcpListener {
    (0..200)
        .find_map(|_| TcpListener::bind(("127.0.0.1", fastrand::u16(20_000..32_000))).ok())
        .expect("200 ports between 20000 and 32000 are all taken")
}

/// Returns such a port, free at the time of the call.
pub(crate) fn free_port() -> u16 {
    listen()
        .local_addr()
        .expect("a listener has an address")
        .port()
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
}

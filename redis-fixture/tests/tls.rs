//! Servers with TLS, seen by a client that checks certificates.
#![cfg(not(feature = "containers"))]
#![allow(clippy::expect_used)]

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use redis_fixture::{Authority, Cluster, Failover, Identity, Sentinels, Server, Tls, TlsProxy};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

/// Sends a command as words, and returns the first line of the reply.
fn ask(
    url: &str,
    authority: &Authority,
    identity: Option<&Identity>,
    command: &str,
) -> io::Result<String> {
    let address = url.strip_prefix("rediss://").expect("a URL with TLS");
    let host = address.split_once(':').expect("a port").0.to_owned();
    let mut roots = RootCertStore::empty();
    let certificate = |pem: &str| CertificateDer::from_pem_slice(pem.as_bytes()).expect("PEM");
    roots
        .add(certificate(&authority.pem()))
        .expect("an authority");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("ring has them")
        .with_root_certificates(roots);
    let config = match identity {
        Some(identity) => {
            let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes()).expect("a key");
            config
                .with_client_auth_cert(vec![certificate(&identity.pem)], key)
                .expect("a pair")
        }
        None => config.with_no_client_auth(),
    };
    let host = host.try_into().expect("a host name");
    let connection = ClientConnection::new(Arc::new(config), host).expect("a valid setting");
    let stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    let mut stream = StreamOwned::new(connection, stream);
    stream.write_all(format!("{command}\r\n").as_bytes())?;
    let mut reply = Vec::new();
    while !reply.ends_with(b"\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        reply.extend(byte);
    }
    Ok(String::from_utf8_lossy(&reply).trim_end().into())
}

#[test]
fn a_server_with_tls_is_trusted_through_its_authority_alone() {
    let tls = Tls::new();
    let server = Server::builder().tls(&tls).spawn();
    let url = server.url();
    assert_eq!(
        ask(&url, tls.authority(), None, "SET k v").expect("answered"),
        "+OK"
    );
    assert_eq!(server.command(&["GET", "k"]).text(), "v", "one server");
    let by_name = url.replace("127.0.0.1", "localhost");
    assert_eq!(
        ask(&by_name, tls.authority(), None, "PING").expect("answered"),
        "+PONG"
    );
    ask(&url, Tls::new().authority(), None, "PING").expect_err("another authority");
}

#[test]
fn a_client_certificate_is_demanded_where_asked_for() {
    let tls = Tls::new().require_client_certificate();
    let server = Server::builder().tls(&tls).spawn();
    let url = server.url();
    let pong = ask(&url, tls.authority(), Some(tls.client()), "PING");
    assert_eq!(pong.expect("answered"), "+PONG");
    ask(&url, tls.authority(), None, "PING").expect_err("no certificate");
    let foreign = Authority::new().issue("client");
    ask(&url, tls.authority(), Some(&foreign), "PING").expect_err("another authority's");
}

#[test]
fn certificates_can_be_out_of_date_and_keys_of_another() {
    let (server, authority) = (Server::start(), Authority::new());
    let answer = |identity: &Identity| {
        let proxy = TlsProxy::start(server.port(), identity, None);
        let answer = ask(&proxy.url(), &authority, None, "PING");
        assert_eq!(proxy.connections(), 1);
        answer
    };
    assert_eq!(
        answer(&authority.issue("localhost")).expect("answered"),
        "+PONG"
    );
    for bad in [
        authority.issue("elsewhere"),
        authority.issue_expired("localhost"),
        authority.issue_early("localhost"),
    ] {
        answer(&bad).expect_err("refused");
    }
}

#[test]
fn tls_ends_at_a_proxy_and_a_server_behind_it() {
    let tls = Tls::new();
    let server = Server::builder().tls(&tls).proxied().spawn();
    let before = server.proxy().connections();
    let pong = ask(&server.url(), tls.authority(), None, "PING");
    assert_eq!(pong.expect("answered"), "+PONG");
    assert_eq!(server.proxy().connections(), before + 1);
    server.proxy().refuse();
    ask(&server.url(), tls.authority(), None, "PING").expect_err("refused");
}

fn a_cluster(tls: &Tls, identity: Option<&Identity>, proxied: bool) {
    let builder = Cluster::builder().tls(tls);
    let cluster = if proxied { builder.proxied() } else { builder }.start();
    let ask = |node: usize, command: &str| {
        ask(
            &cluster.nodes()[node].url(),
            tls.authority(),
            identity,
            command,
        )
        .expect("answered")
    };
    let serving = cluster.node_of("k");
    let address = |node: usize| cluster.nodes()[node].url().replace("rediss://", "");
    let moved = |node: usize| format!("-MOVED {} {}", Cluster::slot("k"), address(node));
    assert_eq!(ask((serving + 1) % 3, "GET k"), moved(serving));
    assert_eq!(ask(serving, "SET k v"), "+OK");
    let replica = cluster.replica_of(serving);
    cluster.promote(replica, Failover::Graceful);
    assert_eq!(ask(serving, "GET k"), moved(replica));
    assert_eq!(ask(replica, "GET k"), "$1");
    let to = (serving + 1) % 3;
    cluster.migrate_slot(Cluster::slot("k"), to).finish();
    assert_eq!(ask(replica, "GET k"), moved(to));
    assert_eq!(ask(to, "GET k"), "$1");
}

#[test]
fn a_cluster_with_tls_redirects_to_ports_with_tls() {
    a_cluster(&Tls::new(), None, false);
}

#[test]
fn a_cluster_with_tls_client_certificates_and_proxies_works_too() {
    let tls = Tls::new().require_client_certificate();
    a_cluster(&tls, Some(tls.client()), true);
}

#[test]
fn sentinels_with_tls_name_ports_with_tls() {
    let tls = Tls::new().require_client_certificate();
    let sentinels = Sentinels::builder().tls(&tls).start();
    let ask = |url: &str, command: &str| ask(url, tls.authority(), Some(tls.client()), command);
    for url in sentinels.urls() {
        assert_eq!(ask(&url, "PING").expect("answered"), "+PONG");
    }
    let promoted = sentinels.failover();
    let url = sentinels.nodes()[promoted].url();
    assert_eq!(ask(&url, "SET k v").expect("answered"), "+OK");
    let command = [
        "SENTINEL",
        "GET-MASTER-ADDR-BY-NAME",
        sentinels.master_name(),
    ];
    for sentinel in sentinels.sentinels() {
        let address = sentinel.command(&command);
        let port = address.items()[1].text();
        assert_eq!(url, format!("rediss://127.0.0.1:{port}"));
    }
}

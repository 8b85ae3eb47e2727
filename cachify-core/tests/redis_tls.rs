//! TLS, with authorities and certificates made for each test.
#![cfg(all(feature = "tls", unix))]
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use cachify_core::{Cachify, CachifyBuilder, Error, ErrorKind, Pem};
use common::{SECOND, builder, key};
use redis_fixture::{Authority, Identity, Server, TlsProxy};

/// Builds a handle that trusts `authority` and presents `identity`.
fn trusting(url: &str, authority: &Authority, identity: Option<&Identity>) -> CachifyBuilder {
    let builder = builder(url).tls_authorities(Pem::bytes(authority.pem()));
    match identity {
        Some(identity) => {
            builder.tls_identity(Pem::bytes(&*identity.pem), Pem::bytes(&*identity.key))
        }
        None => builder,
    }
}

async fn works(cachify: &Cachify) {
    let cached = cachify.cached(&key("row"));
    cached.set(1).await.unwrap();
    assert_eq!(cached.get::<i32>().await.unwrap(), Some(1));
    let lock = cachify.lock(&key("door")).wait(SECOND);
    lock.acquire().await.unwrap().release().await.unwrap();
}

async fn refused(builder: CachifyBuilder, reason: &str) -> Error {
    let error = builder.connect().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Configuration, "{error}");
    assert!(error.to_string().contains(reason), "{error}");
    let shown = format!("{error} {error:?}");
    assert!(!shown.contains("s3cret"), "{shown}");
    error
}

#[tokio::test]
async fn n4_a_server_of_an_own_authority_works() {
    let server = Server::start();
    server.command(&[
        "ACL", "SETUSER", "app", "on", ">s3cret", "+@all", "~*", "&*",
    ]);
    let authority = Authority::new();
    let proxy = TlsProxy::start(server.port(), &authority.issue("localhost"), None);
    let url = proxy.url().replace("://", "://app:s3cret@");
    let cachify = trusting(&url, &authority, None).connect().await.unwrap();
    works(&cachify).await;
    // All of its connections are encrypted.
    assert_eq!(proxy.connections(), 3);
    assert!(!format!("{cachify:?}").contains("s3cret"));
}

#[tokio::test]
async fn n4_a_server_that_asks_for_a_certificate_works() {
    let server = Server::start();
    let (authority, clients) = (Authority::new(), Authority::new());
    let proxy = TlsProxy::start(server.port(), &authority.issue("localhost"), Some(&clients));
    let url = proxy.url();
    let identity = clients.issue("app");
    works(
        &trusting(&url, &authority, Some(&identity))
            .connect()
            .await
            .unwrap(),
    )
    .await;

    // From files.
    let directory = std::env::temp_dir().join(format!("cachify-tls-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let file = |name: &str, pem: &str| {
        let path = directory.join(name);
        std::fs::write(&path, pem).unwrap();
        path
    };
    let handle = builder(&url)
        .tls_authorities(file("ca.pem", &authority.pem()))
        .tls_identity(
            file("app.pem", &identity.pem),
            file("app.key", &identity.key),
        );
    works(&handle.connect().await.unwrap()).await;
    std::fs::remove_dir_all(&directory).unwrap();

    refused(trusting(&url, &authority, None), "`tls_identity`").await;
    let foreign = Authority::new().issue("app");
    let error = trusting(&url, &authority, Some(&foreign));
    refused(error, "refuses the client certificate").await;
}

#[tokio::test]
async fn s5_a_certificate_that_is_not_accepted_is_told_with_its_reason() {
    let server = Server::start();
    let authority = Authority::new();
    let proxy = |identity: &Identity| TlsProxy::start(server.port(), identity, None);
    let good = proxy(&authority.issue("localhost"));
    let unknown = "unknown authority; give that authority with the builder's `tls_authorities`";
    refused(builder(&good.url()), unknown).await;
    refused(trusting(&good.url(), &Authority::new(), None), unknown).await;

    for (identity, reason) in [
        (authority.issue("elsewhere"), "a host name other than"),
        (authority.issue_expired("localhost"), "has expired"),
        (authority.issue_early("localhost"), "not valid yet"),
    ] {
        let proxy = proxy(&identity);
        refused(trusting(&proxy.url(), &authority, None), reason).await;
    }
    // And a handle in use is not asked again and again.
    let lazy = builder(&good.url()).connect_lazy().unwrap();
    let before = good.connections();
    for id in 0..100 {
        let cached = lazy.cached(&key("row"));
        assert_eq!(cached.get_or_compute(async || id).await, id);
    }
    assert!(good.connections() - before <= 5);
}

#[tokio::test]
async fn s5_the_wrong_scheme_is_told() {
    let server = Server::start();
    let plain = server.url().replace("redis://", "rediss://u:s3cret@");
    refused(builder(&plain), "use `redis://`").await;

    let authority = Authority::new();
    let proxy = TlsProxy::start(server.port(), &authority.issue("localhost"), None);
    let url = proxy.url().replace("rediss://", "redis://u:s3cret@");
    refused(builder(&url), "use `rediss://`").await;
    refused(trusting(&server.url(), &authority, None), "use `rediss://`").await;
}

#[tokio::test]
async fn s5_pem_that_cannot_be_used_is_told() {
    let (url, authority) = ("rediss://localhost:1", Authority::new());
    let identity = authority.issue("app");
    let lazy = |builder: CachifyBuilder| builder.connect_lazy().map(drop).unwrap_err();
    for (builder, reason) in [
        (
            builder(url).tls_authorities(Pem::file("/nowhere/ca.pem")),
            "/nowhere/ca.pem cannot be read",
        ),
        (
            builder(url).tls_authorities(Pem::bytes("s3cret")),
            "no certificate",
        ),
        (
            builder(url).tls_identity(Pem::bytes(&*identity.pem), Pem::bytes(&*identity.pem)),
            "no private key",
        ),
    ] {
        let error = lazy(builder);
        assert_eq!(error.kind(), ErrorKind::Configuration);
        let shown = format!("{error} {error:?}");
        assert!(
            shown.contains(reason) && !shown.contains("s3cret"),
            "{shown}"
        );
    }
    // A key of another certificate.
    let server = Server::start();
    let proxy = TlsProxy::start(server.port(), &authority.issue("localhost"), None);
    let other = identity.with_key(authority.issue("app").key);
    refused(
        trusting(&proxy.url(), &authority, Some(&other)),
        "cannot be reached",
    )
    .await;
    assert_eq!(format!("{:?}", Pem::bytes("s3cret")), "Pem(..)");
}

/// Set for the child process alone, since this process runs other tests.
const FILE: &str = "SSL_CERT_FILE";
const URL: &str = "CACHIFY_TEST_TLS_URL";

#[tokio::test]
async fn n4_the_environment_names_the_authorities() {
    if let Ok(url) = std::env::var(URL) {
        return works(&builder(&url).connect().await.unwrap()).await;
    }
    let server = Server::start();
    let authority = Authority::new();
    let proxy = TlsProxy::start(server.port(), &authority.issue("localhost"), None);
    let path = std::env::temp_dir().join(format!("cachify-ca-{}.pem", std::process::id()));
    std::fs::write(&path, authority.pem()).unwrap();
    let child = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "n4_the_environment_names_the_authorities"])
        .env(FILE, &path)
        .env(URL, proxy.url())
        .output()
        .unwrap();
    std::fs::remove_file(&path).unwrap();
    assert!(child.status.success(), "{child:?}");
    assert!(proxy.connections() > 0);
}

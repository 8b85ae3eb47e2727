//! The page on Redis in production, on a real server.
#![cfg(unix)]
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use cachify_core::{Cachify, Error, ErrorKind, Pem, key};
use redis_fixture::{Reply, Server};

// ANCHOR: connect
async fn connect(url: &str) -> Result<Cachify, Error> {
    Cachify::builder()
        .redis(url)
        .prefix("shop") // the start of all names in Redis
        .owner("web-3") // shown as the owner of this process's locks
        .connect()
        .await
}
// ANCHOR_END: connect

// ANCHOR: two
/// Entries on a server that may evict them, locks and pools on one that does not evict.
struct Handles {
    entries: Cachify,
    locks: Cachify,
}

async fn connect_both(entries: &str, locks: &str) -> Result<Handles, Error> {
    Ok(Handles {
        entries: Cachify::connect(entries).await?,
        locks: Cachify::connect(locks).await?,
    })
}
// ANCHOR_END: two

// ANCHOR: tls
fn over_tls(url: &str) -> cachify_core::CachifyBuilder {
    Cachify::builder()
        .redis(url) // rediss://cache.internal
        .tls_authorities(Pem::file("/etc/ssl/internal-ca.pem"))
        .tls_identity(
            Pem::file("/run/tls/client.pem"),
            Pem::file("/run/tls/client.key"),
        )
}
// ANCHOR_END: tls

#[tokio::test]
async fn certificates_are_read_when_the_handle_is_made() {
    let error = over_tls("rediss://localhost").connect_lazy().map(drop);
    let error = error.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Configuration);
    assert!(
        error.to_string().contains("/etc/ssl/internal-ca.pem"),
        "{error}"
    );
}

#[tokio::test]
async fn the_user_of_the_book_has_all_rights_that_are_needed() {
    let server = Server::start();
    let acl = include_str!("../redis/users.acl");
    let words: Vec<_> = ["ACL", "SETUSER"]
        .into_iter()
        .chain(acl.split_whitespace().skip(1))
        .collect();
    let reply = server.command(&words);
    assert!(!matches!(reply, Reply::Error(_)), "{reply:?}");

    let url = server.url().replace("redis://", "redis://app:s3cret@");
    // And nothing beyond the rights that cachify itself advises.
    server.command(&["ACL", "SETUSER", "app", "-get"]);
    let advice = connect(&url).await.unwrap_err().to_string();
    let rights = acl.split_once("resetkeys").unwrap().1.trim();
    assert!(advice.contains(rights), "{advice}");
    server.command(&["ACL", "SETUSER", "app", "+get"]);

    let cachify = connect(&url).await;
    let cachify = cachify.unwrap();
    let entry = cachify.cached(&key!("name-7"));
    assert_eq!(entry.get_or_compute(async || 1).await, 1);
    assert_eq!(entry.get::<i32>().await.unwrap(), Some(1));
    entry.set(2).await.unwrap();
    entry.reset().await.unwrap();

    let lock = cachify.lock(&key!("door")).wait(Duration::from_secs(10));
    let guard = lock.acquire().await.unwrap();
    let holder = lock.status().await.unwrap().holder.unwrap();
    assert!(holder.owner.starts_with("web-3"));
    let (waited, released) = tokio::join!(lock.acquire(), guard.release());
    released.unwrap();
    waited.unwrap().release().await.unwrap();
    cachify.once(&key!("job")).run(async {}).await.unwrap();
    let pool = cachify.pool(&key!("desk"), 2);
    let permit = pool.acquire().await.unwrap();
    assert_eq!(pool.status().await.unwrap().in_use, 1);
    permit.release().await.unwrap();
}

#[tokio::test]
async fn a_server_that_evicts_takes_entries_but_no_locks() {
    let evicting = Server::builder()
        .arg("--maxmemory")
        .arg("64mb")
        .arg("--maxmemory-policy")
        .arg("allkeys-lfu")
        .spawn();
    let lasting = Server::start();
    let handles = connect_both(&evicting.url(), &lasting.url()).await.unwrap();
    handles.entries.cached(&key!("row")).set(1).await.unwrap();
    let refused = handles.entries.lock(&key!("door")).acquire().await;
    let error = refused.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Configuration);
    assert!(error.to_string().contains("noeviction"), "{error}");
    let guard = handles.locks.lock(&key!("door")).acquire().await.unwrap();
    guard.release().await.unwrap();
}

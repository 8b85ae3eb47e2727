//! The page on tenants.
#![allow(clippy::unwrap_used, clippy::unused_async)]

use cachify_core::{Cachify, cached};

// ANCHOR: key
#[cached(key = "user-{tenant}-{user_id}", with = cachify)]
async fn read_user(cachify: &Cachify, tenant: &str, user_id: &str) -> String {
    format!("{user_id} of {tenant}")
}
// ANCHOR_END: key

#[tokio::test]
async fn tenants_do_not_share_entries() {
    let cachify = Cachify::memory();
    assert_eq!(read_user(&cachify, "acme-1", "2").await, "2 of acme-1");
    assert_eq!(read_user(&cachify, "acme", "1-2").await, "1-2 of acme");
    read_user::reset(&cachify, "acme", "1-2").await.unwrap();
    let other = read_user::peek(&cachify, "acme-1", "2").await.unwrap();
    assert_eq!(other.as_deref(), Some("2 of acme-1"));
}

//! The page on tenants.
#![allow(clippy::unwrap_used, clippy::unused_async)]

use cachify_core::{Cachify, Error, cached};

// ANCHOR: key
#[cached(key = "user-{tenant}-{user_id}", with = cachify)]
async fn read_user(cachify: &Cachify, tenant: &str, user_id: &str) -> String {
    format!("{user_id} of {tenant}")
}
// ANCHOR_END: key

// ANCHOR: prefix
/// Makes the handle of a tenant, once for each request.
fn handle_of(cachify: &Cachify, tenant_id: u64) -> Result<Cachify, Error> {
    cachify.with_prefix(&format!("tenant-{tenant_id}"))
}

#[cached(key = "seats", with = tenant)] // the handle says whose seats they are
async fn seats(tenant: &Cachify, taken: u64) -> u64 {
    taken
}
// ANCHOR_END: prefix

#[tokio::test]
async fn tenants_do_not_share_entries() {
    let cachify = Cachify::memory();
    assert_eq!(read_user(&cachify, "acme-1", "2").await, "2 of acme-1");
    assert_eq!(read_user(&cachify, "acme", "1-2").await, "1-2 of acme");
    read_user::reset(&cachify, "acme", "1-2").await.unwrap();
    let other = read_user::get(&cachify, "acme-1", "2").await.unwrap();
    assert_eq!(other.as_deref(), Some("2 of acme-1"));
}

#[tokio::test]
async fn handles_of_tenants_do_not_share_entries() {
    let cachify = Cachify::memory();
    for (tenant, taken) in [(7, 1), (8, 2)] {
        let tenant = handle_of(&cachify, tenant).unwrap();
        assert_eq!(seats(&tenant, taken).await, taken);
        assert_eq!(seats(&tenant, 100).await, taken);
    }
    let tenant = handle_of(&cachify, 7).unwrap();
    assert_eq!(seats::get(&tenant).await.unwrap(), Some(1));
}

//! The page on pools.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use cachify_core::{Cachify, Error, ErrorKind, key};

// ANCHOR: run
async fn ask_vendor(cachify: &Cachify, tenant: &str) -> Result<String, Error> {
    cachify
        .pool(&key!("vendor-{tenant}"), 10) // at most ten at a time for each tenant, fleet-wide
        .wait(Duration::from_secs(1))
        .run(async { format!("answer for {tenant}") })
        .await
}
// ANCHOR_END: run

// ANCHOR: permit
async fn open(cachify: &Cachify, user_id: i64) -> Result<cachify_core::Permit, Error> {
    let pool = cachify.pool(&key!("sessions-{user_id}"), 3);
    match pool.acquire().await {
        Err(error) if error.kind() == ErrorKind::Full => {
            // All three are taken. `error.retry_after()` says when the first one may expire.
            Err(error)
        }
        permit => permit, // held until it is dropped or released
    }
}
// ANCHOR_END: permit

#[tokio::test]
async fn no_more_than_the_pool_allows() {
    let cachify = Cachify::memory();
    let pool = cachify.pool(&key!("sessions-7"), 3);
    let mut permits = Vec::new();
    for _ in 0..3 {
        permits.push(open(&cachify, 7).await.unwrap());
    }
    assert_eq!(pool.status().await.unwrap().in_use, 3);
    let full = open(&cachify, 7).await.unwrap_err();
    assert_eq!(full.kind(), ErrorKind::Full);
    assert!(full.retry_after().is_some());

    permits.pop().unwrap().release().await.unwrap();
    let _permit = open(&cachify, 7).await.unwrap();
    assert_eq!(
        ask_vendor(&cachify, "acme").await.unwrap(),
        "answer for acme"
    );
}

//! The page on times to live.
#![allow(clippy::unused_async, clippy::unwrap_used)]

use std::time::Duration;

use cachify_core::clock::Clock;
use cachify_core::{Cachify, Ttl, cached, key};
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Serialize, Deserialize)]
struct User {
    id: i64,
}

#[derive(Debug, Clone)]
struct DbError;

async fn find(id: i64) -> Result<Option<User>, DbError> {
    Ok((id > 0).then_some(User { id }))
}

// ANCHOR: default
async fn connect() -> Result<Cachify, cachify_core::Error> {
    Cachify::builder()
        .memory()
        .default_ttl(Duration::from_mins(1)) // 5 minutes unless you set it
        .connect()
        .await
}
// ANCHOR_END: default

// ANCHOR: forms
#[cached(key = "price-{sku}", ttl = "250ms")]
async fn price(sku: &str) -> u64 {
    sku.len() as u64
}

#[cached(key = "country-{code}", ttl = "never")]
async fn country(code: &str) -> String {
    code.to_uppercase()
}
// ANCHOR_END: forms

// ANCHOR: code
async fn rates(cachify: &Cachify) -> Vec<u64> {
    let cached = cachify.cached(&key!("rates")).ttl("5m");
    cached.get_or_compute(async || vec![1, 2]).await
}
// ANCHOR_END: code

// ANCHOR: by_value
/// Keeps a user for an hour, but the fact that there is no such user for ten seconds only.
#[cached(
    key = "read_user-{user_id}",
    ttl_with = |user| if user.is_some() { "1h" } else { "10s" },
)]
async fn read_user(user_id: i64) -> Result<Option<User>, DbError> {
    find(user_id).await
}

/// Does not keep an empty answer.
#[cached(key = "search-{text}", cache_if = |found| !found.is_empty())]
async fn search(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}
// ANCHOR_END: by_value

// ANCHOR: builder
async fn dashboard(cachify: &Cachify) -> Vec<u64> {
    cachify
        .cached(&key!("dashboard"))
        .ttl(Duration::from_mins(10))
        .jitter(0.1) // each entry lives 9 to 10 minutes
        .get_or_compute(async || vec![1, 2, 3])
        .await
}
// ANCHOR_END: builder

// ANCHOR: capacity
async fn bounded() -> Result<Cachify, cachify_core::Error> {
    Cachify::builder()
        .memory()
        .capacity(50_000) // entries; 100 000 by default
        .capacity_bytes(64 << 20) // 256 MiB by default
        .connect()
        .await
}

async fn picture(cachify: &Cachify) -> Vec<u8> {
    cachify
        .cached(&key!("picture"))
        .weigh(|picture: &Vec<u8>| picture.capacity()) // if the estimate is too coarse
        .get_or_compute(async || vec![1, 2, 3])
        .await
}
// ANCHOR_END: capacity

fn manual() -> Cachify {
    let clock = Clock::test();
    Cachify::builder().clock(clock).connect_lazy().unwrap()
}

#[tokio::test(start_paused = true)]
async fn times_end_to_the_millisecond() {
    let call = async {
        price("abc").await;
        country("de").await;
        tokio::time::advance(Duration::from_millis(249)).await;
        assert_eq!(price::get("abc").await.unwrap(), Some(3));
        tokio::time::advance(Duration::from_millis(1)).await;
        assert_eq!(price::get("abc").await.unwrap(), None);
        tokio::time::advance(Duration::from_hours(24 * 365)).await;
        assert_eq!(country::get("de").await.unwrap().as_deref(), Some("DE"));
    };
    manual().scope(call).await;
}

#[tokio::test(start_paused = true)]
async fn the_value_decides() {
    let call = async {
        read_user(7).await.unwrap();
        read_user(0).await.unwrap();
        tokio::time::advance(Duration::from_secs(10)).await;
        assert!(read_user::get(&0).await.unwrap().is_none());
        assert_eq!(read_user::get(&7).await.unwrap().unwrap().unwrap().id, 7);
        search("").await;
        assert_eq!(search::get("").await.unwrap(), None);
        search("a b").await;
        assert_eq!(search::get("a b").await.unwrap().unwrap().len(), 2);
    };
    manual().scope(call).await;
}

#[tokio::test]
async fn the_defaults_are_those_of_the_handle() {
    let cachify = connect().await.unwrap();
    assert_eq!(dashboard(&cachify).await, [1, 2, 3]);
    assert_eq!(rates(&cachify).await, [1, 2]);
    let cachify = bounded().await.unwrap();
    assert_eq!(picture(&cachify).await, [1, 2, 3]);
    assert_eq!(
        Ttl::from(Duration::from_micros(1)),
        Ttl::from(Duration::from_millis(1))
    );
}

//! The page on stale values.
#![allow(clippy::unused_async, clippy::unwrap_used)]

use std::time::Duration;

use cachify_core::{Cachify, Error, cached, key};
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Rates {
    eur: u64,
}

async fn ask_provider(day: u32) -> Result<Rates, Error> {
    Ok(Rates { eur: day.into() })
}

// ANCHOR: attribute
/// Fresh for a minute; after that, an old answer is better than waiting, for up to an hour.
#[cached(key = "rates-{day}", ttl = "1m", stale = "1h")]
async fn rates(day: u32) -> Result<Rates, Error> {
    ask_provider(day).await
}
// ANCHOR_END: attribute

// ANCHOR: code
async fn in_code(cachify: &Cachify, day: u32) -> Result<Rates, Error> {
    let cached = cachify.cached(&key!("rates-{day}")).ttl("1m").stale("1h");
    cached.get_or_try_spawn(move || ask_provider(day)).await
}
// ANCHOR_END: code

// ANCHOR: expire
async fn provider_has_news(day: u32) -> Result<(), Error> {
    rates::expire(&day).await
}
// ANCHOR_END: expire

// ANCHOR: limits
#[cached(
    key = "quote-{day}",
    ttl = "1m",
    stale = "1h",
    soft_limit = "200ms", // wait this long for a new value before the old one is served
    hard_limit = "5s",    // then the computation ends with an error
)]
async fn quote(day: u32) -> Result<Rates, Error> {
    ask_provider(day).await
}
// ANCHOR_END: limits

// ANCHOR: early
#[cached(key = "early-{day}", ttl = "5m", refresh_early = 1.0)]
async fn early(day: u32) -> Result<Rates, Error> {
    ask_provider(day).await
}
// ANCHOR_END: early

// ANCHOR: errors
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum Failed {
    NoSuchUser,
    Database(String),
}

#[cached(
    key = "user-{user_id}",
    ttl = "5m",
    cache_err = |error| matches!(error, Failed::NoSuchUser).then_some("10s"),
)]
async fn user(user_id: u32) -> Result<String, Failed> {
    match user_id {
        0 => Err(Failed::NoSuchUser),
        1 => Err(Failed::Database("down".to_owned())),
        id => Ok(format!("user {id}")),
    }
}

#[cached(key = "row-{id}", ttl = "5m", none_ttl = "10s")]
async fn row(id: u32) -> Option<u32> {
    (id > 0).then_some(id)
}
// ANCHOR_END: errors

#[tokio::test]
async fn stale_values_are_served_as_the_page_says() {
    let cachify = Cachify::memory();
    let page = async {
        assert_eq!(rates(1).await.unwrap(), Rates { eur: 1 });
        rates::set(&1, Rates { eur: 7 }).await.unwrap();
        provider_has_news(1).await.unwrap();
        assert_eq!(rates(1).await.unwrap(), Rates { eur: 7 }, "at once");
        while rates(1).await.unwrap() != (Rates { eur: 1 }) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(in_code(&cachify, 2).await.unwrap(), Rates { eur: 2 });
        quote::set(&1, Rates { eur: 7 }).await.unwrap();
        quote::expire(&1).await.unwrap();
        assert_eq!(quote(1).await.unwrap(), Rates { eur: 1 }, "waited for");
        assert_eq!(early(1).await.unwrap(), Rates { eur: 1 });
        assert_eq!(user(0).await, Err(Failed::NoSuchUser));
        assert_eq!(user(0).await, Err(Failed::NoSuchUser));
        assert!(matches!(user(1).await, Err(Failed::Database(_))));
        assert_eq!(user(2).await.unwrap(), "user 2");
        assert_eq!(row(0).await, None);
        assert_eq!(row(1).await, Some(1));
    };
    cachify.scope(page).await;
}

//! A hit returns a value equal to the stored one, or the value is not stored.
#![cfg(all(feature = "redis", unix))]
#![allow(clippy::unwrap_used, clippy::option_option)]

#[path = "common/log.rs"]
mod log;

use std::collections::{BTreeMap, HashMap};
use std::fmt::Debug;

use cachify_core::testing::assert_round_trips;
use cachify_core::{Cacheable, Cachify, Encoding, Error, ErrorKind, cached, key};
use log::Log;
use serde::{Deserialize, Serialize};

/// Returns handles over memory and over Redis in either encoding, each with a name.
fn handles(prefix: &str) -> [(&'static str, Cachify); 3] {
    let redis = |encoding, name: &str| {
        Cachify::builder()
            .redis(redis_fixture::shared())
            .prefix(format!("{prefix}-{name}"))
            .encoding(encoding)
            .connect_lazy()
            .unwrap()
    };
    [
        ("memory", Cachify::memory()),
        ("MessagePack", redis(Encoding::MessagePack, "m")),
        ("JSON", redis(Encoding::Json, "j")),
    ]
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Row {
    id: i64,
    nickname: Option<Option<String>>,
    void: Option<()>,
    #[serde(flatten)]
    more: BTreeMap<String, Option<Option<f64>>>,
}

fn odd_row() -> Row {
    Row {
        id: 7,
        nickname: Some(None),
        void: Some(()),
        more: BTreeMap::from([
            ("infinite".to_owned(), Some(Some(f64::INFINITY))),
            ("null".to_owned(), Some(None)),
            ("none".to_owned(), None),
        ]),
    }
}

#[tokio::test]
async fn c13_a_hit_through_the_builder_equals_what_was_stored() {
    async fn check<T: Cacheable + PartialEq + Debug>(cachify: &Cachify, name: &str, value: T) {
        let cached = cachify.cached(&key!("built"));
        cached.reset().await.unwrap();
        let computed = cached.get_or_compute(async || value.clone()).await;
        assert_eq!(computed, value);
        assert_eq!(cached.get().await.unwrap(), Some(value.clone()), "{name}");
        let hit = cached.get_or_compute(async || -> T { panic!("{name}: {value:?} is no hit") });
        assert_eq!(hit.await, value, "{name}");
        cached.set(value.clone()).await.unwrap();
        assert_eq!(cached.get().await.unwrap(), Some(value), "{name}");
    }

    for (name, cachify) in handles("built") {
        check(&cachify, name, Some(None::<i32>)).await;
        check(&cachify, name, None::<Option<i32>>).await;
        check(&cachify, name, Some(())).await;
        check(&cachify, name, vec![Some(Some(1)), Some(None), None]).await;
        check(
            &cachify,
            name,
            BTreeMap::from([((1, None), Some(())), ((1, Some(())), None)]),
        )
        .await;
        check(&cachify, name, odd_row()).await;
    }
}

#[cached(key = "null-{id}", with = cachify)]
async fn nickname(
    cachify: &Cachify,
    id: i32,
    now: Option<Option<String>>,
) -> Option<Option<String>> {
    let _ = (cachify, id);
    now
}

#[cached(key = "odd-{id}", with = cachify)]
async fn row(cachify: &Cachify, id: i32, now: Option<Row>) -> Result<Option<Row>, Error> {
    let _ = (cachify, id);
    Ok(now)
}

#[tokio::test]
async fn c13_a_hit_through_the_macro_equals_what_was_stored() {
    for (name, cachify) in handles("macro") {
        nickname::reset(&cachify, &1).await.unwrap();
        row::reset(&cachify, &1).await.unwrap();
        for now in [Some(None), None] {
            assert_eq!(nickname(&cachify, 1, now).await, Some(None), "{name}");
        }
        for now in [Some(odd_row()), None] {
            assert_eq!(
                row(&cachify, 1, now).await.unwrap(),
                Some(odd_row()),
                "{name}"
            );
        }
    }
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
struct Shy(i32);

impl Serialize for Shy {
    fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(serde::ser::Error::custom("s3cret"))
    }
}

#[tokio::test]
async fn c13_s1_what_cannot_be_encoded_is_computed_and_the_log_names_its_template_once() {
    let log = Log::start();
    let [_, (_, cachify), _] = handles("shy");
    let cached = cachify.cached(&key!("shy"));
    for n in 0..3 {
        assert_eq!(cached.get_or_compute(async || Shy(n)).await, Shy(n));
    }
    let error = cached.set(Shy(4)).await.unwrap_err();
    assert_eq!(
        (error.kind(), error.template()),
        (ErrorKind::Codec, Some("shy"))
    );
    let told = log.warnings_of("shy");
    assert_eq!(told.len(), 1, "{told:?}");
    let told = format!("{told:?} {error} {error:?}");
    assert!(told.contains("round_trip::Shy"), "{told}");
    assert!(!told.contains("s3cret"), "{told}");
}

#[cfg(debug_assertions)]
mod debug_builds {
    use super::*;

    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    struct Unread {
        #[serde(skip_deserializing)]
        total: u32,
    }

    /// Buffers of `serde` read addresses as text, and `MessagePack` writes them as numbers.
    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    struct Unreadable {
        #[serde(flatten)]
        inner: Inner,
    }

    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    struct Inner {
        address: std::net::IpAddr,
    }

    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    struct Faithful(HashMap<String, Option<Option<f64>>>, #[serde(skip)] u8);

    #[tokio::test]
    async fn c13_the_first_value_of_a_type_that_reads_differently_is_reported_once() {
        let log = Log::start();
        let [(_, cachify), ..] = handles("first");
        let total = 123_456;
        for _ in 0..2 {
            cachify
                .cached(&key!("unread"))
                .set(Unread { total })
                .await
                .unwrap();
        }
        let told = log.warnings_of("unread");
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(told[0].contains("debug_builds::Unread\""), "{told:?}");
        assert!(!told[0].contains("123456"), "{told:?}");

        let address = std::net::Ipv4Addr::LOCALHOST.into();
        let inner = Inner { address };
        let cached = cachify.cached(&key!("unreadable"));
        cached.get_or_compute(async || Unreadable { inner }).await;
        let told = log.warnings_of("unreadable");
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(told[0].contains("cannot be decoded"), "{told:?}");
    }

    #[tokio::test]
    async fn c13_no_order_and_no_odd_value_is_reported_as_a_difference() {
        let log = Log::start();
        let [(_, cachify), ..] = handles("faithful");
        let values = [None, Some(None), Some(Some(f64::NAN)), Some(Some(1.5))];
        let map = (0..100).map(|n| (n.to_string(), values[n % 4])).collect();
        cachify
            .cached(&key!("faithful"))
            .set(Faithful(map, 1))
            .await
            .unwrap();
        assert_eq!(log.warnings_of("faithful"), [""; 0]);
    }
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct User {
    id: i64,
    #[serde(skip_serializing, default)]
    password_hash: String,
}

#[test]
fn c13_a_faithful_type_round_trips() {
    assert_round_trips(&odd_row());
    let password_hash = String::new();
    assert_round_trips(&User {
        id: 7,
        password_hash,
    });
}

#[test]
#[should_panic(expected = "`round_trip::User` does not round-trip through MessagePack")]
fn c13_a_type_that_drops_a_field_does_not_round_trip() {
    let password_hash = "hash".to_owned();
    assert_round_trips(&User {
        id: 7,
        password_hash,
    });
}

#[test]
#[should_panic(expected = "`round_trip::Shy` cannot be encoded as MessagePack")]
fn c13_a_type_that_is_not_stored_does_not_round_trip() {
    assert_round_trips(&Shy(1));
}

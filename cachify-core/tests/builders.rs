//! The core API without attribute macros.
#![deny(warnings)]
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use cachify_core::clock::Clock;
use cachify_core::{Cachify, Error, ErrorKind, key};
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct User {
    id: i64,
}

struct Db;

impl Db {
    async fn find(&self, id: i64) -> Result<Option<User>, Error> {
        Ok(Some(User { id }))
    }

    async fn update(&self, user_id: i64, new: User) -> Result<User, Error> {
        assert_eq!(user_id, new.id);
        Ok(new)
    }
}

#[tokio::test]
async fn core_without_macros_reads_as_designed() -> Result<(), Error> {
    let cachify = Cachify::builder()
        .memory()
        .prefix("shop")
        .default_ttl(Duration::from_mins(5))
        .lock_ttl(Duration::from_secs(30))
        .connect()
        .await?;
    let (db, user_id, tenant) = (Db, 7, "acme");

    let key = key!("read_user-{user_id}");
    let user: Option<User> = cachify
        .cached(&key)
        .ttl(Duration::from_mins(5))
        .get_or_try_compute(|| db.find(user_id))
        .await?;
    let total: u64 = cachify
        .cached(&key!("total"))
        .get_or_compute(|| async { 42 })
        .await;
    assert_eq!((user, total), (Some(User { id: 7 }), 42));

    let stored = cachify.cached(&key).get::<Option<User>>().await?;
    assert_eq!(stored, Some(Some(User { id: 7 })));
    cachify.reset(&key).await?;
    assert_eq!(cachify.cached(&key).get::<Option<User>>().await?, None);
    cachify.cached(&key).set(None::<User>).await?;
    let user = cachify
        .update(&key, db.update(user_id, User { id: 7 }))
        .await?;
    assert_eq!(user, User { id: 7 });
    assert_eq!(cachify.cached(&key).get::<Option<User>>().await?, None);

    let guard = cachify
        .lock(&key!("update-user-{user_id}"))
        .wait(Duration::from_secs(2))
        .acquire()
        .await?;
    assert!(guard.fencing_token() > 0);
    guard.release().await?;

    // A builder outlives the key that it was made from.
    let pool = cachify.pool(&key!("vendor-{tenant}"), 10);
    let permit = pool.acquire().await?;
    drop(permit);
    cachify.close(Duration::from_secs(5)).await
}

#[tokio::test]
async fn k3_a_prefix_is_refused_that_could_pass_for_something_else() {
    for prefix in ["", "a{b", "a}b", "a b", "a\n", "a*", "é"] {
        let error = Cachify::builder()
            .memory()
            .prefix(prefix)
            .connect_lazy()
            .map_err(|error| error.kind());
        assert_eq!(error.err(), Some(ErrorKind::Configuration), "{prefix:?}");
        let error = Cachify::memory().with_prefix(prefix).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Configuration, "{prefix:?}");
    }
    assert!(
        Cachify::builder()
            .memory()
            .prefix("shop:eu-1_b.2")
            .connect_lazy()
            .is_ok()
    );
}

#[tokio::test]
async fn k3_a_lock_and_a_pool_and_an_entry_of_one_key_never_meet_in_memory() -> Result<(), Error> {
    let cachify = Cachify::memory();
    let key = key!("x");
    let guard = cachify.lock(&key).acquire().await?;
    let permit = cachify.pool(&key, 1).acquire().await?;
    cachify.cached(&key).set(1).await?;
    cachify.reset(&key).await?;
    assert!(cachify.lock(&key).is_locked().await?);
    permit.release().await?;
    assert!(cachify.lock(&key).is_locked().await?);
    guard.release().await
}

/// Returns the line where `call` panicked, and the message.
fn panic_of(call: impl FnOnce() + std::panic::UnwindSafe) -> (u32, String) {
    use std::sync::{Arc, Mutex};

    let seen = Arc::new(Mutex::new((0, String::new())));
    let here = std::thread::current().id();
    let before = std::panic::take_hook();
    let to = Arc::clone(&seen);
    std::panic::set_hook(Box::new(move |info| {
        if std::thread::current().id() == here {
            let line = info.location().map_or(0, std::panic::Location::line);
            *to.lock().unwrap() = (line, info.payload_as_str().unwrap_or_default().to_owned());
        }
    }));
    assert!(std::panic::catch_unwind(call).is_err());
    std::panic::set_hook(before);
    seen.lock().unwrap().clone()
}

#[test]
fn a_text_that_is_not_a_time_panics_at_the_call() {
    let calls: [fn(); 4] = [
        || drop(Cachify::builder().default_ttl("5 minutes")),
        || drop(Cachify::memory().cached(&key!("row")).ttl("5 minutes")),
        || drop(Cachify::memory().lock(&key!("row")).wait("5 minutes")),
        || drop(Cachify::memory().pool(&key!("row"), 1).ttl("5 minutes")),
    ];
    let first = line!() - 5;
    for (line, call) in (first..).zip(calls) {
        let (at, message) = panic_of(call);
        assert_eq!(at, line, "{message}");
        assert!(
            message.starts_with("`5 minutes` is not a time"),
            "{message}"
        );
    }
    let (_, message) = panic_of(|| drop(Cachify::memory().pool(&key!("row"), 1).ttl("never")));
    assert!(message.starts_with("`never` is not a time"), "{message}");
}

#[tokio::test]
async fn times_in_code_are_written_as_in_attributes() {
    let clock = Clock::test();
    let cachify = Cachify::builder()
        .clock(clock.clone())
        .default_ttl(60)
        .lock_ttl("10s")
        .connect_lazy()
        .unwrap();
    let key = key!("row");
    let for_ms = async |cached: cachify_core::Cached, millis: u64| {
        cached.set(1).await.unwrap();
        clock.advance(Duration::from_millis(millis - 1));
        assert_eq!(cached.get().await.unwrap(), Some(1));
        clock.advance(Duration::from_millis(1));
        assert_eq!(cached.get::<i32>().await.unwrap(), None);
    };
    for_ms(cachify.cached(&key), 60_000).await;
    for_ms(cachify.cached(&key).ttl("250ms"), 250).await;
    for_ms(cachify.cached(&key).ttl(300), 300_000).await;
    let cached = cachify
        .cached(&key)
        .ttl_with(|n: &i32| if *n > 1 { "1h" } else { "1s" });
    cached.set(1).await.unwrap();
    clock.advance(Duration::from_secs(1));
    assert_eq!(cached.get::<i32>().await.unwrap(), None);
    let guard = cachify
        .lock(&key)
        .ttl("5s")
        .max_hold(60)
        .wait("1ms")
        .acquire()
        .await;
    let holder = cachify.lock(&key).status().await.unwrap().holder.unwrap();
    assert!(holder.ttl_left <= Duration::from_secs(5));
    drop(guard);
}

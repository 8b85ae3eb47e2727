//! Core without its attributes, as the design writes it down.
#![deny(warnings)]

use std::time::Duration;

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

    let peeked = cachify.cached(&key).peek::<Option<User>>().await?;
    assert_eq!(peeked, Some(Some(User { id: 7 })));
    cachify.reset(&key).await?;
    assert_eq!(cachify.cached(&key).peek::<Option<User>>().await?, None);
    cachify.cached(&key).set(None::<User>).await?;
    let user = cachify
        .update(&key, db.update(user_id, User { id: 7 }))
        .await?;
    assert_eq!(user, User { id: 7 });
    assert_eq!(cachify.cached(&key).peek::<Option<User>>().await?, None);

    let guard = cachify
        .lock(&key!("update-user-{user_id}"))
        .wait(Duration::from_secs(2))
        .acquire()
        .await?;
    assert!(guard.fencing_token() > 0);
    guard.release().await?;

    // A builder outlives the key that it was made of.
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

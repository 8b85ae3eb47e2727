//! The page on resets.
#![allow(clippy::expect_used, clippy::unused_async, clippy::unwrap_used)]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use cachify_core::backend::memory::Memory;
use cachify_core::{Cachify, Error, ErrorKind, Key, key};
use tokio::sync::oneshot;

#[derive(Default)]
struct Db(Mutex<String>);

impl Db {
    fn read(&self) -> String {
        self.0.lock().unwrap().clone()
    }

    async fn rename(&self, name: &str) -> Result<(), Error> {
        name.clone_into(&mut self.0.lock().unwrap());
        Ok(())
    }
}

async fn name_of(cachify: &Cachify, db: &Db, user_id: i64) -> String {
    let key = key!("name-{user_id}");
    cachify
        .cached(&key)
        .get_or_compute(async || db.read())
        .await
}

// ANCHOR: update
async fn rename(cachify: &Cachify, db: &Db, user_id: i64, name: &str) -> Result<(), Error> {
    cachify
        .update(&key!("name-{user_id}"), db.rename(name))
        .await
}
// ANCHOR_END: update

// ANCHOR: spawned
async fn rename_to_the_end(
    cachify: Cachify,
    db: Arc<Db>,
    user_id: i64,
    name: String,
) -> Result<(), Error> {
    // A task continues even if no caller waits for it any more.
    let update = tokio::spawn(async move {
        let update = db.rename(&name);
        cachify.update(&key!("name-{user_id}"), update).await
    });
    update.await.expect("the update panicked")
}
// ANCHOR_END: spawned

// ANCHOR: several
async fn move_to(cachify: &Cachify, db: &Db, user_id: i64, team: i64) -> Result<(), Error> {
    let (user, team) = (key!("user-{user_id}"), key!("team-{team}"));
    cachify.update([&user, &team], db.rename("moved")).await
}
// ANCHOR_END: several

// ANCHOR: by_hand
async fn forget(cachify: &Cachify, user_id: i64) -> Result<(), Error> {
    match cachify.reset(&key!("name-{user_id}")).await {
        Err(error) if error.kind() == ErrorKind::Unconfirmed => {
            // It is queued and repeated until Redis acknowledges it. Until then, other processes
            // may still see the old value. Tell the user, or continue: there is nothing else to do.
            Ok(())
        }
        result => result,
    }
}
// ANCHOR_END: by_hand

// ANCHOR: in_flight
#[tokio::test]
async fn a_reset_beats_a_read_in_flight() {
    let cachify = Cachify::memory();
    let key = key!("name-7");

    // A read begins, and computes "old" ..
    let (started, has_started) = oneshot::channel();
    let (go_on, may_go_on) = oneshot::channel();
    let slow = {
        let entry = cachify.cached(&key);
        tokio::spawn(async move {
            let compute = async || {
                started.send(()).unwrap();
                may_go_on.await.unwrap();
                "old".to_owned()
            };
            entry.get_or_compute(compute).await
        })
    };
    has_started.await.unwrap();

    // .. meanwhile the key is reset ..
    cachify.reset(&key).await.unwrap();
    go_on.send(()).unwrap();

    // .. so the reader, who came before the reset, gets "old", but it is not stored.
    assert_eq!(slow.await.unwrap(), "old");
    assert_eq!(cachify.cached(&key).get::<String>().await.unwrap(), None);
}
// ANCHOR_END: in_flight

#[tokio::test]
async fn an_update_resets() {
    let (cachify, db) = (Cachify::memory(), Db::default());
    assert_eq!(name_of(&cachify, &db, 7).await, "");
    rename(&cachify, &db, 7, "Ann").await.unwrap();
    assert_eq!(name_of(&cachify, &db, 7).await, "Ann");
    forget(&cachify, 7).await.unwrap();

    let db = Arc::new(db);
    let rename = rename_to_the_end(cachify.clone(), db.clone(), 7, "Bob".into());
    rename.await.unwrap();
    assert_eq!(name_of(&cachify, &db, 7).await, "Bob");
}

#[tokio::test]
async fn an_update_resets_every_key_it_is_given() {
    let (cachify, db) = (Cachify::memory(), Db::default());
    let keys: [Key; 2] = [key!("user-7"), key!("team-3")];
    for key in &keys {
        cachify.cached(key).set(1_u8).await.unwrap();
    }
    move_to(&cachify, &db, 7, 3).await.unwrap();
    for key in &keys {
        assert_eq!(cachify.cached(key).get::<u8>().await.unwrap(), None);
    }
}

// ANCHOR: cancelled
#[tokio::test]
async fn an_update_whose_caller_goes_away_resets_too() {
    let store = Arc::new(Memory::default());
    let process = || Cachify::builder().backend(store.clone()).connect_lazy();
    let (one, another) = (process().unwrap(), process().unwrap());
    let key = key!("name-7");
    one.cached(&key).set("old".to_owned()).await.unwrap();

    // The database has committed, and the client disconnects before the answer.
    let never_answers = std::future::pending::<()>();
    let update = one.update(&key, never_answers);
    let gone = tokio::time::timeout(Duration::from_millis(1), update).await;
    assert!(gone.is_err());

    one.close(Duration::from_secs(1)).await.unwrap(); // waits for the late reset
    assert_eq!(another.cached(&key).get::<String>().await.unwrap(), None);
}
// ANCHOR_END: cancelled

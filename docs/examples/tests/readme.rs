//! The code of the repository's README. `tests/links.rs` compares the two.
#![allow(clippy::unwrap_used, clippy::unused_async, clippy::print_stderr)]

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde::{Deserialize, Serialize};

// ANCHOR: readme
use cachify_axum::{Cachify, cached, key, locked, once};

#[cached(key = "read_user-{user_id}", ttl = "5m")]
async fn read_user(db: &Db, user_id: i64) -> Result<Option<User>, DbError> {
    db.find(user_id).await
}

async fn rename(cachify: &Cachify, db: &Db, user_id: i64, name: &str) -> Result<(), DbError> {
    let update = db.rename(user_id, name);
    // Resets the cached user, even if the rename fails or the client disconnects.
    cachify.update(&key!("read_user-{user_id}"), update).await
}

#[locked(key = "charge-{order_id}", wait = "2s")]
async fn charge(db: &Db, order_id: u64) -> Result<u64, cachify_axum::Error> {
    // One at a time for each order, in all processes.
    Ok(db.charge(order_id).await)
}

#[once(key = "nightly-report", on_locked = (), on_error = |error| eprintln!("no report: {error}"))]
async fn nightly_report(db: &Db) {
    // Skipped while it is already running, here or elsewhere.
    db.report().await;
}
// ANCHOR_END: readme

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct User {
    name: String,
}

type DbError = std::fmt::Error;

#[derive(Default)]
struct Db {
    name: Mutex<String>,
    calls: AtomicUsize,
}

impl Db {
    async fn find(&self, _: i64) -> Result<Option<User>, DbError> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        let name = self.name.lock().unwrap().clone();
        Ok(Some(User { name }))
    }

    async fn rename(&self, _: i64, name: &str) -> Result<(), DbError> {
        name.clone_into(&mut self.name.lock().unwrap());
        Ok(())
    }

    async fn charge(&self, order_id: u64) -> u64 {
        order_id
    }

    async fn report(&self) {
        self.calls.fetch_add(1, Ordering::SeqCst);
    }
}

#[tokio::test]
async fn the_readme_does_what_it_says() {
    let (cachify, db) = (Cachify::memory(), Db::default());
    let test = async {
        for name in ["Ann", "Bob"] {
            rename(&cachify, &db, 7, name).await.unwrap();
            for _ in 0..2 {
                let user = read_user(&db, 7).await.unwrap().unwrap();
                assert_eq!(user.name, name);
            }
        }
        assert_eq!(db.calls.load(Ordering::SeqCst), 2);
        assert_eq!(charge(&db, 3).await.unwrap(), 3);
        {
            let _running = cachify.lock(&key!("nightly-report")).acquire().await;
            nightly_report(&db).await;
        }
        assert_eq!(db.calls.load(Ordering::SeqCst), 2);
    };
    cachify.scope(test).await;
}

//! The page on attributes.
#![allow(clippy::unused_async, clippy::unwrap_used, clippy::print_stdout)]

// ANCHOR: first
use cachify_core::{Cachify, cached};

#[cached(key = "read_user-{user_id}", ttl = "5m")]
async fn read_user(db: &Db, user_id: i64) -> Result<Option<User>, DbError> {
    db.find(user_id).await
}

async fn example(db: &Db) -> Result<(), Box<dyn std::error::Error>> {
    cachify_core::init(Cachify::connect("memory://").await?)?;

    read_user(db, 7).await?; // computed
    read_user(db, 7).await?; // hit
    read_user::reset(&7).await?; // takes only what the key names
    read_user(db, 7).await?; // computed
    Ok(())
}
// ANCHOR_END: first

// ANCHOR: companions
async fn companions(db: &Db) -> Result<(), cachify_core::Error> {
    let found: Option<Option<User>> = read_user::peek(&7).await?; // what is stored, if anything is
    println!("{found:?}, after {} reads", db.reads());
    read_user::set(&7, Some(User { id: 7 })).await?; // stores it without a computation
    read_user::reset(&7).await // removes it
}
// ANCHOR_END: companions

// ANCHOR: methods
struct Users {
    cachify: Cachify,
    db: Db,
}

impl Users {
    #[cached(key = "read_user-{user_id}", with = self.cachify)]
    async fn find(&self, user_id: i64) -> Result<Option<User>, DbError> {
        self.db.find(user_id).await
    }

    async fn rename(&self, user_id: i64) -> Result<(), cachify_core::Error> {
        // .. write to the database ..
        self.find_reset(&user_id).await
    }
}
// ANCHOR_END: methods

// ANCHOR: with
struct App {
    cachify: Cachify,
    db: Db,
}

#[cached(key = "count-{user_id}", with = app.cachify)]
async fn count(app: &App, user_id: i64) -> Result<usize, DbError> {
    Ok(app.db.find(user_id).await?.into_iter().count())
}

async fn forget(app: &App, user_id: i64) -> Result<(), cachify_core::Error> {
    count::reset(&app.cachify, &user_id).await // companions take the handle first
}
// ANCHOR_END: with

use std::sync::atomic::{AtomicUsize, Ordering};

use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct User {
    id: i64,
}

#[derive(Debug, Clone, Copy)]
struct DbError;

impl std::fmt::Display for DbError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the database failed")
    }
}

impl std::error::Error for DbError {}

#[derive(Default)]
struct Db(AtomicUsize);

impl Db {
    async fn find(&self, id: i64) -> Result<Option<User>, DbError> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Ok(Some(User { id }))
    }

    fn reads(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

#[tokio::test]
async fn a_function_is_cached_and_reset() {
    let db = Db::default();
    example(&db).await.unwrap();
    assert_eq!(db.reads(), 2);
    companions(&db).await.unwrap();
    assert_eq!(read_user::peek(&7).await.unwrap(), None);
}

#[tokio::test]
async fn methods_and_functions_name_their_handle() {
    let users = Users {
        cachify: Cachify::memory(),
        db: Db::default(),
    };
    users.find(7).await.unwrap();
    users.find(7).await.unwrap();
    users.rename(7).await.unwrap();
    users.find(7).await.unwrap();
    assert_eq!(users.db.reads(), 2);

    let app = App {
        cachify: Cachify::memory(),
        db: Db::default(),
    };
    assert_eq!(count(&app, 7).await.unwrap(), 1);
    forget(&app, 7).await.unwrap();
    count(&app, 7).await.unwrap();
    assert_eq!(app.db.reads(), 2);
}

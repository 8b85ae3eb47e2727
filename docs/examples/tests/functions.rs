//! The page on attributes.
#![allow(
    clippy::unused_async,
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr
)]
#![allow(dead_code)]

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
    read_user::reset(&7).await?; // takes only the arguments in the key
    read_user(db, 7).await?; // computed
    Ok(())
}
// ANCHOR_END: first

// ANCHOR: companions
async fn companions(db: &Db) -> Result<(), cachify_core::Error> {
    let found: Option<Option<User>> = read_user::get(&7).await?; // the stored value, if any
    println!("{found:?}, after {} reads", db.reads());
    read_user::set(&7, Some(User { id: 7 })).await?; // stores it without a computation
    read_user::reset(&7).await // removes it
}
// ANCHOR_END: companions

// ANCHOR: expressions
#[cached(
    key = "list_users-{page}-{order}",
    page = page.unwrap_or(1),
    order = order.as_deref().unwrap_or("name"),
)]
async fn list_users(page: Option<u32>, order: Option<String>) -> Vec<String> {
    vec![format!("page {page:?} by {order:?}")]
}

async fn after_an_insert() -> Result<(), cachify_core::Error> {
    list_users::reset(None, None).await // the first page
}
// ANCHOR_END: expressions

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

// ANCHOR: holds
use cachify_core::{Error, locked, once, pooled};

#[locked(key = "charge-{order.id}", wait = "2s")]
async fn charge(order: &Order) -> Result<u64, ChargeError> {
    Ok(order.total)
}

#[once(key = "daily-report", on_locked = (), on_error = |error| eprintln!("no report: {error}"))]
async fn daily_report() {
    // ..
}

#[pooled(key = "vendor-{tenant}", max = 10, on_full = Err(ChargeError::Busy))]
async fn ask_vendor(tenant: &str) -> Result<String, ChargeError> {
    Ok(tenant.to_owned())
}

enum ChargeError {
    Busy,
    Cachify(Error),
}

impl From<Error> for ChargeError {
    fn from(error: Error) -> Self {
        Self::Cachify(error)
    }
}
// ANCHOR_END: holds

// ANCHOR: inspect
async fn inspect(order: &Order) -> Result<(bool, usize), Error> {
    let is_charging = charge::is_locked(order).await?;
    let out = ask_vendor::in_use("acme").await?;
    charge::force_release(order).await?; // by force
    Ok((is_charging, out))
}
// ANCHOR_END: inspect

struct Order {
    id: u64,
    total: u64,
}

#[tokio::test]
async fn locks_once_and_pools() {
    let order = Order { id: 1, total: 5 };
    let test = async {
        assert!(matches!(charge(&order).await, Ok(5)));
        daily_report().await;
        assert!(ask_vendor("acme").await.is_ok());
        assert_eq!(inspect(&order).await.unwrap(), (false, 0));
        let cachify = Cachify::current().unwrap();
        let key = cachify_core::key!("vendor-acme");
        let _permit = cachify.pool(&key, 1).acquire().await.unwrap();
        assert!(ask_vendor("acme").await.is_ok());
        let key = cachify_core::key!("charge-1");
        let _guard = cachify.lock(&key).acquire().await.unwrap();
        assert!(charge::is_locked(&order).await.unwrap());
    };
    Cachify::memory().scope(test).await;
}

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
    assert_eq!(read_user::get(&7).await.unwrap(), None);
}

#[tokio::test]
async fn an_option_is_part_of_a_key_by_an_expression() {
    let test = async {
        let first = list_users(None, None).await;
        assert_eq!(list_users(Some(1), Some("name".to_owned())).await, first);
        after_an_insert().await.unwrap();
        assert_eq!(list_users::get(None, None).await.unwrap(), None);
    };
    Cachify::memory().scope(test).await;
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

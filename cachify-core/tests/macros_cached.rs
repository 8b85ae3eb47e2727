//! `#[cached]` on functions of all shapes, and its companions.
#![deny(warnings, missing_docs, unreachable_pub, clippy::pedantic)]
#![allow(clippy::expect_used, clippy::unwrap_used)]

use std::cell::Cell;
use std::fmt::Display;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use cachify_core::clock::Clock;
use cachify_core::{Cacheable, Cachify, Error, KeyPart, Ttl, cached};
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct User {
    id: i64,
    name: String,
}

impl User {
    fn new(id: i64, name: &str) -> Self {
        Self {
            id,
            name: name.to_owned(),
        }
    }
}

/// Counts its computations.
#[derive(Debug, Default)]
struct Db {
    reads: AtomicUsize,
}

impl Db {
    async fn read(&self) -> usize {
        tokio::task::yield_now().await;
        self.reads.fetch_add(1, Ordering::SeqCst) + 1
    }

    fn reads(&self) -> usize {
        self.reads.load(Ordering::SeqCst)
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct DbError(usize);

fn assert_send<T: Send>(value: T) -> T {
    value
}

fn manual() -> Cachify {
    Cachify::builder()
        .memory()
        .clock(Clock::test())
        .connect_lazy()
        .unwrap()
}

#[cached(key = "read_user-{user_id}", ttl = "5m")]
async fn read_user(db: &Db, user_id: i64) -> Result<Option<User>, DbError> {
    let reads = db.read().await;
    match user_id {
        0 => Ok(None),
        ..0 => Err(DbError(reads)),
        _ => Ok(Some(User::new(user_id, &reads.to_string()))),
    }
}

#[tokio::test]
async fn c5_py09_ok_and_none_are_cached_and_err_is_not() {
    let db = Db::default();
    let first = Some(User::new(7, "1"));
    Cachify::memory()
        .scope(async {
            assert_eq!(read_user(&db, 7).await, Ok(first.clone()));
            assert_eq!(read_user(&db, 7).await, Ok(first.clone()));
            assert_eq!(db.reads(), 1);

            assert_eq!(read_user(&db, 0).await, Ok(None));
            assert_eq!(read_user(&db, 0).await, Ok(None));
            assert_eq!(db.reads(), 2);

            assert_eq!(read_user(&db, -1).await, Err(DbError(3)));
            assert_eq!(read_user(&db, -1).await, Err(DbError(4)));
        })
        .await;
}

#[tokio::test]
async fn companions_reset_set_and_get() {
    let db = Db::default();
    let call = async {
        assert_eq!(read_user::get(&7).await?, None);
        read_user(&db, 7).await.unwrap();
        assert_eq!(read_user::get(&7).await?, Some(Some(User::new(7, "1"))));
        assert_eq!(read_user::get(&8).await?, None);

        read_user::reset(&7).await?;
        assert_eq!(read_user::get(&7).await?, None);

        read_user::set(&7, None).await?;
        assert_eq!(read_user(&db, 7).await, Ok(None));
        assert_eq!(db.reads(), 1);
        Ok::<(), Error>(())
    };
    Cachify::memory().scope(call).await.unwrap();
}

#[tokio::test]
async fn futures_are_send_and_can_be_spawned() {
    static DB: Db = Db {
        reads: AtomicUsize::new(0),
    };
    let cachify = Cachify::memory();
    let call = cachify.scope(assert_send(read_user(&DB, 7)));
    tokio::spawn(call).await.unwrap().unwrap();
    let call = cachify.scope(async { assert_send(read_user::reset(&7)).await });
    tokio::spawn(call).await.unwrap().unwrap();
    let db = Db::default();
    drop(assert_send(read_user(&db, 7)));
    drop(assert_send(read_user::set(&7, None)));
    drop(assert_send(read_user::get(&7)));
}

type Answer<T> = Result<T, DbError>;

#[cached(key = "alias-{id}")]
async fn alias(db: &Db, id: i64) -> Answer<i64> {
    let reads = db.read().await;
    if id < 0 { Err(DbError(reads)) } else { Ok(id) }
}

#[tokio::test]
async fn c5_an_alias_of_result_is_a_result() {
    let db = Db::default();
    let call = async {
        assert_eq!(alias(&db, -1).await, Err(DbError(1)));
        assert_eq!(alias(&db, -1).await, Err(DbError(2)));
        assert_eq!(alias(&db, 1).await, Ok(1));
        assert_eq!(alias(&db, 1).await, Ok(1));
        assert_eq!(db.reads(), 3);
        // Companions use the type as it is written.
        assert_eq!(alias::get(&1).await?, Some(Ok(1)));
        alias::set(&1, Ok(5)).await?;
        assert_eq!(alias(&db, 1).await, Ok(5));
        alias::set(&1, Err(DbError(0))).await?;
        assert_eq!(alias::get(&1).await?, None);
        Ok::<(), Error>(())
    };
    Cachify::memory().scope(call).await.unwrap();
}

/// Neither `Clone` nor `Sync`.
#[derive(Debug)]
struct Alone(Cell<usize>);

#[cached(key = "fails")]
async fn fails(db: &Db) -> Result<u8, DbError> {
    Err(DbError(db.read().await))
}

#[cached(key = "fails_alone")]
async fn fails_alone(db: &Db) -> Result<u8, Alone> {
    Err(Alone(Cell::new(db.read().await)))
}

#[tokio::test]
async fn c2_errors_that_are_clone_are_shared_with_those_who_waited() {
    let cachify = Cachify::memory();
    let db = Db::default();
    let calls = (0..4).map(|_| cachify.scope(fails(&db)));
    let results = futures_util::future::join_all(calls).await;
    assert_eq!(results, vec![Err(DbError(1)); 4]);

    let db = Db::default();
    let calls = (0..4).map(|_| cachify.scope(fails_alone(&db)));
    let results = futures_util::future::join_all(calls).await;
    let mut each: Vec<_> = results
        .into_iter()
        .map(|result| result.unwrap_err().0.get())
        .collect();
    each.sort_unstable();
    assert_eq!(each, [1, 2, 3, 4]);
}

/// Borrows from the caller.
#[derive(Debug, Clone)]
struct Borrowing<'a>(&'a str);

#[cached(key = "borrowing-{text}")]
async fn borrowing<'a>(text: &'a str) -> Result<usize, Borrowing<'a>> {
    if text.is_empty() {
        Err(Borrowing(text))
    } else {
        Ok(text.len())
    }
}

#[cached(key = "elided-{text}")]
async fn elided(text: &str) -> Result<usize, Borrowing<'_>> {
    if text.is_empty() {
        Err(Borrowing(text))
    } else {
        Ok(text.len())
    }
}

#[tokio::test]
async fn an_error_may_borrow() {
    Cachify::memory()
        .scope(async {
            let text = String::from("four");
            assert_eq!(borrowing(&text).await.unwrap(), 4);
            assert_eq!(elided(&text).await.unwrap(), 4);
            assert_eq!(borrowing("").await.unwrap_err().0, "");
            assert_eq!(borrowing::get("four").await.unwrap(), Some(4));
        })
        .await;
}

#[cached(key = "plain-{a}-{b}")]
async fn plain(b: &str, #[allow(unused_variables)] unused: Cell<u8>, mut a: String) -> String {
    a.push_str(b);
    a
}

#[cached(key = "unit")]
async fn unit(db: &Db) {
    db.read().await;
}

#[tokio::test]
async fn arguments_are_named_in_the_order_of_the_signature() {
    let cachify = Cachify::memory();
    let db = Db::default();
    let call = async {
        assert_eq!(plain("y", Cell::new(1), "x".to_owned()).await, "xy");
        assert_eq!(plain::get("y", "x").await.unwrap().as_deref(), Some("xy"));
        assert_eq!(plain::get("x", "y").await.unwrap(), None);
        unit(&db).await;
        unit(&db).await;
        assert_eq!(unit::get().await.unwrap(), Some(()));
    };
    cachify.scope(call).await;
    assert_eq!(db.reads(), 1);
}

/// Like the extractors of frameworks.
struct Path<T>(T);
struct Json<T> {
    inner: T,
}

#[cached(key = "pattern-{user_id}-{user.id}-{user.name}")]
async fn pattern(Path(user_id): Path<i64>, Json { inner: user }: Json<User>) -> i64 {
    user_id + user.id
}

#[tokio::test]
async fn a_placeholder_may_name_a_binding_in_a_pattern() {
    let call = async {
        let user = User::new(2, "Ann");
        assert_eq!(pattern(Path(1), Json { inner: user }).await, 3);
        assert_eq!(pattern::get(&1, &2, "Ann").await.unwrap(), Some(3));
        assert_eq!(pattern::get(&1, &2, "Bob").await.unwrap(), None);
    };
    Cachify::memory().scope(call).await;
}

#[cached(key = "generic-{key}-{other}", companion = generic_entry)]
async fn generic<'a, K, T: Cacheable, const N: usize>(
    key: &'a K,
    other: impl Display,
    values: [T; N],
) -> Option<T>
where
    K: KeyPart + Sync + ?Sized + 'a,
{
    let _ = (key, other, N);
    values.into_iter().next()
}

#[tokio::test]
async fn generics_and_lifetimes() {
    let call = async {
        assert_eq!(generic("k", 1, [5_u8, 6]).await, Some(5));
        assert_eq!(
            generic_entry::get::<str, u8>("k", &1).await.unwrap(),
            Some(Some(5))
        );
        generic_entry::reset("k", &1).await.unwrap();
        assert_eq!(generic("k", 1, [7_u8]).await, Some(7));
    };
    Cachify::memory().scope(call).await;
}

struct Repo<T> {
    cachify: Cachify,
    db: Db,
    tenant: T,
}

impl<T: KeyPart + Sync> Repo<T> {
    #[cached(key = "find-{self.tenant}-{id}", ttl = 60, with = self.cachify)]
    async fn find(&self, id: i64) -> Result<Option<User>, DbError> {
        self.db.read().await;
        Ok(Some(User::new(id, "Ann")))
    }

    #[cached(key = "take-{id}", with = self.cachify, companion = taken)]
    async fn take(self, id: i64) -> String {
        self.db.read().await;
        id.to_string()
    }
}

impl Repo<u8> {
    /// Has no `self`.
    #[cached(key = "total-{id}", method)]
    async fn total(id: i64) -> Result<i64, DbError> {
        Ok(id)
    }
}

#[tokio::test]
async fn py01_the_companions_of_a_method_use_its_handle() {
    let repo = Repo {
        cachify: Cachify::memory(),
        db: Db::default(),
        tenant: "acme",
    };
    assert_send(repo.find(1)).await.unwrap();
    repo.find(1).await.unwrap();
    assert_eq!(repo.db.reads(), 1);
    assert!(repo.find_get(&1).await.unwrap().is_some());
    repo.find_set(&1, None).await.unwrap();
    assert_eq!(repo.find(1).await, Ok(None));
    repo.find_reset(&1).await.unwrap();
    repo.find(1).await.unwrap();
    assert_eq!(repo.db.reads(), 2);

    repo.taken_set(&1, "set".to_owned()).await.unwrap();
    assert_eq!(repo.take(1).await, "set");

    Cachify::memory()
        .scope(async {
            assert_eq!(Repo::total(1).await, Ok(1));
            assert_eq!(Repo::total_get(&1).await.unwrap(), Some(1));
        })
        .await;
}

struct State {
    cachify: Cachify,
}

#[cached(key = "with-{id}", with = state.cachify)]
async fn with_state(state: State, id: i64) -> i64 {
    drop(state);
    id
}

static OWN: std::sync::LazyLock<Cachify> = std::sync::LazyLock::new(Cachify::memory);

#[cached(key = "own-{id}", with = *OWN)]
async fn with_own(id: i64) -> i64 {
    id
}

#[cached(key = "argument-{id}", with = cachify)]
async fn with_argument(cachify: &Cachify, id: i64) -> i64 {
    let _ = cachify;
    id
}

#[tokio::test]
async fn py01_the_companions_use_the_handle_that_the_macro_names() {
    let cachify = Cachify::memory();
    assert_eq!(
        with_state(
            State {
                cachify: cachify.clone()
            },
            1
        )
        .await,
        1
    );
    assert_eq!(with_state::get(&cachify, &1).await.unwrap(), Some(1));
    with_state::reset(&cachify, &1).await.unwrap();
    assert_eq!(with_state::get(&cachify, &1).await.unwrap(), None);

    assert_eq!(with_argument(&cachify, 1).await, 1);
    assert_eq!(with_argument::get(&cachify, &1).await.unwrap(), Some(1));

    assert_eq!(with_own(1).await, 1);
    assert_eq!(with_own::get(&1).await.unwrap(), Some(1));
}

#[cached(key = "short", ttl = "250ms", with = cachify)]
async fn short(cachify: &Cachify, db: &Db) -> usize {
    let _ = cachify;
    db.read().await
}

#[cached(key = "never", ttl = "never", with = cachify)]
async fn never(cachify: &Cachify, db: &Db) -> usize {
    let _ = cachify;
    db.read().await
}

#[cached(key = "expression-{id}", ttl = *ttl, jitter = 0.0, with = cachify)]
async fn expression(cachify: &Cachify, db: &Db, id: i64, ttl: &Duration) -> usize {
    let _ = (cachify, id);
    db.read().await
}

#[cached(
    key = "by_value",
    ttl_with = |user| if user.id == 1 { Ttl::NEVER } else { Ttl::from(Duration::from_secs(1)) },
    cache_if = |user| user.id != 0,
    with = cachify,
)]
async fn by_value(cachify: &Cachify, id: i64) -> Result<User, DbError> {
    let _ = cachify;
    Ok(User::new(id, ""))
}

#[tokio::test(start_paused = true)]
async fn c1_ttls_are_text_seconds_durations_or_decided_by_value() {
    let cachify = manual();
    let db = Db::default();
    assert_eq!(short(&cachify, &db).await, 1);
    assert_eq!(never(&cachify, &db).await, 2);
    let day = Duration::from_hours(24);
    assert_eq!(expression(&cachify, &db, 1, &day).await, 3);

    tokio::time::advance(Duration::from_millis(249)).await;
    assert_eq!(short(&cachify, &db).await, 1);
    tokio::time::advance(Duration::from_millis(1)).await;
    assert_eq!(short(&cachify, &db).await, 4);
    tokio::time::advance(Duration::from_hours(23)).await;
    assert_eq!(expression(&cachify, &db, 1, &day).await, 3);
    tokio::time::advance(Duration::from_hours(1)).await;
    assert_eq!(expression(&cachify, &db, 1, &day).await, 5);
    assert_eq!(never(&cachify, &db).await, 2);

    short::set(&cachify, 9).await.unwrap();
    tokio::time::advance(Duration::from_millis(250)).await;
    assert_eq!(short::get(&cachify).await.unwrap(), None);
}

#[tokio::test(start_paused = true)]
async fn c5_cache_if_and_ttl_with_decide_by_value() {
    let cachify = manual();
    by_value(&cachify, 0).await.unwrap();
    assert_eq!(by_value::get(&cachify).await.unwrap(), None);
    by_value(&cachify, 2).await.unwrap();
    assert_eq!(by_value(&cachify, 3).await.unwrap().id, 2);
    tokio::time::advance(Duration::from_secs(1)).await;
    by_value(&cachify, 1).await.unwrap();
    tokio::time::advance(Duration::from_hours(1)).await;
    assert_eq!(by_value(&cachify, 2).await.unwrap().id, 1);
    by_value::set(&cachify, User::new(0, "")).await.unwrap();
    assert_eq!(by_value::get(&cachify).await.unwrap(), None);
}

mod inner {
    use super::cached;

    #[cached(key = "imported-{id}")]
    pub(super) async fn imported(id: i64) -> i64 {
        id
    }

    #[cached(key = "hidden-{id}", companion = none, crate = "cachify_core")]
    pub(super) async fn hidden(id: i64) -> i64 {
        id
    }

    pub(super) mod hidden {
        pub(in super::super) const NAME: &str = "taken";
    }
}

#[tokio::test]
async fn one_import_brings_function_and_companions() {
    use inner::{hidden, imported};

    #[cached(key = "local-{id}")]
    async fn local(id: i64) -> i64 {
        id
    }

    let call = async {
        assert_eq!(imported(1).await, 1);
        assert_eq!(imported::get(&1).await.unwrap(), Some(1));
        assert_eq!(local(1).await, 1);
        assert_eq!(local::get(&1).await.unwrap(), Some(1));
        assert_eq!(hidden(1).await, 1);
        assert_eq!(hidden::NAME, "taken");
    };
    Cachify::memory().scope(call).await;
}

trait Store {
    async fn get(&self, id: i64) -> i64;
}

impl Store for Db {
    #[cached(key = "get-{id}", companion = none)]
    async fn get(&self, id: i64) -> i64 {
        self.read().await;
        id
    }
}

#[tokio::test]
async fn a_method_of_a_trait_goes_without_companions() {
    let db = Db::default();
    Cachify::memory()
        .scope(async {
            db.get(1).await;
            db.get(1).await;
        })
        .await;
    assert_eq!(db.reads(), 1);
}

#[tokio::test]
#[should_panic(expected = "no cachify handle: call `init(cachify)`")]
async fn without_a_handle_it_panics_and_says_what_to_call() {
    alias(&Db::default(), 1).await.unwrap();
}

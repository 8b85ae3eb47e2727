//! The page on several keys at once.
#![allow(clippy::unwrap_used, clippy::unused_async)]

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use cachify_core::{Cachify, Error, cached, key};
use futures_util::future::join_all;

// ANCHOR: reset
async fn close_account(cachify: &Cachify, user_id: i64, teams: &[i64]) -> Result<(), Error> {
    let mut keys = vec![key!("user-{user_id}"), key!("user-count")];
    keys.extend(teams.iter().map(|team| key!("team-{team}")));
    cachify.reset(&keys).await
}
// ANCHOR_END: reset

// ANCHOR: read
#[cached(key = "name-{id}", with = cachify)]
async fn name(cachify: &Cachify, db: &Db, id: u64) -> String {
    db.find(id).await
}

async fn names(cachify: &Cachify, db: &Db, ids: &[u64]) -> Vec<String> {
    join_all(ids.iter().map(|id| name(cachify, db, *id))).await
}
// ANCHOR_END: read

// ANCHOR: locks
async fn transfer<T>(
    cachify: &Cachify,
    accounts: [u64; 2],
    change: impl Future<Output = T>,
) -> Result<T, Error> {
    let (first, second) = (accounts[0].min(accounts[1]), accounts[0].max(accounts[1]));
    let wait = Duration::from_secs(2);
    let first = cachify.lock(&key!("account-{first}")).wait(wait);
    let second = cachify.lock(&key!("account-{second}")).wait(wait);
    first.run(second.run(change)).await?
}
// ANCHOR_END: locks

#[derive(Default)]
struct Db(AtomicUsize);

impl Db {
    async fn find(&self, id: u64) -> String {
        self.0.fetch_add(1, Ordering::SeqCst);
        format!("user {id}")
    }
}

#[tokio::test]
async fn all_keys_are_reset() {
    let cachify = Cachify::memory();
    let keys = [
        key!("user-7"),
        key!("user-count"),
        key!("team-1"),
        key!("team-2"),
    ];
    for key in &keys {
        cachify.cached(key).set(1_u8).await.unwrap();
    }
    close_account(&cachify, 7, &[1, 2]).await.unwrap();
    for key in &keys {
        assert_eq!(cachify.cached(key).get::<u8>().await.unwrap(), None);
    }
}

#[tokio::test]
async fn each_row_is_read_once() {
    let (cachify, db) = (Cachify::memory(), Db::default());
    let read = names(&cachify, &db, &[1, 2, 1]).await;
    assert_eq!(read, ["user 1", "user 2", "user 1"]);
    names(&cachify, &db, &[2, 3]).await;
    assert_eq!(db.0.load(Ordering::SeqCst), 3);
}

#[tokio::test(start_paused = true)]
async fn transfers_in_both_directions_do_not_block_each_other() {
    let cachify = Cachify::memory();
    let change = || tokio::time::sleep(Duration::from_millis(10));
    let transfers = [[1, 2], [2, 1], [1, 2], [2, 1]].map(|accounts| {
        // Each is its own task, as in a server.
        let (cachify, change) = (cachify.clone(), change());
        tokio::spawn(async move { transfer(&cachify, accounts, change).await })
    });
    for transfer in transfers {
        transfer.await.unwrap().unwrap();
    }
}

//! How do I cache in the methods of a repository?
//!
//! The repository owns the handle, so its callers know nothing of a cache, and nobody can change a row without resetting what is
//! cached of it.
#![allow(clippy::print_stdout)]

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use cachify_core::{Cachify, Error, cached, key};
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct User {
    id: i64,
    name: String,
}

// ANCHOR: repository
struct Users {
    cachify: Cachify,
    table: Table,
}

impl Users {
    #[cached(key = "user-{id}", ttl = "5m", with = self.cachify)]
    async fn find(&self, id: i64) -> Result<Option<User>, Error> {
        self.table.select(id).await
    }

    #[cached(key = "user_count", ttl = "1m", with = self.cachify)]
    async fn count(&self) -> Result<usize, Error> {
        self.table.count().await
    }

    /// Changes one entry: the user's.
    async fn rename(&self, id: i64, name: &str) -> Result<(), Error> {
        let change = self.table.upsert(id, name);
        self.cachify.update(&key!("user-{id}"), change).await
    }

    /// Changes two: the user's, of whom it may be cached that there is none, and the count.
    async fn create(&self, id: i64, name: &str) -> Result<(), Error> {
        let (user, count) = (key!("user-{id}"), key!("user_count"));
        let change = self.cachify.update(&user, self.table.upsert(id, name));
        self.cachify.update(&count, change).await
    }
}
// ANCHOR_END: repository

/// A database's table.
#[derive(Default)]
struct Table {
    rows: Mutex<BTreeMap<i64, String>>,
    reads: AtomicUsize,
}

#[allow(clippy::unused_async, reason = "as a database's driver is")]
impl Table {
    fn rows(&self) -> MutexGuard<'_, BTreeMap<i64, String>> {
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn select(&self, id: i64) -> Result<Option<User>, Error> {
        self.reads.fetch_add(1, Ordering::SeqCst);
        let name = self.rows().get(&id).cloned();
        Ok(name.map(|name| User { id, name }))
    }

    async fn count(&self) -> Result<usize, Error> {
        self.reads.fetch_add(1, Ordering::SeqCst);
        Ok(self.rows().len())
    }

    async fn upsert(&self, id: i64, name: &str) -> Result<(), Error> {
        self.rows().insert(id, name.to_owned());
        Ok(())
    }
}

#[tokio::main]
async fn main() -> Result<(), Error> {
    let url = std::env::var("CACHIFY_URL").unwrap_or_else(|_| "memory://".into());
    let users = Users {
        cachify: Cachify::connect(&url).await?,
        table: Table::default(),
    };
    users.create(1, "Ann").await?;
    println!("{:?}", users.find(1).await?);
    println!("{:?}", users.find(1).await?);
    users.rename(1, "Bob").await?;
    println!("{:?} of {}", users.find(1).await?, users.count().await?);
    println!("{} reads", users.table.reads.load(Ordering::SeqCst));
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn it_runs() {
        super::main().unwrap();
    }

    #[tokio::test]
    async fn what_changes_is_read_again_and_nothing_else() {
        let users = Users {
            cachify: Cachify::memory(),
            table: Table::default(),
        };
        // That there is nobody is cached, too.
        assert_eq!(users.find(1).await.unwrap(), None);
        assert_eq!(users.count().await.unwrap(), 0);
        users.create(1, "Ann").await.unwrap();
        assert_eq!(users.find(1).await.unwrap().unwrap().name, "Ann");
        assert_eq!(users.count().await.unwrap(), 1);

        users.rename(1, "Bob").await.unwrap();
        assert_eq!(users.find(1).await.unwrap().unwrap().name, "Bob");
        let reads = users.table.reads.load(Ordering::SeqCst);
        users.count().await.unwrap();
        users.find(1).await.unwrap();
        assert_eq!(users.table.reads.load(Ordering::SeqCst), reads);
    }
}

//! Caches single rows, and reads the missing ones with one query.
//!
//! This is a data loader, for GraphQL or any list of ids. Each row is an entry of its own and keeps
//! the promises of entries: a reset wins over a batch that is under way, and two lists that overlap
//! read the common rows once. The computations that start at one moment are collected and answered
//! by one query.
#![allow(clippy::print_stdout, clippy::unused_async)]

use std::collections::HashMap;
use std::mem;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use cachify_core::{Cachify, Error, key};
use futures_util::future::join_all;
use tokio::sync::oneshot;

// ANCHOR: load_many
async fn load_many(cachify: &Cachify, batch: &Batch, ids: &[u64]) -> Vec<Option<String>> {
    let loads = ids.iter().map(|&id| async move {
        let entry = cachify.cached(&key!("name-{id}"));
        entry.get_or_compute(|| batch.load(id)).await
    });
    join_all(loads).await
}
// ANCHOR_END: load_many

// ANCHOR: batch
/// The time for which ids are collected.
const MOMENT: Duration = Duration::from_millis(1);

type Asking = Vec<(u64, oneshot::Sender<Option<String>>)>;

/// Collects ids and reads their rows together. Clones share one batch.
#[derive(Clone, Default)]
struct Batch {
    asking: Arc<Mutex<Asking>>,
    db: Db,
}

impl Batch {
    async fn load(&self, id: u64) -> Option<String> {
        let (answer, row) = oneshot::channel();
        let is_first = {
            let mut asking = self.asking.lock().unwrap_or_else(PoisonError::into_inner);
            asking.push((id, answer));
            asking.len() == 1
        };
        if is_first {
            // Spawned, so the others get their rows even if the first caller goes away.
            tokio::spawn(self.clone().run());
        }
        row.await.ok().flatten()
    }

    async fn run(self) {
        tokio::time::sleep(MOMENT).await;
        let asking = mem::take(&mut *self.asking.lock().unwrap_or_else(PoisonError::into_inner));
        let ids: Vec<_> = asking.iter().map(|(id, _)| *id).collect();
        let mut rows = self.db.find_all(&ids).await;
        for (id, answer) in asking {
            // A closed channel means that the caller went away.
            let _ = answer.send(rows.remove(&id));
        }
    }
}
// ANCHOR_END: batch

/// A database that records its queries.
#[derive(Clone, Default)]
struct Db(Arc<Mutex<Vec<Vec<u64>>>>);

impl Db {
    /// `SELECT id, name FROM users WHERE id = ANY($1)`
    async fn find_all(&self, ids: &[u64]) -> HashMap<u64, String> {
        let mut queries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        queries.push(ids.to_vec());
        let known = ids.iter().filter(|id| **id < 100);
        known.map(|id| (*id, format!("user {id}"))).collect()
    }

    fn queries(&self) -> Vec<Vec<u64>> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

#[tokio::main]
async fn main() -> Result<(), Error> {
    let url = std::env::var("CACHIFY_URL").unwrap_or_else(|_| "memory://".into());
    let (cachify, batch) = (Cachify::connect(&url).await?, Batch::default());
    println!("{:?}", load_many(&cachify, &batch, &[1, 2, 3]).await);
    println!("{:?}", load_many(&cachify, &batch, &[2, 3, 4]).await);
    println!("queries: {:?}", batch.db.queries());
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

    #[tokio::test(start_paused = true)]
    async fn one_query_reads_what_is_missing() {
        let (cachify, batch) = (Cachify::memory(), Batch::default());
        let loaded = load_many(&cachify, &batch, &[1, 2, 100]).await;
        assert_eq!(
            loaded,
            [Some("user 1".to_owned()), Some("user 2".to_owned()), None]
        );
        load_many(&cachify, &batch, &[1, 2, 3, 100]).await;
        assert_eq!(batch.db.queries(), [vec![1, 2, 100], vec![3]]);
    }

    #[tokio::test(start_paused = true)]
    async fn two_lists_at_once_read_the_common_rows_once() {
        let (cachify, batch) = (Cachify::memory(), Batch::default());
        let one = load_many(&cachify, &batch, &[1, 2]);
        let other = load_many(&cachify, &batch, &[2, 3]);
        let (one, other) = tokio::join!(one, other);
        assert_eq!(one[1], other[0]);
        assert_eq!(batch.db.queries(), [vec![1, 2, 3]]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_reset_wins_over_a_batch_under_way() {
        let (cachify, batch) = (Cachify::memory(), Batch::default());
        let load = load_many(&cachify, &batch, &[1, 2]);
        let reset = async {
            tokio::task::yield_now().await;
            cachify.reset(&key!("name-1")).await.unwrap();
        };
        tokio::join!(load, reset);
        let stored = |id: u64| cachify.cached(&key!("name-{id}"));
        assert_eq!(stored(1).get::<Option<String>>().await.unwrap(), None);
        assert!(stored(2).get::<Option<String>>().await.unwrap().is_some());
    }
}

//! Runs a nightly job once, even though every replica starts it.
//!
//! `once` keeps the job from running twice at the same time. A row in the database keeps it from
//! running again on a replica whose clock is late. Do not keep such a row in a cache, which may
//! evict it. A job that fails leaves no row, and runs again at the next start.
#![allow(clippy::print_stdout)]

use cachify_core::{Cachify, key};
use sqlx::sqlite::{SqlitePool, SqlitePoolOptions};

type BoxError = Box<dyn std::error::Error + Send + Sync>;

// ANCHOR: nightly
#[derive(Debug, PartialEq)]
enum Outcome {
    Done,
    /// Another replica has run it, or is running it.
    Elsewhere,
}

/// Runs `job` once for each `day`.
async fn nightly(
    cachify: &Cachify,
    db: &SqlitePool,
    day: &str,
    job: impl Future<Output = Result<(), BoxError>>,
) -> Result<Outcome, BoxError> {
    let run = async {
        let done = sqlx::query("SELECT 1 FROM reports WHERE day = ?");
        if done.bind(day).fetch_optional(db).await?.is_some() {
            return Ok(Outcome::Elsewhere);
        }
        job.await?;
        let mark = sqlx::query("INSERT INTO reports (day) VALUES (?)");
        mark.bind(day).execute(db).await?;
        Ok::<_, BoxError>(Outcome::Done)
    };
    // The lock is released after the row is written.
    let ran = cachify.once(&key!("report-{day}")).run(run).await?;
    ran.unwrap_or(Ok(Outcome::Elsewhere))
}
// ANCHOR_END: nightly

/// A database in memory, which lives as long as its only connection.
async fn database() -> sqlx::Result<SqlitePool> {
    let pool = SqlitePoolOptions::new().max_connections(1);
    let db = pool.connect("sqlite::memory:").await?;
    let table = "CREATE TABLE reports (day TEXT PRIMARY KEY)";
    sqlx::query(table).execute(&db).await?;
    Ok(db)
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let url = std::env::var("CACHIFY_URL").unwrap_or_else(|_| "memory://".into());
    let cachify = Cachify::connect(&url).await?;
    let db = database().await?;
    for replica in 1..=3 {
        let job = async {
            println!("replica {replica} writes the report");
            Ok(())
        };
        let outcome = nightly(&cachify, &db, "2026-11-24", job).await?;
        println!("replica {replica}: {outcome:?}");
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use cachify_core::backend::memory::Memory;
    use cachify_core::{Error, ErrorKind};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use tokio::sync::Barrier;

    #[test]
    fn it_runs() {
        super::main().unwrap();
    }

    fn replicas(count: usize) -> Vec<Cachify> {
        let store = Arc::new(Memory::default());
        let replica = |_| Cachify::builder().backend(store.clone()).connect_lazy();
        (0..count).map(|number| replica(number).unwrap()).collect()
    }

    #[tokio::test]
    async fn one_replica_runs_whether_they_come_together_or_later() {
        let (replicas, db) = (replicas(5), database().await.unwrap());
        let runs = Arc::new(AtomicUsize::new(0));
        let start = Arc::new(Barrier::new(5));
        let calls = replicas.iter().cloned().map(|replica| {
            let (runs, start, db) = (Arc::clone(&runs), Arc::clone(&start), db.clone());
            tokio::spawn(async move {
                start.wait().await;
                let job = async {
                    runs.fetch_add(1, Ordering::SeqCst);
                    tokio::task::yield_now().await;
                    Ok(())
                };
                nightly(&replica, &db, "monday", job).await.unwrap()
            })
        });
        let outcomes = futures_util::future::join_all(calls).await;
        let done = outcomes
            .into_iter()
            .filter(|outcome| *outcome.as_ref().unwrap() == Outcome::Done);
        assert_eq!(done.count(), 1);

        let late = nightly(&replicas[4], &db, "monday", async { Ok(()) });
        assert_eq!(late.await.unwrap(), Outcome::Elsewhere);
        assert_eq!(runs.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn a_cache_that_evicts_everything_does_not_repeat_the_job() {
        let memory = Memory::builder().capacity(1).build();
        let cachify = Cachify::builder().backend(Arc::new(memory));
        let (cachify, db) = (cachify.connect_lazy().unwrap(), database().await.unwrap());
        for expected in [Outcome::Done, Outcome::Elsewhere] {
            let outcome = nightly(&cachify, &db, "monday", async { Ok(()) }).await;
            assert_eq!(outcome.unwrap(), expected);
            for other in 0..100 {
                let key = key!("other-{other}");
                cachify.cached(&key).set(other).await.unwrap();
            }
        }
    }

    #[tokio::test]
    async fn a_job_that_failed_runs_again() {
        let (replicas, db) = (replicas(2), database().await.unwrap());
        let fails = async { Err(Error::new(ErrorKind::Unavailable, "no paper").into()) };
        nightly(&replicas[0], &db, "monday", fails)
            .await
            .unwrap_err();
        let outcome = nightly(&replicas[1], &db, "monday", async { Ok(()) }).await;
        assert_eq!(outcome.unwrap(), Outcome::Done);
    }
}

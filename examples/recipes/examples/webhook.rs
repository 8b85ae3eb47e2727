//! Processes each event once, even if it is delivered several times.
//!
//! Senders repeat an event until they get a 200, and sometimes after that. The id of the event is
//! written in the transaction of its work: both are committed, or neither is. `once` skips a second
//! delivery while the first one is being processed.
#![allow(clippy::print_stdout)]

use cachify_core::{Cachify, key};
use sqlx::sqlite::{SqliteConnection, SqlitePool, SqlitePoolOptions};

type BoxError = Box<dyn std::error::Error + Send + Sync>;

// ANCHOR: receive
#[derive(Debug, PartialEq)]
enum Answer {
    /// 200
    Processed,
    /// 200: there is nothing left to do.
    Known,
    /// 409: it is being processed. The sender will try again.
    InProgress,
    /// 503: it was not processed. The sender will try again.
    Unavailable,
}

async fn receive(
    cachify: &Cachify,
    db: &SqlitePool,
    event_id: &str,
    work: impl AsyncFnOnce(&mut SqliteConnection) -> Result<(), BoxError>,
) -> Answer {
    let run = async {
        let mut transaction = db.begin().await?;
        let mark = sqlx::query("INSERT OR IGNORE INTO events (id) VALUES (?)").bind(event_id);
        if mark.execute(&mut *transaction).await?.rows_affected() == 0 {
            return Ok(Answer::Known);
        }
        work(&mut transaction).await?;
        transaction.commit().await?;
        Ok::<_, BoxError>(Answer::Processed)
    };
    match cachify.once(&key!("event-{event_id}")).run(run).await {
        Ok(Some(Ok(answer))) => answer,
        Ok(None) => Answer::InProgress,
        Ok(Some(Err(error))) => unavailable(&*error),
        Err(error) => unavailable(&error),
    }
}

fn unavailable(error: &dyn std::error::Error) -> Answer {
    println!("not processed: {error}");
    Answer::Unavailable
}
// ANCHOR_END: receive

/// A database in memory, which lives as long as its only connection.
async fn database() -> sqlx::Result<SqlitePool> {
    let pool = SqlitePoolOptions::new().max_connections(1);
    let db = pool.connect("sqlite::memory:").await?;
    for table in [
        "CREATE TABLE events (id TEXT PRIMARY KEY)",
        "CREATE TABLE payments (event TEXT NOT NULL)",
    ] {
        sqlx::query(table).execute(&db).await?;
    }
    Ok(db)
}

async fn pay(db: &mut SqliteConnection, event_id: &str) -> Result<(), BoxError> {
    let pay = sqlx::query("INSERT INTO payments (event) VALUES (?)");
    pay.bind(event_id).execute(db).await?;
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let url = std::env::var("CACHIFY_URL").unwrap_or_else(|_| "memory://".into());
    let (cachify, db) = (Cachify::connect(&url).await?, database().await?);
    for event_id in ["paid-1", "paid-1", "paid-2"] {
        let work = async |db: &mut SqliteConnection| pay(db, event_id).await;
        println!(
            "{event_id}: {:?}",
            receive(&cachify, &db, event_id, work).await
        );
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use cachify_core::backend::memory::Memory;
    use cachify_core::testing::{Fault, Faulty};
    use std::sync::Arc;
    use tokio::sync::Notify;

    #[test]
    fn it_runs() {
        super::main().unwrap();
    }

    async fn payments(db: &SqlitePool) -> i64 {
        let count = sqlx::query_scalar("SELECT COUNT(*) FROM payments");
        count.fetch_one(db).await.unwrap()
    }

    #[tokio::test]
    async fn an_event_is_processed_once() {
        let (cachify, db) = (Cachify::memory(), database().await.unwrap());
        let (begun, go_on) = (Notify::new(), Notify::new());
        let work = async |db: &mut SqliteConnection| {
            pay(db, "paid-1").await?;
            begun.notify_one();
            go_on.notified().await;
            Ok(())
        };
        let second = async {
            begun.notified().await;
            let second = receive(&cachify, &db, "paid-1", work).await;
            go_on.notify_one();
            second
        };
        let first = receive(&cachify, &db, "paid-1", work);
        let answers = tokio::join!(first, second);
        assert_eq!(answers, (Answer::Processed, Answer::InProgress));
        let third = receive(&cachify, &db, "paid-1", work).await;
        assert_eq!(third, Answer::Known);
        assert_eq!(payments(&db).await, 1);
    }

    #[tokio::test]
    async fn a_cache_that_evicts_everything_does_not_repeat_an_event() {
        let memory = Memory::builder().capacity(1).build();
        let cachify = Cachify::builder().backend(Arc::new(memory));
        let (cachify, db) = (cachify.connect_lazy().unwrap(), database().await.unwrap());
        for expected in [Answer::Processed, Answer::Known] {
            for event in 0..100 {
                let event_id = event.to_string();
                let work = async |db: &mut SqliteConnection| pay(db, &event_id).await;
                let answer = receive(&cachify, &db, &event_id, work).await;
                assert_eq!(answer, expected);
            }
        }
        assert_eq!(payments(&db).await, 100);
    }

    #[tokio::test]
    async fn an_event_whose_work_failed_is_processed_again() {
        let (cachify, db) = (Cachify::memory(), database().await.unwrap());
        let fails = async |db: &mut SqliteConnection| {
            pay(db, "paid-1").await?;
            Err("no money".into())
        };
        let answer = receive(&cachify, &db, "paid-1", fails).await;
        assert_eq!(answer, Answer::Unavailable);
        assert_eq!(payments(&db).await, 0);
        let works = async |db: &mut SqliteConnection| pay(db, "paid-1").await;
        let answer = receive(&cachify, &db, "paid-1", works).await;
        assert_eq!(answer, Answer::Processed);
    }

    #[tokio::test]
    async fn nothing_is_processed_while_the_lock_cannot_be_had() {
        let (cachify, backend) = Faulty::wrap(&Cachify::memory());
        let db = database().await.unwrap();
        backend.fail_all(Fault::Refuse);
        let work = async |_: &mut SqliteConnection| panic!("not to be run");
        let answer = receive(&cachify, &db, "paid-1", work).await;
        assert_eq!(answer, Answer::Unavailable);
    }
}

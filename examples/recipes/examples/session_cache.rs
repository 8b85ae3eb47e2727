//! Caches login sessions without storing tokens in Redis.
//!
//! The key contains a hash of the token, so listing the keys is not enough to log in. An entry
//! lives as long as its session, but at most a minute. The absence of a session is kept for ten
//! seconds. Logging out resets the entry, so it takes effect everywhere at once.
#![allow(clippy::print_stdout, clippy::unused_async)]

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use cachify_core::{Cachify, Error, Key, key};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

// ANCHOR: session
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Session {
    user_id: i64,
    ends: SystemTime,
}

fn key_of(token: &str) -> Key {
    let hash = Sha256::digest(token);
    let hash = hash
        .iter()
        .fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"));
    key!("session-{hash}")
}

async fn session(cachify: &Cachify, db: &Db, token: &str) -> Option<Session> {
    let life = |found: &Option<Session>| match found {
        Some(session) => {
            let left = session.ends.duration_since(SystemTime::now());
            left.unwrap_or_default().min(Duration::from_mins(1))
        }
        None => Duration::from_secs(10),
    };
    let entry = cachify.cached(&key_of(token)).ttl_with(life);
    entry.get_or_compute(|| db.find(token)).await
}

async fn log_out(cachify: &Cachify, db: &Db, token: &str) -> Result<(), Error> {
    cachify.update(&key_of(token), db.remove(token)).await
}
// ANCHOR_END: session

#[derive(Clone, Default)]
struct Db {
    sessions: Arc<Mutex<HashMap<String, Session>>>,
    reads: Arc<AtomicUsize>,
}

impl Db {
    fn log_in(&self, token: &str, user_id: i64, life: Duration) {
        let ends = SystemTime::now() + life;
        let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        sessions.insert(token.to_owned(), Session { user_id, ends });
    }

    async fn find(&self, token: &str) -> Option<Session> {
        self.reads.fetch_add(1, Ordering::SeqCst);
        let sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        sessions.get(token).cloned()
    }

    async fn remove(&self, token: &str) -> Result<(), Error> {
        let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        sessions.remove(token);
        Ok(())
    }
}

#[tokio::main]
async fn main() -> Result<(), Error> {
    let url = std::env::var("CACHIFY_URL").unwrap_or_else(|_| "memory://".into());
    let (cachify, db) = (Cachify::connect(&url).await?, Db::default());
    db.log_in("s3cret", 7, Duration::from_hours(1));
    for _ in 0..1000 {
        session(&cachify, &db, "s3cret").await;
    }
    println!("1000 requests, {} reads", db.reads.load(Ordering::SeqCst));
    log_out(&cachify, &db, "s3cret").await?;
    println!("logged out: {:?}", session(&cachify, &db, "s3cret").await);
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use cachify_core::clock::Clock;

    #[test]
    fn it_runs() {
        super::main().unwrap();
    }

    #[tokio::test]
    async fn a_thousand_requests_are_one_read_until_logging_out() {
        let (cachify, db) = (Cachify::memory(), Db::default());
        db.log_in("s3cret", 7, Duration::from_hours(1));
        for _ in 0..1000 {
            let found = session(&cachify, &db, "s3cret").await;
            assert_eq!(found.unwrap().user_id, 7);
        }
        assert_eq!(db.reads.load(Ordering::SeqCst), 1);
        log_out(&cachify, &db, "s3cret").await.unwrap();
        assert_eq!(session(&cachify, &db, "s3cret").await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn that_there_is_no_session_is_kept_for_ten_seconds() {
        let builder = Cachify::builder().clock(Clock::test());
        let (cachify, db) = (builder.connect_lazy().unwrap(), Db::default());
        assert_eq!(session(&cachify, &db, "none").await, None);
        db.log_in("none", 7, Duration::from_hours(1));
        tokio::time::advance(Duration::from_secs(10)).await;
        assert!(session(&cachify, &db, "none").await.is_some());
    }

    #[test]
    fn the_key_does_not_hold_the_token() {
        assert!(!key_of("s3cret").as_str().contains("s3cret"));
    }
}

//! The page on locks.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::sync::Mutex;
use std::time::Duration;

use cachify_core::{Cachify, Error, ErrorKind, key};

// ANCHOR: acquire
async fn charge(cachify: &Cachify, order_id: u64) -> Result<(), Error> {
    let lock = cachify.lock(&key!("charge-{order_id}"));
    let guard = lock.wait(Duration::from_secs(2)).acquire().await?;
    // .. no other holder is here, as far as a lease can promise ..
    guard.release().await
}
// ANCHOR_END: acquire

// ANCHOR: run
async fn settle(cachify: &Cachify, order_id: u64) -> Result<&'static str, Error> {
    cachify
        .lock(&key!("charge-{order_id}"))
        .wait(Duration::from_secs(2))
        .run(async {
            // Dropped at its next await if the lock is lost.
            "settled"
        })
        .await
}
// ANCHOR_END: run

// ANCHOR: handle
async fn answer(cachify: &Cachify, order_id: u64) -> String {
    match settle(cachify, order_id).await {
        Ok(done) => done.to_owned(),
        Err(error) => match error.kind() {
            ErrorKind::Held => format!("busy, try again in {:?}", error.retry_after()),
            ErrorKind::Lost => "interrupted: look at what was done".to_owned(),
            _ => format!("locks are away: {error}"), // nothing ran
        },
    }
}
// ANCHOR_END: handle

// ANCHOR: fenced
/// The resource that the lock protects: it checks the fencing token of each write.
#[derive(Default)]
struct Account(Mutex<(u64, i64)>);

impl Account {
    /// Refuses the writes of earlier holders once a later holder has written.
    fn write(&self, fence: u64, balance: i64) -> Result<(), &'static str> {
        let mut stored = self.0.lock().unwrap();
        if fence < stored.0 {
            return Err("a later holder of the lock was here");
        }
        *stored = (fence, balance);
        Ok(())
    }
}

#[tokio::test]
async fn a_holder_that_lost_the_lock_cannot_write() {
    let (cachify, account) = (Cachify::memory(), Account::default());
    let lock = cachify.lock(&key!("account-7"));

    let stopped = lock.acquire().await.unwrap(); // its machine is suspended, and its time runs out
    lock.force_release().await.unwrap(); // (simulated here by force)
    let next = lock.acquire().await.unwrap();

    account.write(next.fencing_token(), 50).unwrap();
    let late = account.write(stopped.fencing_token(), 100);
    assert_eq!(late, Err("a later holder of the lock was here"));
}
// ANCHOR_END: fenced

// ANCHOR: inspect
async fn inspect(cachify: &Cachify, order_id: u64) -> Result<(), Error> {
    let lock = cachify.lock(&key!("charge-{order_id}"));
    let status = lock.status().await?;
    if let Some(holder) = status.holder {
        println!("held by {}", holder.owner);
        println!("for {:?} unless renewed", holder.ttl_left);
    }
    println!("{} are waiting", status.waiters);
    lock.force_release().await?; // the holder learns of it at its next renewal
    Ok(())
}
// ANCHOR_END: inspect

#[tokio::test]
async fn a_lock_is_held_waited_for_and_given_back() {
    let cachify = Cachify::memory();
    charge(&cachify, 7).await.unwrap();
    assert_eq!(answer(&cachify, 7).await, "settled");
    assert!(!cachify.lock(&key!("charge-7")).is_locked().await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn who_waits_too_long_is_told_when_to_come_again() {
    let cachify = Cachify::memory();
    let guard = cachify.lock(&key!("charge-7")).acquire().await.unwrap();
    let busy = answer(&cachify, 7).await;
    assert!(busy.starts_with("busy, try again in Some("), "{busy}");
    inspect(&cachify, 7).await.unwrap();
    assert!(!cachify.lock(&key!("charge-7")).is_locked().await.unwrap());
    drop(guard);
}

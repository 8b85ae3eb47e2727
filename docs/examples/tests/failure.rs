//! The page on failure. Each row of its tables is a test.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::time::Duration;

use cachify_core::testing::{Fault, Faulty};
use cachify_core::{Cachify, ErrorKind, key};
use tokio::time::Instant;

const FAULTS: [Fault; 4] = [Fault::Refuse, Fault::Hang, Fault::LoseAnswer, Fault::Reject];
const BACKEND_TIMEOUT: Duration = Duration::from_millis(250);

/// Returns a handle that behaves as if over Redis, and the `Faulty` that breaks it.
fn broken(fault: Fault) -> (Cachify, Arc<Faulty>) {
    let (cachify, backend) = Faulty::wrap(&Cachify::memory());
    backend.fail_all(fault);
    (cachify, backend)
}

// ANCHOR: fail_open
#[tokio::test(start_paused = true)]
async fn a_cached_call_returns_what_it_computed_within_the_backend_timeout() {
    for fault in FAULTS {
        let (cachify, _) = broken(fault);
        let start = Instant::now();
        let value = cachify
            .cached(&key!("total"))
            .get_or_compute(async || 42)
            .await;
        assert_eq!(value, 42);
        assert!(
            start.elapsed() <= BACKEND_TIMEOUT,
            "{fault:?}: {:?}",
            start.elapsed()
        );
    }
}
// ANCHOR_END: fail_open

#[tokio::test(start_paused = true)]
async fn after_three_failures_calls_lose_no_time() {
    let (cachify, _) = broken(Fault::Hang);
    let call = async || {
        let start = Instant::now();
        let entry = cachify.cached(&key!("total"));
        assert_eq!(entry.get_or_compute(async || 42).await, 42);
        start.elapsed()
    };
    for _ in 0..3 {
        call().await;
    }
    assert_eq!(call().await, Duration::ZERO);
}

// ANCHOR: fail_closed
#[tokio::test(start_paused = true)]
async fn without_the_backend_nobody_gets_a_lock() {
    for fault in FAULTS {
        let (cachify, _) = broken(fault);
        let start = Instant::now();
        let lock = cachify.lock(&key!("charge-7")).acquire().await;
        assert_ne!(lock.unwrap_err().kind(), ErrorKind::Held);
        let once = cachify.once(&key!("report")).run(async { 1 }).await;
        once.unwrap_err(); // not `Ok(None)`: it is unknown whether another process runs it
        let permit = cachify.pool(&key!("vendor"), 10).acquire().await;
        assert_ne!(permit.unwrap_err().kind(), ErrorKind::Full);
        assert!(start.elapsed() <= 3 * BACKEND_TIMEOUT);
    }
}
// ANCHOR_END: fail_closed

// ANCHOR: late_reset
#[tokio::test(start_paused = true)]
async fn a_reset_that_was_not_acknowledged_is_repeated() {
    for fault in FAULTS {
        let (cachify, backend) = Faulty::wrap(&Cachify::memory());
        let entry = cachify.cached(&key!("name-7"));
        entry.set("old".to_owned()).await.unwrap();

        backend.fail_all(fault);
        let error = entry.reset().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unconfirmed);
        // Until it is acknowledged, this process does not read the old value.
        let read = entry.get_or_compute(async || "new".to_owned()).await;
        assert_eq!(read, "new");

        backend.heal();
        tokio::time::sleep(Duration::from_secs(2)).await; // retried at least every second
        assert_eq!(entry.get::<String>().await.unwrap(), None);
    }
}
// ANCHOR_END: late_reset

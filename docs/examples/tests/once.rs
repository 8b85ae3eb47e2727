//! The page on once.
#![allow(clippy::unwrap_used)]

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use cachify_core::{Cachify, Error, key};

// ANCHOR: run
async fn import(cachify: &Cachify, tenant: &str, run: impl Future<Output = usize>) -> String {
    match cachify.once(&key!("import-{tenant}")).run(run).await {
        Ok(Some(rows)) => format!("imported {rows} rows"),
        Ok(None) => "an import is running already".to_owned(),
        Err(error) => format!("nothing ran: {error}"),
    }
}
// ANCHOR_END: run

#[tokio::test]
async fn the_second_caller_is_told_at_once() {
    let cachify = Cachify::memory();
    let running = cachify.once(&key!("import-acme")).acquire().await.unwrap();
    let second = import(&cachify, "acme", async { 1 }).await;
    assert_eq!(second, "an import is running already");
    assert_eq!(
        import(&cachify, "other", async { 2 }).await,
        "imported 2 rows"
    );
    running.release().await.unwrap();
    assert_eq!(
        import(&cachify, "acme", async { 3 }).await,
        "imported 3 rows"
    );
}

// ANCHOR: per_day
/// Runs `report` once for each `day` in the whole fleet, and again if it failed.
async fn daily<E: From<Error>>(
    cachify: &Cachify,
    day: u32,
    report: impl Future<Output = Result<(), E>>,
) -> Result<bool, E> {
    let done = cachify
        .cached(&key!("report-done-{day}"))
        .ttl(Duration::from_hours(48));
    let run = async {
        if done.get::<()>().await?.is_some() {
            return Ok(false);
        }
        report.await?;
        done.set(()).await?; // before the lock is released
        Ok(true)
    };
    let ran = cachify.once(&key!("report-{day}")).run(run).await?;
    ran.unwrap_or(Ok(false))
}
// ANCHOR_END: per_day

#[tokio::test]
async fn a_marker_makes_it_once_per_day() {
    let cachify = Cachify::memory();
    let runs = AtomicUsize::new(0);
    let report = |ok: bool| {
        let runs = &runs;
        async move {
            runs.fetch_add(1, Ordering::SeqCst);
            if ok { Ok(()) } else { Err(Failed) }
        }
    };
    assert_eq!(daily(&cachify, 1, report(false)).await, Err(Failed));
    assert_eq!(daily(&cachify, 1, report(true)).await, Ok(true));
    assert_eq!(daily(&cachify, 1, report(true)).await, Ok(false));
    assert_eq!(daily(&cachify, 2, report(true)).await, Ok(true));
    assert_eq!(runs.load(Ordering::SeqCst), 3);
}

#[derive(Debug, PartialEq)]
struct Failed;

impl From<Error> for Failed {
    fn from(_: Error) -> Self {
        Self
    }
}

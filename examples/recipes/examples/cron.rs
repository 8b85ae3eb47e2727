//! How does a nightly job run once, although it is started on every replica?
//!
//! `once` keeps it from running twice at a time. A marker keeps it from running again when a replica's clock is late: it is looked for, and
//! set, under the lock. A job that fails leaves none, and is tried again at the next start.
#![allow(clippy::print_stdout)]

use std::time::Duration;

use cachify_core::{Cachify, Error, key};

// ANCHOR: nightly
#[derive(Debug, PartialEq)]
enum Outcome {
    Done,
    /// Somebody else did it, or is doing it.
    Theirs,
}

/// Runs `job` once for each `day`.
async fn nightly<E: From<Error>>(
    cachify: &Cachify,
    day: &str,
    job: impl Future<Output = Result<(), E>>,
) -> Result<Outcome, E> {
    let done = cachify
        .cached(&key!("report-done-{day}"))
        .ttl(Duration::from_hours(48));
    let run = async {
        if done.peek::<()>().await?.is_some() {
            return Ok(Outcome::Theirs);
        }
        job.await?;
        done.set(()).await?; // before the lock is given back
        Ok(Outcome::Done)
    };
    let ran = cachify.once(&key!("report-{day}")).run(run).await?;
    ran.unwrap_or(Ok(Outcome::Theirs))
}
// ANCHOR_END: nightly

#[tokio::main]
async fn main() -> Result<(), Error> {
    let url = std::env::var("CACHIFY_URL").unwrap_or_else(|_| "memory://".into());
    let cachify = Cachify::connect(&url).await?;
    // Over Redis, start the program several times instead.
    for replica in 1..=3 {
        let job = async {
            println!("replica {replica} writes the report");
            Ok::<_, Error>(())
        };
        let outcome = nightly(&cachify, "2026-11-24", job).await?;
        println!("replica {replica}: {outcome:?}");
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use cachify_core::ErrorKind;
    use cachify_core::backend::memory::Memory;
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
    async fn of_all_replicas_one_runs_whether_they_come_together_or_later() {
        let replicas = replicas(5);
        let runs = Arc::new(AtomicUsize::new(0));
        let start = Arc::new(Barrier::new(5));
        let calls = replicas.iter().cloned().map(|replica| {
            let (runs, start) = (Arc::clone(&runs), Arc::clone(&start));
            tokio::spawn(async move {
                start.wait().await;
                let job = async {
                    runs.fetch_add(1, Ordering::SeqCst);
                    tokio::task::yield_now().await;
                    Ok::<_, Error>(())
                };
                nightly(&replica, "monday", job).await.unwrap()
            })
        });
        let outcomes = futures_util::future::join_all(calls).await;
        let done = outcomes
            .into_iter()
            .filter(|outcome| *outcome.as_ref().unwrap() == Outcome::Done);
        assert_eq!(done.count(), 1);

        let late = nightly(&replicas[4], "monday", async { Ok::<_, Error>(()) });
        assert_eq!(late.await.unwrap(), Outcome::Theirs);
        assert_eq!(runs.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn what_failed_is_tried_again() {
        let replicas = replicas(2);
        let fails = async { Err(Error::new(ErrorKind::Unavailable, "no paper")) };
        nightly(&replicas[0], "monday", fails).await.unwrap_err();
        let works = async { Ok::<_, Error>(()) };
        let outcome = nightly(&replicas[1], "monday", works).await.unwrap();
        assert_eq!(outcome, Outcome::Done);
    }
}

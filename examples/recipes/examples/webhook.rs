//! How do I process each event once, although it is delivered several times?
//!
//! Senders repeat an event until they are answered 200, and sometimes after. The lock of the event keeps two deliveries apart, a marker tells
//! that it was processed. If the process dies between the work and the marker, the event is processed again: work that must not be
//! repeated needs a unique key of its own, where it writes.
#![allow(clippy::print_stdout)]

use std::time::Duration;

use cachify_core::{Cachify, Error, key};

// ANCHOR: receive
/// For how long a sender may repeat itself.
const MEMORY: Duration = Duration::from_hours(24 * 7);

#[derive(Debug, PartialEq)]
enum Answer {
    /// 200
    Processed,
    /// 200: there is nothing left to do.
    Known,
    /// 409: it is being processed. The sender will try again.
    InProgress,
    /// 503: whether it is known cannot be told. The sender will try again.
    Unavailable,
}

async fn receive(cachify: &Cachify, event_id: &str, work: impl Future<Output = ()>) -> Answer {
    let known = cachify.cached(&key!("event-{event_id}")).ttl(MEMORY);
    let run = async {
        if known.peek::<()>().await?.is_some() {
            return Ok(Answer::Known);
        }
        work.await;
        if let Err(error) = known.set(()).await {
            println!("processed, but not remembered: {error}");
        }
        Ok::<_, Error>(Answer::Processed)
    };
    match cachify.once(&key!("event-{event_id}")).run(run).await {
        Ok(Some(Ok(answer))) => answer,
        Ok(None) => Answer::InProgress,
        Ok(Some(Err(error))) | Err(error) => {
            println!("not processed: {error}");
            Answer::Unavailable
        }
    }
}
// ANCHOR_END: receive

#[tokio::main]
async fn main() -> Result<(), Error> {
    let url = std::env::var("CACHIFY_URL").unwrap_or_else(|_| "memory://".into());
    let cachify = Cachify::connect(&url).await?;
    for event_id in ["paid-1", "paid-1", "paid-2"] {
        let work = async { println!("{event_id}: money is counted") };
        println!("{event_id}: {:?}", receive(&cachify, event_id, work).await);
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use cachify_core::testing::{Fault, Faulty};
    use std::sync::atomic::{AtomicUsize, Ordering};
    use tokio::sync::Notify;

    #[test]
    fn it_runs() {
        super::main().unwrap();
    }

    #[tokio::test]
    async fn an_event_is_processed_once() {
        let cachify = Cachify::memory();
        let (runs, begun, go_on) = (AtomicUsize::new(0), Notify::new(), Notify::new());
        let work = || async {
            runs.fetch_add(1, Ordering::SeqCst);
            begun.notify_one();
            go_on.notified().await;
        };
        let second = async {
            begun.notified().await;
            let second = receive(&cachify, "paid-1", work()).await;
            go_on.notify_one();
            second
        };
        let first = receive(&cachify, "paid-1", work());
        let answers = tokio::join!(first, second);
        assert_eq!(answers, (Answer::Processed, Answer::InProgress));
        let third = receive(&cachify, "paid-1", work()).await;
        assert_eq!(third, Answer::Known);
        assert_eq!(runs.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn nothing_is_processed_while_nobody_can_tell() {
        let (cachify, backend) = Faulty::wrap(&Cachify::memory());
        backend.fail_all(Fault::Refuse);
        let work = async { panic!("not to be run") };
        let answer = receive(&cachify, "paid-1", work).await;
        assert_eq!(answer, Answer::Unavailable);
    }
}

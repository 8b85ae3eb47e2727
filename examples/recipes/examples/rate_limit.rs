//! Limits the calls per minute of the whole fleet.
//!
//! Each call takes a permit from a pool. The permit is returned one window later, not when the call
//! is done, so at most N calls begin in any window. If a process dies, its permits also expire
//! after the window.
#![allow(clippy::print_stdout)]

use std::time::Duration;

use cachify_core::{Cachify, Error, ErrorKind, key};

// ANCHOR: limit
const CALLS: u32 = 10;
const WINDOW: Duration = Duration::from_mins(1);

/// Runs `call`, or returns an error whose `retry_after` says when to try again.
async fn limited<T>(
    cachify: &Cachify,
    tenant: &str,
    call: impl Future<Output = T>,
) -> Result<T, Error> {
    let pool = cachify.pool(&key!("calls-{tenant}"), CALLS).ttl(WINDOW);
    let permit = pool.max_hold(WINDOW).acquire().await?;
    tokio::spawn(async move {
        tokio::time::sleep(WINDOW).await;
        drop(permit);
    });
    Ok(call.await)
}
// ANCHOR_END: limit

#[tokio::main]
async fn main() -> Result<(), Error> {
    let url = std::env::var("CACHIFY_URL").unwrap_or_else(|_| "memory://".into());
    let cachify = Cachify::connect(&url).await?;
    for number in 1..=CALLS + 2 {
        match limited(&cachify, "acme", async { "called" }).await {
            Ok(called) => println!("{number}: {called}"),
            Err(error) if error.kind() == ErrorKind::Full => {
                println!("{number}: come again in {:?}", error.retry_after());
            }
            Err(error) => return Err(error),
        }
    }
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

    #[tokio::test(start_paused = true)]
    async fn no_more_than_ten_begin_in_a_minute() {
        let builder = Cachify::builder().clock(Clock::test());
        let cachify = builder.connect_lazy().unwrap();
        let call = || limited(&cachify, "acme", async {});
        for _ in 0..CALLS {
            call().await.unwrap();
        }
        let error = call().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Full);
        assert!(error.retry_after().unwrap() <= WINDOW);
        limited(&cachify, "other", async {}).await.unwrap();

        tokio::time::sleep(WINDOW + Duration::from_secs(1)).await;
        call().await.unwrap();
    }
}

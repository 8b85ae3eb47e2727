//! Tests a cached function.
//!
//! Give each test its own handle with `scope`: concurrent tests then share nothing, and no test
//! sees another one's entries.
#![allow(clippy::print_stdout)]

use std::sync::atomic::{AtomicUsize, Ordering};

use cachify_core::{Cachify, Error, cached};

#[derive(Default)]
struct Rates {
    asked: AtomicUsize,
}

#[cached(key = "rate-{currency}", ttl = "1h")]
async fn rate(rates: &Rates, currency: &str) -> u32 {
    rates.asked.fetch_add(1, Ordering::SeqCst);
    tokio::task::yield_now().await;
    100 + u32::from(currency.as_bytes()[0])
}

async fn convert(rates: &Rates, amount: u32, currency: &str) -> u32 {
    amount * rate(rates, currency).await / 100
}

#[tokio::main]
async fn main() -> Result<(), Error> {
    let rates = Rates::default();
    let cachify = Cachify::connect("memory://").await?;
    let call = async {
        println!("{}", convert(&rates, 10, "EUR").await);
        println!("{}", convert(&rates, 20, "EUR").await);
    };
    cachify.scope(call).await;
    println!("asked {} times", rates.asked.load(Ordering::SeqCst));
    Ok(())
}

// ANCHOR: tests
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_rate_is_asked_for_once() {
        let rates = Rates::default();
        let test = async {
            convert(&rates, 10, "EUR").await;
            convert(&rates, 20, "EUR").await;
            assert_eq!(rates.asked.load(Ordering::SeqCst), 1);
        };
        Cachify::memory().scope(test).await;
    }

    #[tokio::test]
    async fn converting_uses_the_rate() {
        let rates = Rates::default();
        let test = async {
            rate::set("EUR", 250).await.unwrap(); // no need for a stub
            assert_eq!(convert(&rates, 10, "EUR").await, 25);
            assert_eq!(rates.asked.load(Ordering::SeqCst), 0);
        };
        Cachify::memory().scope(test).await;
    }

    #[tokio::test]
    async fn a_spawned_task_needs_a_scope_of_its_own() {
        let cachify = Cachify::memory();
        let inside = cachify.scope(async { Cachify::current().is_some() });
        let spawned = cachify.scope(async {
            let task = tokio::spawn(async { Cachify::current().is_some() });
            task.await.unwrap()
        });
        assert!(inside.await);
        assert!(!spawned.await);
    }
}
// ANCHOR_END: tests

#[cfg(test)]
#[test]
fn it_runs() {
    assert!(main().is_ok());
}

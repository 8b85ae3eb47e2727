//! The memory backend does not grow, and forgets in the background.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::time::Duration;

use cachify_core::backend::memory::Memory;
use cachify_core::clock::Clock;
use cachify_core::{Cachify, key};

fn over(memory: &Memory, clock: &Clock) -> Cachify {
    let builder = Cachify::builder().backend(Arc::new(memory.clone()));
    builder.clock(clock.clone()).connect_lazy().unwrap()
}

#[tokio::test(start_paused = true)]
async fn c11_py21_entries_are_bounded_by_number() {
    let clock = Clock::test();
    let memory = Memory::builder().capacity(100).clock(clock.clone()).build();
    let cachify = over(&memory, &clock);
    for id in 0..10_000 {
        cachify.cached(&key!("row-{id}")).set(id).await.unwrap();
        assert!(memory.len() <= 100);
    }
    assert!(memory.len() >= 90, "and the room is used");
}

#[tokio::test(start_paused = true)]
async fn c11_entries_are_bounded_by_bytes() {
    let clock = Clock::test();
    let memory = Memory::builder()
        .capacity_bytes(1 << 20)
        .clock(clock.clone())
        .build();
    let cachify = over(&memory, &clock);
    for id in 0..1000 {
        let value = "x".repeat(10_000);
        cachify.cached(&key!("page-{id}")).set(value).await.unwrap();
    }
    assert!((50..=104).contains(&memory.len()), "{}", memory.len());
}

#[tokio::test(start_paused = true)]
async fn c11_expired_entries_go_although_nobody_asks() {
    let clock = Clock::test();
    let memory = Memory::builder().clock(clock.clone()).build();
    let cachify = over(&memory, &clock);
    for id in 0..1000 {
        let cached = cachify.cached(&key!("row-{id}"));
        let ttl = Duration::from_secs(if id < 900 { 1 } else { 60 });
        cached.ttl(ttl).set(id).await.unwrap();
    }
    assert_eq!(memory.len(), 1000);
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(memory.len(), 100);
}

#[tokio::test(start_paused = true)]
async fn c11_py21_what_replaced_an_expired_entry_stays() {
    let clock = Clock::test();
    let memory = Memory::builder().clock(clock.clone()).build();
    let cachify = over(&memory, &clock);
    let cached = cachify.cached(&key!("row"));
    cached
        .clone()
        .ttl(Duration::from_secs(1))
        .set(1)
        .await
        .unwrap();
    cached
        .clone()
        .ttl(Duration::from_mins(1))
        .set(2)
        .await
        .unwrap();
    // The first one's time comes, and nothing of the second goes with it.
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(cached.peek::<i32>().await.unwrap(), Some(2));
}

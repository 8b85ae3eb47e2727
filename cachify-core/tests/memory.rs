//! The memory backend does not grow, and removes expired entries in the background.
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
    // The first entry expires, and the second one stays.
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(cached.get::<i32>().await.unwrap(), Some(2));
}

#[tokio::test(start_paused = true)]
async fn c3_a_computation_that_keeps_its_thread_busy_is_stored() {
    let clock = Clock::test();
    let memory = Memory::builder().clock(clock.clone()).build();
    let cachify = over(&memory, &clock);
    let cached = cachify.cached(&key!("slow"));
    // Longer than a lease, and nothing else runs meanwhile, not even a renewal.
    let value = cached.get_or_compute(async || {
        clock.advance(Duration::from_secs(10));
        7
    });
    assert_eq!(value.await, 7);
    assert_eq!(cached.get::<i32>().await.unwrap(), Some(7));

    let overtaken = cached.clone();
    cached.reset().await.unwrap();
    let value = cached.get_or_compute(async || {
        clock.advance(Duration::from_secs(10));
        overtaken.reset().await.unwrap();
        8
    });
    assert_eq!(value.await, 8);
    assert_eq!(
        cached.get::<i32>().await.unwrap(),
        None,
        "unless it was reset"
    );
}

#[tokio::test(start_paused = true)]
async fn c4_a_value_too_large_to_keep_leaves_no_old_one() {
    let clock = Clock::test();
    let memory = Memory::builder()
        .capacity_bytes(1000)
        .clock(clock.clone())
        .build();
    let cachify = over(&memory, &clock);
    let cached = cachify.cached(&key!("page"));
    cached.set("small".to_owned()).await.unwrap();
    assert!(cached.get::<String>().await.unwrap().is_some());
    cached.set("x".repeat(10_000)).await.unwrap();
    assert_eq!(cached.get::<String>().await.unwrap(), None);
}

#[test]
fn c11_any_capacity_is_just_a_number() {
    for capacity in [0, 1, usize::MAX] {
        let memory = Memory::builder().capacity(capacity).build();
        assert!(memory.is_empty());
    }
    for bytes in [0, 1, u64::MAX] {
        assert!(Memory::builder().capacity_bytes(bytes).build().is_empty());
    }
}

/// A value whose drop uses the cache that contained it.
#[derive(Clone, serde::Serialize, serde::Deserialize)]
struct Reenters {
    #[serde(skip)]
    memory: Option<Memory>,
}

impl Drop for Reenters {
    fn drop(&mut self) {
        if let Some(memory) = &self.memory {
            use cachify_core::backend::Backend;
            drop(memory.reset(&key!("row")));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn no_value_is_dropped_under_a_lock() {
    let clock = Clock::test();
    let memory = Memory::builder().clock(clock.clone()).build();
    let cachify = over(&memory, &clock);
    let cached = cachify.cached(&key!("row"));
    let value = || Reenters {
        memory: Some(memory.clone()),
    };
    for _ in 0..3 {
        cached.set(value()).await.unwrap();
    }
    cached.reset().await.unwrap();
    cached.get_or_compute(async || value()).await;
}

#[tokio::test(start_paused = true)]
async fn c11_what_is_counted_is_what_is_there() {
    let clock = Clock::test();
    let memory = Memory::builder()
        .capacity(100)
        .capacity_bytes(1 << 20)
        .clock(clock.clone())
        .build();
    let cachify = over(&memory, &clock);
    for n in 0..5000_u64 {
        let cached = cachify.cached(&key!("row-{id}", id = n % 150));
        let cached = cached.ttl(Duration::from_secs(1 + n % 7));
        match n % 10 {
            0 => cached.reset().await.unwrap(),
            1 => {
                cached.get_or_compute(async || vec![1_u8; 9]).await;
            }
            2 => cached.set(vec![1_u8; 2 << 20]).await.unwrap(),
            _ => cached.set(vec![1_u8; 9]).await.unwrap(),
        }
        if n % 100 == 0 {
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }
    assert!(memory.len() > 50 && memory.bytes() > 50 * 256);
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!((memory.len(), memory.bytes()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn c11_a_value_weighs_what_its_caller_says() {
    let clock = Clock::test();
    let memory = Memory::builder()
        .capacity_bytes(16 << 20)
        .clock(clock.clone())
        .build();
    let cachify = over(&memory, &clock);
    let key = key!("logo");
    let cached = cachify.cached(&key).weigh(|_: &i32| 1 << 20);
    cached.set(1).await.unwrap();
    assert!(memory.bytes() > 1 << 20, "{}", memory.bytes());
    cached.reset().await.unwrap();
    cached.get_or_compute(async || 1).await;
    assert!(memory.bytes() > 1 << 20, "{}", memory.bytes());
    // More than one part of the table holds.
    let cached = cachify.cached(&key).weigh(|_: &i32| 9 << 20);
    cached.set(2).await.unwrap();
    assert_eq!(cached.get::<i32>().await.unwrap(), None);
    assert_eq!(memory.bytes(), 0);
}

#[test]
fn c11_without_a_runtime_what_expired_gives_way_to_what_has_not() {
    use cachify_core::backend::{Backend, Begin, Claim, NewEntry, Node, Typed};

    let node = Node::new("test");
    let memory = Memory::builder().capacity(10_000).build();
    let value: Typed = Arc::new(1);
    let set = |id: usize, ttl: Duration| {
        let entry = NewEntry::new(
            &value,
            &|_| unreachable!("memory keeps values"),
            &|| 4,
            ttl.into(),
        );
        let (key, token) = (key!("row-{id}"), node.token());
        let begin = Begin::new(&token, Duration::from_secs(3), Claim::Overwrite);
        // Memory does its work before its futures are polled.
        drop(memory.begin(&key, begin));
        drop(memory.fill(&key, &token, entry));
    };
    for id in 0..5000 {
        set(id, Duration::from_millis(1));
    }
    std::thread::sleep(Duration::from_millis(2));
    for id in 5000..10_000 {
        set(id, Duration::from_hours(1));
    }
    assert!(memory.len() < 6000, "{}", memory.len());
}

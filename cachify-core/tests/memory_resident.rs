//! The memory backend's share of the process's memory. A single test, since it measures the whole
//! process.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use cachify_core::backend::memory::Memory;
use cachify_core::{Cachify, key};

const MIB: usize = 1 << 20;

/// Returns the resident memory of this process, in bytes.
fn resident() -> usize {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: usize = pages.split(' ').nth(1).unwrap().parse().unwrap();
    pages * 4096
}

fn over(memory: &Memory) -> Cachify {
    let builder = Cachify::builder().backend(Arc::new(memory.clone()));
    builder.connect_lazy().unwrap()
}

fn bytes(memory: &Memory) -> usize {
    usize::try_from(memory.bytes()).unwrap()
}

#[tokio::test]
async fn c11_memory_is_flat_however_many_keys_there_are() {
    // Small values, so the bookkeeping dominates.
    let before = resident();
    let memory = Memory::builder()
        .capacity(usize::MAX)
        .capacity_bytes(64 << 20)
        .build();
    let cachify = over(&memory);
    for id in 0..500_000 {
        cachify.cached(&key!("row-{id}")).set(id).await.unwrap();
    }
    assert!(
        (56 * MIB..=64 * MIB).contains(&bytes(&memory)),
        "{}",
        memory.bytes()
    );
    let grown = resident().saturating_sub(before) / MIB;
    assert!(grown < 80, "{grown} MiB");
    drop((cachify, memory));

    // Large values, with the default capacity: 3 GB are stored in all.
    let before = resident();
    let memory = Memory::default();
    let cachify = over(&memory);
    let mut most = 0;
    for id in 0..30_000 {
        let cached = cachify.cached(&key!("page-{id}"));
        cached.set("x".repeat(100_000)).await.unwrap();
        if id % 100 == 0 {
            most = most.max(resident().saturating_sub(before) / MIB);
        }
    }
    assert!(
        (200 * MIB..=256 * MIB).contains(&bytes(&memory)),
        "{}",
        memory.bytes()
    );
    assert!((2000..=2684).contains(&memory.len()), "{}", memory.len());
    assert!(most < 320, "{most} MiB");
}

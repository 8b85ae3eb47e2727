//! A process with memory in front of Redis.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used)]

use std::sync::Arc;
use std::time::Duration;

use cachify_core::backend::Backend;
use cachify_core::backend::memory::Memory;
use cachify_core::backend::redis::RedisOptions;
use cachify_core::backend::tiered::{TierOptions, Tiered};
use cachify_core::clock::Clock;
use cachify_core::{Cachify, Key};

use crate::common::{SECOND, until};

/// Longer than any test waits for an answer.
const PATIENCE: Duration = Duration::from_secs(9);

pub struct Tier {
    pub backend: Arc<Tiered>,
    pub cachify: Cachify,
}

impl Tier {
    /// Connects a handle that is up, with the default bound of a second.
    pub async fn connect(url: &str) -> Self {
        Self::bound(url, SECOND).await
    }

    pub async fn bound(url: &str, bound: Duration) -> Self {
        let options = TierOptions::default().staleness(bound);
        let tier = Self::lazy(url, options, Clock::default());
        tier.backend.check().await.unwrap();
        tier
    }

    pub fn lazy(url: &str, options: TierOptions, clock: Clock) -> Self {
        let redis = RedisOptions::new(url)
            .prefix("test")
            .backend_timeout(PATIENCE)
            .clock(clock.clone());
        let backend = Arc::new(Tiered::lazy(redis, Memory::builder(), options).unwrap());
        let cachify = Cachify::builder()
            .backend(backend.clone())
            .backend_timeout(PATIENCE)
            .clock(clock)
            .connect_lazy()
            .unwrap();
        Self { backend, cachify }
    }

    /// Returns whether a read finds the entry in memory.
    pub fn has(&self, key: &Key) -> bool {
        self.backend.local(key).is_some()
    }

    /// Reads or stores the entry until memory has it.
    pub async fn copy(&self, key: &Key, value: &str) {
        until("memory has it", async || {
            let cached = self.cachify.cached(key);
            cached.get_or_compute(async || value.to_owned()).await;
            self.has(key)
        })
        .await;
    }
}

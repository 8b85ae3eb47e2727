//! Tiered processes whose resets wait for one another.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::time::timeout;

use crate::backend::memory::Memory;
use crate::backend::redis::RedisOptions;
use crate::backend::tiered::{TierOptions, Tiered};
use crate::backend::{
    Acquire, Acquired, Backend, Begin, Begun, BoxFuture, Claim, Found, Inspection, Kept, NewEntry,
    Shard, Signals, Slot, Token, Typed,
};
use crate::clock::Moment;
use crate::{Cachify, Error, Key};

/// Short, so that a reset does not wait for long.
const STALENESS: Duration = Duration::from_millis(30);

/// The processes of a test over one Redis.
pub(super) struct Fleet {
    url: String,
    prefix: String,
    tiers: Tiers,
}

type Tiers = Arc<Mutex<Vec<Weak<Tiered>>>>;

impl Fleet {
    pub(super) fn new(url: &str) -> Self {
        Self {
            url: url.to_owned(),
            prefix: format!("fleet-{:016x}", fastrand::u64(..)),
            tiers: Tiers::default(),
        }
    }

    /// Creates another process.
    pub(super) fn join(&self) -> Result<Cachify, Error> {
        let (url, prefix) = (self.url.as_str(), self.prefix.as_str());
        let settings = Cachify::builder()
            .redis(url)
            .prefix(prefix)
            .connect_lazy()?;
        let engine = &settings.inner.engine;
        let options = RedisOptions::new(url)
            .prefix(prefix)
            .node(engine.node.clone());
        let tier = TierOptions::default().staleness(STALENESS);
        let tier = Arc::new(Tiered::lazy(options, Memory::builder(), tier)?);
        lock(&self.tiers).push(Arc::downgrade(&tier));
        let member = Arc::new(Member {
            tier,
            tiers: Arc::clone(&self.tiers),
        });
        Ok(Cachify::over(
            member,
            engine.settings.clone(),
            engine.node.clone(),
            engine.clock.clone(),
        ))
    }
}

/// A process of a fleet. Its resets return once all others have heard of them.
struct Member {
    tier: Arc<Tiered>,
    tiers: Tiers,
}

impl Member {
    async fn settled(&self) {
        let tiers: Vec<_> = lock(&self.tiers).iter().filter_map(Weak::upgrade).collect();
        for tier in tiers {
            // Once memory is trusted again, all words from before were heard.
            while tier.is_trusted() && timeout(STALENESS, tier.heard()).await.is_err() {}
        }
    }
}

fn lock(tiers: &Tiers) -> MutexGuard<'_, Vec<Weak<Tiered>>> {
    tiers.lock().unwrap_or_else(PoisonError::into_inner)
}

impl fmt::Debug for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.tier.fmt(f)
    }
}

impl Backend for Member {
    fn local(&self, key: &Key) -> Option<Typed> {
        self.tier.local(key)
    }

    fn now(&self, key: &Key) -> Moment {
        self.tier.now(key)
    }

    fn shard(&self, key: &Key) -> Shard {
        self.tier.shard(key)
    }

    fn signals(&self) -> &Signals {
        self.tier.signals()
    }

    fn get<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Result<Option<Found>, Error>> {
        self.tier.get(key)
    }

    fn begin<'a>(&'a self, key: &'a Key, begin: Begin<'a>) -> BoxFuture<'a, Result<Begun, Error>> {
        Box::pin(async move {
            let begun = self.tier.begin(key, begin).await;
            if begin.claim == Claim::Overwrite {
                self.settled().await;
            }
            begun
        })
    }

    fn fill<'a>(
        &'a self,
        key: &'a Key,
        token: &'a Token,
        entry: NewEntry<'a>,
    ) -> BoxFuture<'a, Result<bool, Error>> {
        self.tier.fill(key, token, entry)
    }

    fn release_lease<'a>(
        &'a self,
        key: &'a Key,
        token: &'a Token,
    ) -> BoxFuture<'a, Result<bool, Error>> {
        self.tier.release_lease(key, token)
    }

    fn extend_lease<'a>(
        &'a self,
        key: &'a Key,
        token: &'a Token,
        ttl: Duration,
    ) -> BoxFuture<'a, Result<bool, Error>> {
        self.tier.extend_lease(key, token, ttl)
    }

    fn reset<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move {
            let result = self.tier.reset(key).await;
            self.settled().await;
            result
        })
    }

    fn expire<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move {
            let result = self.tier.expire(key).await;
            self.settled().await;
            result
        })
    }

    fn keep(&self, key: &Key, kept: Kept<'_>) {
        self.tier.keep(key, kept);
    }

    fn acquire<'a>(
        &'a self,
        slot: &'a Slot,
        acquire: Acquire<'a>,
    ) -> BoxFuture<'a, Result<Acquired, Error>> {
        self.tier.acquire(slot, acquire)
    }

    fn extend<'a>(
        &'a self,
        slot: &'a Slot,
        token: &'a Token,
        ttl: Duration,
    ) -> BoxFuture<'a, Result<bool, Error>> {
        self.tier.extend(slot, token, ttl)
    }

    fn release<'a>(
        &'a self,
        slot: &'a Slot,
        token: &'a Token,
    ) -> BoxFuture<'a, Result<bool, Error>> {
        self.tier.release(slot, token)
    }

    fn evict<'a>(&'a self, slot: &'a Slot) -> BoxFuture<'a, Result<bool, Error>> {
        self.tier.evict(slot)
    }

    fn inspect<'a>(&'a self, slot: &'a Slot) -> BoxFuture<'a, Result<Inspection, Error>> {
        self.tier.inspect(slot)
    }

    fn check(&self) -> BoxFuture<'_, Result<(), Error>> {
        self.tier.check()
    }

    fn watch(&self) -> BoxFuture<'_, Result<(), Error>> {
        self.tier.watch()
    }

    fn probe(&self, shard: Shard) -> BoxFuture<'_, Result<(), Error>> {
        self.tier.probe(shard)
    }
}

//! [`Tiered`], the backend over Redis with copies of entries in memory.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::near::Near;
use super::options::TierOptions;
use crate::backend::memory::MemoryBuilder;
use crate::backend::redis::{Redis, RedisOptions};
use crate::backend::{
    Acquire, Acquired, Backend, Begin, Begun, BoxFuture, Claim, Found, Inspection, Kept, Mark,
    NewEntry, Shard, Signals, Slot, Token, Typed,
};
use crate::clock::Moment;
use crate::observe::{self, Source};
use crate::{Error, ErrorKind, Key};

/// The backend that has memory in front of Redis.
pub struct Tiered {
    redis: Redis,
    near: Arc<Near>,
}

impl Tiered {
    /// Creates a backend that connects when it is first used. `memory` sets the size of the memory
    /// in front.
    ///
    /// # Errors
    ///
    /// [`Configuration`](ErrorKind::Configuration) if the URL cannot be parsed, or an option is
    /// not valid.
    pub fn lazy(
        redis: RedisOptions,
        memory: MemoryBuilder,
        options: TierOptions,
    ) -> Result<Self, Error> {
        options.check()?;
        let near = Arc::new(Near::new(memory, redis.clock.clone(), options));
        let redis = Redis::lazy(redis.follower(near.clone()))?;
        Ok(Self { redis, near })
    }

    /// Waits until this process has heard of every reset that was confirmed before the call.
    #[cfg(feature = "testing")]
    pub async fn heard(&self) {
        let horizon = &self.near.horizon;
        let after = self.near.now() + horizon.bound();
        let mut beats = horizon.beats();
        while horizon.trusted_until() <= after {
            // The sender is in `near`.
            let _ = beats.changed().await;
        }
    }

    /// Returns whether memory is used at present.
    #[cfg(feature = "testing")]
    pub(crate) fn is_trusted(&self) -> bool {
        self.near.horizon.trusted_until() > self.near.now()
    }

    fn mark(&self, key: &Key) -> Option<Mark> {
        self.near.mark(key, || self.redis.hears(key))
    }

    /// Waits until memory can be trusted, for as long as heartbeats should take.
    async fn trust(&self) -> Result<(), Error> {
        let mut beats = self.near.horizon.beats();
        let up = async {
            while self.near.horizon.trusted_until() <= self.near.now() {
                // The sender is in `near`.
                let _ = beats.changed().await;
            }
        };
        let bound = self.near.horizon.bound();
        tokio::time::timeout(bound.max(Duration::from_secs(1)), up).await.map_err(|_| {
            let place = self.redis.place();
            Error::new(
                ErrorKind::Unavailable,
                format!(
                    "no heartbeat came back through Redis at {place}, so memory is bypassed; see \
                     the log"
                ),
            )
        })
    }
}

impl fmt::Debug for Tiered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tiered")
            .field("redis", &self.redis)
            .field("staleness", &self.near.horizon.bound())
            .finish_non_exhaustive()
    }
}

impl Backend for Tiered {
    #[inline]
    fn local(&self, key: &Key) -> Option<Typed> {
        let value = self.near.get(key)?;
        observe::tier_hit(Source::Memory);
        Some(value)
    }

    fn now(&self, key: &Key) -> Moment {
        self.redis.now(key)
    }

    fn shard(&self, key: &Key) -> Shard {
        self.redis.shard(key)
    }

    fn signals(&self) -> &Signals {
        self.redis.signals()
    }

    fn get<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Result<Option<Found>, Error>> {
        Box::pin(async move {
            let mark = self.mark(key);
            self.near.count_bypass(mark.is_some());
            let found = self.redis.get(key).await?;
            if found.is_some() {
                observe::tier_hit(Source::Redis);
            }
            Ok(found.map(|found| found.mark(mark)))
        })
    }

    fn begin<'a>(&'a self, key: &'a Key, begin: Begin<'a>) -> BoxFuture<'a, Result<Begun, Error>> {
        Box::pin(async move {
            let resetting = (begin.claim == Claim::Overwrite).then(|| self.near.resetting(key));
            let mark = self.mark(key);
            let begun = self.redis.begin(key, begin).await;
            drop(resetting);
            Ok(match begun? {
                Begun::Found(found) => Begun::Found(found.mark(mark)),
                begun => begun,
            })
        })
    }

    fn fill<'a>(
        &'a self,
        key: &'a Key,
        token: &'a Token,
        entry: NewEntry<'a>,
    ) -> BoxFuture<'a, Result<bool, Error>> {
        Box::pin(async move {
            let mark = self.mark(key).filter(|_| entry.local);
            let until = self.near.expiry(self.near.now(), entry.ttl.as_duration());
            let stored = self.redis.fill(key, token, entry).await?;
            if let Some(mark) = mark.filter(|_| stored) {
                self.near.keep(key, entry.value, entry.weigh, until, mark);
            }
            Ok(stored)
        })
    }

    fn release_lease<'a>(
        &'a self,
        key: &'a Key,
        token: &'a Token,
    ) -> BoxFuture<'a, Result<bool, Error>> {
        self.redis.release_lease(key, token)
    }

    fn extend_lease<'a>(
        &'a self,
        key: &'a Key,
        token: &'a Token,
        ttl: Duration,
    ) -> BoxFuture<'a, Result<bool, Error>> {
        self.redis.extend_lease(key, token, ttl)
    }

    fn reset<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move {
            let _resetting = self.near.resetting(key);
            self.redis.reset(key).await
        })
    }

    fn expire<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move {
            let _resetting = self.near.resetting(key);
            self.redis.expire(key).await
        })
    }

    fn keep(&self, key: &Key, kept: Kept<'_>) {
        let fresh_until = kept.life.fresh_until;
        let left = (fresh_until < Moment::NEVER).then(|| fresh_until.since(self.redis.now(key)));
        let until = self.near.expiry(self.near.now(), left);
        self.near
            .keep(key, kept.value, kept.weigh, until, kept.mark);
    }

    fn acquire<'a>(
        &'a self,
        slot: &'a Slot,
        acquire: Acquire<'a>,
    ) -> BoxFuture<'a, Result<Acquired, Error>> {
        self.redis.acquire(slot, acquire)
    }

    fn extend<'a>(
        &'a self,
        slot: &'a Slot,
        token: &'a Token,
        ttl: Duration,
    ) -> BoxFuture<'a, Result<bool, Error>> {
        self.redis.extend(slot, token, ttl)
    }

    fn release<'a>(
        &'a self,
        slot: &'a Slot,
        token: &'a Token,
    ) -> BoxFuture<'a, Result<bool, Error>> {
        self.redis.release(slot, token)
    }

    fn evict<'a>(&'a self, slot: &'a Slot) -> BoxFuture<'a, Result<bool, Error>> {
        self.redis.evict(slot)
    }

    fn inspect<'a>(&'a self, slot: &'a Slot) -> BoxFuture<'a, Result<Inspection, Error>> {
        self.redis.inspect(slot)
    }

    fn check(&self) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(async move {
            self.redis.check().await?;
            self.trust().await
        })
    }

    fn watch(&self) -> BoxFuture<'_, Result<(), Error>> {
        self.redis.watch()
    }

    fn probe(&self, shard: Shard) -> BoxFuture<'_, Result<(), Error>> {
        self.redis.probe(shard)
    }
}

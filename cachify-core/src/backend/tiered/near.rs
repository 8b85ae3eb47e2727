//! The memory in front: copies of entries, and the state that keeps them in step with Redis.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use super::horizon::Horizon;
use super::options::TierOptions;
use super::prefixes::Prefixes;
use super::stripes::Stripes;
use crate::Key;
use crate::backend::memory::{Memory, MemoryBuilder};
use crate::backend::redis::Follower;
use crate::backend::{BoxFuture, Mark, Token, Typed};
use crate::clock::{Clock, Moment};
use crate::observe::{self, Bypassed};

pub(super) struct Near {
    memory: Memory,
    clock: Clock,
    share: f64,
    pub(super) horizon: Horizon,
    stripes: Stripes,
    prefixes: Prefixes,
    /// A count that grows when all copies become void.
    epoch: AtomicU64,
    /// The epoch before which all copies have been removed.
    cleared: AtomicU64,
    /// Set once the log says that heartbeats take too long.
    slow: AtomicBool,
}

impl Near {
    pub(super) fn new(memory: MemoryBuilder, clock: Clock, options: TierOptions) -> Self {
        Self {
            memory: memory.clock(clock.clone()).build(),
            clock,
            share: options.share,
            horizon: Horizon::new(options.staleness),
            stripes: Stripes::default(),
            prefixes: Prefixes::default(),
            epoch: AtomicU64::new(0),
            cleared: AtomicU64::new(0),
            slow: AtomicBool::new(false),
        }
    }

    /// Returns the copy, if it is fresh and memory can be trusted.
    ///
    /// The order matters: the horizon is read first, then the copy, then the time. So a pause in
    /// between leads to a bypass, not to an old value.
    #[inline]
    pub(super) fn get(&self, key: &Key) -> Option<Typed> {
        let limit = self.horizon.trusted_until();
        self.memory.copy_before(key, limit)
    }

    /// Returns the mark for a value that is about to be asked for. The value may be kept only if
    /// the mark is still the same. `hears` returns whether reset messages for the key arrive; it is
    /// called after the epoch was read.
    pub(super) fn mark(&self, key: &Key, hears: impl FnOnce() -> bool) -> Option<Mark> {
        let epoch = self.epoch.load(Ordering::Acquire);
        if !hears() || self.cleared.load(Ordering::Acquire) != epoch {
            return None;
        }
        let generation = *self.stripes.of(key.as_str());
        Some(Mark { epoch, generation })
    }

    /// Counts a read that cannot use memory. `hears` says whether reset messages for the key
    /// arrive.
    pub(super) fn count_bypass(&self, hears: bool) {
        if !hears {
            observe::bypassed(Bypassed::Unsubscribed);
        } else if self.horizon.trusted_until() <= self.clock.now() {
            observe::bypassed(Bypassed::Silent);
        }
    }

    /// Keeps a copy of a value until `until`, unless it may have become void since `mark`.
    pub(super) fn keep(
        &self,
        key: &Key,
        value: &Typed,
        weigh: &dyn Fn() -> usize,
        until: Moment,
        mark: Mark,
    ) {
        if !self.stands(mark, *self.stripes.of(key.as_str())) {
            return;
        }
        let Some(copy) = self.memory.weigh_copy(key, value, weigh, until) else {
            return;
        };
        self.prefixes.keep(key, until);
        let generation = self.stripes.of(key.as_str());
        if self.stands(mark, *generation) {
            let gone = self.memory.put_copy(key, copy);
            drop(generation);
            drop(gone);
        }
    }

    fn stands(&self, mark: Mark, generation: u64) -> bool {
        mark.generation == generation && mark.epoch == self.epoch.load(Ordering::Acquire)
    }

    /// Returns the end of a copy whose entry is fresh for `left` from `now`.
    pub(super) fn expiry(&self, now: Moment, left: Option<Duration>) -> Moment {
        match left {
            Some(left) => now + left.mul_f64(self.share),
            None => Moment::NEVER,
        }
    }

    pub(super) fn now(&self) -> Moment {
        self.clock.now()
    }

    /// Removes the copy of a key. Values that were asked for before this are not kept.
    fn forget(&self, text: &str) {
        let mut generation = self.stripes.of(text);
        *generation += 1;
        let gone = self.memory.remove_copy(text);
        drop(generation);
        drop(gone);
    }

    /// Starts a reset of `key` by this process.
    pub(super) fn resetting<'a>(self: &'a Arc<Self>, key: &'a Key) -> Resetting<'a> {
        self.forget(key.as_str());
        Resetting { near: self, key }
    }
}

impl Follower for Near {
    fn reset(&self, text: &str) {
        self.forget(text);
    }

    fn lost(&self) {
        self.epoch.fetch_add(1, Ordering::AcqRel);
        self.horizon.lost();
    }

    fn clear(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {
            self.prefixes.release(self.clock.now());
            let epoch = self.epoch.load(Ordering::Acquire);
            if self.cleared.load(Ordering::Acquire) == epoch {
                return;
            }
            // Afterwards, no caller is about to put a copy that it checked against an older epoch.
            self.stripes.pass();
            self.memory.clear_copies().await;
            self.cleared.store(epoch, Ordering::Release);
        })
    }

    fn heartbeat(&self) -> Duration {
        self.horizon.bound() / 3
    }

    fn sending(&self, token: &Token) {
        let now = self.clock.now();
        if let Some(age) = self.horizon.age(now) {
            observe::horizon(age);
        }
        self.horizon.sending(token, now);
    }

    fn beat(&self, token: &str) {
        self.horizon.beat(token);
        if self.horizon.age(self.clock.now()) > Some(self.horizon.bound())
            && !self.slow.swap(true, Ordering::Relaxed)
        {
            let bound = self.horizon.bound();
            tracing::warn!(
                ?bound,
                "heartbeats through Redis take longer than the bound, so memory is bypassed; \
                 raise `tier_staleness` if this lasts"
            );
        }
    }
}

/// A reset that was not confirmed yet. A value that was asked for before the end of the reset may
/// be the value that it removes, and is not kept.
pub(super) struct Resetting<'a> {
    near: &'a Near,
    key: &'a Key,
}

impl Drop for Resetting<'_> {
    fn drop(&mut self) {
        self.near.forget(self.key.as_str());
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use futures_util::FutureExt;

    use super::*;
    use crate::KeyTemplate;
    use crate::backend::Node;

    fn key(text: &str) -> Key {
        KeyTemplate::parse(text).unwrap().render(&[])
    }

    /// Returns a memory that is trusted for a second.
    fn near() -> (Arc<Near>, Clock) {
        let clock = Clock::test();
        let options = TierOptions::default();
        let near = Near::new(Memory::builder(), clock.clone(), options);
        beat(&near);
        (Arc::new(near), clock)
    }

    fn beat(near: &Near) {
        let token = Node::new("test").token();
        near.sending(&token);
        Follower::beat(near, token.as_str());
    }

    fn mark(near: &Near, key: &Key) -> Mark {
        near.mark(key, || true).unwrap()
    }

    fn keep(near: &Near, key: &Key, mark: Mark) {
        let value: Typed = Arc::new(1);
        near.keep(key, &value, &|| 8, Moment::NEVER, mark);
    }

    #[tokio::test]
    async fn c10_what_was_asked_for_before_or_during_an_own_reset_is_not_kept() {
        let (near, _) = near();
        let row = key("row");
        let before = mark(&near, &row);
        keep(&near, &row, before);
        assert!(near.get(&row).is_some());
        let resetting = near.resetting(&row);
        assert!(near.get(&row).is_none());
        keep(&near, &row, before);
        assert!(near.get(&row).is_none());
        let during = mark(&near, &row);
        keep(&near, &row, during);
        drop(resetting);
        // The reset may be confirmed to its caller from now on.
        assert!(near.get(&row).is_none());
        keep(&near, &row, during);
        assert!(near.get(&row).is_none());
        keep(&near, &row, mark(&near, &row));
        assert!(near.get(&row).is_some());
    }

    #[tokio::test]
    async fn c10_nothing_outlives_a_loss() {
        let (near, _) = near();
        let (row, other) = (key("row"), key("other"));
        let before = mark(&near, &row);
        keep(&near, &row, before);
        near.lost();
        assert!(near.get(&row).is_none(), "bypassed at once");
        assert!(near.mark(&row, || true).is_none(), "not cleared yet");
        keep(&near, &other, before);
        near.clear().await;
        beat(&near);
        assert!(near.get(&row).is_none() && near.get(&other).is_none());
        // Asked for before the loss, answered after it.
        keep(&near, &row, before);
        assert!(near.get(&row).is_none());
        keep(&near, &row, mark(&near, &row));
        assert!(near.get(&row).is_some());
    }

    #[tokio::test]
    async fn c10_a_loss_while_the_subscription_is_looked_at_voids_the_mark() {
        let (near, _) = near();
        let row = key("row");
        let mark = near.mark(&row, || {
            near.lost();
            near.clear().now_or_never().unwrap();
            true
        });
        beat(&near);
        if let Some(mark) = mark {
            keep(&near, &row, mark);
        }
        assert!(near.get(&row).is_none());
    }

    #[tokio::test]
    async fn c10_memory_counts_for_the_bound_and_no_longer() {
        let (near, clock) = near();
        let row = key("row");
        keep(&near, &row, mark(&near, &row));
        clock.advance(Duration::from_millis(990));
        assert!(near.get(&row).is_some());
        clock.advance(Duration::from_millis(10));
        assert!(near.get(&row).is_none());
        beat(&near);
        assert!(near.get(&row).is_some());
    }
}

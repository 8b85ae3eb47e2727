//! Resets that the backend has not acknowledged, and those that it may have lost since.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::future::join_all;
use smol_str::SmolStr;

use super::background::{Backoff, Claim, Context};
use super::budget::limit;
use super::history::History;
use crate::Key;
use crate::backend::Repeats;
use crate::clock::Clock;

/// The largest number of resets that are repeated at a time.
const AT_ONCE: usize = 100;

/// Resets that the backend has not acknowledged yet. Until it does, its entries of these keys are
/// not used.
#[derive(Debug)]
pub(crate) struct Resets {
    context: Context,
    keys: Mutex<BTreeMap<SmolStr, Unconfirmed>>,
    /// The size of `keys`, so that a read costs only one load in the usual case that it is empty.
    len: AtomicUsize,
    capacity: usize,
    replaying: AtomicBool,
    /// The last resets, which the backend may lose although it acknowledged them.
    history: History,
}

#[derive(Debug, Clone)]
struct Unconfirmed {
    key: Key,
    /// Grows when the key is reset again, so that an acknowledgement of an older reset does not
    /// count for it.
    round: u64,
}

impl Resets {
    pub(crate) fn new(context: Context, clock: Clock, capacity: usize) -> Arc<Self> {
        Arc::new(Self {
            history: History::new(clock, context.timeout, capacity),
            context,
            keys: Mutex::default(),
            len: AtomicUsize::new(0),
            capacity,
            replaying: AtomicBool::new(false),
        })
    }

    /// Returns whether a reset of the key has not been acknowledged yet.
    #[inline]
    pub(crate) fn contains(&self, key: &Key) -> bool {
        self.len.load(Ordering::Acquire) != 0 && self.keys().contains_key(key.as_str())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len.load(Ordering::Acquire) == 0
    }

    pub(crate) fn len(&self) -> usize {
        self.len.load(Ordering::Acquire)
    }

    pub(crate) fn count(&self, select: impl Fn(&Key) -> bool) -> usize {
        let keys = self.keys();
        keys.values().filter(|entry| select(&entry.key)).count()
    }

    /// Queues a reset to be repeated. Returns `false` if there is no room.
    pub(crate) fn add(&self, key: &Key) -> bool {
        self.add_up_to(key, self.capacity)
    }

    fn add_up_to(&self, key: &Key, capacity: usize) -> bool {
        let mut keys = self.keys();
        if let Some(entry) = keys.get_mut(key.as_str()) {
            entry.round += 1;
            return true;
        }
        if keys.len() >= capacity {
            return false;
        }
        keys.insert(
            key.as_str().into(),
            Unconfirmed {
                key: key.clone(),
                round: 0,
            },
        );
        self.len.store(keys.len(), Ordering::Release);
        true
    }

    /// Remembers a reset, set or expiry of a key, in case the backend loses it.
    ///
    /// This is called before the request is sent, so that the key is remembered if the backend
    /// loses its data between the request and the answer.
    pub(crate) fn remember(&self, key: &Key) {
        // A backend in this process's memory loses its data only with the process.
        if !self.context.backend.is_local() {
            self.history.add(key);
        }
    }

    /// Returns queued keys with their rounds. Starts after `last`, so that keys which always fail
    /// don't hold up others.
    fn batch(&self, last: Option<&Key>) -> Vec<(Key, u64)> {
        let keys = self.keys();
        let behind = last.map_or(Bound::Unbounded, |last| Bound::Excluded(last.as_str()));
        let behind = keys.range::<str, _>((behind, Bound::Unbounded));
        let up_to_last = match last {
            Some(last) => keys.range::<str, _>((Bound::Unbounded, Bound::Included(last.as_str()))),
            None => keys.range::<str, _>((Bound::Unbounded, Bound::Excluded(""))),
        };
        let batch = behind.chain(up_to_last).take(AT_ONCE);
        batch
            .map(|(_, kept)| (kept.key.clone(), kept.round))
            .collect()
    }

    /// Repeats the reset of `round`. Returns whether it was acknowledged.
    async fn repeat(&self, key: &Key, round: u64) -> bool {
        self.remember(key);
        let reset = self.context.backend.reset(key);
        match limit(self.context.timeout, reset).await {
            Ok(()) => {
                self.acknowledge(key, round);
                true
            }
            Err(error) => {
                let template = key.template();
                tracing::debug!(%error, template, "a reset is still not acknowledged");
                false
            }
        }
    }

    /// Records that the reset of `round` was acknowledged.
    fn acknowledge(&self, key: &Key, round: u64) {
        let mut keys = self.keys();
        if keys
            .get(key.as_str())
            .is_some_and(|entry| entry.round == round)
        {
            keys.remove(key.as_str());
            self.len.store(keys.len(), Ordering::Release);
        }
    }

    /// Starts a task that repeats the resets, unless it runs or there are none.
    pub(crate) fn replay(self: &Arc<Self>) {
        if !self.is_empty()
            && !self.context.background.is_shut_down()
            && let Some(claim) = Claim::take(self, |resets| &resets.replaying)
        {
            self.context.background.spawn(replay(claim));
        }
    }

    fn keys(&self) -> MutexGuard<'_, BTreeMap<SmolStr, Unconfirmed>> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Repeats for Resets {
    fn repeat_all(self: Arc<Self>) -> usize {
        let mut count = 0;
        for key in self.history.take() {
            // There is room for all remembered resets besides the unconfirmed ones.
            if self.add_up_to(&key, 2 * self.capacity) {
                count += 1;
            } else {
                tracing::error!(
                    template = key.template(),
                    "a reset is not repeated, because too many are queued"
                );
            }
        }
        self.replay();
        count
    }
}

impl Drop for Resets {
    fn drop(&mut self) {
        let left = self.len();
        if left != 0 && !self.context.background.is_shut_down() {
            tracing::warn!(
                resets = left,
                "the last handle was dropped before the backend acknowledged all resets, and \
                 nothing repeats them now; `close` the handle first"
            );
        }
    }
}

/// Repeats resets until the backend has acknowledged all of them.
async fn replay(claim: Claim<Resets>) {
    let mut backoff = Backoff::new();
    let mut last = None;
    loop {
        let Some(resets) = claim.owner() else {
            return;
        };
        let context = &resets.context;
        if context.background.is_shut_down() {
            return;
        }
        let batch = resets.batch(last.as_ref());
        let Some((end, _)) = batch.last() else {
            drop(claim);
            context.background.advance();
            // A reset may have been queued between the last check and the end of the claim.
            return resets.replay();
        };
        last = Some(end.clone());
        let repeated = batch.iter().map(|(key, round)| resets.repeat(key, *round));
        let acknowledged = join_all(repeated).await;
        context.background.advance();
        if acknowledged.into_iter().all(|acknowledged| acknowledged) {
            backoff = Backoff::new();
        } else {
            drop(resets);
            backoff.pause().await;
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::{Cachify, KeyTemplate};

    fn key(id: usize) -> Key {
        KeyTemplate::parse("row-{id}").unwrap().render(&[&id])
    }

    fn resets(capacity: usize) -> Arc<Resets> {
        let cachify = Cachify::memory();
        let context = cachify.inner.engine.resets.context.clone();
        Resets::new(context, Clock::default(), capacity)
    }

    #[test]
    fn c8_a_key_waits_once_however_often_it_is_reset() {
        let kept = resets(2);
        for _ in 0..1000 {
            assert!(kept.add(&key(1)));
        }
        assert_eq!(kept.len(), 1);
        assert!(
            kept.add(&key(2)) && !kept.add(&key(3)),
            "there is room for two"
        );
        // Only the last round counts.
        kept.acknowledge(&key(1), 998);
        assert_eq!(kept.len(), 2);
        kept.acknowledge(&key(1), 999);
        assert_eq!(kept.len(), 1);
    }

    #[test]
    fn c8_a_key_that_always_fails_is_in_no_other_keys_way() {
        let kept = resets(3 * AT_ONCE);
        for id in 0..3 * AT_ONCE {
            kept.add(&key(id));
        }
        let (mut seen, mut last) = (std::collections::HashSet::new(), None);
        for _ in 0..3 {
            let batch = kept.batch(last.as_ref());
            last = batch.last().map(|(key, _)| key.clone());
            seen.extend(batch.into_iter().map(|(key, _)| key));
        }
        assert_eq!(seen.len(), 3 * AT_ONCE);
        // The first keys are next, and no key is twice in one batch.
        kept.acknowledge(seen.iter().min_by_key(|key| key.as_str()).unwrap(), 0);
        let again: Vec<_> = kept.batch(last.as_ref());
        assert_eq!(again.len(), AT_ONCE);
    }
}

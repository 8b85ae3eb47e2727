//! Resets that the backend has not acknowledged.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use smol_str::SmolStr;

use super::background::{Backoff, Claim, Context};
use super::budget::limit;
use crate::Key;

/// Resets that were not acknowledged yet. Until they are, the backend's copy of these keys is not
/// to be trusted.
#[derive(Debug)]
pub(crate) struct Resets {
    context: Context,
    keys: Mutex<BTreeMap<SmolStr, Unconfirmed>>,
    /// The size of `keys`, so that a read costs one load when nothing is pending, which is always.
    len: AtomicUsize,
    capacity: usize,
    replaying: AtomicBool,
}

#[derive(Debug, Clone)]
struct Unconfirmed {
    key: Key,
    /// Grows when the key is reset again, so that an acknowledgement of an older reset does not
    /// count for it.
    round: u64,
}

impl Resets {
    pub(crate) fn new(context: Context, capacity: usize) -> Arc<Self> {
        Arc::new(Self {
            context,
            keys: Mutex::default(),
            len: AtomicUsize::new(0),
            capacity,
            replaying: AtomicBool::new(false),
        })
    }

    /// Returns whether a reset of the key was not acknowledged yet.
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

    /// Keeps a reset to be tried again. `false`: there is no room.
    pub(crate) fn add(&self, key: &Key) -> bool {
        let mut keys = self.keys();
        if let Some(entry) = keys.get_mut(key.as_str()) {
            entry.round += 1;
            return true;
        }
        if keys.len() >= self.capacity {
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

    /// A key that waits, with its round: the one behind `last` if there is one, so that a key which
    /// always fails is in no other's way.
    fn next(&self, last: Option<&Key>) -> Option<(Key, u64)> {
        let keys = self.keys();
        let behind = last.and_then(|last| {
            let behind = (Bound::Excluded(last.as_str()), Bound::Unbounded);
            keys.range::<str, _>(behind).next()
        });
        let (_, next) = behind.or_else(|| keys.first_key_value())?;
        Some((next.key.clone(), next.round))
    }

    /// Notes that the reset of `round` was acknowledged.
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

    /// Starts to replay the resets unless that is under way or there are none.
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

/// Repeats resets until the backend has acknowledged all of them.
async fn replay(claim: Claim<Resets>) {
    let mut backoff = Backoff::new();
    let mut failed = None;
    loop {
        let Some(resets) = claim.owner() else {
            return;
        };
        let context = &resets.context;
        if context.background.is_shut_down() {
            return;
        }
        let Some((key, round)) = resets.next(failed.as_ref()) else {
            drop(claim);
            context.background.advance();
            // For what was added between the last look and the end of the claim.
            return resets.replay();
        };
        match limit(context.timeout, context.backend.reset(&key)).await {
            Ok(()) => {
                resets.acknowledge(&key, round);
                context.background.advance();
                backoff = Backoff::new();
            }
            Err(error) => {
                tracing::debug!(%error, template = key.template(), "a reset is still not confirmed");
                drop(resets);
                failed = Some(key);
                backoff.pause().await;
            }
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
        Resets::new(cachify.inner.engine.resets.context.clone(), capacity)
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
        let kept = resets(100);
        for id in 0..10 {
            kept.add(&key(id));
        }
        let (mut seen, mut last) = (std::collections::HashSet::new(), None);
        for _ in 0..10 {
            let (next, _) = kept.next(last.as_ref()).unwrap();
            seen.insert(next.clone());
            last = Some(next);
        }
        assert_eq!(seen.len(), 10);
    }
}

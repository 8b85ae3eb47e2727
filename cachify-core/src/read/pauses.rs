//! Pauses between attempts to refresh entries whose computation fails.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use smol_str::SmolStr;
use tokio::time::Instant;

use crate::Key;

/// The first pause of a key.
const FIRST: Duration = Duration::from_millis(100);
/// The longest pause. A failure that comes this long after the end of the last pause starts with
/// the first pause again.
const LAST: Duration = Duration::from_secs(10);
/// The largest number of keys that are remembered.
const MOST: usize = 10_000;

/// The keys whose last refresh failed in this process.
#[derive(Debug, Default)]
pub(crate) struct Pauses {
    keys: Mutex<BTreeMap<SmolStr, Pause>>,
    /// The size of `keys`, so that reads take no lock when nothing failed.
    len: AtomicUsize,
}

#[derive(Debug)]
struct Pause {
    length: Duration,
    until: Instant,
}

impl Pauses {
    /// Returns whether `key` must not be refreshed now.
    pub(super) fn is_on(&self, key: &Key) -> bool {
        if self.len.load(Ordering::Acquire) == 0 {
            return false;
        }
        let now = Instant::now();
        let keys = self.keys();
        keys.get(key.as_str())
            .is_some_and(|pause| now < pause.until)
    }

    /// Starts a pause, twice as long as the last one, up to `longest`.
    pub(super) fn failed(&self, key: &Key, longest: Duration) {
        let now = Instant::now();
        let mut keys = self.keys();
        let length = match keys.get(key.as_str()) {
            Some(last) if now < last.until + LAST => last.length.saturating_mul(2),
            _ => FIRST,
        };
        let length = length.min(LAST).min(longest);
        let until = now + length;
        keys.insert(key.as_str().into(), Pause { length, until });
        if keys.len() > MOST {
            // Another key is tried again early, which does less harm than a map that grows.
            let other = keys.keys().find(|other| *other != key.as_str()).cloned();
            other.and_then(|other| keys.remove(&other));
        }
        self.len.store(keys.len(), Ordering::Release);
    }

    /// Ends the pause of a key that was computed or changed.
    pub(super) fn end(&self, key: &Key) {
        if self.len.load(Ordering::Acquire) == 0 {
            return;
        }
        let mut keys = self.keys();
        keys.remove(key.as_str());
        self.len.store(keys.len(), Ordering::Release);
    }

    fn keys(&self) -> MutexGuard<'_, BTreeMap<SmolStr, Pause>> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::KeyTemplate;

    fn key(id: usize) -> Key {
        KeyTemplate::parse("row-{id}").unwrap().render(&[&id])
    }

    #[tokio::test(start_paused = true)]
    async fn c9_pauses_grow_up_to_their_bound_and_start_again() {
        let (pauses, key) = (Pauses::default(), key(1));
        let pause = async || {
            pauses.failed(&key, Duration::from_mins(1));
            let start = Instant::now();
            while pauses.is_on(&key) {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            start.elapsed().as_millis()
        };
        for millis in [100, 200, 400, 800, 1600, 3200, 6400, 10_000, 10_000] {
            assert_eq!(pause().await, millis);
        }
        tokio::time::sleep(LAST).await;
        assert_eq!(pause().await, 100, "a failure long after the last one");
        pauses.end(&key);
        assert_eq!(pause().await, 100, "a failure after a success");
    }

    #[tokio::test(start_paused = true)]
    async fn c9_the_keys_that_pause_are_bounded() {
        let pauses = Pauses::default();
        for id in 0..MOST + 100 {
            pauses.failed(&key(id), LAST);
            assert!(pauses.is_on(&key(id)));
        }
        assert_eq!(pauses.keys().len(), MOST);
    }
}

//! Protects calls from a failing backend: a time budget, a circuit breaker, and
//! resets that are not forgotten.

use std::collections::BTreeMap;
use std::future::{Future, poll_fn};
use std::ops::Bound;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Duration;

use smol_str::SmolStr;
use tokio::runtime::Handle;
use tokio::time::Instant;

use crate::cachify::Inner;
use crate::{Error, ErrorKind, Key, observe};

/// The number of failures in a row that open the circuit breaker until a probe succeeds.
const BREAK_AFTER: u32 = 3;

/// The time that one call may lose to the backend, whatever number of operations it makes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Budget {
    left: Duration,
}

impl Budget {
    pub(crate) const fn new(total: Duration) -> Self {
        Self { left: total }
    }

    /// Runs `operation` within what is left, and takes the time that it took off the budget.
    pub(crate) async fn spend<T>(
        &mut self,
        inner: &Arc<Inner>,
        operation: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        inner.admit()?;
        if self.left.is_zero() {
            return Err(Error::new(
                ErrorKind::Timeout,
                "the call's time for the backend is used up",
            ));
        }
        let start = Instant::now();
        let result = limit(self.left, operation).await;
        self.left = self.left.saturating_sub(start.elapsed());
        inner.settle(&result);
        result
    }
}

/// Runs `operation`, for `within` at most.
pub(crate) async fn limit<T>(
    within: Duration,
    operation: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    let mut operation = pin!(operation);
    // What is done at once, as all is in memory, needs neither a timer nor a runtime.
    let first = poll_fn(|cx| Poll::Ready(operation.as_mut().poll(cx))).await;
    if let Poll::Ready(result) = first {
        return result;
    }
    current_runtime()?;
    if let Ok(result) = tokio::time::timeout(within, operation).await {
        return result;
    }
    #[cfg(feature = "blocking")]
    if let Some(error) = Box::pin(crate::blocking::explain()).await {
        return Err(error);
    }
    Err(Error::new(
        ErrorKind::Timeout,
        "the backend did not answer in time; see whether it is overloaded or hung, or raise the handle's `backend_timeout`",
    ))
}

/// Returns the runtime that the caller runs on. A timer would panic where there is none.
pub(crate) fn current_runtime() -> Result<Handle, Error> {
    Handle::try_current().map_err(|_| {
        Error::new(
            ErrorKind::Configuration,
            "cachify was called outside of a tokio runtime; call it from a task or inside of `Runtime::block_on`, or use feature \
             `blocking` (`blocking::block_on`)",
        )
    })
}

/// Leaves a failing backend alone, so that calls lose no time to it.
#[derive(Debug, Default)]
pub(crate) struct Breaker {
    failures: AtomicU32,
    open: AtomicBool,
    shut_down: AtomicBool,
    /// Set by the caller that must start the probe, cleared by the probe when it ends.
    probing: AtomicBool,
}

impl Breaker {
    /// Returns whether an operation may be tried.
    pub(crate) fn admit(&self) -> Result<(), Error> {
        // By itself: a probe that ends may open what was closed meanwhile.
        if self.is_shut_down() {
            return Err(Error::new(
                ErrorKind::Unavailable,
                "this cachify handle was closed; connect a new one",
            ));
        }
        if self.is_open() {
            return Err(Error::new(
                ErrorKind::Unavailable,
                "the backend failed repeatedly and is left alone until it answers a probe",
            ));
        }
        Ok(())
    }

    /// Takes note of how an operation ended.
    pub(crate) fn record(&self, error: Option<&Error>) {
        if error.is_some_and(Error::is_down) {
            if self.failures.fetch_add(1, Ordering::AcqRel) + 1 >= BREAK_AFTER
                && !self.open.swap(true, Ordering::AcqRel)
                && !self.is_shut_down()
            {
                observe::breaker(error);
            }
        } else if self.failures.load(Ordering::Acquire) != 0 {
            self.failures.store(0, Ordering::Release);
        }
    }

    pub(crate) fn is_open(&self) -> bool {
        self.open.load(Ordering::Acquire)
    }

    /// Returns whether the caller is the one who must probe now.
    pub(crate) fn claim_probe(&self) -> bool {
        self.is_open()
            && !self.is_shut_down()
            && !self.probing.load(Ordering::Acquire)
            && !self.probing.swap(true, Ordering::AcqRel)
    }

    /// Ends the probe, whether it succeeded or its runtime went away.
    pub(crate) fn end_probe(&self) {
        self.probing.store(false, Ordering::Release);
    }

    /// Calls go through again.
    pub(crate) fn recover(&self) {
        self.failures.store(0, Ordering::Release);
        self.open.store(false, Ordering::Release);
        observe::breaker(None);
    }

    pub(crate) fn is_shut_down(&self) -> bool {
        self.shut_down.load(Ordering::Acquire)
    }

    /// Lets nothing through any more.
    pub(crate) fn shut_down(&self) {
        self.shut_down.store(true, Ordering::Release);
    }
}

/// Resets that were not acknowledged yet. Until they are, the backend's copy of these keys is not
/// to be trusted.
#[derive(Debug)]
pub(crate) struct Pending {
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

impl Pending {
    pub(crate) fn new(capacity: usize) -> Self {
        Self {
            keys: Mutex::default(),
            len: AtomicUsize::new(0),
            capacity,
            replaying: AtomicBool::new(false),
        }
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
    pub(crate) fn next(&self, last: Option<&Key>) -> Option<(Key, u64)> {
        let keys = self.keys();
        let behind = last.and_then(|last| {
            let behind = (Bound::Excluded(last.as_str()), Bound::Unbounded);
            keys.range::<str, _>(behind).next()
        });
        let (_, next) = behind.or_else(|| keys.first_key_value())?;
        Some((next.key.clone(), next.round))
    }

    /// Notes that the reset of `round` was acknowledged.
    pub(crate) fn acknowledge(&self, key: &Key, round: u64) {
        let mut keys = self.keys();
        if keys
            .get(key.as_str())
            .is_some_and(|entry| entry.round == round)
        {
            keys.remove(key.as_str());
            self.len.store(keys.len(), Ordering::Release);
        }
    }

    /// Returns whether the caller is the one who must replay now.
    pub(crate) fn claim_replay(&self) -> bool {
        !self.is_empty()
            && !self.replaying.load(Ordering::Acquire)
            && !self.replaying.swap(true, Ordering::AcqRel)
    }

    /// Ends the replay, whether it is done or its runtime went away.
    pub(crate) fn end_replay(&self) {
        self.replaying.store(false, Ordering::Release);
    }

    fn keys(&self) -> MutexGuard<'_, BTreeMap<SmolStr, Unconfirmed>> {
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

    #[test]
    fn s4_a_probe_that_ends_late_does_not_open_a_closed_handle() {
        let breaker = Breaker::default();
        breaker.shut_down();
        breaker.recover();
        assert!(breaker.admit().is_err());
    }

    #[test]
    fn c8_a_key_waits_once_however_often_it_is_reset() {
        let pending = Pending::new(2);
        for _ in 0..1000 {
            assert!(pending.add(&key(1)));
        }
        assert_eq!(pending.len(), 1);
        assert!(
            pending.add(&key(2)) && !pending.add(&key(3)),
            "there is room for two"
        );
        // Only the last round counts.
        pending.acknowledge(&key(1), 998);
        assert_eq!(pending.len(), 2);
        pending.acknowledge(&key(1), 999);
        assert_eq!(pending.len(), 1);
    }

    #[test]
    fn c8_a_key_that_always_fails_is_in_no_other_keys_way() {
        let pending = Pending::new(100);
        for id in 0..10 {
            pending.add(&key(id));
        }
        let (mut seen, mut last) = (std::collections::HashSet::new(), None);
        for _ in 0..10 {
            let (next, _) = pending.next(last.as_ref()).unwrap();
            seen.insert(next.clone());
            last = Some(next);
        }
        assert_eq!(seen.len(), 10);
    }
}

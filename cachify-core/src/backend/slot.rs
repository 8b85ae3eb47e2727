//! Slots, the common form of locks and pools, with their requests and answers.

use std::time::Duration;

use super::node::Token;
use crate::Key;

/// The lock or the pool of one key.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Slot {
    /// Tells locks from pools: a lock and a pool of the same key are separate slots.
    pub kind: SlotKind,
    /// The key of the lock or pool.
    pub key: Key,
    /// The largest number of holders; 1 for a lock.
    pub max: u32,
}

impl Slot {
    /// Creates the slot of a lock.
    pub fn lock(key: Key) -> Self {
        Self {
            kind: SlotKind::Lock,
            key,
            max: 1,
        }
    }

    /// Creates the slot of a pool with `max` permits.
    pub fn pool(key: Key, max: u32) -> Self {
        Self {
            kind: SlotKind::Pool,
            key,
            max,
        }
    }
}

/// The kind of a [`Slot`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum SlotKind {
    /// One holder, with a fencing token.
    Lock,
    /// Several holders, without fencing tokens.
    Pool,
}

/// A request for a slot.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Acquire<'a> {
    /// The token of the future holder.
    pub token: &'a Token,
    /// The time for which the slot is held, unless the hold is extended.
    pub ttl: Duration,
    /// The time for which the caller keeps its place in the queue, unless it asks again. `None` if
    /// the caller does not want to queue. Of all waiters of a handle, only the first asks again
    /// every second.
    pub wait: Option<Duration>,
    /// The time for which the caller waits for the answer. The backend must refuse the request if
    /// it arrives later.
    pub within: Duration,
}

impl<'a> Acquire<'a> {
    /// Creates a request that does not queue.
    pub fn new(token: &'a Token, ttl: Duration, within: Duration) -> Self {
        Self {
            token,
            ttl,
            wait: None,
            within,
        }
    }

    /// Sets how long the caller's place in the queue is kept. Default: `None`, which does not
    /// queue.
    #[must_use]
    pub fn wait(mut self, wait: Option<Duration>) -> Self {
        self.wait = wait;
        self
    }
}

/// The answer to [`Backend::acquire`](super::Backend::acquire).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Acquired {
    /// The slot is held.
    Granted {
        /// For a lock, a number larger than that of any earlier holder of the same key; 0 for a
        /// pool.
        fence: u64,
    },
    /// The slot is taken and the caller did not want to wait.
    Held {
        /// The time until the first hold ends, unless it is extended.
        retry_in: Duration,
    },
    /// The caller is in the queue, and gets a signal when its turn comes. Of all waiters of a
    /// handle, the first in the queue also asks again after `recheck`.
    Queued {
        /// The time after which to ask again: when the first hold ends, but after a second at the
        /// latest.
        recheck: Duration,
        /// The caller's place in the queue. It is larger than the places of the waiters ahead, and
        /// does not change while the caller stays in the queue.
        place: u64,
    },
}

/// The answer to [`Backend::inspect`](super::Backend::inspect).
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Inspection {
    /// The number of holders.
    pub holders: usize,
    /// The token of the holder whose hold ends first, and the time until then unless the hold is
    /// extended.
    pub first: Option<(String, Duration)>,
    /// The number of waiters in the queue.
    pub waiters: usize,
}

impl Inspection {
    /// Creates the answer. `first` is the token of the holder whose hold ends first, and the time
    /// until then.
    pub fn new(holders: usize, first: Option<(String, Duration)>, waiters: usize) -> Self {
        Self {
            holders,
            first,
            waiters,
        }
    }
}

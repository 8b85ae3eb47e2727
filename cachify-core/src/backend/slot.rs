//! Slots: what locks and pools hold.

use std::time::Duration;

use super::node::Token;
use crate::Key;

/// A lock or pool of one key.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Slot {
    /// Locks and pools never meet, even under one key.
    pub kind: SlotKind,
    /// The key.
    pub key: Key,
    /// How many holders there may be: 1 for a lock.
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

/// See [`Slot::kind`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum SlotKind {
    /// One holder, with a fencing token.
    Lock,
    /// Several holders, without.
    Pool,
}

/// A request for a slot.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Acquire<'a> {
    /// Names the holder to be.
    pub token: &'a Token,
    /// How long the slot is held unless it is extended.
    pub ttl: Duration,
    /// How long the caller's place in the queue stands unless it asks again; `None`: it does not
    /// queue. Only the first waiter of each handle asks again every second.
    pub wait: Option<Duration>,
    /// The caller listens for the answer that long; afterwards the backend must refuse the request.
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

    /// Sets how long the caller's place in the queue stands. Default: `None`, which does not queue.
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
        /// When the first holder's time ends unless it is extended.
        retry_in: Duration,
    },
    /// The caller is in the queue, and gets a signal when it is its turn. Of all waiters of one
    /// handle, the first one in the queue also asks again after `recheck`.
    Queued {
        /// When to look again: when the first holder's time ends, and after a second at the latest.
        recheck: Duration,
        /// The caller's place: larger than that of every waiter before it, and the same for as long
        /// as it stands there.
        place: u64,
    },
}

/// The answer to [`Backend::inspect`](super::Backend::inspect).
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Inspection {
    /// The number of holders.
    pub holders: usize,
    /// The token of the holder whose time ends first unless it is extended, and when that is.
    pub first: Option<(String, Duration)>,
    /// The number of waiters in the queue.
    pub waiters: usize,
}

impl Inspection {
    /// Creates the answer; `first` is the token of the holder whose time ends first, and when that
    /// is.
    pub fn new(holders: usize, first: Option<(String, Duration)>, waiters: usize) -> Self {
        Self {
            holders,
            first,
            waiters,
        }
    }
}

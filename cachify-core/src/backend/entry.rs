//! Entries, and the leases to fill them.

use std::any::Any;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::node::Token;
use crate::clock::Moment;
use crate::ttl::Life;
use crate::{Error, Ttl};

/// A value in the form that the program uses, with its type erased.
pub type Typed = Arc<dyn Any + Send + Sync>;

/// A stored entry, as a backend returns it.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Found {
    /// The value.
    pub value: Stored,
    /// The times of the entry, if the backend stores them separately. An encoded value has them in
    /// its bytes.
    pub life: Option<Life>,
    /// The mark to pass to [`keep`](super::Backend::keep) with the decoded value. `None` if the
    /// backend does not keep decoded values.
    pub mark: Option<Mark>,
}

impl Found {
    /// Creates an entry from an encoded value.
    pub fn bytes(bytes: Vec<u8>) -> Self {
        Self {
            value: Stored::Bytes(bytes),
            life: None,
            mark: None,
        }
    }

    /// Creates an entry from a value that the backend stores without encoding.
    pub fn typed(value: Typed, life: Life) -> Self {
        Self {
            value: Stored::Typed(value),
            life: Some(life),
            mark: None,
        }
    }

    /// Sets the mark. Default: `None`.
    #[must_use]
    pub fn mark(mut self, mark: Option<Mark>) -> Self {
        self.mark = mark;
        self
    }
}

/// The value of an entry, in the form that the backend stores.
#[derive(Clone)]
#[non_exhaustive]
pub enum Stored {
    /// The value itself.
    Typed(Typed),
    /// The encoded value.
    Bytes(Vec<u8>),
}

// The value itself must not be shown.
impl fmt::Debug for Stored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Typed(_) => f.write_str("Typed(..)"),
            Self::Bytes(bytes) => write!(f, "Bytes({} bytes)", bytes.len()),
        }
    }
}

/// The state of a backend's local memory when a read began.
///
/// A value that was read may be kept only if nothing has invalidated it since.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    /// Changes when all local values become invalid.
    pub epoch: u64,
    /// Changes when the key, or another one that shares the counter, is invalidated.
    pub generation: u64,
}

/// A decoded value for [`Backend::keep`](super::Backend::keep).
#[derive(Clone, Copy)]
#[non_exhaustive]
pub struct Kept<'a> {
    /// The value.
    pub value: &'a Typed,
    /// Estimates how many bytes the value takes in memory.
    pub weigh: &'a (dyn Fn() -> usize + Send + Sync),
    /// The times of the entry.
    pub life: Life,
    /// The mark of the entry that the value was decoded from.
    pub mark: Mark,
}

impl fmt::Debug for Kept<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kept")
            .field("life", &self.life)
            .field("mark", &self.mark)
            .finish_non_exhaustive()
    }
}

/// An entry to store.
#[derive(Clone, Copy)]
#[non_exhaustive]
pub struct NewEntry<'a> {
    /// The value, for a backend that stores it without encoding.
    pub value: &'a Typed,
    /// Encodes the value, for a backend that stores bytes. The argument is the backend's
    /// [`now`](super::Backend::now).
    pub encode: &'a (dyn Fn(Moment) -> Result<Vec<u8>, Error> + Send + Sync),
    /// Estimates how many bytes the value takes in memory, for a backend that stores it without
    /// encoding.
    pub weigh: &'a (dyn Fn() -> usize + Send + Sync),
    /// The time for which the entry is fresh; never zero.
    pub ttl: Ttl,
    /// The time for which the entry is kept after that, to be served stale.
    pub stale: Duration,
    /// The time that the computation of the value took.
    pub cost: Duration,
    /// Set if a backend with a memory in front may keep the value there, too.
    pub local: bool,
}

impl<'a> NewEntry<'a> {
    /// Creates an entry to store.
    pub fn new(
        value: &'a Typed,
        encode: &'a (dyn Fn(Moment) -> Result<Vec<u8>, Error> + Send + Sync),
        weigh: &'a (dyn Fn() -> usize + Send + Sync),
        ttl: Ttl,
    ) -> Self {
        Self {
            value,
            encode,
            weigh,
            ttl,
            stale: Duration::ZERO,
            cost: Duration::ZERO,
            local: true,
        }
    }

    /// Sets the time for which the entry is kept after its time to live. Default: zero.
    #[must_use]
    pub fn stale(mut self, stale: Duration) -> Self {
        self.stale = stale;
        self
    }

    /// Sets the time that the computation of the value took. Default: zero.
    #[must_use]
    pub fn cost(mut self, cost: Duration) -> Self {
        self.cost = cost;
        self
    }

    /// Sets whether a backend with a memory of its own in front may keep the value there, too.
    /// Default: `true`.
    #[must_use]
    pub fn local(mut self, local: bool) -> Self {
        self.local = local;
        self
    }

    /// Returns the time for which the entry is kept, fresh and then stale.
    pub fn kept_for(&self) -> Ttl {
        self.ttl.extended(self.stale)
    }

    /// Returns the times of the entry if it is stored at `now`.
    pub fn life(&self, now: Moment) -> Life {
        let after = |ttl: Ttl| ttl.as_duration().map_or(Moment::NEVER, |ttl| now + ttl);
        Life {
            fresh_until: after(self.ttl),
            until: after(self.kept_for()),
            cost: self.cost,
        }
    }
}

impl fmt::Debug for NewEntry<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewEntry")
            .field("ttl", &self.ttl)
            .finish_non_exhaustive()
    }
}

/// A request for a lease.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Begin<'a> {
    /// The name of the lease. A request that repeats the token of a live lease is granted.
    pub token: &'a Token,
    /// The time for which the lease is live, unless it is extended.
    pub ttl: Duration,
    /// The treatment of an existing entry and of a live lease.
    pub claim: Claim,
    /// An entry that the caller found and wants to replace, because it is unreadable, stale, or
    /// of another type. If the stored entry is still this one, it counts as missing.
    pub replaces: Option<&'a Found>,
}

impl<'a> Begin<'a> {
    /// Creates a request for a lease.
    pub fn new(token: &'a Token, ttl: Duration, claim: Claim) -> Self {
        Self {
            token,
            ttl,
            claim,
            replaces: None,
        }
    }

    /// Sets the entry that the caller wants to replace. Default: `None`.
    #[must_use]
    pub fn replaces(mut self, found: Option<&'a Found>) -> Self {
        self.replaces = found;
        self
    }
}

/// The treatment of an existing entry and of another token's lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Claim {
    /// Returns the entry if there is one, and [`Busy`](Begun::Busy) while the lease is live.
    Wait,
    /// Like [`Wait`](Self::Wait), but joins a lease that has not been filled for this long. Then
    /// both tokens may fill it.
    ///
    /// One caller may join once the lease is that old, two more once the same time has passed
    /// again, then four, and so on.
    Join(Duration),
    /// Removes the entry, ends the live lease, and starts a new lease. Waiters for the old
    /// lease are woken when the new one ends.
    Overwrite,
}

/// The answer to [`Backend::begin`](super::Backend::begin).
#[derive(Debug)]
#[non_exhaustive]
pub enum Begun {
    /// The caller has the lease.
    Granted,
    /// There is an entry after all.
    Found(Found),
    /// Another token has the lease. The caller's node gets a signal when that lease ends. The
    /// caller checks again after `recheck` in any case.
    Busy {
        /// The time until the other lease ends unless it is extended, or until it can be joined.
        recheck: Duration,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s1_no_value_is_shown() {
        let begun = Begun::Found(Found::bytes(b"AB".to_vec()));
        assert_eq!(
            format!("{begun:?}"),
            "Found(Found { value: Bytes(2 bytes), life: None, mark: None })"
        );
    }
}

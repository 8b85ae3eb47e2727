//! Entries, and the leases to fill them.

use std::any::Any;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::node::Token;
use crate::clock::Moment;
use crate::{Error, Ttl};

/// A value as the program has it, its type erased.
pub type Typed = Arc<dyn Any + Send + Sync>;

/// An entry as a backend hands it out.
#[derive(Clone)]
#[non_exhaustive]
pub enum Found {
    /// The value itself.
    Typed(Typed),
    /// The encoded value.
    Bytes(Vec<u8>),
}

// Not the value.
impl fmt::Debug for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Typed(_) => f.write_str("Typed(..)"),
            Self::Bytes(bytes) => write!(f, "Bytes({} bytes)", bytes.len()),
        }
    }
}

/// An entry to store.
#[derive(Clone, Copy)]
#[non_exhaustive]
pub struct NewEntry<'a> {
    /// The value, for a backend that keeps it as it is.
    pub value: &'a Typed,
    /// Makes the bytes, for a backend that needs them; its argument is the backend's
    /// [`now`](super::Backend::now).
    pub encode: &'a (dyn Fn(Moment) -> Result<Vec<u8>, Error> + Send + Sync),
    /// Estimates how many bytes the value takes in memory, for a backend that keeps it as it is.
    pub weigh: &'a (dyn Fn() -> usize + Send + Sync),
    /// How long it lives; never zero.
    pub ttl: Ttl,
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
    /// Names the lease. Asking again with the token of a lease that stands is granted.
    pub token: &'a Token,
    /// How long the lease stands unless it is extended.
    pub ttl: Duration,
    /// The purpose of the lease.
    pub claim: Claim,
    /// What was found and could not be read, bytes or a value of another type: an entry that is
    /// still the same counts as missing.
    pub unreadable: Option<&'a Found>,
}

impl<'a> Begin<'a> {
    /// Creates a request for a lease.
    pub fn new(token: &'a Token, ttl: Duration, claim: Claim) -> Self {
        Self {
            token,
            ttl,
            claim,
            unreadable: None,
        }
    }

    /// Sets what was found and could not be read. Default: `None`.
    #[must_use]
    pub fn unreadable(mut self, found: Option<&'a Found>) -> Self {
        self.unreadable = found;
        self
    }
}

/// How a [`Begin`] treats an existing entry and a lease that is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Claim {
    /// Finds the entry, and is [`Busy`](Begun::Busy) while the lease stands.
    Wait,
    /// As [`Wait`](Self::Wait), but joins a lease that has not been filled for this long: both
    /// tokens may fill it then.
    ///
    /// One caller may join when the lease is that old, two more when that time has passed again,
    /// then four, and so on.
    Join(Duration),
    /// Removes the entry, ends the lease that stands and starts another one. Those who waited for
    /// the old lease are told when the new one ends.
    Overwrite,
}

/// The answer to [`Backend::begin`](super::Backend::begin).
#[derive(Debug)]
#[non_exhaustive]
pub enum Begun {
    /// The lease is the caller's.
    Granted,
    /// There is an entry after all.
    Found(Found),
    /// Another token has the lease. The caller's node gets a signal when it ends. The caller checks
    /// again after `recheck` in any case.
    Busy {
        /// When the other lease ends unless it is extended, or when it can be joined.
        recheck: Duration,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s1_no_value_is_shown() {
        let begun = Begun::Found(Found::Bytes(b"AB".to_vec()));
        assert_eq!(format!("{begun:?}"), "Found(Bytes(2 bytes))");
    }
}

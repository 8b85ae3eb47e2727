//! The one seam: what a place for entries, locks and pools must be able to do.
//!
//! A backend speaks bytes and semantics, not Redis commands. Retries, time limits, the circuit
//! breaker, single flight in the process, renewal and waiting are the handle's business and come
//! for free. `testing::conformance` (feature `testing`) proves an implementation.
//!
//! Every operation is **atomic**, and **safe to drop**: a dropped future may or may not have taken
//! effect, but never by half.

use std::any::Any;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use smol_str::SmolStr;

use crate::{Error, Key, Ttl, clock::Moment};

pub mod memory;
#[cfg(feature = "redis")]
#[doc(hidden)]
pub mod redis;
pub(crate) mod rounds;
pub(crate) mod sharded;
mod signals;

pub use signals::{Listener, Signals};

/// A boxed future, so that [`Backend`] can be a trait object.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A value as the program has it, its type erased.
pub type Typed = Arc<dyn Any + Send + Sync>;

/// A place where entries, locks and pools live.
///
/// # What an implementation promises
///
/// 1. A lease is a right to [`fill`](Self::fill) one entry. [`begin`](Self::begin) gives it to one
///    token at a time, unless a caller [joins](Claim::Join) it. The first fill ends it for all its
///    tokens, and so do [`reset`](Self::reset) and a begin that [overwrites](Claim::Overwrite).
///    This is what makes a reset win over a computation that started before it.
/// 2. At most `max` holders of a [`Slot`] are alive at a time, by the backend's own clock.
/// 3. Waiters are served in the order of their first [`acquire`](Self::acquire), and no caller
///    overtakes a live waiter.
/// 4. Waiters are woken through [`signals`](Self::signals): by the key's text when a lease ended,
///    by the token when a slot was handed over. A signal may be spurious. A lost signal only delays
///    the waiter until it checks again.
pub trait Backend: Send + Sync + fmt::Debug + 'static {
    /// A value that is at hand without waiting, asked for first on every read. Backends that live
    /// elsewhere have none.
    fn local(&self, key: &Key) -> Option<Typed> {
        let _ = key;
        None
    }

    /// Returns whether [`local`](Self::local) knows everything that [`get`](Self::get) knows, which
    /// is then not asked.
    fn is_local(&self) -> bool {
        false
    }

    /// Returns the backend's time: what ages and deadlines count in, the same for all processes
    /// that share the backend.
    fn now(&self) -> Moment;

    /// Whom to wake, and how to wait for it.
    fn signals(&self) -> &Signals;

    /// The entry, if there is one.
    fn get<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Result<Option<Found>, Error>>;

    /// Asks for the right to fill an entry; see [`Claim`].
    ///
    /// If the answer does not come in time, the backend must refuse the request when it arrives
    /// later.
    fn begin<'a>(&'a self, key: &'a Key, begin: Begin<'a>) -> BoxFuture<'a, Result<Begun, Error>>;

    /// Stores an entry if the lease still stands, ends the lease for all its tokens and tells those
    /// who wait. `false`: it no longer stood, nothing was stored.
    ///
    /// The lease ends and those who wait are told even when storing fails.
    fn fill<'a>(
        &'a self,
        key: &'a Key,
        token: &'a Token,
        entry: NewEntry<'a>,
    ) -> BoxFuture<'a, Result<bool, Error>>;

    /// Gives a token's part in a lease back without storing anything. `false`: it no longer stood.
    ///
    /// With its last token the lease ends, and those who wait are told.
    fn release_lease<'a>(
        &'a self,
        key: &'a Key,
        token: &'a Token,
    ) -> BoxFuture<'a, Result<bool, Error>>;

    /// Gives a lease `ttl` from now. `false`: it no longer stood.
    fn extend_lease<'a>(
        &'a self,
        key: &'a Key,
        token: &'a Token,
        ttl: Duration,
    ) -> BoxFuture<'a, Result<bool, Error>>;

    /// Removes the entry and any lease, and tells those who wait. Removing what is not there
    /// succeeds.
    fn reset<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Result<(), Error>>;

    /// Takes a slot, queues for it, or finds it taken.
    ///
    /// Asking again with the same token is how a waiter looks again, claims what was handed to it,
    /// and learns the outcome of a request whose answer got lost: who already holds the slot holds
    /// it anew, with the full `ttl`.
    fn acquire<'a>(
        &'a self,
        slot: &'a Slot,
        acquire: Acquire<'a>,
    ) -> BoxFuture<'a, Result<Acquired, Error>>;

    /// Gives a holder `ttl` from now. `false`: it no longer held the slot, and does not now.
    fn extend<'a>(
        &'a self,
        slot: &'a Slot,
        token: &'a Token,
        ttl: Duration,
    ) -> BoxFuture<'a, Result<bool, Error>>;

    /// Ends what `token` has of the slot, a hold or a place in the queue, and hands what got free
    /// to those who wait. `false`: it held nothing.
    fn release<'a>(
        &'a self,
        slot: &'a Slot,
        token: &'a Token,
    ) -> BoxFuture<'a, Result<bool, Error>>;

    /// Takes the slot from all holders, and hands it to the waiters. Returns `false` if there was
    /// no holder.
    fn evict<'a>(&'a self, slot: &'a Slot) -> BoxFuture<'a, Result<bool, Error>>;

    /// Returns who holds the slot.
    fn inspect<'a>(&'a self, slot: &'a Slot) -> BoxFuture<'a, Result<Inspection, Error>>;

    /// Checks at connect that the backend answers and is fit for everything it may be asked to do.
    fn check(&self) -> BoxFuture<'_, Result<(), Error>>;

    /// Looks whether the backend's clock was set, and calls [`Signals::disturb`] if so. Called once
    /// a second while this process holds anything.
    fn watch(&self) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(std::future::ready(Ok(())))
    }

    /// Checks that operations are answered again: the circuit breaker stays open until this
    /// succeeds.
    ///
    /// It asks for no more than operations need. A backend that cannot do everything is better than
    /// none.
    fn probe(&self) -> BoxFuture<'_, Result<(), Error>> {
        self.check()
    }
}

/// The name of one lease, hold or place in a queue: unique, and ending in `@` and the name of the
/// [`Node`] that it belongs to.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token(SmolStr);

impl Token {
    /// Comes before every other token.
    pub(crate) const fn first() -> Self {
        Self(SmolStr::new_static(""))
    }

    /// Returns the token as text: `UNIQUE@NODE`.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One handle in one process: it identifies holders and waiters, and where to send signals.
#[derive(Debug, Clone)]
pub struct Node(SmolStr);

impl Node {
    /// Makes a new node whose name starts with `label`, which shows up as a lock's owner. Of the
    /// label, letters, digits and `_.:-` are kept, 64 of them at most.
    pub fn new(label: &str) -> Self {
        let label: String = label
            .chars()
            .filter(|c| c.is_ascii_alphanumeric() || "_.:-".contains(*c))
            .take(64)
            .collect();
        Self(smol_str::format_smolstr!(
            "{label}.{:016x}",
            fastrand::u64(..)
        ))
    }

    /// Returns the node's name, unique among all processes.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Makes a token that no other call returns, in any process, and that cannot be guessed, not
    /// even from other tokens.
    pub fn token(&self) -> Token {
        use std::hash::{BuildHasher, RandomState};
        use std::sync::LazyLock;
        use std::sync::atomic::{AtomicU64, Ordering};
        static LAST: AtomicU64 = AtomicU64::new(0);
        // SipHash with a key of 128 random bits.
        static SECRET: LazyLock<RandomState> = LazyLock::new(RandomState::new);
        let number = LAST.fetch_add(1, Ordering::Relaxed);
        let secret = SECRET.hash_one(number);
        Token(smol_str::format_smolstr!(
            "{number:x}.{secret:016x}@{}",
            self.0
        ))
    }

    /// Returns whether `text` has the form of a token of this node.
    #[cfg(feature = "redis")]
    pub(crate) fn owns(&self, text: &str) -> bool {
        let is_hex = |text: &str| {
            (1..=16).contains(&text.len())
                && text
                    .bytes()
                    .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
        };
        text.split_once('@').is_some_and(|(unique, node)| {
            let parts = unique.split_once('.');
            node == self.0
                && parts.is_some_and(|(number, secret)| {
                    is_hex(number) && secret.len() == 16 && is_hex(secret)
                })
        })
    }
}

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
    /// [`now`](Backend::now).
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

/// The answer to [`Backend::begin`].
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

/// The answer to [`Backend::acquire`].
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

/// The answer to [`Backend::inspect`].
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn l1_a_token_does_not_follow_from_the_one_before() {
        let node = Node::new("shop");
        let secret = |token: Token| {
            let secret = token.as_str().split(['.', '@']).nth(1);
            secret.and_then(|secret| u64::from_str_radix(secret, 16).ok())
        };
        let secrets: Vec<_> = (0..1000).filter_map(|_| secret(node.token())).collect();
        let steps = secrets.windows(2).map(|pair| pair[1].wrapping_sub(pair[0]));
        let steps: std::collections::HashSet<_> = steps.collect();
        assert_eq!(steps.len(), 999);
    }

    #[test]
    fn s1_no_value_is_shown() {
        let begun = Begun::Found(Found::Bytes(b"AB".to_vec()));
        assert_eq!(format!("{begun:?}"), "Found(Bytes(2 bytes))");
    }
}

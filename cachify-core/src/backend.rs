//! The trait that a store for entries, locks and pools implements.
//!
//! The handle adds retries, time limits, circuit breakers, single flight, renewal and waiting to
//! every backend. `testing::conformance` (feature `testing`) checks an implementation.
//!
//! Every operation is **atomic** and **safe to drop**: a dropped future took effect as a whole or
//! not at all.
//!
//! A simple backend implements the required methods alone. A method with a default is for a backend
//! that has a memory of its own in front ([`local`](Backend::local), [`keep`](Backend::keep)),
//! several servers ([`shard`](Backend::shard)), or a cheaper way to
//! [`expire`](Backend::expire).

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use crate::clock::Moment;
use crate::{Error, Key};

mod entry;
pub mod memory;
mod node;
#[cfg(feature = "redis")]
#[doc(hidden)]
pub mod redis;
pub(crate) mod rounds;
pub(crate) mod sharded;
mod signals;
mod slot;
#[cfg(feature = "redis")]
#[doc(hidden)]
pub mod tiered;

pub use crate::ttl::Life;
pub use entry::{Begin, Begun, Claim, Found, Kept, Mark, NewEntry, Stored, Typed};
pub use node::{Node, Shard, Token};
pub(crate) use signals::Repeats;
pub use signals::{Listener, Signals};
pub use slot::{Acquire, Acquired, Inspection, Slot, SlotKind};

/// A boxed future, so that [`Backend`] can be a trait object.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A store for entries, locks and pools.
///
/// # Promises of an implementation
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
    /// Returns a fresh value if there is one at hand, without waiting. Every read calls this first.
    /// Default: `None`, as for a backend on another machine.
    fn local(&self, key: &Key) -> Option<Typed> {
        let _ = key;
        None
    }

    /// Returns whether [`local`](Self::local) finds every fresh entry. If it does,
    /// [`get`](Self::get) is called only for stale entries. Default: `false`.
    fn is_local(&self) -> bool {
        false
    }

    /// Returns the time of the server that `key` lives on. Ages and deadlines are measured by it.
    /// It is the same for all processes that share the backend.
    fn now(&self, key: &Key) -> Moment;

    /// Returns the server that `key` lives on. Default: the only server.
    fn shard(&self, key: &Key) -> Shard {
        let _ = key;
        Shard::default()
    }

    /// Returns the signals by which the backend wakes the waiters of this process.
    fn signals(&self) -> &Signals;

    /// Returns the entry, fresh or stale, if there is one.
    fn get<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Result<Option<Found>, Error>>;

    /// Asks for the right to fill an entry; see [`Claim`].
    ///
    /// If the answer does not come in time, and the request arrives later, the backend must refuse
    /// it.
    fn begin<'a>(&'a self, key: &'a Key, begin: Begin<'a>) -> BoxFuture<'a, Result<Begun, Error>>;

    /// Stores an entry if the lease still stands, ends the lease for all its tokens, and wakes the
    /// waiters. Returns `false` and stores nothing if the lease no longer stood.
    ///
    /// The lease ends and the waiters are woken even if storing fails.
    fn fill<'a>(
        &'a self,
        key: &'a Key,
        token: &'a Token,
        entry: NewEntry<'a>,
    ) -> BoxFuture<'a, Result<bool, Error>>;

    /// Gives a token's part in a lease back without storing anything. Returns `false` if the lease
    /// no longer stood.
    ///
    /// When its last token is given back, the lease ends, and the waiters are woken.
    fn release_lease<'a>(
        &'a self,
        key: &'a Key,
        token: &'a Token,
    ) -> BoxFuture<'a, Result<bool, Error>>;

    /// Extends a lease to `ttl` from now. Returns `false` if it no longer stood.
    fn extend_lease<'a>(
        &'a self,
        key: &'a Key,
        token: &'a Token,
        ttl: Duration,
    ) -> BoxFuture<'a, Result<bool, Error>>;

    /// Removes the entry and any lease, and wakes the waiters. Resetting a missing entry succeeds.
    fn reset<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Result<(), Error>>;

    /// Ends any lease, like [`reset`](Self::reset), but keeps the entry until its end. The entry is
    /// stale from now on. Default: calls `reset`.
    fn expire<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Result<(), Error>> {
        self.reset(key)
    }

    /// Keeps a value that the caller decoded, so that [`local`](Self::local) finds it next time.
    /// Called only for an entry with a [`mark`](Found::mark). Default: keeps nothing.
    fn keep(&self, key: &Key, kept: Kept<'_>) {
        let _ = (key, kept);
    }

    /// Acquires a slot, queues for it, or reports that it is taken.
    ///
    /// A waiter asks again with the same token: to check its place, to claim a slot that was handed
    /// to it, and to learn the outcome of a request whose answer was lost. A token that already
    /// holds the slot holds it anew, with the full `ttl`.
    fn acquire<'a>(
        &'a self,
        slot: &'a Slot,
        acquire: Acquire<'a>,
    ) -> BoxFuture<'a, Result<Acquired, Error>>;

    /// Extends a hold to `ttl` from now. Returns `false` if the token no longer held the slot; it
    /// does not hold it now.
    fn extend<'a>(
        &'a self,
        slot: &'a Slot,
        token: &'a Token,
        ttl: Duration,
    ) -> BoxFuture<'a, Result<bool, Error>>;

    /// Ends the hold of `token`, or its place in the queue, and hands a slot that became free to
    /// the waiters. Returns `false` if it held nothing.
    fn release<'a>(
        &'a self,
        slot: &'a Slot,
        token: &'a Token,
    ) -> BoxFuture<'a, Result<bool, Error>>;

    /// Takes the slot from all holders, and hands it to the waiters. Returns `false` if there was
    /// no holder.
    fn evict<'a>(&'a self, slot: &'a Slot) -> BoxFuture<'a, Result<bool, Error>>;

    /// Returns the holders and the number of waiters.
    fn inspect<'a>(&'a self, slot: &'a Slot) -> BoxFuture<'a, Result<Inspection, Error>>;

    /// Checks that the backend answers and supports every operation. Called at connect.
    fn check(&self) -> BoxFuture<'_, Result<(), Error>>;

    /// Calls [`Signals::disturb`] if the backend's clock was set, or [`Signals::history_lost`] if
    /// acknowledged writes may be lost. Called once a second while this process holds a lock,
    /// permit or lease. Default: does nothing.
    fn watch(&self) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(std::future::ready(Ok(())))
    }

    /// Checks that a server answers operations again. Its circuit breaker stays open until this
    /// succeeds, which it does for a server that no key lives on any more. Default:
    /// [`check`](Self::check).
    ///
    /// The probe needs no more rights than operations do: a backend that supports some operations
    /// is better than none.
    fn probe(&self, shard: Shard) -> BoxFuture<'_, Result<(), Error>> {
        let _ = shard;
        self.check()
    }
}

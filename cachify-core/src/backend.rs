//! The one seam: what a place for entries, locks and pools must be able to do.
//!
//! A backend speaks bytes and semantics, not Redis commands. Retries, time limits, the circuit
//! breaker, single flight in the process, renewal and waiting are the handle's business and come
//! for free. `testing::conformance` (feature `testing`) proves an implementation.
//!
//! Every operation is **atomic**, and **safe to drop**: a dropped future may or may not have taken
//! effect, but never by half.

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

pub use entry::{Begin, Begun, Claim, Found, NewEntry, Typed};
pub use node::{Node, Token};
pub use signals::{Listener, Signals};
pub use slot::{Acquire, Acquired, Inspection, Slot, SlotKind};

/// A boxed future, so that [`Backend`] can be a trait object.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

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

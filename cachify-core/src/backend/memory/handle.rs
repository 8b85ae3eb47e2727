//! [`Memory`], the backend over a store.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::lease::{LeaseState, stands};
use super::store::Store;
use super::sweep::Sweep;
use crate::backend::rounds::Rounds;
use crate::backend::{
    Acquire, Acquired, Backend, Begin, Begun, BoxFuture, Claim, Found, Inspection, NewEntry,
    Signals, Slot, Token, Typed,
};
use crate::clock::Moment;
use crate::{Error, ErrorKind, Key};

/// The memory backend. It is cheap to clone, and all clones share one store.
///
/// [`Cachify::memory`](crate::Cachify::memory) creates one by itself. Create your own to share it
/// between handles, or to read its size.
///
/// # Examples
///
/// ```
/// use cachify_core::{Cachify, backend::memory::Memory};
/// use std::sync::Arc;
///
/// let memory = Memory::builder().capacity_bytes(64 << 20).build();
/// let cachify = Cachify::builder().backend(Arc::new(memory.clone())).connect_lazy()?;
/// assert_eq!(memory.bytes(), 0);
/// # drop(cachify);
/// # Ok::<(), cachify_core::Error>(())
/// ```
#[derive(Clone)]
pub struct Memory(pub(super) Arc<Store>);

impl Memory {
    /// Returns the number of entries, including expired entries that were not swept yet.
    pub fn len(&self) -> usize {
        self.0.entries.len()
    }

    /// Returns whether there are no entries.
    pub fn is_empty(&self) -> bool {
        self.0.entries.is_empty()
    }

    /// Returns the number of bytes that the entries take, estimated as for
    /// [`capacity_bytes`](super::MemoryBuilder::capacity_bytes).
    pub fn bytes(&self) -> u64 {
        self.0.size.bytes.load(Ordering::Relaxed)
    }
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Memory")
            .field("entries", &self.len())
            .field("bytes", &self.bytes())
            .finish_non_exhaustive()
    }
}

fn ready<'a, T: Send + 'a>(value: T) -> BoxFuture<'a, T> {
    Box::pin(std::future::ready(value))
}

impl Backend for Memory {
    #[inline]
    fn local(&self, key: &Key) -> Option<Typed> {
        self.0.fresh(key.as_str())
    }

    fn is_local(&self) -> bool {
        true
    }

    fn now(&self, _: &Key) -> Moment {
        self.0.clock.now()
    }

    fn signals(&self) -> &Signals {
        &self.0.signals
    }

    fn get<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Result<Option<Found>, Error>> {
        ready(Ok(self
            .0
            .get(key.as_str())
            .map(|entry| Found::typed(entry.value, entry.life))))
    }

    fn begin<'a>(&'a self, key: &'a Key, begin: Begin<'a>) -> BoxFuture<'a, Result<Begun, Error>> {
        Sweep::ensure(&self.0);
        let mut leases = self.0.leases(key.as_str());
        let mut removed = None;
        if begin.claim == Claim::Overwrite {
            leases.remove(key.as_str());
            removed = self.0.remove(key.as_str());
        } else if let Some(entry) = self.0.get(key.as_str())
            && !begin.replaces.is_some_and(|found| entry.is(found))
        {
            return ready(Ok(Begun::Found(Found::typed(entry.value, entry.life))));
        }
        let now = self.0.clock.now();
        let deadline = now + begin.ttl;
        if let Some(lease) = leases.get_mut(key.as_str())
            && lease.deadline > now
        {
            if !lease.tokens.contains(begin.token) {
                if let Err(recheck) = lease.join(begin.claim, now) {
                    return ready(Ok(Begun::Busy { recheck }));
                }
                lease.tokens.push(begin.token.clone());
            }
            lease.deadline = deadline;
        } else {
            let lease = LeaseState {
                tokens: vec![begin.token.clone()],
                deadline,
                since: now,
                rounds: Rounds::default(),
            };
            leases.insert(key.as_str().into(), lease);
        }
        drop(leases);
        drop(removed);
        ready(Ok(Begun::Granted))
    }

    fn fill<'a>(
        &'a self,
        key: &'a Key,
        token: &'a Token,
        entry: NewEntry<'a>,
    ) -> BoxFuture<'a, Result<bool, Error>> {
        let entry = self.0.entry(key, &entry);
        let mut leases = self.0.leases(key.as_str());
        if !stands(&leases, key.as_str(), token) {
            return ready(Ok(false));
        }
        leases.remove(key.as_str());
        let gone = self.0.store(key, entry);
        drop(leases);
        drop(gone);
        self.0.signals.wake(key.as_str());
        ready(Ok(true))
    }

    fn release_lease<'a>(
        &'a self,
        key: &'a Key,
        token: &'a Token,
    ) -> BoxFuture<'a, Result<bool, Error>> {
        let mut leases = self.0.leases(key.as_str());
        let Some(lease) = leases
            .get_mut(key.as_str())
            .filter(|lease| lease.tokens.contains(token))
        else {
            return ready(Ok(false));
        };
        lease.tokens.retain(|other| other != token);
        if lease.tokens.is_empty() {
            leases.remove(key.as_str());
            drop(leases);
            self.0.signals.wake(key.as_str());
        }
        ready(Ok(true))
    }

    fn extend_lease<'a>(
        &'a self,
        key: &'a Key,
        token: &'a Token,
        ttl: Duration,
    ) -> BoxFuture<'a, Result<bool, Error>> {
        let mut leases = self.0.leases(key.as_str());
        let lease = leases.get_mut(key.as_str());
        let stood = lease
            .filter(|lease| lease.tokens.contains(token))
            .map(|lease| {
                lease.deadline = self.0.clock.now() + ttl;
            });
        ready(Ok(stood.is_some()))
    }

    fn reset<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Result<(), Error>> {
        let mut leases = self.0.leases(key.as_str());
        leases.remove(key.as_str());
        let removed = self.0.remove(key.as_str());
        drop(leases);
        drop(removed);
        self.0.signals.wake(key.as_str());
        ready(Ok(()))
    }

    fn expire<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Result<(), Error>> {
        let mut leases = self.0.leases(key.as_str());
        leases.remove(key.as_str());
        let gone = self.0.expire(key);
        drop(leases);
        drop(gone);
        self.0.signals.wake(key.as_str());
        ready(Ok(()))
    }

    fn acquire<'a>(
        &'a self,
        slot: &'a Slot,
        acquire: Acquire<'a>,
    ) -> BoxFuture<'a, Result<Acquired, Error>> {
        Sweep::ensure(&self.0);
        if slot.max == 0 {
            return ready(Err(Error::new(
                ErrorKind::Configuration,
                "a pool needs room for at least one holder",
            )));
        }
        ready(Ok(self.0.slots.acquire(
            slot,
            &acquire,
            self.0.clock.now(),
            &self.0.signals,
            &self.0.alarm,
        )))
    }

    fn extend<'a>(
        &'a self,
        slot: &'a Slot,
        token: &'a Token,
        ttl: Duration,
    ) -> BoxFuture<'a, Result<bool, Error>> {
        ready(Ok(self.0.slots.extend(
            slot,
            token,
            ttl,
            self.0.clock.now(),
            &self.0.alarm,
        )))
    }

    fn release<'a>(
        &'a self,
        slot: &'a Slot,
        token: &'a Token,
    ) -> BoxFuture<'a, Result<bool, Error>> {
        ready(Ok(self.0.slots.release(
            slot,
            token,
            self.0.clock.now(),
            &self.0.signals,
            &self.0.alarm,
        )))
    }

    fn evict<'a>(&'a self, slot: &'a Slot) -> BoxFuture<'a, Result<bool, Error>> {
        ready(Ok(self.0.slots.evict(
            slot,
            self.0.clock.now(),
            &self.0.signals,
            &self.0.alarm,
        )))
    }

    fn inspect<'a>(&'a self, slot: &'a Slot) -> BoxFuture<'a, Result<Inspection, Error>> {
        ready(Ok(self.0.slots.inspect(slot, self.0.clock.now())))
    }

    fn check(&self) -> BoxFuture<'_, Result<(), Error>> {
        ready(Ok(()))
    }
}

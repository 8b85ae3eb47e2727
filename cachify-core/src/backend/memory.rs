//! Entries, locks and pools in this process's memory.
//!
//! Values stay as they are: nothing is encoded, and a hit costs one look-up and one clone.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, MutexGuard};
use std::time::Duration;

use quick_cache::sync::Cache;
use quick_cache::{Lifecycle, OptionsBuilder, Weighter};
use smol_str::SmolStr;

use super::sharded::{Hasher, Sharded};
use super::{
    Acquire, Acquired, Backend, Begin, Begun, BoxFuture, Found, Inspection, NewEntry, Signals,
    Slot, Token, Typed,
};
use crate::clock::{Clock, Moment};
use crate::{Error, ErrorKind, Key};

mod expiry;
mod slots;
mod sweep;

use expiry::Expiry;
use slots::Slots;
use sweep::{Alarm, Sweep};

type Entries = Cache<SmolStr, Entry, Weight, Hasher, Keep>;
type Leases = HashMap<SmolStr, LeaseState, Hasher>;

/// When an entry expires that does not.
const NEVER: Moment = Moment::from_micros(u64::MAX);

/// The memory backend. Cheap to clone; all clones are one store.
///
/// [`Cachify::memory`](crate::Cachify::memory) makes one by itself. Make your own to share it between handles, or to count bytes.
///
/// # Examples
///
/// ```
/// use cachify_core::{Cachify, backend::memory::Memory};
/// use std::sync::Arc;
///
/// let memory = Memory::builder().capacity_bytes(64 << 20).build();
/// let cachify = Cachify::builder().backend(Arc::new(memory.clone())).connect_lazy()?;
/// assert!(memory.is_empty());
/// # drop(cachify);
/// # Ok::<(), cachify_core::Error>(())
/// ```
#[derive(Clone)]
pub struct Memory(Arc<Store>);

struct Store {
    entries: Entries,
    /// Guards what must be atomic per key: a reset, a fill, a set, a lease. Hits do not come here.
    leases: Sharded<Leases>,
    slots: Slots,
    expiry: Expiry,
    last_id: AtomicU64,
    sweeping: AtomicBool,
    alarm: Arc<Alarm>,
    signals: Signals,
    clock: Clock,
    by_bytes: bool,
}

#[derive(Clone)]
struct Entry {
    value: Typed,
    expires: Moment,
    /// No other entry has it.
    id: u64,
    weight: u64,
}

struct LeaseState {
    token: Token,
    /// When somebody else may take it. Until that happens it stands: a computation that kept its thread busy, and so its renewal away, is stored.
    deadline: Moment,
}

/// Whether `token` has the lease of `key`.
fn stands(leases: &Leases, key: &str, token: &Token) -> bool {
    leases.get(key).is_some_and(|lease| lease.token == *token)
}

#[derive(Clone)]
struct Weight;

impl Weighter<SmolStr, Entry> for Weight {
    fn weight(&self, _: &SmolStr, entry: &Entry) -> u64 {
        entry.weight
    }
}

/// Keeps what is replaced or evicted, to be dropped without a lock: how long that takes is up to the values.
#[derive(Clone)]
struct Keep;

impl Lifecycle<SmolStr, Entry> for Keep {
    type RequestState = Vec<(SmolStr, Entry)>;

    fn on_evict(&self, gone: &mut Self::RequestState, key: SmolStr, entry: Entry) {
        gone.push((key, entry));
    }
}

/// Builds a [`Memory`].
#[must_use = "a builder does nothing before `build`"]
#[derive(Debug, Clone)]
pub struct MemoryBuilder {
    capacity: Capacity,
    clock: Clock,
}

#[derive(Debug, Clone, Copy)]
enum Capacity {
    Entries(usize),
    Bytes(u64),
}

impl MemoryBuilder {
    /// Keeps at most so many entries; those that are used least go first. Default 100 000, at least 1.
    pub fn capacity(mut self, entries: usize) -> Self {
        self.capacity = Capacity::Entries(entries.max(1));
        self
    }

    /// Keeps entries of at most so many bytes altogether, measured by their encoding, which this makes necessary once per stored value. The
    /// room is divided into four parts per processor or fewer; what does not fit into its part is not kept.
    pub fn capacity_bytes(mut self, bytes: u64) -> Self {
        self.capacity = Capacity::Bytes(bytes.max(1));
        self
    }

    /// Reads the time from `clock`.
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// Makes the store, empty.
    pub fn build(self) -> Memory {
        let (weight, expected, by_bytes) = match self.capacity {
            Capacity::Entries(entries) => (entries as u64, entries, false),
            Capacity::Bytes(bytes) => (
                bytes,
                usize::try_from(bytes / 256)
                    .unwrap_or(usize::MAX)
                    .clamp(64, 1 << 20),
                true,
            ),
        };
        let options = OptionsBuilder::new()
            .weight_capacity(weight)
            .estimated_items_capacity(expected)
            .build()
            // Both capacities are given, which is all that can be missing.
            .unwrap_or_else(|_| unreachable!("both capacities are set"));
        Memory(Arc::new(Store {
            entries: Cache::with_options(options, Weight, Hasher::default(), Keep),
            leases: Sharded::default(),
            slots: Slots::default(),
            expiry: Expiry::default(),
            last_id: AtomicU64::new(0),
            sweeping: AtomicBool::new(false),
            alarm: Arc::default(),
            signals: Signals::default(),
            clock: self.clock,
            by_bytes,
        }))
    }
}

impl Memory {
    /// Starts to build a store.
    pub fn builder() -> MemoryBuilder {
        MemoryBuilder {
            capacity: Capacity::Entries(100_000),
            clock: Clock::default(),
        }
    }

    /// How many entries there are, those included that have expired and were not swept yet.
    pub fn len(&self) -> usize {
        self.0.entries.len()
    }

    /// Whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.0.entries.is_empty()
    }
}

impl Default for Memory {
    fn default() -> Self {
        Self::builder().build()
    }
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Memory")
            .field("entries", &self.len())
            .finish_non_exhaustive()
    }
}

impl Store {
    fn leases(&self, key: &str) -> MutexGuard<'_, Leases> {
        self.leases.of(key)
    }

    /// The fresh entry.
    #[inline]
    fn fresh(&self, key: &str) -> Option<Typed> {
        let entry = self.entries.get(key)?;
        // Not removed here: by now a newer one may stand in its place. The sweep looks again.
        (entry.expires > self.clock.now()).then_some(entry.value)
    }

    /// Makes an entry ready to be stored. Encodes only where bytes are counted, and not under a lock.
    fn entry(&self, entry: &NewEntry<'_>) -> Result<Entry, Error> {
        let now = self.clock.now();
        let weight = if self.by_bytes {
            (entry.encode)(now)?.len().max(1) as u64
        } else {
            1
        };
        let expires = entry.ttl.as_duration().map_or(NEVER, |ttl| now + ttl);
        Ok(Entry {
            value: Arc::clone(entry.value),
            expires,
            id: self.last_id.fetch_add(1, Ordering::Relaxed),
            weight,
        })
    }

    /// Returns what it replaces and evicts, to be dropped without a lock.
    #[must_use = "to be dropped without a lock"]
    fn store(&self, key: &Key, entry: Entry) -> Vec<(SmolStr, Entry)> {
        // Listed first: from the moment it is stored it can be evicted, and is then taken off the list.
        let due = self.expiry.add(key.as_str(), &entry, self.clock.now());
        let mut gone = Vec::new();
        self.entries
            .insert_with_lifecycle(key.as_str().into(), entry, &mut gone);
        for (key, entry) in &gone {
            self.expiry.remove(key, entry);
        }
        gone.extend(
            due.into_iter()
                .flatten()
                .filter_map(|(key, id)| self.take(&key, id)),
        );
        gone
    }

    /// Removes an entry that was taken off the list, unless another one stands in its place.
    fn take(&self, key: &str, id: u64) -> Option<(SmolStr, Entry)> {
        self.entries.remove_if(key, |entry| entry.id == id)
    }

    /// Starts the sweep if it does not run and there is a runtime to run it.
    fn ensure_sweep(self: &Arc<Self>) {
        if self.sweeping.load(Ordering::Acquire) || self.sweeping.swap(true, Ordering::AcqRel) {
            return;
        }
        let sweep = Sweep::of(self);
        // Without a runtime `sweep` is dropped right here, and the next write tries again.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(sweep.run());
        }
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

    fn now(&self) -> Moment {
        self.0.clock.now()
    }

    fn signals(&self) -> &Signals {
        &self.0.signals
    }

    fn get<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Result<Option<Found>, Error>> {
        ready(Ok(self.local(key).map(Found::Typed)))
    }

    fn begin<'a>(&'a self, key: &'a Key, begin: Begin<'a>) -> BoxFuture<'a, Result<Begun, Error>> {
        self.0.ensure_sweep();
        let mut leases = self.0.leases(key.as_str());
        if let Some(value) = self.0.fresh(key.as_str())
            && !matches!(begin.unreadable, Some(Found::Typed(unreadable)) if Arc::ptr_eq(unreadable, &value))
        {
            return ready(Ok(Begun::Found(Found::Typed(value))));
        }
        let now = self.0.clock.now();
        if let Some(lease) = leases.get(key.as_str())
            && lease.token != *begin.token
            && lease.deadline > now
        {
            return ready(Ok(Begun::Busy {
                recheck: lease.deadline.since(now),
            }));
        }
        leases.insert(
            key.as_str().into(),
            LeaseState {
                token: begin.token.clone(),
                deadline: now + begin.ttl,
            },
        );
        ready(Ok(Begun::Granted))
    }

    fn fill<'a>(
        &'a self,
        key: &'a Key,
        token: &'a Token,
        entry: NewEntry<'a>,
    ) -> BoxFuture<'a, Result<bool, Error>> {
        let entry = self.0.entry(&entry);
        let mut leases = self.0.leases(key.as_str());
        if !stands(&leases, key.as_str(), token) {
            return ready(Ok(false));
        }
        leases.remove(key.as_str());
        let stored = entry.map(|entry| self.0.store(key, entry));
        drop(leases);
        self.0.signals.wake(key.as_str());
        ready(stored.map(|_| true))
    }

    fn confirm<'a>(&'a self, key: &'a Key, token: &'a Token) -> BoxFuture<'a, Result<bool, Error>> {
        let mut leases = self.0.leases(key.as_str());
        let stood = stands(&leases, key.as_str(), token);
        if stood {
            leases.remove(key.as_str());
            drop(leases);
            self.0.signals.wake(key.as_str());
        }
        ready(Ok(stood))
    }

    fn extend_lease<'a>(
        &'a self,
        key: &'a Key,
        token: &'a Token,
        ttl: Duration,
    ) -> BoxFuture<'a, Result<bool, Error>> {
        let mut leases = self.0.leases(key.as_str());
        let lease = leases.get_mut(key.as_str());
        let stood = lease.filter(|lease| lease.token == *token).map(|lease| {
            lease.deadline = self.0.clock.now() + ttl;
        });
        ready(Ok(stood.is_some()))
    }

    fn set<'a>(
        &'a self,
        key: &'a Key,
        entry: NewEntry<'a>,
        _: Duration,
    ) -> BoxFuture<'a, Result<(), Error>> {
        self.0.ensure_sweep();
        let entry = match self.0.entry(&entry) {
            Ok(entry) => entry,
            Err(error) => return ready(Err(error)),
        };
        let mut leases = self.0.leases(key.as_str());
        leases.remove(key.as_str());
        let evicted = self.0.store(key, entry);
        drop(leases);
        drop(evicted);
        self.0.signals.wake(key.as_str());
        ready(Ok(()))
    }

    fn reset<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Result<(), Error>> {
        let mut leases = self.0.leases(key.as_str());
        leases.remove(key.as_str());
        let removed = self.0.entries.remove(key.as_str());
        drop(leases);
        if let Some((key, entry)) = &removed {
            self.0.expiry.remove(key, entry);
        }
        drop(removed);
        self.0.signals.wake(key.as_str());
        ready(Ok(()))
    }

    fn acquire<'a>(
        &'a self,
        slot: &'a Slot,
        acquire: Acquire<'a>,
    ) -> BoxFuture<'a, Result<Acquired, Error>> {
        self.0.ensure_sweep();
        if slot.max == 0 {
            return ready(Err(Error::new(
                ErrorKind::Configuration,
                "a pool needs room for one holder at least",
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

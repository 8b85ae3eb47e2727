//! Entries, locks and pools in this process's memory.
//!
//! Values stay as they are: nothing is encoded, and a hit costs one look-up and one clone.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use quick_cache::sync::{Cache, DefaultLifecycle};
use quick_cache::{Lifecycle, OptionsBuilder, Weighter};
use smol_str::SmolStr;

use super::{
    Acquire, Acquired, Backend, Begin, Begun, BoxFuture, Found, Inspection, NewEntry, Signals,
    Slot, Token, Typed,
};
use crate::clock::{Clock, Moment};
use crate::{Error, ErrorKind, Key};

mod expiry;
mod slots;

use expiry::Expiry;
use slots::Slots;

/// Keys may come from outside, so the hash is seeded at random.
type Hasher = foldhash::fast::RandomState;
type Entries = Cache<SmolStr, Entry, Weight, Hasher>;
type Evicted = <DefaultLifecycle<SmolStr, Entry> as Lifecycle<SmolStr, Entry>>::RequestState;

/// How often expired entries are looked for.
const SWEEP_EVERY: Duration = Duration::from_secs(1);

/// Leases of different keys rarely meet in one of so many maps.
const LEASE_SHARDS: usize = 32;

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
    leases: [Mutex<HashMap<SmolStr, LeaseState>>; LEASE_SHARDS],
    hasher: Hasher,
    slots: Slots,
    expiry: Mutex<Expiry>,
    sweeping: AtomicBool,
    signals: Signals,
    clock: Clock,
    by_bytes: bool,
}

#[derive(Clone)]
struct Entry {
    value: Typed,
    expires: Moment,
    weight: u64,
}

struct LeaseState {
    token: Token,
    /// When somebody else may take it. Until that happens it stands: a computation that kept its thread busy, and so its renewal away, is stored.
    deadline: Moment,
}

/// Whether `token` has the lease of `key`.
fn stands(leases: &HashMap<SmolStr, LeaseState>, key: &str, token: &Token) -> bool {
    leases.get(key).is_some_and(|lease| lease.token == *token)
}

#[derive(Clone)]
struct Weight;

impl Weighter<SmolStr, Entry> for Weight {
    fn weight(&self, _: &SmolStr, entry: &Entry) -> u64 {
        entry.weight
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
            entries: Cache::with_options(
                options,
                Weight,
                Hasher::default(),
                DefaultLifecycle::default(),
            ),
            leases: std::array::from_fn(|_| Mutex::default()),
            hasher: Hasher::default(),
            slots: Slots::default(),
            expiry: Mutex::default(),
            sweeping: AtomicBool::new(false),
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
    fn leases(&self, key: &str) -> MutexGuard<'_, HashMap<SmolStr, LeaseState>> {
        use std::hash::BuildHasher;
        let hash = self.hasher.hash_one(key);
        #[expect(
            clippy::cast_possible_truncation,
            reason = "only the low bits are used"
        )]
        lock(&self.leases[hash as usize % LEASE_SHARDS])
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
        let expires = entry
            .ttl
            .as_duration()
            .map_or(Moment::from_micros(u64::MAX), |ttl| now + ttl);
        Ok(Entry {
            value: Arc::clone(entry.value),
            expires,
            weight,
        })
    }

    /// Returns what it replaces and evicts, to be dropped without a lock: how long that takes is up to the values.
    #[must_use = "to be dropped without a lock"]
    fn store(&self, key: &Key, entry: Entry) -> Evicted {
        let expires = entry.expires;
        let mut evicted = Evicted::default();
        self.entries
            .insert_with_lifecycle(key.as_str().into(), entry, &mut evicted);
        if expires.as_micros() != u64::MAX {
            let mut expiry = lock(&self.expiry);
            expiry.add(expires, key.as_str(), self.entries.len(), || {
                self.expiring()
            });
        }
        evicted
    }

    /// All entries that expire, and when.
    fn expiring(&self) -> Vec<(Moment, SmolStr)> {
        self.entries
            .iter()
            .map(|(key, entry)| (entry.expires, key))
            .filter(|(expires, _)| expires.as_micros() != u64::MAX)
            .collect()
    }

    /// Starts the sweep if it does not run and there is a runtime to run it.
    fn ensure_sweep(self: &Arc<Self>) {
        if self.sweeping.load(Ordering::Acquire) || self.sweeping.swap(true, Ordering::AcqRel) {
            return;
        }
        let sweep = Sweep(Arc::downgrade(self));
        // Without a runtime `sweep` is dropped right here, and the next write tries again.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(sweep.run());
        }
    }

    /// Removes what has expired.
    fn sweep(&self) {
        let now = self.clock.now();
        let due = lock(&self.expiry).take_due(now, || self.expiring());
        for key in due {
            self.entries.remove_if(&key, |entry| entry.expires <= now);
        }
        for leases in &self.leases {
            lock(leases).retain(|_, lease| lease.deadline > now);
        }
        self.slots.sweep(now, &self.signals);
    }
}

/// The background sweep. Ends with the store, or with its runtime, whichever goes first.
struct Sweep(Weak<Store>);

impl Sweep {
    async fn run(self) {
        loop {
            tokio::time::sleep(SWEEP_EVERY).await;
            match self.0.upgrade() {
                Some(store) => store.sweep(),
                None => return,
            }
        }
    }
}

impl Drop for Sweep {
    fn drop(&mut self) {
        if let Some(store) = self.0.upgrade() {
            store.sweeping.store(false, Ordering::Release);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
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
        )))
    }

    fn evict<'a>(&'a self, slot: &'a Slot) -> BoxFuture<'a, Result<bool, Error>> {
        ready(Ok(self.0.slots.evict(
            slot,
            self.0.clock.now(),
            &self.0.signals,
        )))
    }

    fn inspect<'a>(&'a self, slot: &'a Slot) -> BoxFuture<'a, Result<Inspection, Error>> {
        ready(Ok(self.0.slots.inspect(slot, self.0.clock.now())))
    }

    fn check(&self) -> BoxFuture<'_, Result<(), Error>> {
        ready(Ok(()))
    }
}

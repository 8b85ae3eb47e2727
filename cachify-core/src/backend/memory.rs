//! Entries, locks and pools in this process's memory.
//!
//! Values stay as they are: nothing is encoded, and a hit costs one look-up and one clone.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use quick_cache::sync::Cache;
use quick_cache::{Lifecycle, OptionsBuilder, Weighter};
use smol_str::SmolStr;

use super::rounds::Rounds;
use super::sharded::{Hasher, Sharded, lock};
use super::{
    Acquire, Acquired, Backend, Begin, Begun, BoxFuture, Claim, Found, Inspection, NewEntry,
    Signals, Slot, Token, Typed,
};
use crate::clock::{Clock, Moment};
use crate::{Error, ErrorKind, Key, observe};

mod expiry;
mod slots;
mod sweep;

use expiry::Expiry;
use slots::Slots;
use sweep::{Alarm, Sweep};

type Entries = Cache<SmolStr, MemoryEntry, Share, Hasher, Keep>;
/// An ordered map, because growing a hash map takes a time in proportion to what it holds.
type Leases = BTreeMap<SmolStr, LeaseState>;

/// The expiry of an entry that never expires.
const NEVER: Moment = Moment::from_micros(u64::MAX);

/// The memory backend. Cheap to clone; all clones are one store.
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
pub struct Memory(Arc<Store>);

struct Store {
    entries: Entries,
    /// A larger entry does not fit into its part of the table.
    room: u64,
    /// Guards what must be atomic per key: a reset, a fill, a lease. Hits do not come here.
    leases: Sharded<Leases>,
    slots: Slots,
    expiry: Expiry,
    last_id: AtomicU32,
    size: Size,
    sweeping: AtomicBool,
    alarm: Arc<Alarm>,
    signals: Signals,
    clock: Clock,
}

/// The current size, and the size last reported to metrics.
#[derive(Default)]
struct Size {
    bytes: AtomicU64,
    evicted: AtomicU64,
    told: Mutex<(usize, u64)>,
}

#[derive(Clone)]
struct MemoryEntry {
    value: Typed,
    expires: Moment,
    /// Unique among entries that expire at the same moment. Each hit copies the entry, so it is
    /// small.
    id: u32,
    /// Its estimated size in memory.
    bytes: u32,
}

struct LeaseState {
    /// The tokens that may fill; several once a caller joined.
    tokens: Vec<Token>,
    /// When another caller may take it. Until one does, it stays valid: a computation that blocked
    /// its thread, and so its renewal, can still store.
    deadline: Moment,
    /// When it was taken, or when callers could join it last.
    since: Moment,
    rounds: Rounds,
}

impl LeaseState {
    /// Joins it if it is old enough; else says how long to wait.
    fn join(&mut self, claim: Claim, now: Moment) -> Result<(), Duration> {
        let left = self.deadline.since(now);
        let Claim::Join(after) = claim else {
            return Err(left);
        };
        let over = now.since(self.since) >= after;
        if over {
            self.since = now;
        }
        if self.rounds.pass(over) {
            return Ok(());
        }
        Err(left.min(after.saturating_sub(now.since(self.since))))
    }
}

/// Returns whether `token` has the lease of `key`.
fn stands(leases: &Leases, key: &str, token: &Token) -> bool {
    leases
        .get(key)
        .is_some_and(|lease| lease.tokens.contains(token))
}

/// Each entry counts as its share of the bytes or of the number of entries, whichever is larger, so
/// that one weight enforces both bounds.
#[derive(Clone)]
struct Share {
    /// The bytes per entry when the number of entries is at its bound.
    least: u64,
}

/// Units per byte, so that the share of one entry among many is hardly rounded.
const FINE: u64 = 1 << 16;

impl Weighter<SmolStr, MemoryEntry> for Share {
    fn weight(&self, _: &SmolStr, entry: &MemoryEntry) -> u64 {
        (u64::from(entry.bytes) * FINE).max(self.least)
    }
}

/// Collects replaced and evicted values, to be dropped without a lock: a value's drop can take any
/// time.
#[derive(Clone)]
struct Keep;

impl Lifecycle<SmolStr, MemoryEntry> for Keep {
    type RequestState = Vec<(SmolStr, MemoryEntry)>;

    fn on_evict(&self, gone: &mut Self::RequestState, key: SmolStr, entry: MemoryEntry) {
        gone.push((key, entry));
    }
}

/// Builds a [`Memory`].
#[must_use = "a builder does nothing before `build`"]
#[derive(Debug, Clone)]
pub struct MemoryBuilder {
    entries: usize,
    bytes: u64,
    clock: Clock,
}

/// Enough for 100 000 table rows or 2600 answers of 100 kB, and small compared to a server's
/// memory.
pub(crate) const DEFAULT_BYTES: u64 = 256 << 20;
pub(crate) const DEFAULT_ENTRIES: usize = 100_000;

/// The bytes of an entry besides its key and value: its place in the table and in the expiry list,
/// their spare capacity, and the ghosts of evicted entries.
const OVERHEAD: u64 = 256;

/// A part of the table with more entries than twice this is reserved beforehand: to grow, it would
/// have to move them all at once.
const ENTRIES_PER_PART: usize = 4096;
/// The most that is reserved. It takes addresses, and memory only once it is used.
const RESERVED: usize = 1 << 21;
/// A smaller part of the table could not keep a large answer.
const BYTES_PER_PART: u64 = 8 << 20;

impl MemoryBuilder {
    /// Sets the most entries that are kept; the least used ones are evicted first. Default: 100
    /// 000, at least one.
    pub fn capacity(mut self, entries: usize) -> Self {
        self.entries = entries.max(1);
        self
    }

    /// Sets the most bytes that all entries take together; the least used ones are evicted first.
    /// Default: 256 MiB.
    ///
    /// Each entry counts as its share of this bound or of [`capacity`](Self::capacity), whichever
    /// is larger. Its size is estimated without encoding it: the length of the key, 256 bytes for
    /// the bookkeeping, and for the value the result of [`Cached::weigh`](crate::Cached::weigh), or
    /// otherwise the text, lists and numbers that its `Serialize` reports. The size of a stored
    /// HTTP answer is exact.
    ///
    /// The capacity is divided into parts of at least 8 MiB. An entry that does not fit into one
    /// part, or is larger than 4 GiB, is not kept; it is counted in `cachify_too_large_total`, and
    /// logged once for each template.
    pub fn capacity_bytes(mut self, bytes: u64) -> Self {
        self.bytes = bytes.max(1);
        self
    }

    /// Reads the time from `clock`.
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// Makes the store, empty.
    pub fn build(self) -> Memory {
        let Self { entries, bytes, .. } = self;
        let fit = usize::try_from(bytes / OVERHEAD).unwrap_or(usize::MAX);
        let expected = entries.min(fit).clamp(1, 1 << 30);
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let parts = (expected / ENTRIES_PER_PART)
            .max(4 * threads)
            .max(32)
            .min(usize::try_from(bytes / BYTES_PER_PART).unwrap_or(usize::MAX))
            // Fewer entries in a part, and hashes would not spread them evenly enough.
            .min(expected / 32)
            .clamp(1, 1 << 14);
        let parts = 1 << parts.ilog2();
        // A small share of each part is for unused new entries; an entry that needs that share does
        // not fit.
        let part = bytes.div_ceil(parts as u64);
        let room = part - part.div_ceil(32);
        let weight = bytes.saturating_mul(FINE);
        let share = Share {
            least: (weight / entries as u64).min(room.saturating_mul(FINE)),
        };
        let options = OptionsBuilder::new()
            .shards(parts)
            .weight_capacity(weight)
            .estimated_items_capacity(expected)
            .build()
            // Both capacities are given, which is all that can be missing.
            .unwrap_or_else(|_| unreachable!("both capacities are set"));
        let entries = Cache::with_options(options, share, Hasher::default(), Keep);
        if expected / parts > 2 * ENTRIES_PER_PART {
            entries.reserve(expected.min(RESERVED));
        }
        Memory(Arc::new(Store {
            entries,
            room,
            leases: Sharded::default(),
            slots: Slots::default(),
            expiry: Expiry::default(),
            last_id: AtomicU32::new(0),
            size: Size::default(),
            sweeping: AtomicBool::new(false),
            alarm: Arc::default(),
            signals: Signals::default(),
            clock: self.clock,
        }))
    }
}

impl Memory {
    /// Starts to build a store.
    pub fn builder() -> MemoryBuilder {
        MemoryBuilder {
            entries: DEFAULT_ENTRIES,
            bytes: DEFAULT_BYTES,
            clock: Clock::default(),
        }
    }

    /// Returns the number of entries, including expired ones that were not swept yet.
    pub fn len(&self) -> usize {
        self.0.entries.len()
    }

    /// Returns whether there are no entries.
    pub fn is_empty(&self) -> bool {
        self.0.entries.is_empty()
    }

    /// Returns how many bytes the entries take, by the estimate of
    /// [`capacity_bytes`](MemoryBuilder::capacity_bytes).
    pub fn bytes(&self) -> u64 {
        self.0.size.bytes.load(Ordering::Relaxed)
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
            .field("bytes", &self.bytes())
            .finish_non_exhaustive()
    }
}

impl Store {
    fn leases(&self, key: &str) -> MutexGuard<'_, Leases> {
        self.leases.of(key)
    }

    /// Returns the fresh entry.
    #[inline]
    fn fresh(&self, key: &str) -> Option<Typed> {
        let entry = self.entries.get(key)?;
        // Not removed here: by now a newer one may stand in its place. The sweep looks again.
        (entry.expires > self.clock.now()).then_some(entry.value)
    }

    /// Prepares an entry to be stored. Returns `None` if it is too large. Call it without a lock,
    /// since it weighs the value.
    fn entry(&self, key: &Key, entry: &NewEntry<'_>) -> Option<MemoryEntry> {
        let bytes = (key.as_str().len() as u64).saturating_add((entry.weigh)() as u64);
        let bytes = bytes.saturating_add(OVERHEAD);
        let fits = u32::try_from(bytes).ok().filter(|_| bytes <= self.room);
        let Some(bytes) = fits else {
            observe::too_large(key);
            return None;
        };
        let ttl = entry.ttl.as_duration();
        Some(MemoryEntry {
            value: Arc::clone(entry.value),
            expires: ttl.map_or(NEVER, |ttl| self.clock.now() + ttl),
            id: self.last_id.fetch_add(1, Ordering::Relaxed),
            bytes,
        })
    }

    /// Stores an entry. Returns the values that it replaces and evicts, to be dropped without a
    /// lock.
    #[must_use = "to be dropped without a lock"]
    fn store(&self, key: &Key, entry: Option<MemoryEntry>) -> Vec<(SmolStr, MemoryEntry)> {
        let Some(entry) = entry else {
            return Vec::from_iter(self.remove(key.as_str()));
        };
        // Listed first: from the moment it is stored it can be evicted, and is then taken off the
        // list.
        let due = self.expiry.add(key.as_str(), &entry, self.clock.now());
        self.size
            .bytes
            .fetch_add(entry.bytes.into(), Ordering::Relaxed);
        let mut gone = Vec::new();
        self.entries
            .insert_with_lifecycle(key.as_str().into(), entry, &mut gone);
        for (gone, entry) in &gone {
            self.expiry.remove(gone, entry);
            self.size
                .bytes
                .fetch_sub(entry.bytes.into(), Ordering::Relaxed);
            if gone != key.as_str() {
                self.size.evicted.fetch_add(1, Ordering::Relaxed);
            }
        }
        let due = due.into_iter().flatten();
        gone.extend(due.filter_map(|(key, id)| self.take(&key, id)));
        gone
    }

    fn remove(&self, key: &str) -> Option<(SmolStr, MemoryEntry)> {
        let removed = self.entries.remove(key);
        if let Some((key, entry)) = &removed {
            self.expiry.remove(key, entry);
            self.size
                .bytes
                .fetch_sub(entry.bytes.into(), Ordering::Relaxed);
        }
        removed
    }

    /// Removes an entry that was taken off the list, unless another entry has replaced it.
    fn take(&self, key: &str, id: u32) -> Option<(SmolStr, MemoryEntry)> {
        let taken = self.entries.remove_if(key, |entry| entry.id == id);
        if let Some((_, entry)) = &taken {
            self.size
                .bytes
                .fetch_sub(entry.bytes.into(), Ordering::Relaxed);
        }
        taken
    }

    /// Reports the changes to the metrics: several stores of a process add up.
    fn tell(&self, entries: usize, bytes: u64) {
        let told = std::mem::replace(&mut *lock(&self.size.told), (entries, bytes));
        observe::memory_entries(told.0, entries);
        observe::memory_bytes(told.1, bytes);
        observe::evictions(self.size.evicted.swap(0, Ordering::Relaxed));
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

impl Drop for Store {
    fn drop(&mut self) {
        self.tell(0, 0);
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
        let mut removed = None;
        if begin.claim == Claim::Overwrite {
            leases.remove(key.as_str());
            removed = self.0.remove(key.as_str());
        } else if let Some(value) = self.0.fresh(key.as_str())
            && !matches!(begin.unreadable, Some(Found::Typed(unreadable)) if Arc::ptr_eq(unreadable, &value))
        {
            return ready(Ok(Begun::Found(Found::Typed(value))));
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

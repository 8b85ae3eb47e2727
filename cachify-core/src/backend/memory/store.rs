//! The store: entries with their leases and expiry, slots, and the size of the entries.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use quick_cache::sync::Cache;
use smol_str::SmolStr;

use super::alarm::Alarm;
use super::entry::{Keep, MemoryEntry, Share};
use super::expiry::Expiry;
use super::lease::Leases;
use super::slots::Slots;
use crate::backend::sharded::{Hasher, Sharded, lock};
use crate::backend::{Life, NewEntry, Signals, Typed};
use crate::clock::{Clock, Moment};
use crate::{Key, observe};

pub(super) type Entries = Cache<SmolStr, MemoryEntry, Share, Hasher, Keep>;

/// The bytes of an entry besides its key and value: its places in the table and in the expiry list,
/// their spare capacity, and the ghosts of evicted entries.
pub(super) const OVERHEAD: u64 = 256;

pub(super) struct Store {
    pub(super) entries: Entries,
    /// The largest size of an entry. A larger entry does not fit into its part of the table.
    pub(super) room: u64,
    /// The leases. Their locks also make resets and fills of a key atomic. Hits don't take them.
    pub(super) leases: Sharded<Leases>,
    pub(super) slots: Slots,
    pub(super) expiry: Expiry,
    pub(super) last_id: AtomicU32,
    pub(super) size: Size,
    pub(super) sweeping: AtomicBool,
    pub(super) alarm: Arc<Alarm>,
    pub(super) signals: Signals,
    pub(super) clock: Clock,
}

/// The current size, and the size last reported to metrics.
#[derive(Default)]
pub(super) struct Size {
    pub(super) bytes: AtomicU64,
    pub(super) evicted: AtomicU64,
    pub(super) told: Mutex<(usize, u64)>,
}

impl Store {
    pub(super) fn leases(&self, key: &str) -> MutexGuard<'_, Leases> {
        self.leases.of(key)
    }

    /// Returns the value of the entry if it is fresh.
    #[inline]
    pub(super) fn fresh(&self, key: &str) -> Option<Typed> {
        self.fresh_before(key, Moment::NEVER)
    }

    /// Returns the value of the entry if it is fresh and `limit` is not over.
    #[inline]
    pub(super) fn fresh_before(&self, key: &str, limit: Moment) -> Option<Typed> {
        let entry = self.entries.get(key)?;
        // An expired entry is left to the sweep, because a newer entry may have replaced it by now.
        (entry.life.fresh_until.min(limit) > self.clock.now()).then_some(entry.value)
    }

    /// Returns the entry, fresh or stale.
    pub(super) fn get(&self, key: &str) -> Option<MemoryEntry> {
        let entry = self.entries.get(key)?;
        (entry.life.until > self.clock.now()).then_some(entry)
    }

    /// Makes the entry stale. The caller holds the lock of the key's lease. Returns the same as
    /// [`store`](Self::store).
    #[must_use = "to be dropped without a lock"]
    pub(super) fn expire(&self, key: &Key) -> Vec<(SmolStr, MemoryEntry)> {
        let Some(mut entry) = self.get(key.as_str()) else {
            return Vec::new();
        };
        entry.life.fresh_until = entry.life.fresh_until.min(self.clock.now());
        // The old entry is taken off the expiry list by its own id.
        entry.id = self.last_id.fetch_add(1, Ordering::Relaxed);
        self.store(key, Some(entry))
    }

    /// Prepares an entry to be stored. Returns `None` if it is too large. The caller holds no lock,
    /// because this weighs the value.
    pub(super) fn entry(&self, key: &Key, entry: &NewEntry<'_>) -> Option<MemoryEntry> {
        let life = entry.life(self.clock.now());
        self.weighed(key, entry.value, entry.weigh, life)
    }

    /// Like [`entry`](Self::entry), with the times of the entry.
    pub(super) fn weighed(
        &self,
        key: &Key,
        value: &Typed,
        weigh: &dyn Fn() -> usize,
        life: Life,
    ) -> Option<MemoryEntry> {
        let bytes = (key.as_str().len() as u64).saturating_add(weigh() as u64);
        let bytes = bytes.saturating_add(OVERHEAD);
        let fits = u32::try_from(bytes).ok().filter(|_| bytes <= self.room);
        let Some(bytes) = fits else {
            observe::too_large(key);
            return None;
        };
        Some(MemoryEntry {
            value: Arc::clone(value),
            life,
            id: self.last_id.fetch_add(1, Ordering::Relaxed),
            bytes,
        })
    }

    /// Stores an entry, or removes the old entry if the new one was too large. Returns the entries
    /// that were replaced and evicted, to be dropped without a lock.
    #[must_use = "to be dropped without a lock"]
    pub(super) fn store(
        &self,
        key: &Key,
        entry: Option<MemoryEntry>,
    ) -> Vec<(SmolStr, MemoryEntry)> {
        let Some(entry) = entry else {
            return Vec::from_iter(self.remove(key.as_str()));
        };
        // Added to the expiry list first: once it is stored, the entry can be evicted, and is then
        // taken off the list.
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

    pub(super) fn remove(&self, key: &str) -> Option<(SmolStr, MemoryEntry)> {
        let removed = self.entries.remove(key);
        if let Some((key, entry)) = &removed {
            self.expiry.remove(key, entry);
            self.size
                .bytes
                .fetch_sub(entry.bytes.into(), Ordering::Relaxed);
        }
        removed
    }

    /// Removes an entry that was taken off the expiry list, unless another entry has replaced it.
    pub(super) fn take(&self, key: &str, id: u32) -> Option<(SmolStr, MemoryEntry)> {
        let taken = self.entries.remove_if(key, |entry| entry.id == id);
        if let Some((_, entry)) = &taken {
            self.size
                .bytes
                .fetch_sub(entry.bytes.into(), Ordering::Relaxed);
        }
        taken
    }

    /// Reports changes of the size to the metrics, which add up all stores of the process.
    pub(super) fn tell(&self, entries: usize, bytes: u64) {
        let told = std::mem::replace(&mut *lock(&self.size.told), (entries, bytes));
        observe::memory_entries(told.0, entries);
        observe::memory_bytes(told.1, bytes);
        observe::evictions(self.size.evicted.swap(0, Ordering::Relaxed));
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        self.tell(0, 0);
    }
}

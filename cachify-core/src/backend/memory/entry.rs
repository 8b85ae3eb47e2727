//! Entries, their shares of the store, and the collection of evicted entries.

use std::sync::Arc;

use quick_cache::{Lifecycle, Weighter};
use smol_str::SmolStr;

use crate::backend::{Found, Life, Stored, Typed};

#[derive(Clone)]
pub(super) struct MemoryEntry {
    pub(super) value: Typed,
    pub(super) life: Life,
    /// An id that is unique among entries that expire at the same moment. It is small, because each
    /// hit copies the entry.
    pub(super) id: u32,
    /// The estimated size in memory.
    pub(super) bytes: u32,
}

impl MemoryEntry {
    /// Returns whether `found` is this entry.
    pub(super) fn is(&self, found: &Found) -> bool {
        matches!(&found.value, Stored::Typed(value) if Arc::ptr_eq(value, &self.value))
    }
}

/// Weighs an entry by its share of the bytes or of the number of entries, whichever is larger, so
/// that one weight enforces both bounds.
#[derive(Clone)]
pub(super) struct Share {
    /// The weight of each entry when the number of entries is at its bound.
    pub(super) least: u64,
}

/// The units of weight per byte. There are many, so that the share of an entry is hardly rounded.
pub(super) const FINE: u64 = 1 << 16;

impl Weighter<SmolStr, MemoryEntry> for Share {
    fn weight(&self, _: &SmolStr, entry: &MemoryEntry) -> u64 {
        (u64::from(entry.bytes) * FINE).max(self.least)
    }
}

/// Collects replaced and evicted entries, to be dropped without a lock: dropping a value can take
/// any time.
#[derive(Clone)]
pub(super) struct Keep;

impl Lifecycle<SmolStr, MemoryEntry> for Keep {
    type RequestState = Vec<(SmolStr, MemoryEntry)>;

    fn on_evict(&self, gone: &mut Self::RequestState, key: SmolStr, entry: MemoryEntry) {
        gone.push((key, entry));
    }
}

//! [`MemoryBuilder`], which builds a store of a given size.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32};

use quick_cache::OptionsBuilder;
use quick_cache::sync::Cache;

use super::entry::{FINE, Keep, Share};
use super::expiry::Expiry;
use super::handle::Memory;
use super::slots::Slots;
use super::store::{OVERHEAD, Size, Store};
use crate::backend::Signals;
use crate::backend::sharded::{Hasher, Sharded};
use crate::clock::Clock;

/// Builds a [`Memory`].
#[must_use = "a builder does nothing before `build`"]
#[derive(Debug, Clone)]
pub struct MemoryBuilder {
    entries: usize,
    bytes: u64,
    clock: Clock,
}

/// The default size in bytes. It is enough for 100 000 table rows or 2600 responses of 100 kB, and
/// small compared to a server's memory.
const DEFAULT_BYTES: u64 = 256 << 20;
const DEFAULT_ENTRIES: usize = 100_000;

/// The intended number of entries in a part of the table. Room for parts with more than twice as
/// many is reserved beforehand, because a part that grows moves all its entries at once.
const ENTRIES_PER_PART: usize = 4096;
/// The largest number of entries to reserve room for. The room takes no memory until it is used.
const RESERVED: usize = 1 << 21;
/// The smallest size of a part of the table. A smaller part could not hold a large response.
const BYTES_PER_PART: u64 = 8 << 20;

impl MemoryBuilder {
    /// Sets the largest number of entries, at least one. The least used entries are evicted first.
    /// Default: 100 000.
    pub fn capacity(mut self, entries: usize) -> Self {
        self.entries = entries.max(1);
        self
    }

    /// Sets the largest number of bytes that all entries take together. The least used entries are
    /// evicted first. Default: 256 MiB.
    ///
    /// Each entry counts as its share of this bound or of [`capacity`](Self::capacity), whichever
    /// is larger. Its size is the length of the key, 256 bytes for the bookkeeping, and the size of
    /// the value. That is the result of [`Cached::weigh`](crate::Cached::weigh), or else an
    /// estimate from the text, lists and numbers that the value's `Serialize` reports. The size of
    /// a stored HTTP response is exact.
    ///
    /// The capacity is divided into parts of at least 8 MiB. An entry that does not fit into one
    /// part, or is larger than 4 GiB, is not stored. The metric `cachify_too_large_total` counts
    /// such entries, and the log names each template once.
    pub fn capacity_bytes(mut self, bytes: u64) -> Self {
        self.bytes = bytes.max(1);
        self
    }

    /// Sets the clock. Default: the system's clock.
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// Builds an empty store.
    pub fn build(self) -> Memory {
        let Self { entries, bytes, .. } = self;
        let fit = usize::try_from(bytes / OVERHEAD).unwrap_or(usize::MAX);
        let expected = entries.min(fit).clamp(1, 1 << 30);
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let parts = (expected / ENTRIES_PER_PART)
            .max(4 * threads)
            .max(32)
            .min(usize::try_from(bytes / BYTES_PER_PART).unwrap_or(usize::MAX))
            // With fewer entries in a part, hashes would not spread them evenly enough.
            .min(expected / 32)
            .clamp(1, 1 << 14);
        let parts = 1 << parts.ilog2();
        // A small share of each part is reserved for new entries that were not used yet. An entry
        // that needs this share does not fit.
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
            // Only a missing capacity is an error.
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
    /// Returns a builder with the default capacities.
    pub fn builder() -> MemoryBuilder {
        MemoryBuilder {
            entries: DEFAULT_ENTRIES,
            bytes: DEFAULT_BYTES,
            clock: Clock::default(),
        }
    }
}

impl Default for Memory {
    fn default() -> Self {
        Self::builder().build()
    }
}

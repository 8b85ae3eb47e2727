//! Copies of entries that live elsewhere, for a memory in front of another backend.

use smol_str::SmolStr;

use super::entry::MemoryEntry;
use super::handle::Memory;
use super::sweep::Sweep;
use crate::Key;
use crate::backend::{Life, Typed};
use crate::clock::Moment;

/// A copy that was weighed, and can be put into its memory.
pub(crate) struct LocalCopy(MemoryEntry);

/// Copies that are gone. A value's drop can take any time, so let it be without a lock.
#[must_use = "to be dropped without a lock"]
pub(crate) struct Gone(#[allow(dead_code, reason = "to be dropped")] Vec<(SmolStr, MemoryEntry)>);

/// The end of a copy that never ends: the list of those that expire must name it.
const LAST: Moment = Moment::from_micros(u64::MAX - 1);

impl Memory {
    /// Returns the value of a copy if it is fresh and `limit` has not come.
    #[inline]
    pub(crate) fn copy_before(&self, key: &Key, limit: Moment) -> Option<Typed> {
        self.0.fresh_before(key.as_str(), limit)
    }

    /// Prepares a copy that is fresh until `until`. Returns `None` if it is too large. Call it
    /// without a lock, since it weighs the value.
    pub(crate) fn weigh_copy(
        &self,
        key: &Key,
        value: &Typed,
        weigh: &dyn Fn() -> usize,
        until: Moment,
    ) -> Option<LocalCopy> {
        let life = Life::new(until.min(LAST));
        self.0.weighed(key, value, weigh, life).map(LocalCopy)
    }

    /// Keeps a copy in place of an older one.
    pub(crate) fn put_copy(&self, key: &Key, copy: LocalCopy) -> Gone {
        Sweep::ensure(&self.0);
        Gone(self.0.store(key, Some(copy.0)))
    }

    /// Removes the copy of the key with this text.
    pub(crate) fn remove_copy(&self, text: &str) -> Gone {
        Gone(Vec::from_iter(self.0.remove(text)))
    }

    /// Removes all copies, in slices between which other tasks run. One that is put meanwhile may
    /// remain.
    pub(crate) async fn clear_copies(&self) {
        self.0.clear().await;
    }
}

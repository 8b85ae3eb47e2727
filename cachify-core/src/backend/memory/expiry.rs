//! Tracks when entries expire.

use std::collections::BTreeMap;
use std::sync::Mutex;

use smol_str::SmolStr;

use super::entry::MemoryEntry;
use crate::backend::sharded::Sharded;
use crate::clock::Moment;

/// The list of entries in the order in which they expire. Each entry is listed once: an entry that
/// is replaced, evicted or removed is taken off the list, so the list needs no cleaning.
#[derive(Default)]
pub(super) struct Expiry(Sharded<Part>);

/// One part of the list. It is an ordered tree, because a heap or a hash map moves all its items
/// when it grows.
#[derive(Default)]
pub(super) struct Part(BTreeMap<(Moment, u32), SmolStr>);

impl Expiry {
    /// Adds an entry. Takes up to two expired entries off the list and returns them: without a
    /// runtime no sweep runs, and expired entries must not take the place of live ones.
    pub(super) fn add(
        &self,
        key: &str,
        entry: &MemoryEntry,
        now: Moment,
    ) -> [Option<(SmolStr, u32)>; 2] {
        if entry.life.until == Moment::NEVER {
            return [None, None];
        }
        let mut part = self.0.of(key);
        let due = [part.pop_due(now), part.pop_due(now)];
        part.0.insert((entry.life.until, entry.id), key.into());
        due
    }

    /// Takes an entry off the list that the store no longer has.
    pub(super) fn remove(&self, key: &str, entry: &MemoryEntry) {
        if entry.life.until != Moment::NEVER {
            self.0.of(key).0.remove(&(entry.life.until, entry.id));
        }
    }

    pub(super) fn parts(&self) -> impl Iterator<Item = &Mutex<Part>> {
        self.0.iter()
    }
}

impl Part {
    /// Takes an expired entry off the list. Returns its key and its id.
    pub(super) fn pop_due(&mut self, now: Moment) -> Option<(SmolStr, u32)> {
        let first = self.0.first_entry()?;
        if first.key().0 > now {
            return None;
        }
        let ((_, id), key) = first.remove_entry();
        Some((key, id))
    }
}

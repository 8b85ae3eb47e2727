//! A table that is split into parts, each behind a mutex of its own.

use std::hash::BuildHasher;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A hasher with a random seed, because keys may come from outside of the program.
pub(super) type Hasher = foldhash::fast::RandomState;

/// The number of parts. Of a million names, each part holds about four thousand.
const PARTS: usize = 256;

/// A table that is split into parts by the hash of a name. Names in different parts never wait for
/// each other, and work in proportion to the size of a part blocks only that part.
///
/// A part that holds many long-lived items should be an ordered map: a hash map moves all its items
/// when it grows.
pub(super) struct Sharded<T> {
    parts: Box<[Mutex<T>]>,
    hasher: Hasher,
}

impl<T: Default> Default for Sharded<T> {
    fn default() -> Self {
        Self {
            parts: (0..PARTS).map(|_| Mutex::default()).collect(),
            hasher: Hasher::default(),
        }
    }
}

impl<T> Sharded<T> {
    /// Locks the part that `name` belongs to.
    pub(super) fn of(&self, name: &str) -> MutexGuard<'_, T> {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "only the low bits are used"
        )]
        let part = self.hasher.hash_one(name) as usize % PARTS;
        lock(&self.parts[part])
    }

    /// Returns all parts, unlocked.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Mutex<T>> {
        self.parts.iter()
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

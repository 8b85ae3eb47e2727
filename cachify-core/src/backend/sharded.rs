//! A table in parts, each behind a mutex of its own.

use std::hash::BuildHasher;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Keys may come from outside, so the hash is seeded at random.
pub(super) type Hasher = foldhash::fast::RandomState;

/// With so many parts, one of a million names holds four thousand of them.
const PARTS: usize = 256;

/// A table in parts by the hash of a name. Names of different parts do not wait for one another,
/// and what takes time in proportion to a part blocks that part alone. A part of much that lives
/// long is an ordered map: a hash map moves all it holds when it grows.
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

    /// All parts. A part is locked only while its item lives.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Mutex<T>> {
        self.parts.iter()
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

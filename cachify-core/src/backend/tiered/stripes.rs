//! Counters of invalidations, each shared by many keys.

use std::hash::BuildHasher;
use std::sync::{Mutex, MutexGuard, PoisonError};

use foldhash::fast::RandomState;

/// The number of stripes. A busy key costs the keys of its stripe some copies.
const STRIPES: usize = 1024;

/// The generations of all stripes. A generation counts how often copies of its keys became void.
pub(super) struct Stripes {
    generations: Box<[Mutex<u64>]>,
    /// Has a random seed, because keys may come from outside of the program.
    hasher: RandomState,
}

impl Default for Stripes {
    fn default() -> Self {
        Self {
            generations: (0..STRIPES).map(|_| Mutex::default()).collect(),
            hasher: RandomState::default(),
        }
    }
}

impl Stripes {
    /// Locks the generation of the stripe that a key's text belongs to.
    pub(super) fn of(&self, text: &str) -> MutexGuard<'_, u64> {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "only the low bits are used"
        )]
        let stripe = self.hasher.hash_one(text) as usize % STRIPES;
        lock(&self.generations[stripe])
    }

    /// Waits until all callers that hold a stripe now have unlocked it.
    pub(super) fn pass(&self) {
        for generation in &self.generations {
            drop(lock(generation));
        }
    }
}

fn lock(generation: &Mutex<u64>) -> MutexGuard<'_, u64> {
    generation.lock().unwrap_or_else(PoisonError::into_inner)
}

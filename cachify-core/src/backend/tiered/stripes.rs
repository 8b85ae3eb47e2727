//! Counters of invalidations, each shared by many keys.

use std::hash::BuildHasher;
use std::sync::{Mutex, MutexGuard, PoisonError};

use foldhash::fast::RandomState;

/// A busy key costs those that share its stripe some copies.
const STRIPES: usize = 1024;

/// The generation of each stripe: how often a copy of one of its keys became void.
pub(super) struct Stripes {
    generations: Box<[Mutex<u64>]>,
    /// Keys may come from outside, so the hash is seeded at random.
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
    /// Locks the generation that a key's text belongs to.
    pub(super) fn of(&self, text: &str) -> MutexGuard<'_, u64> {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "only the low bits are used"
        )]
        let stripe = self.hasher.hash_one(text) as usize % STRIPES;
        lock(&self.generations[stripe])
    }

    /// Waits until no stripe is locked by a caller that locked it before.
    pub(super) fn pass(&self) {
        for generation in &self.generations {
            drop(lock(generation));
        }
    }
}

fn lock(generation: &Mutex<u64>) -> MutexGuard<'_, u64> {
    generation.lock().unwrap_or_else(PoisonError::into_inner)
}

//! The variants that this process stored, so that a reset does not leave them behind.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use smol_str::SmolStr;

use crate::Key;

/// The longest life of a variant. A reset makes variants unreachable, and a process that has ended
/// cannot remove its own.
pub(super) const LIFE: Duration = Duration::from_hours(1);

/// The most variants of one key that a process keeps. A new one replaces the oldest.
pub(super) const MOST: usize = 64;

/// The most variants that are remembered. If there are more, all are forgotten, and expire by
/// themselves.
const REMEMBERED: usize = 10_000;

/// The variants that this process stored, by the key of their index.
#[derive(Default)]
pub(super) struct Variants(Mutex<Known>);

#[derive(Default)]
struct Known {
    families: HashMap<SmolStr, Family>,
    count: usize,
}

struct Family {
    nonce: u64,
    /// The tick of the last request that saw this nonce.
    seen: u64,
    /// Sorted from the oldest to the newest.
    variants: VecDeque<Key>,
}

// Shows no keys, which may be secret.
impl fmt::Debug for Variants {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Variants").finish_non_exhaustive()
    }
}

impl Variants {
    /// Records that a request of tick `seen` found the index of `key` with `nonce`, and stored the
    /// variant `stored`. Returns the variants to remove: those that are unreachable, or too many.
    pub(super) fn note(&self, key: &Key, nonce: u64, seen: u64, stored: Option<Key>) -> Vec<Key> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.count >= REMEMBERED {
            *known = Known::default();
        }
        let Known { families, count } = &mut *known;
        let mut gone = Vec::new();
        let family = match (families.get_mut(key.as_str()), &stored) {
            (Some(family), _) => family,
            (None, None) => return gone,
            (None, Some(_)) => families.entry(key.as_str().into()).or_insert(Family {
                nonce,
                seen,
                variants: VecDeque::new(),
            }),
        };
        if family.nonce != nonce {
            if seen < family.seen {
                // A reset overtook this request.
                gone.extend(stored);
                return gone;
            }
            *count -= family.variants.len();
            gone.extend(family.variants.drain(..));
            family.nonce = nonce;
        }
        family.seen = family.seen.max(seen);
        if let Some(stored) = stored {
            let before = family.variants.len();
            family.variants.retain(|variant| *variant != stored);
            family.variants.push_back(stored);
            if family.variants.len() > MOST {
                gone.extend(family.variants.pop_front());
            }
            *count = *count - before + family.variants.len();
        }
        gone
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::KeyTemplate;

    fn key(n: usize) -> Key {
        KeyTemplate::parse("x-{n}").unwrap().render(&[&n])
    }

    #[test]
    fn h2_a_new_nonce_removes_what_was_stored_under_the_old_one() {
        let variants = Variants::default();
        assert!(variants.note(&key(0), 1, 1, None).is_empty());
        assert!(variants.note(&key(0), 1, 2, Some(key(1))).is_empty());
        assert!(variants.note(&key(0), 1, 2, Some(key(2))).is_empty());
        assert!(variants.note(&key(0), 1, 3, Some(key(1))).is_empty());
        assert_eq!(variants.note(&key(0), 2, 4, None), [key(2), key(1)]);
        // A request from before the reset comes late.
        assert_eq!(variants.note(&key(0), 1, 3, Some(key(3))), [key(3)]);
        assert!(variants.note(&key(0), 2, 5, Some(key(4))).is_empty());
    }

    #[test]
    fn h2_the_variants_of_a_key_and_the_memory_of_them_are_bounded() {
        let variants = Variants::default();
        for n in 0..MOST {
            assert!(variants.note(&key(0), 1, 1, Some(key(n))).is_empty());
        }
        assert_eq!(variants.note(&key(0), 1, 1, Some(key(MOST))), [key(0)]);
        for n in 0..3 * REMEMBERED {
            variants.note(&key(n), 1, 1, Some(key(n)));
        }
        let known = variants.0.lock().unwrap();
        let count = known.families.values().map(|family| family.variants.len());
        assert_eq!(count.sum::<usize>(), known.count);
        assert!(known.count <= REMEMBERED && known.families.len() <= REMEMBERED);
    }
}

//! Hit-for-miss: keys whose last response was uncacheable, so requests don't wait for one another.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use smol_str::SmolStr;
use tokio::time::Instant;

use crate::Key;

/// The time for which a key passes through after a response that could not be stored.
const PASS_FOR: Duration = Duration::from_mins(1);

/// The most keys that are remembered. If there are more, all are forgotten.
const REMEMBERED: usize = 10_000;

/// Keys whose last response could not be stored. For a minute, or until a response can be stored
/// again, requests under such a key don't wait for one another.
#[derive(Default)]
pub(super) struct HitForMiss(Mutex<HashMap<SmolStr, Instant>>);

// Shows no keys, which may be secret.
impl fmt::Debug for HitForMiss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HitForMiss({})", self.keys().len())
    }
}

impl HitForMiss {
    pub(super) fn contains(&self, key: &Key) -> bool {
        self.keys()
            .get(key.as_str())
            .is_some_and(|until| *until > Instant::now())
    }

    pub(super) fn add(&self, key: &Key) {
        let now = Instant::now();
        let mut keys = self.keys();
        if keys.len() >= REMEMBERED {
            keys.retain(|_, until| *until > now);
            if keys.len() >= REMEMBERED {
                keys.clear();
            }
        }
        keys.insert(key.as_str().into(), now + PASS_FOR);
    }

    pub(super) fn remove(&self, key: &Key) {
        self.keys().remove(key.as_str());
    }

    fn keys(&self) -> MutexGuard<'_, HashMap<SmolStr, Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::KeyTemplate;

    #[tokio::test(start_paused = true)]
    async fn h1_hit_for_miss_ends_and_is_bounded() {
        let known = HitForMiss::default();
        let template = KeyTemplate::parse("x-{n}").unwrap();
        let key = template.render(&[&0]);
        known.add(&key);
        assert!(known.contains(&key));
        assert_eq!(format!("{known:?}"), "HitForMiss(1)");
        tokio::time::advance(PASS_FOR).await;
        assert!(!known.contains(&key));
        for n in 0..=2 * REMEMBERED {
            known.add(&template.render(&[&n]));
        }
        assert!(known.keys().len() <= REMEMBERED);
    }
}

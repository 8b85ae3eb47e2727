//! The prefixes of the copies in memory.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use smol_str::SmolStr;

use crate::Key;
use crate::clock::Moment;
use crate::key::Prefix;

/// Keeps each prefix in use until its last copy has expired, even if no handle has the prefix any
/// more. So this process hears of resets for as long as there are copies.
#[derive(Default)]
pub(super) struct Prefixes(Mutex<HashMap<SmolStr, (Prefix, Moment)>>);

impl Prefixes {
    /// Records a copy that expires at `until`, before the copy is put.
    pub(super) fn keep(&self, key: &Key, until: Moment) {
        let Some(prefix) = key.prefix() else {
            return;
        };
        let mut prefixes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, last)) = prefixes.get_mut(prefix.as_str()) {
            *last = until.max(*last);
        } else {
            prefixes.insert(prefix.as_str().into(), (prefix.clone(), until));
        }
    }

    /// Gives up the prefixes whose copies have expired.
    pub(super) fn release(&self, now: Moment) {
        let mut prefixes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        prefixes.retain(|_, (_, until)| *until > now);
    }
}

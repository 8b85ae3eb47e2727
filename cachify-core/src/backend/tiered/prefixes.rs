//! The prefixes that copies have.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use smol_str::SmolStr;

use crate::Key;
use crate::clock::Moment;
use crate::key::Prefix;

/// Keeps a prefix in use until the last copy with it has expired, although no handle has it any
/// more. So words for its copies are heard for as long as there are any.
#[derive(Default)]
pub(super) struct Prefixes(Mutex<HashMap<SmolStr, (Prefix, Moment)>>);

impl Prefixes {
    /// Notes a copy that expires at `until`. Call it before the copy is put.
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

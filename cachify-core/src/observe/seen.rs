//! Templates that were seen before.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

/// A bounded set of templates.
pub(super) struct Seen(Mutex<BTreeSet<String>>);

/// The number of templates that get a label, or a log line, of their own.
pub(super) const TEMPLATES: usize = 1000;

impl Seen {
    pub(super) const fn new() -> Self {
        Self(Mutex::new(BTreeSet::new()))
    }
}

/// Returns whether `template` is new. Once the set is full, no template counts as new.
pub(super) fn first_time(seen: &Seen, template: &str) -> bool {
    let mut seen = seen.0.lock().unwrap_or_else(PoisonError::into_inner);
    !seen.contains(template) && seen.len() < TEMPLATES && seen.insert(template.to_owned())
}

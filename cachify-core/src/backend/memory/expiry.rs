//! When which entry expires.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use smol_str::SmolStr;

use crate::clock::Moment;

/// Keys by the moment they expire. May name entries that are gone or were renewed meanwhile.
#[derive(Default)]
pub(super) struct Expiry {
    heap: BinaryHeap<Reverse<(Moment, SmolStr)>>,
    crowded: bool,
}

/// Outdated names are thrown out once there are this many more than entries.
const SLACK: usize = 4096;

impl Expiry {
    pub(super) fn add(&mut self, expires: Moment, key: &str, entries: usize) {
        if self.heap.len() > 2 * entries + SLACK {
            // The sweep rebuilds the heap, which is too much to do within a write.
            self.crowded = true;
        }
        self.heap.push(Reverse((expires, key.into())));
    }

    /// Takes out the keys that are due. `all` lists what there is, for when too many names are outdated.
    pub(super) fn take_due(
        &mut self,
        now: Moment,
        all: impl FnOnce() -> Vec<(Moment, SmolStr)>,
    ) -> Vec<SmolStr> {
        if std::mem::take(&mut self.crowded) {
            self.heap = all().into_iter().map(Reverse).collect();
        }
        let mut due = Vec::new();
        while let Some(Reverse((expires, _))) = self.heap.peek()
            && *expires <= now
        {
            due.extend(self.heap.pop().map(|Reverse((_, key))| key));
        }
        due
    }
}

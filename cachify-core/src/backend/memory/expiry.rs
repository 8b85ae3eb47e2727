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
    /// Takes note of an entry that was just stored, of so many. `all` lists what there is, for when too many names are outdated.
    pub(super) fn add(
        &mut self,
        expires: Moment,
        key: &str,
        entries: usize,
        all: impl FnOnce() -> Vec<(Moment, SmolStr)>,
    ) {
        if self.heap.len() > 4 * (entries + SLACK) {
            // The sweep does not come: somebody writes without a pause on the only thread.
            self.rebuild(all);
        } else if self.heap.len() > 2 * entries + SLACK {
            // The sweep rebuilds the heap, which is too much to do within a write.
            self.crowded = true;
        }
        self.heap.push(Reverse((expires, key.into())));
    }

    fn rebuild(&mut self, all: impl FnOnce() -> Vec<(Moment, SmolStr)>) {
        self.crowded = false;
        self.heap = all().into_iter().map(Reverse).collect();
    }

    /// Takes out the keys that are due. `all` as in [`add`](Self::add).
    pub(super) fn take_due(
        &mut self,
        now: Moment,
        all: impl FnOnce() -> Vec<(Moment, SmolStr)>,
    ) -> Vec<SmolStr> {
        if self.crowded {
            self.rebuild(all);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn c11_outdated_names_are_bounded_although_no_sweep_comes() {
        let mut expiry = Expiry::default();
        for n in 1..100_000 {
            let newest = || vec![(Moment::from_micros(n), SmolStr::new("row"))];
            expiry.add(Moment::from_micros(n), "row", 1, newest);
            assert!(expiry.heap.len() <= 4 * (1 + SLACK) + 1);
        }
    }
}

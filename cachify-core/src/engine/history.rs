//! The last resets, which are repeated if the backend may have lost them.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use smol_str::SmolStr;

use crate::clock::{Clock, Moment};
use crate::{Key, observe};

/// The time for which a reset is remembered after it was acknowledged.
const REMEMBERED: Duration = Duration::from_mins(1);

/// The keys that were reset or set in the last minute.
#[derive(Debug)]
pub(super) struct History {
    clock: Clock,
    /// The time for which a key is kept. It counts from before the request, so it includes a
    /// backend timeout for the acknowledgement.
    keep: Duration,
    capacity: usize,
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    /// The keys in the order of their last resets, with the times of these.
    order: BTreeMap<u64, (Moment, Key)>,
    /// The place of each key in `order`.
    places: HashMap<SmolStr, u64>,
    last: u64,
}

impl History {
    pub(super) fn new(clock: Clock, timeout: Duration, capacity: usize) -> Self {
        Self {
            clock,
            keep: REMEMBERED + timeout,
            capacity,
            table: Mutex::default(),
        }
    }

    /// Remembers a key. If there are too many keys, forgets the one that was reset longest ago.
    pub(super) fn add(&self, key: &Key) {
        let now = self.clock.now();
        let mut table = self.table();
        table.remove_older(now, self.keep);
        let place = table.last + 1;
        table.last = place;
        let is_full = match table.places.insert(key.as_str().into(), place) {
            Some(before) => {
                table.order.remove(&before);
                false
            }
            None => table.order.len() >= self.capacity,
        };
        if is_full {
            table.remove_first();
        }
        // A prefix whose handles are gone is not kept in use for another minute.
        table.order.insert(place, (now, key.unused()));
        drop(table);
        if is_full {
            observe::forgotten_reset(self.capacity);
        }
    }

    /// Takes all keys, starting with the one that was reset longest ago.
    pub(super) fn take(&self) -> impl Iterator<Item = Key> + use<> {
        let mut table = self.table();
        table.remove_older(self.clock.now(), self.keep);
        table.places.clear();
        let order = std::mem::take(&mut table.order);
        order.into_values().map(|(_, key)| key)
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn remove_older(&mut self, now: Moment, keep: Duration) {
        while let Some((_, (since, _))) = self.order.first_key_value()
            && now.since(*since) > keep
        {
            self.remove_first();
        }
    }

    fn remove_first(&mut self) {
        if let Some((_, (_, key))) = self.order.pop_first() {
            self.places.remove(key.as_str());
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::KeyTemplate;

    const TIMEOUT: Duration = Duration::from_millis(250);

    fn key(id: usize) -> Key {
        KeyTemplate::parse("row-{id}").unwrap().render(&[&id])
    }

    fn taken(history: &History) -> Vec<Key> {
        history.take().collect()
    }

    #[tokio::test(start_paused = true)]
    async fn c8_a_reset_is_remembered_for_a_minute_after_its_acknowledgement() {
        let clock = Clock::test();
        let history = History::new(clock.clone(), TIMEOUT, 10);
        history.add(&key(1));
        clock.advance(Duration::from_secs(30));
        for id in [2, 3, 2] {
            history.add(&key(id));
        }
        clock.advance(Duration::from_secs(30) + TIMEOUT);
        assert_eq!(
            taken(&history),
            [1, 3, 2].map(key),
            "once, the oldest first"
        );
        assert!(taken(&history).is_empty(), "they were taken");

        history.add(&key(4));
        clock.advance(Duration::from_secs(1));
        history.add(&key(5));
        clock.advance(Duration::from_mins(1));
        assert_eq!(taken(&history), [key(5)]);
    }

    #[tokio::test(start_paused = true)]
    async fn c8_only_so_many_resets_are_remembered() {
        let history = History::new(Clock::test(), TIMEOUT, 2);
        for id in [1, 2, 1, 1, 3] {
            history.add(&key(id));
        }
        assert_eq!(taken(&history), [1, 3].map(key), "the oldest goes");
        for round in 0..1000 {
            history.add(&key(round % 2));
        }
        let table = history.table();
        assert_eq!((table.order.len(), table.places.len()), (2, 2));
    }
}

//! The waiters of this process, by slot.
//!
//! A message wakes the waiter whose turn has come. In addition, the first waiter of each slot
//! *looks*: it asks the backend again at the holder's expiry, after a second at the latest, and
//! when messages may have been lost. If a look finds that a message or a place was lost, the next
//! waiter looks at once, and so on until a waiter finds its place unchanged. A backend takes
//! waiters only from the head of its queue, so the places behind that waiter are unchanged too.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::future::pending;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::{Either, select};
use smol_str::SmolStr;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep_until};

use crate::backend::{Listener, Slot, SlotKind};

/// The longest time that the first waiter sleeps before it looks.
pub(crate) const RECHECK: Duration = Duration::from_secs(1);
/// The lifetime of a place in the queue. A waiter that waits for longer asks for it again after
/// half of this time.
pub(crate) const PLACE: Duration = Duration::from_mins(10);
/// The number of waiters of a slot that know their exact position. If the first waiter is a future
/// that nobody polls, the second one looks, and so on. The waiters behind these look too, but only
/// after all waiters ahead of them have had time to; few of those timers fire.
const DEPUTIES: usize = 8;
/// The delay after which the next waiter looks, if the one before it has not.
const STAGGER: Duration = Duration::from_millis(300);

/// The lines of waiters of one handle.
#[derive(Default)]
pub(crate) struct Lines(Mutex<Table>);

#[derive(Default)]
struct Table {
    /// An ordered map, because a hash map that grows stalls for as long as it takes to move all its
    /// lines.
    lines: BTreeMap<Name, Line>,
    last: u64,
}

type Name = (SlotKind, SmolStr);

/// The waiters for one slot.
struct Line {
    /// The waiters by place in the backend's queue, and by a number that is unique in this process.
    waiters: BTreeMap<(u64, u64), Arc<Notify>>,
    /// The time at which the first waiter looks.
    due: Instant,
    /// The time of the first failed request since the last one that succeeded.
    failed: Option<Instant>,
    /// The count of lost messages at the last look.
    losses: u64,
}

impl Lines {
    fn table(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Line {
    fn wake_first(&self) {
        if let Some(first) = self.waiters.values().next() {
            first.notify_one();
        }
    }

    /// Returns the position in the line, if it is among the first [`DEPUTIES`].
    fn rank(&self, key: (u64, u64)) -> Option<usize> {
        self.waiters
            .keys()
            .take(DEPUTIES)
            .position(|other| *other == key)
    }

    /// Returns the number of waiters ahead of this one. It is exact for the first [`DEPUTIES`], and
    /// an upper bound for the others.
    fn ahead(&self, key: (u64, u64)) -> usize {
        self.rank(key).unwrap_or_else(|| {
            // Waiters are numbered in order of arrival.
            let first = self.waiters.keys().next().map_or(key.1, |first| first.1);
            let ahead = usize::try_from(key.1.saturating_sub(first)).unwrap_or(usize::MAX);
            ahead.min(self.waiters.len()).max(DEPUTIES)
        })
    }

    fn look_by(&mut self, due: Instant) {
        if due < self.due {
            self.due = due;
            self.wake_first();
        }
    }
}

/// A waiter with a place in the backend's queue. Dropping it removes it from the line.
pub(crate) struct Waiter<'a> {
    lines: &'a Lines,
    /// The longest time that an answer may take.
    timeout: Duration,
    listener: &'a Listener,
    name: Name,
    key: (u64, u64),
    moved: Arc<Notify>,
    losses: watch::Receiver<u64>,
    /// The time at which this waiter asks no matter what the others do: to keep its place, or after
    /// a failure.
    own: Instant,
    /// Set while the waiter asks without a message. Until the answer shows that nothing was lost,
    /// dropping the waiter makes the next one look.
    looking: bool,
}

impl<'a> Waiter<'a> {
    /// Adds a waiter to the line, at the place that the backend gave it. The caller subscribed to
    /// `losses` before it asked.
    pub(crate) fn join(
        lines: &'a Lines,
        timeout: Duration,
        slot: &Slot,
        listener: &'a Listener,
        losses: watch::Receiver<u64>,
        place: u64,
        recheck: Duration,
    ) -> Self {
        let mut table = lines.table();
        table.last += 1;
        let id = table.last;
        drop(table);
        let mut waiter = Self {
            lines,
            timeout,
            listener,
            name: (slot.kind, slot.key.as_str().into()),
            key: (place, id),
            moved: Arc::default(),
            losses,
            own: Instant::now(),
            looking: false,
        };
        waiter.queued(place, recheck);
        waiter
    }

    /// Takes note that the backend keeps the caller waiting at `place`, and that a look is due
    /// after `recheck`.
    pub(crate) fn queued(&mut self, place: u64, recheck: Duration) {
        let now = Instant::now();
        // Never at once: a backend that answers zero again and again must not keep a core busy.
        let due = now + recheck.clamp(Duration::from_millis(1), RECHECK);
        let looked = std::mem::take(&mut self.looking);
        let moved = self.key.0 != place;
        self.own = now + PLACE / 2;
        let losses = *self.losses.borrow();
        let mut table = self.lines.table();
        let line = match table.lines.entry(self.name.clone()) {
            Entry::Occupied(line) => line.into_mut(),
            Entry::Vacant(line) => line.insert(Line {
                waiters: BTreeMap::new(),
                due,
                failed: None,
                losses,
            }),
        };
        line.failed = None;
        line.waiters.remove(&self.key);
        self.key.0 = place;
        line.waiters.insert(self.key, Arc::clone(&self.moved));
        if looked {
            line.due = due;
        }
        if looked && moved && line.rank(self.key) != Some(0) {
            line.look_by(now);
        } else {
            line.look_by(due);
        }
    }

    /// Takes note of a failed request, and returns whether to ask again after `pause`. One brief
    /// failure of the backend is forgiven.
    pub(crate) fn forgives(&mut self, pause: Duration) -> bool {
        let now = Instant::now();
        self.own = now + pause;
        let mut table = self.lines.table();
        let failed = match table.lines.get_mut(&self.name) {
            Some(line) => *line.failed.get_or_insert(now),
            None => now,
        };
        now <= failed + pause
    }

    /// Ends the wait: the backend granted the slot, or it was still taken at the end of the wait.
    pub(crate) fn answered(mut self, granted: bool) {
        // A slot that was granted without a message means that the message got lost.
        self.looking &= granted;
        if let Some(line) = self.lines.table().lines.get_mut(&self.name) {
            line.failed = None;
        }
    }

    /// Waits until the waiter must ask: when a message comes, when a look is due, or at `end`.
    ///
    /// # Cancel safety
    ///
    /// No message is lost if the future is dropped before it is ready.
    pub(crate) async fn turn(&mut self, end: Instant) {
        while let Some((at, first)) = self.next_look(end) {
            let told = pin!(self.listener.signalled());
            let moved = pin!(self.moved.notified());
            let losses = &mut self.losses;
            let lost = pin!(async {
                if !first || losses.changed().await.is_err() {
                    pending::<()>().await;
                }
            });
            let timer = pin!(sleep_until(at));
            let other = select(moved, select(lost, timer));
            if let Either::Left(_) = select(told, other).await {
                self.looking = false;
                return;
            }
        }
        self.looking = true;
    }

    /// Returns the time of the next check, and whether this waiter is the first in line. Returns
    /// `None` if it must look now.
    fn next_look(&mut self, end: Instant) -> Option<(Instant, bool)> {
        let now = Instant::now();
        let own = self.own.min(end);
        if now >= own {
            return None;
        }
        let losses = *self.losses.borrow_and_update();
        // No other waiter asks until this answer arrives.
        let looked = now + self.timeout + RECHECK;
        let mut table = self.lines.table();
        let line = table
            .lines
            .entry(self.name.clone())
            .or_insert_with(|| Line {
                waiters: BTreeMap::new(),
                due: looked,
                failed: None,
                losses,
            });
        if let Entry::Vacant(spot) = line.waiters.entry(self.key) {
            // Waiters behind this one looked in its place and removed it.
            spot.insert(Arc::clone(&self.moved));
            return None;
        }
        let ahead = line.ahead(self.key);
        let at = line.due + STAGGER.saturating_mul(u32::try_from(ahead).unwrap_or(u32::MAX));
        if now < at && (ahead > 0 || line.losses == losses) {
            return Some((at.min(own), ahead == 0));
        }
        // The waiters ahead of this one did not look in time.
        while (line.waiters.first_key_value()).is_some_and(|(first, _)| *first < self.key) {
            line.waiters.pop_first();
        }
        line.due = looked;
        line.losses = losses;
        None
    }
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        let mut table = self.lines.table();
        let Entry::Occupied(mut entry) = table.lines.entry(self.name.clone()) else {
            return;
        };
        let line = entry.get_mut();
        let rank = line.rank(self.key);
        line.waiters.remove(&self.key);
        if line.waiters.is_empty() {
            entry.remove();
            return;
        }
        if self.looking {
            line.look_by(Instant::now());
        }
        if rank == Some(0) {
            line.wake_first();
        }
        if rank.is_some()
            && let Some(last) = line.waiters.values().nth(DEPUTIES - 1)
        {
            last.notify_one();
        }
    }
}

//! The waiters of this process, slot by slot.
//!
//! A message wakes the waiter whose turn it is. Besides, the first waiter of each slot *looks*: it
//! asks again at the holder's expiry, after a second at the latest, and when messages may have been
//! lost. If a look finds that a message or a place was lost, the next waiter looks at once, and so
//! on until one finds its place as it was. Since a backend takes waiters from the head of its queue
//! only, the places behind that one are as they were, too.

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

/// How long the first waiter sleeps at most before it looks.
pub(crate) const RECHECK: Duration = Duration::from_secs(1);
/// For how long a waiter asks for a place in the queue. One that waits for longer asks anew after
/// half of it.
pub(crate) const PLACE: Duration = Duration::from_mins(10);
/// How many waiters of a slot know their position. If the first is a future that is not polled, the
/// second one looks, and so on. The others look too, if all those before them may have had their
/// time: few of these timers fire.
const DEPUTIES: usize = 8;
/// How long after one waiter's time to look the next one takes over.
const STAGGER: Duration = Duration::from_millis(300);

/// The lines of waiters of one handle.
#[derive(Default)]
pub(crate) struct Lines(Mutex<Table>);

#[derive(Default)]
struct Table {
    /// An ordered map, because growing a hash map takes a time in proportion to what it holds.
    lines: BTreeMap<Name, Line>,
    last: u64,
}

type Name = (SlotKind, SmolStr);

/// The waiters for one slot.
struct Line {
    /// By place in the backend's queue. The second number keeps them apart.
    waiters: BTreeMap<(u64, u64), Arc<Notify>>,
    /// When the first one looks.
    due: Instant,
    /// When asking failed first, since it succeeded last.
    failed: Option<Instant>,
    /// How often messages had been lost at the last look.
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

    /// Returns the position in the line, if it is one of the first.
    fn rank(&self, key: (u64, u64)) -> Option<usize> {
        self.waiters
            .keys()
            .take(DEPUTIES)
            .position(|other| *other == key)
    }

    /// Returns how many waiters stand before this one: exactly for the first, at most for the
    /// others.
    fn ahead(&self, key: (u64, u64)) -> usize {
        self.rank(key).unwrap_or_else(|| {
            // Waiters were numbered as they came.
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

/// One waiter, which stands in the backend's queue. It leaves the line when it is dropped.
pub(crate) struct Waiter<'a> {
    lines: &'a Lines,
    /// How long an answer may take.
    timeout: Duration,
    listener: &'a Listener,
    name: Name,
    key: (u64, u64),
    moved: Arc<Notify>,
    losses: watch::Receiver<u64>,
    /// When it asks whatever the others do: to keep its place, or after a failure.
    own: Instant,
    /// It asks without having been told. Until the answer shows that nothing was lost, its drop
    /// makes the next one look.
    looking: bool,
}

impl<'a> Waiter<'a> {
    /// Lines up at the place that the backend gave it. `losses` was subscribed to before it asked.
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

    /// The backend keeps it waiting at `place`; a look is due after `recheck`.
    pub(crate) fn queued(&mut self, place: u64, recheck: Duration) {
        let now = Instant::now();
        // Never at once: a backend that says so again and again must not keep a core busy.
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

    /// Asking failed. Whether to ask again after `pause`: one hiccup of the backend is forgiven.
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

    /// The backend granted the slot, or answered that it is still taken when the time to wait was
    /// over.
    pub(crate) fn answered(mut self, granted: bool) {
        // What was granted without a message was handed over by one that got lost.
        self.looking &= granted;
        if let Some(line) = self.lines.table().lines.get_mut(&self.name) {
            line.failed = None;
        }
    }

    /// Waits until it must ask: it was told to, must look, or the time until `end` is over.
    ///
    /// # Cancel safety
    ///
    /// A message is not lost when this future is dropped before it is ready.
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

    /// Returns when to see whether to look, and whether it is the first in line; `None`: it must
    /// look now.
    fn next_look(&mut self, end: Instant) -> Option<(Instant, bool)> {
        let now = Instant::now();
        let own = self.own.min(end);
        if now >= own {
            return None;
        }
        let losses = *self.losses.borrow_and_update();
        // Until there is an answer.
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
            // Others took it for one that is not polled.
            spot.insert(Arc::clone(&self.moved));
            return None;
        }
        let ahead = line.ahead(self.key);
        let at = line.due + STAGGER.saturating_mul(u32::try_from(ahead).unwrap_or(u32::MAX));
        if now < at && (ahead > 0 || line.losses == losses) {
            return Some((at.min(own), ahead == 0));
        }
        // Those before it had their time.
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

//! Locks and pools with their holders and waiters.
//!
//! Every operation takes logarithmic time in the number of slots, holders and waiters. Loops over
//! holders or waiters stop at a limit, and the sweep continues with the rest.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use smol_str::SmolStr;

use super::alarm::Alarm;
use crate::backend::sharded::{Sharded, lock};
use crate::backend::{Acquire, Acquired, Inspection, Signals, Slot, SlotKind, Token};
use crate::clock::Moment;

/// The time that a waiter has to collect a place that was handed to it.
const CLAIM: Duration = Duration::from_secs(1);
/// The largest number of holders or waiters that one call visits.
const AT_ONCE: usize = 256;

/// All slots of a store. Nothing is awaited under a lock, and nothing large is dropped.
#[derive(Default)]
pub(super) struct Slots {
    tables: Sharded<Table>,
    /// The last fencing token. All locks share it, so an idle lock can be forgotten.
    last_fence: AtomicU64,
}

type Name = (SlotKind, SmolStr);

/// One part of the slots. The maps are ordered, because a hash map moves all its items when it
/// grows.
#[derive(Default)]
pub(super) struct Table {
    slots: BTreeMap<Name, State>,
    /// The slots by the time at which they are due: when their first hold ends, or at once if a
    /// loop stopped at its limit.
    due: BTreeSet<(Moment, Name)>,
    /// The last place that was given in any queue.
    last_place: u64,
}

#[derive(Default)]
struct State {
    holders: BTreeMap<Token, Moment>,
    deadlines: BTreeSet<(Moment, Token)>,
    /// The place of each waiter.
    waiting: BTreeMap<Token, u64>,
    /// The waiters by place, which is their order of arrival.
    queue: BTreeMap<u64, Waiter>,
    /// Set if a loop stopped at its limit.
    unfinished: bool,
    /// The time under which the table's `due` lists this slot.
    due: Option<Moment>,
}

struct Waiter {
    token: Token,
    /// The largest number of holders that the waiter accepts, itself included.
    max: usize,
}

impl Slots {
    pub(super) fn acquire(
        &self,
        slot: &Slot,
        acquire: &Acquire<'_>,
        now: Moment,
        signals: &Signals,
        alarm: &Alarm,
    ) -> Acquired {
        let Acquire { token, ttl, .. } = *acquire;
        let max = slot.max as usize;
        let name = name(slot);
        let mut table = self.tables.of(slot.key.as_str());
        let table = &mut *table;
        let state = table.slots.entry(name.clone()).or_default();
        state.expire(now);
        if !state.holders.contains_key(token) {
            state.hand_over(now, signals, Some(token));
        }
        // The token has a hold already if its waiter was handed a place, or if the answer to an
        // earlier request was lost.
        let mine = state.drop_hold(token, now);
        let acquired = if mine || (state.holders.len() < max && state.queue.is_empty()) {
            state.hold(token, now + ttl);
            let fence = match slot.kind {
                SlotKind::Lock => self.next_fence(now),
                SlotKind::Pool => 0,
            };
            Acquired::Granted { fence }
        } else {
            let next = state.deadlines.first();
            let next = next.map_or(CLAIM, |(deadline, _)| deadline.since(now));
            if acquire.wait.is_none() {
                Acquired::Held { retry_in: next }
            } else {
                let place = state.enqueue(token, max, &mut table.last_place);
                // The sweep hands the place over at that time. The waiter asks as well, because the
                // sweep's runtime may not be running.
                let recheck = next;
                Acquired::Queued { recheck, place }
            }
        };
        table.settle(&name, now, alarm);
        acquired
    }

    fn next_fence(&self, now: Moment) -> u64 {
        let next = |last: u64| (last + 1).max(now.as_micros());
        let last = self
            .last_fence
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |last| {
                Some(next(last))
            });
        match last {
            Ok(last) | Err(last) => next(last),
        }
    }

    pub(super) fn extend(
        &self,
        slot: &Slot,
        token: &Token,
        ttl: Duration,
        now: Moment,
        alarm: &Alarm,
    ) -> bool {
        let extended = self.change(slot, now, alarm, |state| {
            state.expire(now);
            let held = state.drop_hold(token, now);
            if held {
                state.hold(token, now + ttl);
            }
            held
        });
        extended.unwrap_or(false)
    }

    pub(super) fn release(
        &self,
        slot: &Slot,
        token: &Token,
        now: Moment,
        signals: &Signals,
        alarm: &Alarm,
    ) -> bool {
        let released = self.change(slot, now, alarm, |state| {
            state.expire(now);
            let released = state.drop_hold(token, now) || state.leave_queue(token);
            state.hand_over(now, signals, None);
            released
        });
        released.unwrap_or(false)
    }

    pub(super) fn evict(&self, slot: &Slot, now: Moment, signals: &Signals, alarm: &Alarm) -> bool {
        // A pool may have many holders, so they are dropped after the lock is released.
        let evicted = self.change(slot, now, alarm, |state| {
            let held = state.live(now) > 0;
            let holders = std::mem::take(&mut state.holders);
            let deadlines = std::mem::take(&mut state.deadlines);
            state.hand_over(now, signals, None);
            (held, holders, deadlines)
        });
        evicted.is_some_and(|(held, ..)| held)
    }

    pub(super) fn inspect(&self, slot: &Slot, now: Moment) -> Inspection {
        let table = self.tables.of(slot.key.as_str());
        let Some(state) = table.slots.get(&name(slot)) else {
            return Inspection::default();
        };
        let first = state.deadlines.iter().find(|(deadline, _)| *deadline > now);
        Inspection {
            holders: state.live(now),
            first: first.map(|(deadline, token)| (token.as_str().to_owned(), deadline.since(now))),
            waiters: state.queue.len(),
        }
    }

    /// Returns the parts, for [`sweep`](Self::sweep).
    pub(super) fn parts(&self) -> impl Iterator<Item = &Mutex<Table>> {
        self.tables.iter()
    }

    /// Serves one slot of a part that is due. If no slot is due, returns as an error the time at
    /// which the next one will be.
    pub(super) fn sweep(
        part: &Mutex<Table>,
        now: Moment,
        signals: &Signals,
        alarm: &Alarm,
    ) -> Result<(), Option<Moment>> {
        let mut table = lock(part);
        let table = &mut *table;
        match table.due.first() {
            Some((due, _)) if *due <= now => {}
            next => return Err(next.map(|(due, _)| *due)),
        }
        if let Some((_, name)) = table.due.pop_first()
            && let Some(state) = table.slots.get_mut(&name)
        {
            state.due = None;
            state.expire(now);
            state.hand_over(now, signals, None);
            table.settle(&name, now, alarm);
        }
        Ok(())
    }

    /// Changes a slot if it exists.
    fn change<R>(
        &self,
        slot: &Slot,
        now: Moment,
        alarm: &Alarm,
        change: impl FnOnce(&mut State) -> R,
    ) -> Option<R> {
        let name = name(slot);
        let mut table = self.tables.of(slot.key.as_str());
        let result = change(table.slots.get_mut(&name)?);
        table.settle(&name, now, alarm);
        Some(result)
    }
}

fn name(slot: &Slot) -> Name {
    (slot.kind, slot.key.as_str().into())
}

impl Table {
    /// Records the time at which a changed slot is due, and forgets the slot if it is idle.
    fn settle(&mut self, name: &Name, now: Moment, alarm: &Alarm) {
        let Some(state) = self.slots.get_mut(name) else {
            return;
        };
        let first = state.deadlines.first().map(|(deadline, _)| *deadline);
        let next = if state.unfinished { Some(now) } else { first };
        let before = std::mem::replace(&mut state.due, next);
        let is_idle = state.holders.is_empty() && state.queue.is_empty();
        if is_idle {
            self.slots.remove(name);
        }
        if next == before {
            return;
        }
        if let Some(before) = before {
            self.due.remove(&(before, name.clone()));
        }
        if let Some(next) = next {
            self.due.insert((next, name.clone()));
            alarm.rings_by(next);
        }
    }
}

impl State {
    fn hold(&mut self, token: &Token, deadline: Moment) {
        self.holders.insert(token.clone(), deadline);
        self.deadlines.insert((deadline, token.clone()));
    }

    /// Removes the hold of `token`. Returns whether it was still alive.
    fn drop_hold(&mut self, token: &Token, now: Moment) -> bool {
        let Some(deadline) = self.holders.remove(token) else {
            return false;
        };
        self.deadlines.remove(&(deadline, token.clone()));
        deadline > now
    }

    /// Returns the place of `token` in the queue, and gives it one if it has none.
    fn enqueue(&mut self, token: &Token, max: usize, last_place: &mut u64) -> u64 {
        let place = if let Some(place) = self.waiting.get(token) {
            *place
        } else {
            *last_place += 1;
            self.waiting.insert(token.clone(), *last_place);
            *last_place
        };
        let token = token.clone();
        self.queue.insert(place, Waiter { token, max });
        place
    }

    fn leave_queue(&mut self, token: &Token) -> bool {
        let place = self.waiting.remove(token);
        place.is_some_and(|place| self.queue.remove(&place).is_some())
    }

    /// Returns the number of holders whose time is not over.
    fn live(&self, now: Moment) -> usize {
        let over = (self.deadlines.iter()).take_while(|(deadline, _)| *deadline <= now);
        self.deadlines.len() - over.count()
    }

    /// Removes holders whose time is over, up to a limit that is enough to make room.
    fn expire(&mut self, now: Moment) {
        for _ in 0..AT_ONCE {
            match self.deadlines.first() {
                Some((deadline, _)) if *deadline <= now => {}
                _ => return,
            }
            if let Some((_, token)) = self.deadlines.pop_first() {
                self.holders.remove(&token);
            }
        }
    }

    /// Gives free places to the waiters, in order, and removes waiters that no longer listen.
    /// `asking` is the token of the present request: it counts as listening and needs no signal.
    fn hand_over(&mut self, now: Moment, signals: &Signals, asking: Option<&Token>) {
        self.unfinished = false;
        for _ in 0..AT_ONCE {
            let Some((_, waiter)) = self.queue.first_key_value() else {
                return;
            };
            let is_asking = asking == Some(&waiter.token);
            let waits = is_asking || signals.is_heard(waiter.token.as_str());
            // A waiter that is gone must not block waiters behind it that accept more holders.
            if waits && self.holders.len() >= waiter.max {
                return;
            }
            if let Some((_, Waiter { token, .. })) = self.queue.pop_first() {
                self.waiting.remove(&token);
                if is_asking || (waits && signals.wake(token.as_str())) {
                    self.hold(&token, now + CLAIM);
                }
            }
        }
        self.unfinished = !self.queue.is_empty();
    }
}

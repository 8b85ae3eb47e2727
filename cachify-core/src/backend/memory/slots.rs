//! Locks and pools: who holds what, and who waits for it.
//!
//! Every operation takes time logarithmic in the number of slots, holders and waiters. Loops over
//! several holders or waiters are bounded: the sweep continues with the rest.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use smol_str::SmolStr;

use super::alarm::Alarm;
use crate::backend::sharded::{Sharded, lock};
use crate::backend::{Acquire, Acquired, Inspection, Signals, Slot, SlotKind, Token};
use crate::clock::Moment;

/// For how long a place is kept for the waiter it was handed to.
const CLAIM: Duration = Duration::from_secs(1);
/// The most holders or waiters that one call visits.
const AT_ONCE: usize = 256;

/// All slots of a store. Nothing is awaited or dropped under a lock.
#[derive(Default)]
pub(super) struct Slots {
    tables: Sharded<Table>,
    /// The last fencing token of any lock, so that an idle lock can be forgotten.
    last_fence: AtomicU64,
}

type Name = (SlotKind, SmolStr);

/// Ordered maps, because growing a hash map takes a time in proportion to what it holds.
#[derive(Default)]
pub(super) struct Table {
    slots: BTreeMap<Name, State>,
    /// When the first holder of each slot ends, or something is left to do.
    due: BTreeSet<(Moment, Name)>,
    /// The last place in any queue.
    last_place: u64,
}

#[derive(Default)]
struct State {
    holders: BTreeMap<Token, Moment>,
    deadlines: BTreeSet<(Moment, Token)>,
    /// The place of each waiter.
    waiting: BTreeMap<Token, u64>,
    /// By place, in the order in which they came.
    queue: BTreeMap<u64, Waiter>,
    /// A loop was cut.
    unfinished: bool,
    /// As it stands in the table.
    due: Option<Moment>,
}

struct Waiter {
    token: Token,
    /// How many holders it accepts, itself included.
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
        // The claim of a waiter whose turn it is, or of a request whose answer got lost.
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
                // The sweep hands over at that moment; this is for one whose runtime is not driven.
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
        // The holders are dropped after the lock: a pool may have many.
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

    /// Does what is due for one slot of a part; otherwise says when something will be.
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
    /// After a change: notes when the slot is due, and forgets it if it is idle.
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

    /// Returns whether it was still held.
    fn drop_hold(&mut self, token: &Token, now: Moment) -> bool {
        let Some(deadline) = self.holders.remove(token) else {
            return false;
        };
        self.deadlines.remove(&(deadline, token.clone()));
        deadline > now
    }

    /// Gives the caller a place in the queue, unless it has one.
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

    /// Returns how many holders there are whose time is not over.
    fn live(&self, now: Moment) -> usize {
        let over = (self.deadlines.iter()).take_while(|(deadline, _)| *deadline <= now);
        self.deadlines.len() - over.count()
    }

    /// Ends holders whose time is over: all of them, or enough to make room.
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

    /// Gives free places to the waiters, in order. A waiter that no longer listens is gone;
    /// `asking` is present although it needs no signal.
    fn hand_over(&mut self, now: Moment, signals: &Signals, asking: Option<&Token>) {
        self.unfinished = false;
        for _ in 0..AT_ONCE {
            let Some((_, waiter)) = self.queue.first_key_value() else {
                return;
            };
            let is_asking = asking == Some(&waiter.token);
            let waits = is_asking || signals.is_heard(waiter.token.as_str());
            // Only the living are in the way of those who accept more holders.
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

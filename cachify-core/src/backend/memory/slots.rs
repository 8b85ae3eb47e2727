//! Locks and pools: who holds what, and who waits for it.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use smol_str::SmolStr;

use super::super::{Acquire, Acquired, Inspection, Signals, Slot, SlotKind, Token};
use super::lock;
use crate::clock::Moment;

/// For how long a place is kept for the waiter it was handed to.
const CLAIM: Duration = Duration::from_secs(1);
/// After how long a waiter looks again by itself.
const RECHECK: Duration = Duration::from_secs(1);

/// All slots of a store. One mutex: what it guards takes nanoseconds, and nothing is awaited or dropped under it.
#[derive(Default)]
pub(super) struct Slots(Mutex<Table>);

#[derive(Default)]
struct Table {
    slots: HashMap<(SlotKind, SmolStr), State>,
    /// The last fencing token of any lock, so that an idle lock can be forgotten.
    last_fence: u64,
}

#[derive(Default)]
struct State {
    holders: HashMap<Token, Moment>,
    deadlines: BTreeSet<(Moment, Token)>,
    queue: VecDeque<Waiter>,
}

struct Waiter {
    token: Token,
    /// Until when it is ready to wait.
    until: Moment,
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
    ) -> Acquired {
        let mut table = lock(&self.0);
        let table = &mut *table;
        let state = table.slots.entry(name(slot)).or_default();
        let max = slot.max as usize;
        state.expire(now);
        let token = acquire.token;
        if !state.holders.contains_key(token) {
            state.hand_over(now, signals, Some(token));
        }
        // The claim of a waiter whose turn it is, or of a request whose answer got lost.
        let mine = state.drop_hold(token);
        if mine || (state.holders.len() < max && state.queue.is_empty()) {
            state.hold(token, now + acquire.ttl);
            let fence = match slot.kind {
                SlotKind::Lock => {
                    table.last_fence = (table.last_fence + 1).max(now.as_micros());
                    table.last_fence
                }
                SlotKind::Pool => 0,
            };
            return Acquired::Granted { fence };
        }
        let next = state
            .deadlines
            .first()
            .map_or(RECHECK, |(deadline, _)| deadline.since(now));
        let Some(wait) = acquire.wait else {
            return Acquired::Held { retry_in: next };
        };
        let until = now + wait;
        match state.queue.iter_mut().find(|waiter| waiter.token == *token) {
            Some(waiter) => (waiter.until, waiter.max) = (until, max),
            None => state.queue.push_back(Waiter {
                token: token.clone(),
                until,
                max,
            }),
        }
        Acquired::Queued {
            recheck: next.min(RECHECK),
        }
    }

    pub(super) fn extend(&self, slot: &Slot, token: &Token, ttl: Duration, now: Moment) -> bool {
        self.with(slot, |state| {
            state.expire(now);
            let held = state.drop_hold(token);
            if held {
                state.hold(token, now + ttl);
            }
            held
        })
    }

    pub(super) fn release(
        &self,
        slot: &Slot,
        token: &Token,
        now: Moment,
        signals: &Signals,
    ) -> bool {
        self.with(slot, |state| {
            state.expire(now);
            // Who holds does not wait, and the queue may be long.
            let released = state.drop_hold(token) || state.leave_queue(token);
            state.hand_over(now, signals, None);
            released
        })
    }

    pub(super) fn evict(&self, slot: &Slot, now: Moment, signals: &Signals) -> bool {
        self.with(slot, |state| {
            state.expire(now);
            let held = !state.holders.is_empty();
            state.holders.clear();
            state.deadlines.clear();
            state.hand_over(now, signals, None);
            held
        })
    }

    pub(super) fn inspect(&self, slot: &Slot, now: Moment) -> Inspection {
        let mut inspection = Inspection::default();
        self.with(slot, |state| {
            state.expire(now);
            inspection.held = state.holders.len();
            inspection.first = state
                .deadlines
                .first()
                .map(|(deadline, token)| (token.as_str().to_owned(), deadline.since(now)));
            inspection.waiting = state.queue.len();
            true
        });
        inspection
    }

    /// Ends what has expired, and forgets what is idle.
    pub(super) fn sweep(&self, now: Moment, signals: &Signals) {
        lock(&self.0).slots.retain(|_, state| {
            state.expire(now);
            state.hand_over(now, signals, None);
            !state.is_idle()
        });
    }

    /// Changes a slot that exists, and forgets it if it is idle afterwards. `false` if it does not exist.
    fn with(&self, slot: &Slot, change: impl FnOnce(&mut State) -> bool) -> bool {
        let mut table: MutexGuard<'_, Table> = lock(&self.0);
        let name = name(slot);
        let Some(state) = table.slots.get_mut(&name) else {
            return false;
        };
        let result = change(state);
        if state.is_idle() {
            table.slots.remove(&name);
        }
        result
    }
}

fn name(slot: &Slot) -> (SlotKind, SmolStr) {
    (slot.kind, slot.key.as_str().into())
}

impl State {
    fn is_idle(&self) -> bool {
        self.holders.is_empty() && self.queue.is_empty()
    }

    fn hold(&mut self, token: &Token, deadline: Moment) {
        self.holders.insert(token.clone(), deadline);
        self.deadlines.insert((deadline, token.clone()));
    }

    fn drop_hold(&mut self, token: &Token) -> bool {
        match self.holders.remove(token) {
            Some(deadline) => self.deadlines.remove(&(deadline, token.clone())),
            None => false,
        }
    }

    fn leave_queue(&mut self, token: &Token) -> bool {
        let place = self.queue.iter().position(|waiter| waiter.token == *token);
        place.and_then(|place| self.queue.remove(place)).is_some()
    }

    fn expire(&mut self, now: Moment) {
        while let Some((deadline, _)) = self.deadlines.first()
            && *deadline <= now
        {
            if let Some((_, token)) = self.deadlines.pop_first() {
                self.holders.remove(&token);
            }
        }
    }

    /// Gives free places to those who wait, in order. Who does not listen any more, or is past its time, is skipped; `asking`
    /// is there although it does not need to be told.
    fn hand_over(&mut self, now: Moment, signals: &Signals, asking: Option<&Token>) {
        while let Some(waiter) = self.queue.front() {
            let is_asking = asking == Some(&waiter.token);
            let waits =
                is_asking || (waiter.until >= now && signals.is_heard(waiter.token.as_str()));
            // Only the living are in the way of those who accept more holders.
            if waits && self.holders.len() >= waiter.max {
                return;
            }
            if let Some(Waiter { token, .. }) = self.queue.pop_front()
                && (is_asking || (waits && signals.wake(token.as_str())))
            {
                self.hold(&token, now + CLAIM);
            }
        }
    }
}

//! One computation per process: who computes a missing entry, and who waits for it.
//!
//! 1. A flight has at least one leader, or it does not exist.
//! 2. Leadership is a value. Dropping it unfinished (a cancelled or panicking leader) passes it to the waiter at the front; a waiter who is
//!    gone by then drops it in turn.
//! 3. A flight that is closed takes no more waiters. It is closed before its value is sent to the backend: whoever comes later must not be
//!    given a value that a reset may already have overtaken.
//! 4. The lease in the backend belongs to the flight and moves with its leadership, so that a take-over costs no round trip.

use std::any::TypeId;
use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use smol_str::SmolStr;
use tokio::sync::oneshot;

use crate::Key;
use crate::backend::Typed;
use crate::cachify::Inner;
use crate::lease::Lease;

/// All flights of one handle.
#[derive(Debug, Default)]
pub(crate) struct Flights {
    open: Mutex<HashMap<FlightKey, Open>>,
    /// Orders the arrival of callers and the start of computations.
    ticks: AtomicU64,
}

/// Values of different types never share a flight, even under one key.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct FlightKey {
    key: SmolStr,
    value: TypeId,
}

#[derive(Debug)]
struct Open {
    id: u64,
    leaders: usize,
    /// How many are to lead at a time after the present ones failed: 1, 2, 4, ...
    width: usize,
    waiters: VecDeque<Waiter>,
}

/// A caller who waits for the outcome of a flight.
#[derive(Debug)]
pub(crate) struct Waiter {
    arrival: u64,
    reply: oneshot::Sender<Word>,
}

/// What a waiter is told. Silence (a dropped sender) means [`Again`](Self::Again).
#[derive(Debug)]
pub(crate) enum Word {
    /// The value, which may be returned.
    Value(Typed),
    /// The leader's error, which may be returned.
    Error(Typed),
    /// Compute it yourself, for the others too.
    Lead(Lead),
    /// Look again from the start.
    Again,
    /// Compute it yourself, for yourself alone.
    Alone,
}

/// What a caller is to do about a missing entry.
#[derive(Debug)]
pub(crate) enum Role {
    Lead(Lead),
    Wait(oneshot::Receiver<Word>),
}

impl Flights {
    /// A number larger than any before.
    pub(crate) fn tick(&self) -> u64 {
        self.ticks.fetch_add(1, Ordering::SeqCst)
    }

    fn open(&self) -> MutexGuard<'_, HashMap<FlightKey, Open>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many wait for `key`, whatever the type.
    #[cfg(any(test, feature = "testing"))]
    pub(crate) fn waiting(&self, key: &Key) -> usize {
        let open = self.open();
        let flights = open.iter().filter(|(flight, _)| flight.key == key.as_str());
        flights.map(|(_, open)| open.waiters.len()).sum()
    }

    /// Joins the open flight for `key`, or opens one and leads it.
    pub(crate) fn join<T: 'static>(inner: &Arc<Inner>, key: &Key, arrival: u64) -> Role {
        let flight = FlightKey {
            key: key.as_str().into(),
            value: TypeId::of::<T>(),
        };
        let mut flights = inner.flights.open();
        if let Some(open) = flights.get_mut(&flight) {
            let (reply, word) = oneshot::channel();
            // A leader that hangs must not gather those who gave up on it. Half of the room is free after this, so that few have to look.
            if open.waiters.len() == open.waiters.capacity() {
                open.waiters.retain(|waiter| !waiter.reply.is_closed());
                open.waiters.reserve(open.waiters.len() + 1);
            }
            open.waiters.push_back(Waiter { arrival, reply });
            return Role::Wait(word);
        }
        let id = inner.flights.tick();
        flights.insert(
            flight.clone(),
            Open {
                id,
                leaders: 1,
                width: 1,
                waiters: VecDeque::new(),
            },
        );
        Role::Lead(Lead {
            inner: Arc::clone(inner),
            flight,
            id,
            lease: None,
            open: true,
        })
    }
}

/// The duty to compute for all who wait.
#[derive(Debug)]
pub(crate) struct Lead {
    inner: Arc<Inner>,
    flight: FlightKey,
    id: u64,
    /// The right to store the result; `None` until it was asked for, or where the backend is away.
    pub(crate) lease: Option<Arc<Lease>>,
    open: bool,
}

impl Lead {
    /// Closes the flight and returns those who wait. Somebody else may have closed it already: then nobody does.
    #[must_use = "those who wait are told to look again when this is dropped"]
    pub(crate) fn close(&mut self) -> Waiters {
        self.open = false;
        let mut flights = self.inner.flights.open();
        if flights
            .get(&self.flight)
            .is_some_and(|open| open.id == self.id)
        {
            let open = flights.remove(&self.flight);
            return Waiters(open.map(|open| open.waiters).unwrap_or_default());
        }
        Waiters::default()
    }

    /// The computation failed in a way that cannot be shared: the next ones try, twice as many at a time each time.
    pub(crate) fn fail(mut self) {
        self.open = false;
        let width = {
            let mut flights = self.inner.flights.open();
            let Some(open) = flights
                .get_mut(&self.flight)
                .filter(|open| open.id == self.id)
            else {
                return;
            };
            open.leaders -= 1;
            if open.leaders > 0 {
                return;
            }
            let width = open.width;
            open.width = width.saturating_mul(2);
            width
        };
        for _ in 0..width {
            self.promote();
        }
    }

    /// Makes the first waiter a leader; without any leader left, ends the flight.
    fn promote(&self) {
        let next = {
            let mut flights = self.inner.flights.open();
            let Some(open) = flights
                .get_mut(&self.flight)
                .filter(|open| open.id == self.id)
            else {
                return;
            };
            let next = loop {
                match open.waiters.pop_front() {
                    Some(waiter) if waiter.reply.is_closed() => {}
                    next => break next,
                }
            };
            if next.is_some() {
                open.leaders += 1;
            } else if open.leaders == 0 {
                flights.remove(&self.flight);
            }
            next
        };
        if let Some(waiter) = next {
            let lead = Self {
                inner: Arc::clone(&self.inner),
                flight: self.flight.clone(),
                id: self.id,
                lease: self.lease.clone(),
                open: true,
            };
            // Sent outside of the lock: if the waiter is gone by now, this drops the leadership, which passes it on.
            let _ = waiter.reply.send(Word::Lead(lead));
        }
    }
}

impl Drop for Lead {
    fn drop(&mut self) {
        if !self.open {
            return;
        }
        if let Some(open) = self
            .inner
            .flights
            .open()
            .get_mut(&self.flight)
            .filter(|open| open.id == self.id)
        {
            open.leaders -= 1;
        }
        self.promote();
    }
}

/// Those who waited for a flight that is closed.
#[derive(Debug, Default)]
pub(crate) struct Waiters(VecDeque<Waiter>);

impl Waiters {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Hands the outcome of a computation that began at tick `started` to all who may have it: to everybody if the backend `confirmed` that
    /// no reset came between, else to those who arrived before it began. The others look again.
    pub(crate) fn deliver(self, started: u64, confirmed: bool, word: impl Fn() -> Word) {
        for waiter in self.0 {
            let entitled = confirmed || waiter.arrival < started;
            let _ = waiter
                .reply
                .send(if entitled { word() } else { Word::Again });
        }
    }

    /// Tells all the same.
    pub(crate) fn tell(self, word: impl Fn() -> Word) {
        for waiter in self.0 {
            let _ = waiter.reply.send(word());
        }
    }
}

#[cfg(test)]
#[allow(clippy::panic)]
mod tests {
    use super::*;
    use crate::{Cachify, KeyTemplate};

    #[tokio::test]
    async fn c2_those_who_gave_up_on_a_leader_are_forgotten() {
        let inner = Cachify::memory().inner;
        let Ok(template) = KeyTemplate::parse("row") else {
            panic!("a template")
        };
        let key = template.render(&[]);
        let leader = Flights::join::<i32>(&inner, &key, 0);
        assert!(matches!(leader, Role::Lead(_)));
        // In front of them is one who waits on.
        let _waits = Flights::join::<i32>(&inner, &key, 1);
        for arrival in 2..1000 {
            drop(Flights::join::<i32>(&inner, &key, arrival));
        }
        let kept = inner.flights.waiting(&key);
        assert!(kept < 10, "{kept} are kept");
    }
}

//! Flights: of the callers of a missing entry in one process, one computes and the others wait.
//!
//! 1. A flight has at least one leader, or it does not exist.
//! 2. Leadership is a value. Dropping it unfinished, as a cancelled or panicking leader does,
//!    passes it to the first waiter. A waiter that is gone by then drops it in turn.
//! 3. A closed flight takes no more waiters. It is closed before its value is sent to the backend,
//!    so that a later caller does not get a value that a reset has overtaken.
//! 4. The lease in the backend moves with the leadership, so that the next leader needs no round
//!    trip.
//! 5. A leader may hang. Waiters that have waited for `compute_wait` lead beside it, with leases of
//!    their own: 1, then 2, 4, ... of them, one `compute_wait` apart. The first to finish ends the
//!    flight. A reset ends it at once, and its waiters start again.

use std::any::TypeId;
use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use smol_str::SmolStr;
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::Key;
use crate::backend::Typed;
use crate::backend::rounds::Rounds;

/// All flights of one handle. `L` is the right to store, which moves with the leadership.
#[derive(Debug)]
pub(crate) struct Flights<L: Clone> {
    open: Mutex<Table<L>>,
    /// Orders the arrival of callers and the start of computations.
    ticks: AtomicU64,
}

/// The open flights by key. Values of different types never share a flight, even under one key.
///
/// The map is ordered, because a hash map moves all its items when it grows.
#[derive(Debug)]
struct Table<L: Clone>(BTreeMap<SmolStr, Vec<Open<L>>>);

impl<L: Clone> Table<L> {
    fn by_id(&mut self, key: &str, id: u64) -> Option<&mut Open<L>> {
        self.0.get_mut(key)?.iter_mut().find(|open| open.id == id)
    }

    fn by_type(&mut self, key: &str, value: TypeId) -> Option<&mut Open<L>> {
        let mut open = self.0.get_mut(key)?.iter_mut();
        open.find(|open| open.value == value)
    }

    fn remove(&mut self, key: &str, id: u64) -> Option<Open<L>> {
        let open = self.0.get_mut(key)?;
        let at = open.iter().position(|open| open.id == id)?;
        let removed = open.swap_remove(at);
        if open.is_empty() {
            self.0.remove(key);
        }
        Some(removed)
    }
}

#[derive(Debug)]
struct Open<L: Clone> {
    id: u64,
    value: TypeId,
    leaders: usize,
    /// The number of leaders to follow if the present ones fail: 1, 2, 4, ...
    width: usize,
    waiters: VecDeque<Waiter<L>>,
    /// The rounds of waiters that have waited for `compute_wait`.
    late: Rounds,
    /// The time at which the flight was opened, or at which the last of these rounds began.
    since: Instant,
}

/// A caller that waits for the outcome of a flight.
#[derive(Debug)]
pub(crate) struct Waiter<L: Clone> {
    arrival: u64,
    reply: oneshot::Sender<Reply<L>>,
}

/// The outcome for a waiter. A dropped sender means [`Again`](Self::Again).
#[derive(Debug)]
pub(crate) enum Reply<L: Clone> {
    /// The value, which may be returned.
    Value(Typed),
    /// The leader's error, which may be returned.
    Error(Typed),
    /// The waiter must compute, for the others too.
    Lead(Lead<L>),
    /// The waiter must start again.
    Again,
    /// The waiter must compute, for itself alone.
    Alone,
}

/// The role of a caller of a missing entry.
#[derive(Debug)]
pub(crate) enum Role<L: Clone> {
    Lead(Lead<L>),
    Wait(oneshot::Receiver<Reply<L>>),
}

/// The next step of a waiter after `compute_wait`.
#[derive(Debug)]
pub(crate) enum Turn<L: Clone> {
    /// The waiter computes beside the present leaders.
    Lead(Lead<L>),
    /// The waiter goes on waiting until this time, because enough others compute.
    Wait(Instant),
    /// The waiter starts again, because the flight is closed.
    Again,
}

impl<L: Clone> Default for Flights<L> {
    fn default() -> Self {
        Self {
            open: Mutex::new(Table(BTreeMap::new())),
            ticks: AtomicU64::new(0),
        }
    }
}

impl<L: Clone> Flights<L> {
    /// Returns a number that is larger than any before.
    pub(crate) fn tick(&self) -> u64 {
        self.ticks.fetch_add(1, Ordering::SeqCst)
    }

    fn open(&self) -> MutexGuard<'_, Table<L>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the number of callers that wait for `key`, for values of any type.
    #[cfg(any(test, feature = "testing"))]
    pub(crate) fn waiting(&self, key: &Key) -> usize {
        let flights = self.open();
        let open = flights.0.get(key.as_str()).into_iter().flatten();
        open.map(|open| open.waiters.len()).sum()
    }

    /// Ends all flights for `key`, or only the one with this `id`. Their leaders compute on for
    /// themselves, and their waiters start again.
    pub(crate) fn end(&self, key: &Key, id: Option<u64>) {
        let mut flights = self.open();
        let ended = match id {
            Some(id) => flights.remove(key.as_str(), id).into_iter().collect(),
            None => flights.0.remove(key.as_str()).unwrap_or_default(),
        };
        drop(flights);
        // Dropped without the lock, because this wakes the waiters.
        drop::<Vec<Open<L>>>(ended);
    }

    /// Joins the open flight for `key`, or opens one and leads it.
    pub(crate) fn join<T: 'static>(self: &Arc<Self>, key: &Key, arrival: u64) -> Role<L> {
        let value = TypeId::of::<T>();
        let mut flights = self.open();
        if let Some(open) = flights.by_type(key.as_str(), value) {
            let (sender, reply) = oneshot::channel();
            // Waiters that gave up on a leader must not pile up. Half of the capacity is free
            // afterwards, so few callers have to do this.
            if open.waiters.len() == open.waiters.capacity() {
                open.waiters.retain(|waiter| !waiter.reply.is_closed());
                open.waiters.reserve(open.waiters.len() + 1);
            }
            open.waiters.push_back(Waiter {
                arrival,
                reply: sender,
            });
            return Role::Wait(reply);
        }
        Role::Lead(self.lead_new(&mut flights, key, value))
    }

    /// Opens a flight for `key` and leads it, unless there is one.
    pub(crate) fn lead<T: 'static>(self: &Arc<Self>, key: &Key) -> Option<Lead<L>> {
        let value = TypeId::of::<T>();
        let mut flights = self.open();
        if flights.by_type(key.as_str(), value).is_some() {
            return None;
        }
        Some(self.lead_new(&mut flights, key, value))
    }

    fn lead_new(self: &Arc<Self>, flights: &mut Table<L>, key: &Key, value: TypeId) -> Lead<L> {
        let id = self.tick();
        let open = Open {
            id,
            value,
            leaders: 1,
            width: 1,
            waiters: VecDeque::new(),
            late: Rounds::default(),
            since: Instant::now(),
        };
        let key = SmolStr::from(key.as_str());
        flights.0.entry(key.clone()).or_default().push(open);
        Lead::new(self, key, id)
    }

    /// Lets a waiter that has waited for `compute_wait` lead beside the leader, if the present
    /// round has room.
    pub(crate) fn overtake<T: 'static>(
        self: &Arc<Self>,
        key: &Key,
        compute_wait: Duration,
    ) -> Turn<L> {
        let mut flights = self.open();
        let Some(open) = flights.by_type(key.as_str(), TypeId::of::<T>()) else {
            return Turn::Again;
        };
        let now = Instant::now();
        let over = now.duration_since(open.since) >= compute_wait;
        if over {
            open.since = now;
        }
        if !open.late.pass(over) {
            return Turn::Wait(open.since + compute_wait);
        }
        open.leaders += 1;
        Turn::Lead(Lead::new(self, key.as_str().into(), open.id))
    }
}

/// The duty to compute for all waiters of a flight.
#[derive(Debug)]
pub(crate) struct Lead<L: Clone> {
    flights: Arc<Flights<L>>,
    key: SmolStr,
    id: u64,
    /// The right to store the result. `None` until it was asked for, and if the backend is away.
    pub(crate) lease: Option<L>,
    open: bool,
}

impl<L: Clone> Lead<L> {
    fn new(flights: &Arc<Flights<L>>, key: SmolStr, id: u64) -> Self {
        Self {
            flights: Arc::clone(flights),
            key,
            id,
            lease: None,
            open: true,
        }
    }

    /// Returns the id of the flight, for [`Flights::end`].
    pub(crate) fn flight(&self) -> u64 {
        self.id
    }

    /// Closes the flight and returns the waiters; there are none if it was closed already.
    #[must_use = "the waiters start again when this is dropped"]
    pub(crate) fn close(&mut self) -> Waiters<L> {
        self.open = false;
        let open = self.flights.open().remove(&self.key, self.id);
        Waiters(open.map(|open| open.waiters).unwrap_or_default())
    }

    /// Passes on a failure that cannot be shared: the next waiters compute, and after each failure
    /// twice as many.
    pub(crate) fn fail(mut self) {
        self.open = false;
        let width = {
            let mut flights = self.flights.open();
            let Some(open) = flights.by_id(&self.key, self.id) else {
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
            // The width doubles with each failure, so this must end with the last waiter and not
            // with the width.
            if !self.promote() {
                return;
            }
        }
    }

    /// Makes the first waiter a leader, and returns whether there was one. Ends the flight if no
    /// leader is left.
    fn promote(&self) -> bool {
        let next = {
            let mut flights = self.flights.open();
            let Some(open) = flights.by_id(&self.key, self.id) else {
                return false;
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
                flights.remove(&self.key, self.id);
            }
            next
        };
        let Some(waiter) = next else {
            return false;
        };
        let mut lead = Self::new(&self.flights, self.key.clone(), self.id);
        lead.lease.clone_from(&self.lease);
        // Sent without the lock: if the waiter is gone by now, this drops the leadership, which
        // passes it on.
        let _ = waiter.reply.send(Reply::Lead(lead));
        true
    }
}

impl<L: Clone> Drop for Lead<L> {
    fn drop(&mut self) {
        if !self.open {
            return;
        }
        if let Some(open) = self.flights.open().by_id(&self.key, self.id) {
            open.leaders -= 1;
        }
        self.promote();
    }
}

/// The waiters of a closed flight.
#[derive(Debug)]
pub(crate) struct Waiters<L: Clone>(VecDeque<Waiter<L>>);

impl<L: Clone> Waiters<L> {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Gives the outcome of a computation that began at tick `started` to the waiters that may have
    /// it. These are all waiters if the backend `confirmed` that no reset came in between, and
    /// otherwise those that arrived before it began. The others start again.
    pub(crate) fn deliver(self, started: u64, confirmed: bool, reply: impl Fn() -> Reply<L>) {
        for waiter in self.0 {
            let entitled = confirmed || waiter.arrival < started;
            let _ = waiter
                .reply
                .send(if entitled { reply() } else { Reply::Again });
        }
    }

    /// Gives all waiters the same reply.
    pub(crate) fn tell(self, reply: impl Fn() -> Reply<L>) {
        for waiter in self.0 {
            let _ = waiter.reply.send(reply());
        }
    }
}

#[cfg(test)]
#[allow(clippy::panic)]
mod tests {
    use super::*;
    use crate::KeyTemplate;

    fn flights() -> Arc<Flights<()>> {
        Arc::default()
    }

    #[tokio::test]
    async fn c2_the_cost_of_a_failure_is_bounded_by_the_waiters_there_are() {
        let flights = flights();
        let Ok(template) = KeyTemplate::parse("row") else {
            panic!("a template")
        };
        let key = template.render(&[]);
        let Role::Lead(mut lead) = flights.join::<i32>(&key, 0) else {
            panic!("the first leads")
        };
        // Under load, another caller has come whenever a computation fails, so that the flight
        // never ends.
        let rounds = std::thread::spawn(move || {
            for arrival in 1..=100 {
                let Role::Wait(mut reply) = flights.join::<i32>(&key, arrival) else {
                    panic!("the others wait")
                };
                lead.fail();
                let Ok(Reply::Lead(next)) = reply.try_recv() else {
                    panic!("the first waiter leads")
                };
                lead = next;
            }
        });
        let end = std::time::Instant::now() + Duration::from_secs(20);
        while !rounds.is_finished() {
            assert!(std::time::Instant::now() < end, "a failure takes for ever");
            std::thread::sleep(Duration::from_millis(1));
        }
        assert!(rounds.join().is_ok());
    }

    #[tokio::test]
    async fn c2_those_who_gave_up_on_a_leader_are_forgotten() {
        let flights = flights();
        let Ok(template) = KeyTemplate::parse("row") else {
            panic!("a template")
        };
        let key = template.render(&[]);
        let leader = flights.join::<i32>(&key, 0);
        assert!(matches!(leader, Role::Lead(_)));
        // The first waiter goes on waiting.
        let _waits = flights.join::<i32>(&key, 1);
        for arrival in 2..1000 {
            drop(flights.join::<i32>(&key, arrival));
        }
        let kept = flights.waiting(&key);
        assert!(kept < 10, "{kept} are kept");
    }
}

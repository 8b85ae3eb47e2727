//! The read path: memory, backend, flight, lease, compute, store.
//!
//! ```text
//! local? -- hit --> done
//!   | GET? -- hit --> done
//!   |   join the flight -- waiter --> value | error | start again | lead
//!   |     | leader: begin (find or lease) -> compute -> close the flight -> fill -> deliver
//! ```
//!
//! Three rules make a reset win. The flight is closed before its value is sent to the backend. The
//! backend refuses the value if a reset ended the lease. A waiter gets the value only if it was
//! stored, or if the computation began after the waiter came.
//!
//! A value that is due for a refresh is served at once, unless this caller refreshes it: then it
//! leads a flight of its own and has the lease. If the refresh fails, the caller asks again for the
//! entry, because a reset may have removed it.
//!
//! A computation may hang. A caller that has waited for `compute_wait` computes beside it and may
//! store, but only a few callers at a time: [`Flights::overtake`](flight::Flights::overtake) limits
//! them in this process, and [`Claim::Join`] in all processes.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::Either;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::access::Access;
use super::computing;
use super::flight::{self, Turn};
use super::lease::{LEASE_TTL, Lease};
use super::policy::sealed::Unstored;
use super::policy::{Policy, Sharing};
use super::resets::Change;
use super::stale::{Due, Usable};
use super::value::{Value, decode, is_expired, life};
use crate::Error;
use crate::backend::{Begin, Begun, Claim, Found, Kept, NewEntry, Typed};
use crate::codec::Times;
use crate::engine::budget::Budget;
use crate::observe::{self, ReadOutcome};

/// The number of `compute_wait`s after which a caller computes for itself. By then, 2^16 callers
/// had their turn.
const ROUNDS: u32 = 16;

pub(super) type Lead = flight::Lead<Arc<Lease>>;
type Reply = flight::Reply<Arc<Lease>>;

impl<P> Access<P> {
    /// Returns the value if it is at hand, without waiting.
    fn local<T: Value>(&self) -> Option<T> {
        if (!self.copies || self.refresh.early > 0.0) && self.asks() {
            return None;
        }
        T::from_typed(&self.entries.local(&self.key)?)
    }

    /// Returns the value if there is one. Never computes, and never waits for a computation.
    pub(crate) async fn get<T: Value>(&self) -> Result<Option<T>, Error>
    where
        P: Policy<T>,
    {
        Ok(self.find().await?.map(|(value, _)| value))
    }

    /// Returns the value if there is one, and how it was found: as a hit, or stale.
    pub(crate) async fn find<T: Value>(&self) -> Result<Option<(T, ReadOutcome)>, Error>
    where
        P: Policy<T>,
    {
        let engine = &self.entries.engine;
        if let Some(value) = self.local() {
            return Ok(Some((value, ReadOutcome::Hit)));
        }
        if self.has_no_more() || engine.resets.contains(&self.key) {
            return Ok(None);
        }
        let found = engine
            .attempt(&self.key, engine.backend.get(&self.key))
            .await
            .map_err(|error| error.with_template(self.key.template()))?;
        // The answer may come from a server that lost the reset.
        if engine.resets.contains(&self.key) {
            return Ok(None);
        }
        Ok(found.and_then(|found| match self.read(&found) {
            Usable::Fresh(value) => Some((value, ReadOutcome::Hit)),
            Usable::Due(due) => Some(due.serve()),
            Usable::No => None,
        }))
    }

    /// Returns whether reads ask the backend even for a value that is at hand: if the caller does
    /// not use copies, or if the times of the value decide on an early refresh.
    fn asks(&self) -> bool {
        if self.entries.engine.backend.is_local() {
            self.refresh.early > 0.0
        } else {
            !self.copies
        }
    }

    /// Returns whether [`get`](crate::backend::Backend::get) has nothing of use besides the value
    /// that is at hand.
    fn has_no_more(&self) -> bool {
        self.entries.engine.backend.is_local() && !self.refresh.is_wanted()
    }

    /// Returns the value of an entry that was found, if it is of use. The backend keeps a fresh
    /// value if it can.
    pub(super) fn read<T: Value>(&self, found: &Found) -> Usable<T>
    where
        P: Policy<T>,
    {
        let Some(value) = decode::<T>(found) else {
            observe::unreadable(&self.key);
            return Usable::No;
        };
        let Some(life) = life(found) else {
            return Usable::No;
        };
        let backend = &self.entries.engine.backend;
        let now = backend.now(&self.key);
        let usable = {
            let allowed = self.policy.allowed(&value, self.refresh.window);
            self.refresh
                .judge(value, life, allowed, is_expired(found), now)
        };
        if let (Usable::Fresh(value), Some(mark)) = (&usable, found.mark.filter(|_| self.copies)) {
            let known = self.policy.weight(value);
            let typed = value.clone().into_typed();
            let weigh = || known.unwrap_or_else(|| T::weigh(&typed));
            let kept = Kept {
                value: &typed,
                weigh: &weigh,
                life,
                mark,
            };
            backend.keep(&self.key, kept);
        }
        usable
    }

    /// Runs the read path, and returns the value with its outcome. `compute` learns whether its
    /// value will be stored, unless a reset happens in between.
    pub(crate) async fn fetch<T, E, F, Fut>(
        &self,
        compute: F,
        sharing: Option<Sharing<E>>,
    ) -> Result<(T, ReadOutcome), E>
    where
        T: Value,
        P: Policy<T>,
        F: FnOnce(bool) -> Fut,
        Fut: Future<Output = Result<T, E>>,
    {
        let mut attempt = match self.seek().await {
            Ok(hit) => return Ok(hit),
            Err(attempt) => attempt,
        };
        // Boxed, so that a hit does not carry the state of a miss around.
        let miss = Box::pin(async {
            let role = self.role(&mut attempt, sharing).await;
            self.act(role, attempt, compute, sharing).await
        });
        self.counted(miss.await)
    }

    /// Returns a fresh value, or begins a call that has none.
    pub(super) async fn seek<T: Value>(&self) -> Result<(T, ReadOutcome), Attempt<T>>
    where
        P: Policy<T>,
    {
        if let Some(value) = self.local() {
            observe::request(&self.key, ReadOutcome::Hit);
            return Ok((value, ReadOutcome::Hit));
        }
        let mut attempt = self.attempt();
        match self.look(&mut attempt).await {
            Some(value) => {
                observe::request(&self.key, ReadOutcome::Hit);
                Ok((value, ReadOutcome::Hit))
            }
            None => Err(attempt),
        }
    }

    /// Begins a call.
    pub(super) fn attempt<T>(&self) -> Attempt<T> {
        let settings = &self.entries.engine.settings;
        let start = Instant::now();
        Attempt {
            arrival: self.entries.flights.tick(),
            budget: Budget::new(settings.backend_timeout),
            start,
            turn: start + settings.compute_wait,
            replaces: None,
            due: None,
        }
    }

    /// Counts a read that was not a hit.
    pub(super) fn counted<T, E>(
        &self,
        result: Result<(T, ReadOutcome), E>,
    ) -> Result<(T, ReadOutcome), E> {
        let outcome = result.as_ref().map(|(_, outcome)| *outcome);
        observe::request(&self.key, outcome.unwrap_or(ReadOutcome::Error));
        result
    }

    /// Computes if that is the caller's role.
    pub(super) async fn act<T, E, F, Fut>(
        &self,
        role: Role<T, E>,
        mut attempt: Attempt<T>,
        compute: F,
        sharing: Option<Sharing<E>>,
    ) -> Result<(T, ReadOutcome), E>
    where
        T: Value,
        P: Policy<T>,
        F: FnOnce(bool) -> Fut,
        Fut: Future<Output = Result<T, E>>,
    {
        let lead = match role {
            Role::Lead(lead) => lead,
            Role::Served(served) => return Ok(served),
            Role::Failed(error) => return Err(error),
            Role::Alone => {
                let value = compute(false).await?;
                if attempt.due.is_some() && self.policy.unstored(&value) == Unstored::Failed {
                    return Ok(self.again_or(value, &mut attempt).await);
                }
                return Ok((value, ReadOutcome::Bypass));
            }
        };
        let failed = match Box::pin(self.lead(lead, &mut attempt, compute, sharing)).await {
            Ok(served) => return Ok(served),
            Err(error) => error,
        };
        if attempt.due.is_none() {
            return Err(failed);
        }
        let served = self.again(&mut attempt, Due::serve_on_error).await;
        served.ok_or(failed)
    }

    /// Decides on the role of a caller without a fresh value. Waits for another caller's
    /// computation.
    pub(super) async fn role<T, E>(
        &self,
        attempt: &mut Attempt<T>,
        sharing: Option<Sharing<E>>,
    ) -> Role<T, E>
    where
        T: Value,
        P: Policy<T>,
    {
        let engine = &self.entries.engine;
        loop {
            if let Some(due) = &attempt.due
                && self.entries.pauses.is_on(&self.key)
            {
                return Role::Served(due.clone().serve_on_error());
            }
            if let Some(due) = attempt.due.as_ref().filter(|due| due.at_once) {
                let waits_for_itself = computing::is_under_way(engine, &self.key);
                if !waits_for_itself && let Some(lead) = self.entries.flights.lead::<T>(&self.key) {
                    return Role::Lead(lead);
                }
                return Role::Served(due.clone().serve());
            }
            if computing::is_under_way(engine, &self.key) {
                // The caller would wait for itself.
                observe::reentrant(&self.key);
                return Role::Alone;
            }
            let reply = match self.entries.flights.join::<T>(&self.key, attempt.arrival) {
                flight::Role::Lead(lead) => Reply::Lead(lead),
                flight::Role::Wait(_) if self.alone => Reply::Alone,
                flight::Role::Wait(reply) => self.wait(reply, attempt).await,
            };
            match reply {
                Reply::Lead(lead) => return Role::Lead(lead),
                Reply::Value(value) => {
                    if let Some(value) = T::from_typed(&value) {
                        return Role::Served((value, ReadOutcome::Collapsed));
                    }
                }
                Reply::Error(error) => {
                    // Two callers of one key may have different types of error.
                    return match sharing.and_then(|sharing| (sharing.restore)(&error)) {
                        Some(error) => Role::Failed(error),
                        None => Role::Alone,
                    };
                }
                Reply::Again => {}
                Reply::Alone => return Role::Alone,
            }
            if let Some(value) = self.look(attempt).await {
                return Role::Served((value, ReadOutcome::Hit));
            }
        }
    }

    /// Asks again for an entry whose refresh failed or takes long, because the entry may have been
    /// reset or replaced.
    pub(super) async fn again<T: Value>(
        &self,
        attempt: &mut Attempt<T>,
        serve: fn(Due<T>) -> (T, ReadOutcome),
    ) -> Option<(T, ReadOutcome)>
    where
        P: Policy<T>,
    {
        if let Some(value) = self.look(attempt).await {
            return Some((value, ReadOutcome::Hit));
        }
        attempt.due.take().map(serve)
    }

    /// Like [`again`](Self::again) after a failure, or else returns `value`, which is not stored.
    async fn again_or<T: Value>(&self, value: T, attempt: &mut Attempt<T>) -> (T, ReadOutcome)
    where
        P: Policy<T>,
    {
        let again = self.again(attempt, Due::serve_on_error).await;
        again.unwrap_or((value, ReadOutcome::Bypass))
    }

    /// Waits for the outcome of a flight. After `compute_wait`, it may be this caller's turn to
    /// compute.
    async fn wait<T: Value>(
        &self,
        mut reply: oneshot::Receiver<Reply>,
        attempt: &mut Attempt<T>,
    ) -> Reply {
        let engine = &self.entries.engine;
        let compute_wait = engine.settings.compute_wait;
        loop {
            if let Ok(reply) = tokio::time::timeout_at(attempt.turn, &mut reply).await {
                return reply.unwrap_or(Reply::Again);
            }
            match self.entries.flights.overtake::<T>(&self.key, compute_wait) {
                Turn::Lead(lead) => return Reply::Lead(lead),
                Turn::Again => {
                    attempt.turn = Instant::now() + compute_wait;
                    return Reply::Again;
                }
                Turn::Wait(_) if attempt.is_over(compute_wait) => {
                    observe::overdue(&self.key, attempt.start.elapsed());
                    return Reply::Alone;
                }
                Turn::Wait(until) => attempt.turn = until,
            }
        }
    }

    /// Returns the value if the backend has a fresh one. A value that is due for a refresh is left
    /// in
    /// `attempt`.
    async fn look<T: Value>(&self, attempt: &mut Attempt<T>) -> Option<T>
    where
        P: Policy<T>,
    {
        let engine = &self.entries.engine;
        attempt.due = None;
        if self.has_no_more() {
            return self.local();
        }
        if engine.resets.contains(&self.key) {
            return None;
        }
        let found = engine
            .spend(
                &self.key,
                &mut attempt.budget,
                engine.backend.get(&self.key),
            )
            .await
            .ok()??;
        // A reset may have failed, or was lost, while the answer was on its way.
        if engine.resets.contains(&self.key) {
            return None;
        }
        attempt.read(self, found)
    }

    /// Computes for all waiters.
    pub(super) async fn lead<T, E, F, Fut>(
        &self,
        mut lead: Lead,
        attempt: &mut Attempt<T>,
        compute: F,
        sharing: Option<Sharing<E>>,
    ) -> Result<(T, ReadOutcome), E>
    where
        T: Value,
        P: Policy<T>,
        F: FnOnce(bool) -> Fut,
        Fut: Future<Output = Result<T, E>>,
    {
        let engine = &self.entries.engine;
        if let Some(served) = self.begin(&mut lead, attempt).await {
            // A reset may have come since the backend read the entry, so callers that joined in the
            // meantime check for themselves.
            lead.close().tell(|| Reply::Again);
            return Ok(served);
        }

        let started = self.entries.flights.tick();
        let stopwatch = Instant::now();
        let leased = lead.lease.as_ref().is_some_and(|lease| lease.is_granted());
        let computation = pin!(computing::run(engine, &self.key, || compute(leased)));
        let result = match self.patiently(computation, attempt).await {
            Either::Left(result) => result,
            Either::Right(served) => {
                // Recorded before the lead goes to another caller.
                self.refresh_failed();
                return Ok(served);
            }
        };
        let value = match result {
            Ok(value) => value,
            Err(error) => {
                if attempt.due.is_some() {
                    // Recorded before the lead goes to another caller.
                    self.refresh_failed();
                }
                let shared = sharing.map(|sharing| (sharing.erase)(&error));
                self.failed(lead, attempt, started, shared).await;
                return Err(error);
            }
        };
        let cost = stopwatch.elapsed();
        observe::computed(&self.key, cost);
        let Some(times) = self.lifetime(&value) else {
            return Ok(self.unstored(lead, attempt, value).await);
        };
        self.entries.pauses.end(&self.key);
        value.check_first(&self.key, engine.settings.encoding);
        let known = self.policy.weight(&value);
        let typed = value.clone().into_typed();
        let waiters = lead.close();
        let times = Times { cost, ..times };
        let stored = self.fill(&lead, attempt, &typed, known, times).await;
        waiters.deliver(started, stored, || Reply::Value(Arc::clone(&typed)));
        Ok((
            value,
            if stored {
                ReadOutcome::Miss
            } else {
                ReadOutcome::Unstored
            },
        ))
    }

    /// Leaves the waiters to themselves, and decides about the entry that `value` was to replace.
    async fn unstored<T: Value>(
        &self,
        mut lead: Lead,
        attempt: &mut Attempt<T>,
        value: T,
    ) -> (T, ReadOutcome)
    where
        P: Policy<T>,
    {
        let unstored = self.policy.unstored(&value);
        if attempt.due.is_some() && unstored == Unstored::Failed {
            // Before the waiters look: they find the stale entry.
            self.refresh_failed();
            lead.close().tell(|| Reply::Again);
            drop(lead);
            return self.again_or(value, attempt).await;
        }
        self.entries.pauses.end(&self.key);
        let waiters = lead.close();
        if attempt.due.is_some() && unstored == Unstored::Removes {
            // A reset that is not confirmed is retried, and logged then.
            let _ = self.entries.change(&self.key, Change::Reset).await;
        }
        waiters.tell(|| Reply::Alone);
        (value, ReadOutcome::Bypass)
    }

    /// Waits for a computation. If it is a refresh and takes longer than its soft limit, returns
    /// the old value if that is still there.
    async fn patiently<T: Value, R>(
        &self,
        mut computation: Pin<&mut impl Future<Output = R>>,
        attempt: &mut Attempt<T>,
    ) -> Either<R, (T, ReadOutcome)>
    where
        P: Policy<T>,
    {
        if let Some(limit) = self.refresh.soft_limit
            && attempt.due.is_some()
        {
            let in_time = tokio::time::timeout(limit, computation.as_mut()).await;
            if let Ok(result) = in_time {
                return Either::Left(result);
            }
            if let Some(served) = self.again(attempt, Due::serve_on_error).await {
                return Either::Right(served);
            }
        }
        Either::Left(computation.await)
    }

    /// Records that a refresh failed.
    pub(super) fn refresh_failed(&self) {
        // A value that is refreshed early may have no window.
        let window = Some(self.refresh.window).filter(|window| !window.is_zero());
        let longest = window.unwrap_or(Duration::MAX);
        self.entries.pauses.failed(&self.key, longest);
        observe::refresh_failed(&self.key);
    }

    /// Obtains a lease for the flight, or a value to serve: a value that another caller stored in
    /// the meantime, or an old value that another caller is refreshing. With neither, the backend
    /// is away or the caller has waited for the longest time. Then the value is computed and not
    /// stored.
    async fn begin<T: Value>(
        &self,
        lead: &mut Lead,
        attempt: &mut Attempt<T>,
    ) -> Option<(T, ReadOutcome)>
    where
        P: Policy<T>,
    {
        let engine = &self.entries.engine;
        if engine.resets.contains(&self.key) {
            lead.lease = None;
            return None;
        }
        if lead.lease.as_ref().is_some_and(|lease| lease.is_granted()) {
            return None;
        }
        let compute_wait = engine.settings.compute_wait;
        let listener = engine.backend.signals().listen(self.key.as_str());
        let mut unusable = 0;
        let mut overdue = false;
        loop {
            // Each attempt uses a new lease. Another leader may still compute under a lease that a
            // reset ended. A request for a lease may have been sent twice, and a copy that arrives
            // late must not bring the lease back to life after a reset.
            let flight = (Arc::clone(&self.entries.flights), lead.flight());
            let lease = Lease::new(engine, &self.key, Some(flight));
            lead.lease = Some(Arc::clone(&lease));
            let claim = if Instant::now() < attempt.turn {
                Claim::Wait
            } else {
                if !std::mem::replace(&mut overdue, true) {
                    observe::overdue(&self.key, attempt.start.elapsed());
                }
                Claim::Join(compute_wait)
            };
            let begin = Begin {
                token: &lease.token,
                ttl: LEASE_TTL,
                claim,
                replaces: attempt.replaces.as_ref(),
            };
            let budget = attempt.budget;
            // Set only when polled: an unpolled `begin` must not trigger a release.
            let ask = async {
                lease.asking();
                engine.backend.begin(&self.key, begin).await
            };
            match engine.spend(&self.key, &mut attempt.budget, ask).await {
                Ok(Begun::Granted) => {
                    lease.granted();
                    lease.keep_alive();
                    return None;
                }
                Ok(Begun::Found(found)) => {
                    lease.ended();
                    // A reset may have failed, or was lost, as in `look`.
                    if engine.resets.contains(&self.key) {
                        lead.lease = None;
                        return None;
                    }
                    if let Some(value) = attempt.read(self, found) {
                        return Some((value, ReadOutcome::Hit));
                    }
                    // Another program keeps storing entries that this one cannot use.
                    unusable += 1;
                    if unusable > 2 {
                        lead.lease = None;
                        return attempt.due.take_if(|due| due.at_once).map(Due::serve);
                    }
                }
                Ok(Begun::Busy { recheck }) => {
                    lease.ended();
                    if let Some(due) = attempt.due.take_if(|due| due.at_once) {
                        lead.lease = None;
                        return Some(due.serve());
                    }
                    // The backend answered, so the call now waits for another caller, which is
                    // limited by `compute_wait` and not by the budget.
                    attempt.budget = budget;
                    if self.alone || attempt.is_over(compute_wait) {
                        lead.lease = None;
                        return None;
                    }
                    let mut until = Instant::now() + recheck;
                    if claim == Claim::Wait {
                        until = until.min(attempt.turn);
                    }
                    let _ = tokio::time::timeout_at(until, listener.signalled()).await;
                }
                Err(_) => {
                    lead.lease = None;
                    return None;
                }
            }
        }
    }

    /// Stores the value under the flight's lease. Returns `true` if the backend confirmed it; then
    /// no reset has come since the computation began. `known` is the weight of the value, if the
    /// policy knows it.
    async fn fill<T>(
        &self,
        lead: &Lead,
        attempt: &mut Attempt<T>,
        typed: &Typed,
        known: Option<usize>,
        times: Times,
    ) -> bool
    where
        T: Value,
        P: Policy<T>,
    {
        let engine = &self.entries.engine;
        let Some(lease) = lead.lease.as_ref().filter(|lease| lease.is_granted()) else {
            return false;
        };
        if engine.resets.contains(&self.key) {
            return false;
        }
        let encoding = engine.settings.encoding;
        let encode = |now| T::encode(typed, encoding, times, now);
        let weigh = || known.unwrap_or_else(|| T::weigh(typed));
        let entry = NewEntry::new(typed, &encode, &weigh, times.ttl)
            .stale(times.stale)
            .cost(times.cost)
            .local(self.copies);
        match engine
            .spend(
                &self.key,
                &mut attempt.budget,
                engine.backend.fill(&self.key, &lease.token, entry),
            )
            .await
        {
            Ok(stored) => {
                lease.ended();
                stored
            }
            Err(error) => {
                observe::not_stored(&self.key, &error);
                false
            }
        }
    }

    /// Passes on a failure: the error if it can be shared, and otherwise the duty to compute.
    async fn failed<T>(
        &self,
        mut lead: Lead,
        attempt: &mut Attempt<T>,
        started: u64,
        shared: Option<Typed>,
    ) {
        let Some(shared) = shared else {
            return lead.fail();
        };
        let waiters = lead.close();
        if waiters.is_empty() {
            return;
        }
        let engine = &self.entries.engine;
        let stood = match lead.lease.as_ref().filter(|lease| lease.is_granted()) {
            Some(lease) => {
                let stood = engine
                    .spend(
                        &self.key,
                        &mut attempt.budget,
                        engine.backend.release_lease(&self.key, &lease.token),
                    )
                    .await;
                if stood.is_ok() {
                    lease.ended();
                }
                stood.unwrap_or(false)
            }
            None => false,
        };
        waiters.deliver(started, stood, || Reply::Error(Arc::clone(&shared)));
    }
}

/// The role of a caller without a fresh value.
pub(super) enum Role<T, E> {
    Lead(Lead),
    Served((T, ReadOutcome)),
    Failed(E),
    /// The caller computes for itself, and stores nothing.
    Alone,
}

/// The state of one call through its rounds.
pub(super) struct Attempt<T> {
    /// The tick at which the call came.
    arrival: u64,
    budget: Budget,
    start: Instant,
    /// The time at which the caller may compute beside others, or asks again whether it may.
    turn: Instant,
    /// The entry that was found, if it is unreadable or stale and must be replaced.
    replaces: Option<Found>,
    /// The value of that entry, if it may be served while it is refreshed.
    pub(super) due: Option<Due<T>>,
}

impl<T> Attempt<T> {
    /// Returns whether the caller has waited for the longest time.
    fn is_over(&self, compute_wait: Duration) -> bool {
        self.start.elapsed() >= compute_wait.saturating_mul(ROUNDS)
    }

    /// Continues as a new call in the background.
    pub(super) fn passed_to<P>(self, access: &Access<P>) -> Self {
        Self {
            replaces: self.replaces,
            due: self.due,
            ..access.attempt()
        }
    }

    fn read<P: Policy<T>>(&mut self, access: &Access<P>, found: Found) -> Option<T>
    where
        T: Value,
    {
        self.due = match access.read(&found) {
            Usable::Fresh(value) => return Some(value),
            Usable::Due(due) => Some(due),
            Usable::No => None,
        };
        self.replaces = Some(found);
        None
    }
}

//! Requests for a slot, which locks and pools share.
//!
//! Some value whose drop releases the slot exists from before the slot is requested from the
//! backend until it is known to be free again.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::hold::Holding;
use super::waiting::{Lines, PLACE, Waiter};
use crate::backend::{Acquire, Acquired, Inspection, Slot, SlotKind, Token};
use crate::engine::Engine;
use crate::engine::debts::Debt;
use crate::observe::{self, Contest};
use crate::{Error, ErrorKind, runtime};

/// The shortest time to live: a shorter one could not be renewed reliably.
const MIN_TTL: Duration = Duration::from_secs(1);

/// A request for a slot.
#[derive(Clone)]
pub(crate) struct Request {
    engine: Arc<Engine>,
    lines: Arc<Lines>,
    pub(crate) slot: Slot,
    pub(crate) ttl: Duration,
    pub(crate) wait: Duration,
    pub(crate) max_hold: Option<Duration>,
}

impl Request {
    pub(crate) fn new(engine: &Arc<Engine>, lines: &Arc<Lines>, slot: Slot) -> Self {
        Self {
            engine: Arc::clone(engine),
            lines: Arc::clone(lines),
            slot,
            ttl: engine.settings.lock_ttl,
            wait: Duration::ZERO,
            max_hold: None,
        }
    }

    /// Acquires the slot, waiting for up to `wait`, and returns the fencing token with it.
    pub(crate) async fn acquire(&self) -> Result<(Holding, u64), Error> {
        let start = Instant::now();
        let result = self.contend(start).await;
        let contest = match &result {
            Ok(_) => Contest::Acquired,
            Err(error) if error.is_contended() => Contest::Contended,
            Err(_) => Contest::Failed,
        };
        let Slot { kind, key, .. } = &self.slot;
        observe::contest((*kind).into(), key, contest, start.elapsed());
        result.map_err(|error| error.with_template(self.slot.key.template()))
    }

    async fn contend(&self, start: Instant) -> Result<(Holding, u64), Error> {
        let ttl = self.ttl()?;
        // Without a runtime, nothing would renew the hold.
        runtime::current()?;
        let engine = &self.engine;
        let mut attempt = AcquireGuard {
            request: self,
            token: engine.node.token(),
            taken: false,
        };
        let token = attempt.token.clone();
        let waits = !self.wait.is_zero();
        let end = start.checked_add(self.wait);
        // Subscribe before asking, or the wake-up may be missed.
        let signals = engine.backend.signals();
        let listener = waits.then(|| signals.listen_alone(token.as_str()));
        let losses = waits.then(|| signals.losses());
        let mut waiter: Option<Waiter<'_>> = None;
        loop {
            let wait = self.wait.checked_sub(start.elapsed());
            let wait = wait.filter(|wait| !wait.is_zero());
            let sent = engine.clock.now();
            let disturbances = signals.disturbances();
            let request = Acquire {
                token: &token,
                ttl,
                wait: wait.map(|wait| wait.min(PLACE)),
                within: engine.settings.backend_timeout,
            };
            let answer = match engine.admit(&self.slot.key) {
                Ok(()) => {
                    attempt.taken = true;
                    engine
                        .insist(&self.slot.key, engine.debts.acquire(&self.slot, request))
                        .await
                }
                Err(error) => Err(error),
            };
            match answer {
                Ok(Acquired::Granted { fence }) => {
                    attempt.taken = false;
                    if let Some(waiter) = waiter {
                        waiter.answered(true);
                    }
                    let holding = Holding::new(
                        engine,
                        self.slot.clone(),
                        token,
                        (self.ttl, self.max_hold),
                        sent,
                        disturbances,
                    );
                    return Ok((holding, fence));
                }
                Ok(Acquired::Held { retry_in }) => {
                    attempt.taken = waiter.is_some();
                    if let Some(waiter) = waiter {
                        waiter.answered(false);
                    }
                    return Err(self.contended().with_retry_after(retry_in));
                }
                Ok(Acquired::Queued { recheck, place }) => match &mut waiter {
                    Some(waiter) => waiter.queued(place, recheck),
                    None => {
                        if let (Some(listener), Some(losses)) = (&listener, losses.clone()) {
                            let slot = &self.slot;
                            let new = Waiter::join(
                                &self.lines,
                                engine.settings.backend_timeout,
                                slot,
                                listener,
                                losses,
                                place,
                                recheck,
                            );
                            waiter = Some(new);
                        }
                    }
                },
                Err(error) => {
                    // A queued waiter survives one brief failure of the backend, unless its wait is
                    // over.
                    let survives = error.is_unavailable()
                        && wait.is_some()
                        && (waiter.as_mut())
                            .is_some_and(|waiter| waiter.forgives(engine.settings.backend_timeout));
                    if !survives {
                        return Err(error);
                    }
                }
            }
            if let Some(waiter) = &mut waiter {
                let end = end.unwrap_or_else(|| Instant::now() + PLACE);
                // Boxed, so that the future of a caller that does not wait stays small.
                Box::pin(waiter.turn(end)).await;
            }
        }
    }

    fn ttl(&self) -> Result<Duration, Error> {
        let max_hold = self.max_hold.unwrap_or(Duration::MAX);
        if self.ttl < MIN_TTL || max_hold < MIN_TTL {
            return Err(Error::new(
                ErrorKind::Configuration,
                "the `ttl` and the `max_hold` of a lock or permit must be at least 1 s, so that \
                 it can be renewed in time",
            ));
        }
        if self.slot.max == 0 {
            return Err(Error::new(
                ErrorKind::Configuration,
                "a pool must allow at least one permit",
            ));
        }
        Ok(self.ttl.min(max_hold))
    }

    fn contended(&self) -> Error {
        match self.slot.kind {
            SlotKind::Lock => Error::new(
                ErrorKind::Held,
                "the lock is held by another caller; try again later, or wait longer for it",
            ),
            SlotKind::Pool => Error::new(
                ErrorKind::Full,
                "all permits of the pool are taken; try again later, or wait longer for one",
            ),
        }
    }

    pub(crate) async fn inspect(&self) -> Result<Inspection, Error> {
        let backend = &self.engine.backend;
        let result = self
            .engine
            .attempt(&self.slot.key, backend.inspect(&self.slot))
            .await;
        result.map_err(|error| error.with_template(self.slot.key.template()))
    }

    pub(crate) async fn evict(&self) -> Result<bool, Error> {
        let backend = &self.engine.backend;
        let result = self
            .engine
            .insist(&self.slot.key, backend.evict(&self.slot))
            .await;
        result.map_err(|error| error.with_template(self.slot.key.template()))
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("template", &self.slot.key.template())
            .field("max", &self.slot.max)
            .field("ttl", &self.ttl)
            .field("wait", &self.wait)
            .field("max_hold", &self.max_hold)
            .finish_non_exhaustive()
    }
}

/// A slot or a place in the queue that the backend may have given to a caller that has not seen the
/// answer yet.
struct AcquireGuard<'a> {
    request: &'a Request,
    token: Token,
    taken: bool,
}

impl Drop for AcquireGuard<'_> {
    fn drop(&mut self) {
        if self.taken {
            let Request {
                engine, slot, ttl, ..
            } = self.request;
            let until = engine.clock.now() + *ttl;
            engine.debts.owe(Debt::of_slot(slot, &self.token, until));
        }
    }
}

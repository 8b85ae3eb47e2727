//! The common part of locks and pools: to acquire a slot, to keep it, to know when it is lost,
//! to give it back.
//!
//! Invariants:
//!
//! 1. From before a slot is requested from the backend until it is known to be free again, some
//!    value exists whose drop releases it.
//! 2. A hold is believed in until its deadline, which counts from before the request was sent and
//!    by a clock that goes on while the machine is suspended; so it ends here before it ends in the
//!    backend. Once it is lost it stays lost.

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::Poll;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::backend::{Acquire, Acquired, BoxFuture, Inspection, Slot, SlotKind, Token};
use crate::cachify::{Cachify, Debt, Inner};
use crate::clock::Moment;
use crate::engine::breaker::current_runtime;
use crate::engine::renewal::{Renewable, Ticket};
use crate::observe::{self, Contest};
use crate::slot::waiting::{PLACE, Waiter};
use crate::{Error, ErrorKind, Key};

/// The shortest time to live: shorter ones could not be renewed reliably.
const MIN_TTL: Duration = Duration::from_secs(1);
/// How long a hold sleeps at most before it looks at the clock again.
const CHECK: Duration = Duration::from_secs(1);

/// A request for a slot.
#[derive(Clone)]
pub(crate) struct Request {
    pub(crate) inner: Arc<Inner>,
    pub(crate) slot: Slot,
    pub(crate) ttl: Duration,
    pub(crate) wait: Duration,
    pub(crate) max_hold: Option<Duration>,
}

impl Request {
    pub(crate) fn new(cachify: &Cachify, kind: SlotKind, key: &Key, max: u32) -> Self {
        Self {
            inner: Arc::clone(&cachify.inner),
            slot: Slot {
                kind,
                key: cachify.own(key).into_owned(),
                max,
            },
            ttl: cachify.inner.settings.lock_ttl,
            wait: Duration::ZERO,
            max_hold: None,
        }
    }

    /// Takes the slot, waiting for it if that was asked for. Also returns the fencing token.
    pub(crate) async fn acquire(&self) -> Result<(Holding, u64), Error> {
        let start = Instant::now();
        let result = self.contend(start).await;
        let contest = match &result {
            Ok(_) => Contest::Acquired,
            Err(error) if error.is_contended() => Contest::Contended,
            Err(_) => Contest::Failed,
        };
        observe::contest(&self.slot, contest, start.elapsed());
        result.map_err(|error| error.with_template(self.slot.key.template()))
    }

    async fn contend(&self, start: Instant) -> Result<(Holding, u64), Error> {
        let ttl = self.ttl()?;
        // A hold that nothing renews would be lost.
        current_runtime()?;
        let inner = &self.inner;
        let mut attempt = AcquireGuard {
            request: self,
            token: inner.node.token(),
            taken: false,
        };
        let token = attempt.token.clone();
        let waits = !self.wait.is_zero();
        let end = start.checked_add(self.wait);
        // Subscribe before asking, or the wake-up may be missed.
        let signals = inner.backend.signals();
        let listener = waits.then(|| signals.listen_alone(token.as_str()));
        let losses = waits.then(|| signals.losses());
        let mut waiter: Option<Waiter<'_>> = None;
        loop {
            let wait = self.wait.checked_sub(start.elapsed());
            let wait = wait.filter(|wait| !wait.is_zero());
            let sent = inner.clock.now();
            let disturbances = signals.disturbances();
            let request = Acquire {
                token: &token,
                ttl,
                wait: wait.map(|wait| wait.min(PLACE)),
                within: inner.settings.backend_timeout,
            };
            let answer = match inner.admit() {
                Ok(()) => {
                    attempt.taken = true;
                    inner.insist(inner.acquire(&self.slot, request)).await
                }
                Err(error) => Err(error),
            };
            match answer {
                Ok(Acquired::Granted { fence }) => {
                    attempt.taken = false;
                    if let Some(waiter) = waiter {
                        waiter.answered(true);
                    }
                    return Ok((self.holding(token, sent, ttl, disturbances), fence));
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
                            let new = Waiter::join(inner, slot, listener, losses, place, recheck);
                            waiter = Some(new);
                        }
                    }
                },
                Err(error) => {
                    // A waiter in the queue survives one hiccup of the backend, unless its time is
                    // over anyway.
                    let survives = error.is_unavailable()
                        && wait.is_some()
                        && (waiter.as_mut())
                            .is_some_and(|waiter| waiter.forgives(inner.settings.backend_timeout));
                    if !survives {
                        return Err(error);
                    }
                }
            }
            if let Some(waiter) = &mut waiter {
                let end = end.unwrap_or_else(|| Instant::now() + PLACE);
                // On the heap: callers that do not wait keep a smaller future.
                Box::pin(waiter.turn(end)).await;
            }
        }
    }

    fn ttl(&self) -> Result<Duration, Error> {
        let max_hold = self.max_hold.unwrap_or(Duration::MAX);
        if self.ttl < MIN_TTL || max_hold < MIN_TTL {
            return Err(Error::new(
                ErrorKind::Configuration,
                "the `ttl` and the `max_hold` of a lock or permit must be at least 1 s, so that it can be renewed in time",
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

    /// `disturbances`: how many there had been at `sent`.
    fn holding(&self, token: Token, sent: Moment, ttl: Duration, disturbances: u64) -> Holding {
        let hold = Arc::new(Hold {
            slot: self.slot.clone(),
            token,
            ttl: self.ttl,
            max_until: self.max_hold.map(|max_hold| sent + max_hold),
            deadline: AtomicU64::new(deadline(sent, ttl).as_micros()),
            state: AtomicU8::new(HELD),
            changed: Notify::new(),
            renewal: OnceLock::new(),
        });
        let item: Arc<dyn Renewable> = hold.clone();
        hold.renewal.get_or_init(|| {
            let renewal = &self.inner.renewal;
            renewal.register(&self.inner, ttl / 3, disturbances, &item)
        });
        observe::permits(&self.slot, 1.0);
        Holding {
            inner: Arc::clone(&self.inner),
            key: self.slot.key.within(None).into_owned(),
            hold,
            released: false,
        }
    }

    pub(crate) async fn inspect(&self) -> Result<Inspection, Error> {
        let backend = &self.inner.backend;
        let result = self.inner.attempt(backend.inspect(&self.slot)).await;
        result.map_err(|error| error.with_template(self.slot.key.template()))
    }

    pub(crate) async fn evict(&self) -> Result<bool, Error> {
        let backend = &self.inner.backend;
        let result = self.inner.insist(backend.evict(&self.slot)).await;
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

/// Returns when a hold that was asked for at `sent` can no longer be relied on: a hundredth earlier
/// than the backend ends it, since two clocks do not run at the same speed, and two milliseconds,
/// since backends round.
fn deadline(sent: Moment, ttl: Duration) -> Moment {
    sent + ttl.saturating_sub(ttl / 100 + Duration::from_millis(2))
}

/// A slot, or a place in the queue, that the backend may have given to a caller that does not know
/// yet.
struct AcquireGuard<'a> {
    request: &'a Request,
    token: Token,
    taken: bool,
}

impl Drop for AcquireGuard<'_> {
    fn drop(&mut self) {
        if self.taken {
            let Request {
                inner, slot, ttl, ..
            } = self.request;
            inner.owe(Debt::of_slot(slot, &self.token, inner.clock.now() + *ttl));
        }
    }
}

/// Held, as far as is known.
const HELD: u8 = 0;
/// Being given back, or given back.
const RELEASED: u8 = 1;
/// The backend said that it is no longer ours, or the deadline passed.
const LOST: u8 = 2;

/// A slot that is held, shared with the task that renews it.
struct Hold {
    slot: Slot,
    token: Token,
    ttl: Duration,
    max_until: Option<Moment>,
    deadline: AtomicU64,
    state: AtomicU8,
    changed: Notify,
    renewal: OnceLock<Ticket>,
}

impl Hold {
    fn deadline(&self) -> Moment {
        Moment::from_micros(self.deadline.load(Ordering::Acquire))
    }

    fn is_lost(&self, now: Moment) -> bool {
        if self.state.load(Ordering::Acquire) == HELD && now >= self.deadline() {
            self.lose();
        }
        self.state.load(Ordering::Acquire) == LOST
    }

    /// Unless it was given back before.
    fn lose(&self) {
        let was_held = self
            .state
            .compare_exchange(HELD, LOST, Ordering::AcqRel, Ordering::Acquire);
        if was_held.is_ok() {
            let template = self.slot.key.template();
            tracing::warn!(template, "a lock or permit was lost while it was in use");
            observe::contest(&self.slot, Contest::Lost, Duration::ZERO);
            self.changed.notify_waiters();
        }
    }

    async fn lost(&self, inner: &Arc<Inner>) {
        loop {
            let changed = self.changed.notified();
            inner.renewal.ensure(inner);
            let now = inner.clock.now();
            if self.is_lost(now) {
                return;
            }
            // In slices: timers stand still while the machine is suspended, the clock does not.
            let slice = self.deadline().since(now).min(CHECK);
            let _ = tokio::time::timeout(slice.max(Duration::from_millis(1)), changed).await;
        }
    }
}

impl Renewable for Hold {
    fn renew<'a>(&'a self, inner: &'a Arc<Inner>) -> BoxFuture<'a, Option<Duration>> {
        Box::pin(async move {
            let sent = inner.clock.now();
            if self.is_lost(sent) || self.state.load(Ordering::Acquire) == RELEASED {
                return None;
            }
            let ttl = match self.max_until {
                Some(until) => self.ttl.min(until.since(sent)),
                None => self.ttl,
            };
            let extended = inner.backend.extend(&self.slot, &self.token, ttl);
            match inner.insist(extended).await {
                Ok(true) => {
                    self.deadline
                        .store(deadline(sent, ttl).as_micros(), Ordering::Release);
                    // A shortened one is the last that `max_hold` allows. It stays registered until
                    // its end, so that it is asked for again if the backend is disturbed.
                    Some(if ttl == self.ttl { ttl / 3 } else { ttl })
                }
                Ok(false) => {
                    self.lose();
                    None
                }
                Err(error) => {
                    let template = self.slot.key.template();
                    tracing::debug!(%error, template, "a renewal failed and is tried again");
                    Some(inner.settings.backend_timeout.min(self.ttl / 3))
                }
            }
        })
    }
}

/// Owns a [`Hold`]: its drop gives the slot back.
pub(crate) struct Holding {
    inner: Arc<Inner>,
    /// As the caller gave it.
    key: Key,
    hold: Arc<Hold>,
    /// The backend acknowledged it.
    released: bool,
}

impl Holding {
    pub(crate) fn key(&self) -> &Key {
        &self.key
    }

    pub(crate) fn is_lost(&self) -> bool {
        self.hold.is_lost(self.inner.clock.now())
    }

    pub(crate) async fn lost(&self) {
        self.hold.lost(&self.inner).await;
    }

    /// Runs `work` until it is done or the hold is lost. The clock is read before each poll, so
    /// that a process that was stopped does not go on with what it lost meanwhile.
    pub(crate) async fn run<F: Future>(&self, work: F) -> Result<F::Output, Error> {
        let mut work = pin!(work);
        let mut lost = pin!(self.lost());
        poll_fn(|cx| {
            if self.is_lost() {
                return Poll::Ready(Err(self.lost_error()));
            }
            if let Poll::Ready(output) = work.as_mut().poll(cx) {
                return Poll::Ready(Ok(output));
            }
            lost.as_mut().poll(cx).map(|()| Err(self.lost_error()))
        })
        .await
    }

    /// Gives the slot back, and says whether that is certain. If it is not, the drop goes on
    /// trying.
    pub(crate) async fn release(mut self) -> Result<(), Error> {
        let Self { inner, hold, .. } = &self;
        let was_lost = self.is_lost();
        // From here on it is neither renewed nor lost.
        hold.state.store(RELEASED, Ordering::Release);
        let release = inner.backend.release(&hold.slot, &hold.token);
        let result = inner.insist(release).await;
        self.released = result.is_ok();
        match result {
            Ok(true) if !was_lost => Ok(()),
            Ok(_) => Err(self.lost_error()),
            Err(error) => Err(error.with_template(self.key().template())),
        }
    }

    /// Like [`release`](Self::release), for work whose result must not be lost to a failed release,
    /// which is logged and goes on in the background.
    pub(crate) async fn finish(self) {
        let key = self.key().clone();
        if let Err(error) = self.release().await {
            let template = key.template();
            tracing::warn!(%error, template, "released late, or lost at the end of the work");
        }
    }

    fn lost_error(&self) -> Error {
        Error::new(
            ErrorKind::Lost,
            "the lock or permit is no longer held: it was taken by force, the backend forgot it, or it could not be renewed in time; \
             check what was done meanwhile, or use the fencing token",
        )
        .with_template(self.key().template())
    }
}

impl Drop for Holding {
    fn drop(&mut self) {
        let hold = &self.hold;
        observe::permits(&hold.slot, -1.0);
        if !self.released {
            hold.state.store(RELEASED, Ordering::Release);
            let debt = Debt::of_slot(&hold.slot, &hold.token, hold.deadline());
            self.inner.owe(debt);
        }
    }
}

impl fmt::Debug for Holding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Holding")
            .field("template", &self.key().template())
            .field("token", &self.hold.token)
            .field("is_lost", &self.is_lost())
            .finish_non_exhaustive()
    }
}

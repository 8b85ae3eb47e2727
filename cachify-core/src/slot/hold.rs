//! A slot that is held: renews it, notices its loss, and releases it.
//!
//! A hold is valid until its deadline. The deadline counts from before the request was sent, by a
//! clock that keeps running while the machine is suspended, so a hold ends here before it ends in
//! the backend. Once it is lost, it stays lost.

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::Poll;
use std::time::Duration;

use tokio::sync::Notify;

use crate::backend::{BoxFuture, Slot, SlotKind, Token};
use crate::clock::Moment;
use crate::engine::Engine;
use crate::engine::debts::Debt;
use crate::engine::renewal::{Renewable, Ticket};
use crate::observe::{self, Contest};
use crate::{Error, ErrorKind, Key};

/// The longest time that a hold sleeps before it reads the clock again.
const CHECK: Duration = Duration::from_secs(1);

impl From<SlotKind> for observe::Kind {
    fn from(kind: SlotKind) -> Self {
        match kind {
            SlotKind::Lock => Self::Lock,
            SlotKind::Pool => Self::Pool,
        }
    }
}

/// Returns the end of a hold that was requested at `sent`. It lies before the end in the backend:
/// by a hundredth, because two clocks differ in speed, and by two milliseconds, because backends
/// round.
fn deadline(sent: Moment, ttl: Duration) -> Moment {
    sent + ttl.saturating_sub(ttl / 100 + Duration::from_millis(2))
}

/// Held, as far as this process knows.
const HELD: u8 = 0;
/// Released, or being released.
const RELEASED: u8 = 1;
/// The backend refused a renewal, or the deadline passed.
const LOST: u8 = 2;

/// A held slot, shared with the task that renews it.
struct Hold {
    engine: Arc<Engine>,
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

    /// Marks the hold as lost, unless it was released before.
    fn lose(&self) {
        let was_held = self
            .state
            .compare_exchange(HELD, LOST, Ordering::AcqRel, Ordering::Acquire);
        if was_held.is_ok() {
            let template = self.slot.key.template();
            tracing::warn!(template, "a lock or permit was lost while it was in use");
            let Slot { kind, key, .. } = &self.slot;
            observe::contest((*kind).into(), key, Contest::Lost, Duration::ZERO);
            self.changed.notify_waiters();
        }
    }

    async fn lost(&self) {
        let engine = &self.engine;
        loop {
            let changed = self.changed.notified();
            engine.renewal.ensure();
            let now = engine.clock.now();
            if self.is_lost(now) {
                return;
            }
            // In slices: timers stop while the machine is suspended, but the clock does not.
            let slice = self.deadline().since(now).min(CHECK);
            let _ = tokio::time::timeout(slice.max(Duration::from_millis(1)), changed).await;
        }
    }
}

impl Renewable for Hold {
    fn renew(&self) -> BoxFuture<'_, Option<Duration>> {
        Box::pin(async move {
            let engine = &self.engine;
            let sent = engine.clock.now();
            if self.is_lost(sent) || self.state.load(Ordering::Acquire) == RELEASED {
                return None;
            }
            let ttl = match self.max_until {
                Some(until) => self.ttl.min(until.since(sent)),
                None => self.ttl,
            };
            let extended = engine.backend.extend(&self.slot, &self.token, ttl);
            match engine.insist(&self.slot.key, extended).await {
                Ok(true) => {
                    self.deadline
                        .store(deadline(sent, ttl).as_micros(), Ordering::Release);
                    // A shortened renewal is the last that `max_hold` allows. The hold stays
                    // registered until its end, so that it is renewed again if the backend is
                    // disturbed.
                    Some(if ttl == self.ttl { ttl / 3 } else { ttl })
                }
                Ok(false) => {
                    self.lose();
                    None
                }
                Err(error) => {
                    let template = self.slot.key.template();
                    tracing::debug!(%error, template, "a renewal failed; retrying");
                    Some(engine.settings.backend_timeout.min(self.ttl / 3))
                }
            }
        })
    }
}

/// An owned [`Hold`], whose drop releases the slot.
pub(crate) struct Holding {
    /// The key as the caller gave it, without a prefix.
    key: Key,
    hold: Arc<Hold>,
    /// Set when the backend has acknowledged the release.
    released: bool,
}

impl Holding {
    /// Begins to renew a slot that was granted for `ttl`, until `max_hold` is over. The slot was
    /// requested at `sent`, when the backend had counted `disturbances`.
    pub(super) fn new(
        engine: &Arc<Engine>,
        slot: Slot,
        token: Token,
        (ttl, max_hold): (Duration, Option<Duration>),
        sent: Moment,
        disturbances: u64,
    ) -> Self {
        let first = max_hold.map_or(ttl, |max_hold| ttl.min(max_hold));
        observe::permits(slot.kind.into(), &slot.key, 1.0);
        let key = slot.key.within(None).into_owned();
        let hold = Arc::new(Hold {
            engine: Arc::clone(engine),
            slot,
            token,
            ttl,
            max_until: max_hold.map(|max_hold| sent + max_hold),
            deadline: AtomicU64::new(deadline(sent, first).as_micros()),
            state: AtomicU8::new(HELD),
            changed: Notify::new(),
            renewal: OnceLock::new(),
        });
        let item: Arc<dyn Renewable> = hold.clone();
        hold.renewal.get_or_init(|| {
            let renewal = &engine.renewal;
            renewal.register(first / 3, disturbances, &item)
        });
        Self {
            key,
            hold,
            released: false,
        }
    }

    pub(crate) fn key(&self) -> &Key {
        &self.key
    }

    pub(crate) fn is_lost(&self) -> bool {
        self.hold.is_lost(self.hold.engine.clock.now())
    }

    pub(crate) async fn lost(&self) {
        self.hold.lost().await;
    }

    /// Runs `work` until it is done or the hold is lost. The clock is read before each poll, so
    /// that a process that was suspended does not continue `work` after the hold expired.
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

    /// Releases the slot. If the backend does not acknowledge it, the drop leaves the release to
    /// the background.
    pub(crate) async fn release(mut self) -> Result<(), Error> {
        let hold = &self.hold;
        let was_lost = self.is_lost();
        // From here on, the hold is neither renewed nor lost.
        hold.state.store(RELEASED, Ordering::Release);
        let release = hold.engine.backend.release(&hold.slot, &hold.token);
        let result = hold.engine.insist(&hold.slot.key, release).await;
        self.released = result.is_ok();
        match result {
            Ok(true) if !was_lost => Ok(()),
            Ok(_) => Err(self.lost_error()),
            Err(error) => Err(error.with_template(self.key().template())),
        }
    }

    /// Releases the slot, and logs a failure instead of returning it, so that the caller's result
    /// is not lost. A failed release is repeated in the background.
    pub(crate) async fn finish(self) {
        let key = self.key().clone();
        if let Err(error) = self.release().await {
            let template = key.template();
            tracing::warn!(%error, template, "a release failed or came too late");
        }
    }

    fn lost_error(&self) -> Error {
        Error::new(
            ErrorKind::Lost,
            "the lock or permit is no longer held: it was released by force, the backend forgot \
             it, or it was not renewed in time; check what was done meanwhile, or use the fencing \
             token",
        )
        .with_template(self.key().template())
    }
}

impl Drop for Holding {
    fn drop(&mut self) {
        let hold = &self.hold;
        observe::permits(hold.slot.kind.into(), &hold.slot.key, -1.0);
        if !self.released {
            hold.state.store(RELEASED, Ordering::Release);
            let debt = Debt::of_slot(&hold.slot, &hold.token, hold.deadline());
            hold.engine.debts.owe(debt);
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

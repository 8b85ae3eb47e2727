//! Locks and pools.

use std::time::Duration;

use redis::Value;
use tokio::time::timeout;

use super::reach::unreachable;
use super::script::{self, Call, Spot};
use super::{GRANTED, HELD, LONGEST_WAIT, RECHECK, Shared, WAIT, error, fitness, micros, millis};
use crate::backend::{Acquire, Acquired, Inspection, Slot, SlotKind, Token};
use crate::{Error, ErrorKind};

/// The second half of the message to a waiter.
fn slot_text(kind: SlotKind, key: &str) -> String {
    let letter = match kind {
        SlotKind::Lock => 'L',
        SlotKind::Pool => 'P',
    };
    format!("{letter} {key}")
}

fn release_call(kind: SlotKind, spot: Spot<'_>, token: &str) -> Call {
    Call::new(&script::RELEASE, &spot.slot(kind))
        .arg(token)
        .arg(spot.wake())
        .arg(slot_text(kind, spot.key))
}

impl Shared {
    /// Releases what this process asked for.
    fn release_of(&self, slot: &Slot, token: &Token) -> Call {
        let call = release_call(slot.kind, self.spot(&slot.key), token.as_str());
        if self.server.resent.contains(token) {
            call.arg("again")
        } else {
            call
        }
    }

    pub(super) async fn acquire(
        &self,
        slot: &Slot,
        acquire: Acquire<'_>,
    ) -> Result<Acquired, Error> {
        if slot.max == 0 {
            return Err(Error::new(
                ErrorKind::Configuration,
                "a pool needs room for one holder at least",
            ));
        }
        let start = self.server.time.local();
        fitness::admit_slots(self).await?;
        if acquire.wait.is_some() && !self.subscriber.stands(slot.key.prefix()) {
            // Who does not listen is passed over. Without a subscription, looking again must do.
            let within = acquire.wait.unwrap_or_default().min(acquire.within / 2);
            let _ = timeout(within, self.subscriber.stand(slot.key.prefix(), &self.weak)).await;
        }
        let spot = self.spot(&slot.key);
        let [holders, queue, places, ended, nodes] = spot.slot(slot.kind);
        let names = [holders, queue, places, ended, nodes, spot.fence()];
        let names = match slot.kind {
            SlotKind::Lock => &names[..],
            SlotKind::Pool => &names[..5],
        };
        let call = |until, _| {
            let mut call = Call::new(&script::ACQUIRE, names)
                .arg(acquire.token.as_str())
                .arg(spot.wake())
                .arg(slot_text(slot.kind, spot.key))
                .arg(until)
                .arg(micros(acquire.ttl))
                .arg(millis(acquire.ttl) + 2)
                .arg(slot.max);
            call.asks_for = Some(acquire.token.clone());
            match acquire.wait {
                Some(wait) => call
                    .arg(micros(wait.min(LONGEST_WAIT)))
                    .arg(micros((RECHECK + acquire.within) * 4)),
                None => call,
            }
        };
        let outcome = self.run_until(&self.control, start, acquire.within, call);
        let Ok(outcome) = outcome.await? else {
            return Err(error::garbled(&self.server.address.place));
        };
        let time = Duration::from_micros(outcome.number);
        Ok(match outcome.code {
            GRANTED => Acquired::Granted {
                fence: outcome.number,
            },
            HELD => {
                if outcome.again {
                    // The first request may still arrive, and no caller would know.
                    self.give_back(self.release_of(slot, acquire.token));
                }
                Acquired::Held { retry_in: time }
            }
            WAIT => Acquired::Queued {
                recheck: time,
                place: outcome.place,
            },
            _ => return Err(error::garbled(&self.server.address.place)),
        })
    }

    pub(super) async fn release(&self, slot: &Slot, token: &Token) -> Result<bool, Error> {
        let call = self.release_of(slot, token);
        let (mut released, mut again) = (false, false);
        loop {
            let (value, twice) = self.control.run_told(&call).await?;
            let Value::Int(bits @ 0..=3) = value else {
                return Err(error::garbled(&self.server.address.place));
            };
            released |= bits & 1 == 1;
            again |= twice;
            if bits & 2 == 0 {
                break;
            }
        }
        if again && !released {
            // The first of two may have released it.
            return Err(unreachable(
                &self.server.address.place,
                "the connection broke",
            ));
        }
        Ok(released)
    }

    /// Takes the slot from its holders by their names, so that a copy of the request that arrives
    /// late does not free a later holder.
    pub(super) async fn evict(&self, slot: &Slot) -> Result<bool, Error> {
        let spot = self.spot(&slot.key);
        let names = spot.slot(slot.kind);
        let call = || {
            Call::new(&script::EVICT, &names)
                .arg(spot.wake())
                .arg(slot_text(slot.kind, spot.key))
        };
        let holders: Vec<String> = redis::from_redis_value(self.control.run(&call()).await?)
            .map_err(|_| error::garbled(&self.server.address.place))?;
        for tokens in holders.chunks(100) {
            let evict = tokens.iter().fold(call(), Call::arg);
            while self.flag(&self.control, &evict).await? {}
        }
        Ok(!holders.is_empty())
    }

    /// Releases the claim of a waiter that is gone, or with deadline 0, its place in the queue. The
    /// script refuses a hold.
    pub(super) fn give_back_claim(
        &self,
        kind: SlotKind,
        spot: Spot<'_>,
        token: &str,
        deadline: u64,
    ) {
        let call = release_call(kind, spot, token);
        self.give_back(call.arg("claim").arg(deadline));
    }

    /// Releases an unwanted slot in the background.
    pub(super) fn give_back(&self, call: Call) {
        let (control, within) = (self.control.clone(), self.server.backend_timeout);
        tokio::spawn(async move {
            if !matches!(timeout(within, control.run(&call)).await, Ok(Ok(_))) {
                tracing::debug!(
                    "a slot that is no longer wanted was not released; it ends by itself"
                );
            }
        });
    }

    pub(super) async fn inspect(&self, slot: &Slot) -> Result<Inspection, Error> {
        let names = self.spot(&slot.key).slot(slot.kind);
        let call = Call::new(&script::INSPECT, &names[..2]);
        let value = self.control.run(&call).await?;
        let (holders, waiters, first, left): (usize, usize, String, u64) =
            redis::from_redis_value(value)
                .map_err(|_| error::garbled(&self.server.address.place))?;
        Ok(Inspection {
            holders,
            first: (holders != 0).then(|| (first, Duration::from_micros(left))),
            waiters,
        })
    }
}

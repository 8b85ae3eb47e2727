//! Locks and pools in Redis.

use std::time::Duration;

use tokio::time::timeout;

use super::limits::{micros, millis};
use super::message::slot_text;
use super::script::{self, Call};
use super::shared::{GRANTED, HELD, Shared, WAIT};
use super::{error, fitness, subscription};
use crate::backend::{Acquire, Acquired, Inspection, Slot, SlotKind};
use crate::{Error, ErrorKind};

/// The longest time for which a queue remembers a waiter. A waiter asks again before that.
const LONGEST_WAIT: Duration = Duration::from_hours(1);
/// The time after which the first waiter of each node asks again.
const RECHECK: Duration = Duration::from_secs(1);

impl Shared {
    pub(super) async fn acquire(
        &self,
        slot: &Slot,
        acquire: Acquire<'_>,
    ) -> Result<Acquired, Error> {
        if slot.max == 0 {
            return Err(Error::new(
                ErrorKind::Configuration,
                "a pool needs room for at least one holder",
            ));
        }
        let start = self.server.time.local();
        fitness::admit_slots(self).await?;
        if acquire.wait.is_some() && !self.subscriber.stands(slot.key.prefix()) {
            // The queue skips waiters whose node is not subscribed. Without a subscription, the
            // caller must ask again and again.
            let within = acquire.wait.unwrap_or_default().min(acquire.within / 2);
            let _ = timeout(within, subscription::stand(self, slot.key.prefix())).await;
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
                    // The first copy of the request may still arrive, and would take the slot for
                    // no caller.
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

    /// Takes the slot from its holders by their tokens, so that a copy of the request that arrives
    /// late does not end a later hold.
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

//! Entries and leases in Redis.

use std::sync::atomic::Ordering;
use std::time::Duration;

use redis::Value;

use super::limits::{micros, millis};
use super::message::lease_ended;
use super::script::{self, Call, Spot};
use super::shared::{GRANTED, Shared};
use super::{error, subscription};
use crate::backend::{Begin, Begun, Claim, Found, NewEntry, Stored, Token};
use crate::observe::{self, Word};
use crate::{Error, Key, codec};

/// Builds the call that ends a lease without storing anything.
fn end_call(spot: Spot<'_>, token: &Token) -> Call {
    Call::new(&script::FILL, &[spot.entry(), spot.lease()])
        .arg(token.as_str())
        .arg(spot.wake())
        .arg(lease_ended(spot.key))
}

/// Builds the call that removes an entry and ends its lease.
fn reset_call(spot: Spot<'_>) -> Call {
    Call::new(&script::RESET, &[spot.entry(), spot.lease()])
        .arg(spot.wake())
        .arg(lease_ended(spot.key))
        .arg(spot.resets())
        .arg(spot.key)
}

/// The answer of a script that was not permitted to publish a reset.
const UNTOLD: i64 = 2;

impl Shared {
    pub(super) async fn get(&self, key: &Key) -> Result<Option<Found>, Error> {
        let cmd = script::command("GET", self.spot(key).entry());
        match self.data.ask(&cmd).await? {
            Ok(Value::BulkString(bytes)) => Ok(Some(Found::bytes(bytes))),
            Ok(Value::Nil) => Ok(None),
            Ok(_) => Err(error::garbled(&self.server.address.place)),
            // Data of another program is like an unreadable entry. `begin` takes it as missing.
            Err(error) if error::code(&error) == "WRONGTYPE" => Ok(Some(Found::bytes(Vec::new()))),
            Err(error) => Err(self.server.translate(&error)),
        }
    }

    pub(super) async fn begin(&self, key: &Key, begin: Begin<'_>) -> Result<Begun, Error> {
        let start = self.server.time.local();
        let spot = self.spot(key);
        let names = [spot.entry(), spot.lease()];
        let call = |until, _| {
            let call = Call::new(&script::BEGIN, &names)
                .arg(begin.token.as_str())
                .arg(millis(begin.ttl))
                .arg(until);
            let call = match begin.claim {
                Claim::Wait => call.arg("wait"),
                Claim::Join(after) => call.arg(micros(after)),
                Claim::Overwrite => call.arg("overwrite"),
            };
            if begin.claim == Claim::Overwrite {
                return call.arg(spot.resets()).arg(spot.key);
            }
            match begin.replaces.map(|found| &found.value) {
                // The start of the envelope, with its times, identifies the entry.
                Some(Stored::Bytes(bytes)) => call
                    .arg(bytes.len())
                    .arg(&bytes[..bytes.len().min(codec::HEADER)]),
                _ => call,
            }
        };
        let outcome = match self
            .run_until(&self.data, start, self.server.backend_timeout, call)
            .await?
        {
            Ok(outcome) => outcome,
            Err(Value::BulkString(bytes)) => return Ok(Begun::Found(Found::bytes(bytes))),
            Err(_) => return Err(error::garbled(&self.server.address.place)),
        };
        if outcome.code == GRANTED {
            if begin.claim == Claim::Overwrite {
                self.said(spot.prefix, outcome.number == 0);
            }
            if outcome.again {
                // The first copy of the request may still arrive, even after a reset, and would
                // bring this lease back to life. The next attempt asks for another lease.
                self.give_back(end_call(spot, begin.token));
                return Ok(Begun::Busy {
                    recheck: Duration::from_millis(1),
                });
            }
            return Ok(Begun::Granted);
        }
        let mut recheck = Duration::from_millis(outcome.number);
        if !self.subscriber.stands(key.prefix()) {
            // Once the subscription stands, all waiters check again.
            subscription::start(self);
            recheck = recheck.min(Duration::from_millis(500));
        }
        Ok(Begun::Busy { recheck })
    }

    pub(super) async fn reset(&self, key: &Key) -> Result<(), Error> {
        let spot = self.spot(key);
        self.void(spot, &reset_call(spot)).await
    }

    /// Makes an entry stale by writing the server's time into its envelope.
    pub(super) async fn expire(&self, key: &Key) -> Result<(), Error> {
        let spot = self.spot(key);
        let call = reset_call(spot).arg(codec::STORED);
        self.void(spot, &call).await
    }

    async fn void(&self, spot: Spot<'_>, call: &Call) -> Result<(), Error> {
        match self.control.run(call).await? {
            Value::Int(answer) => {
                self.said(spot.prefix, answer != UNTOLD);
                Ok(())
            }
            _ => Err(error::garbled(&self.server.address.place)),
        }
    }

    /// Records whether a reset was published to the processes that keep copies in memory.
    fn said(&self, prefix: &str, told: bool) {
        if told {
            observe::word(Word::Sent);
            return;
        }
        observe::word(Word::Refused);
        if !self.untold.swap(true, Ordering::Relaxed) {
            let error = self.server.missing(&format!("&{prefix}:*"));
            tracing::warn!(
                %error,
                prefix,
                "a reset could not be published to processes with copies in memory, which keep \
                 them until their TTL"
            );
        }
    }

    pub(super) async fn end_lease(
        &self,
        key: &Key,
        token: &Token,
        entry: Option<NewEntry<'_>>,
    ) -> Result<bool, Error> {
        let mut call = end_call(self.spot(key), token);
        if let Some(entry) = entry {
            let bytes = match (entry.encode)(self.server.time.now()) {
                Ok(bytes) => bytes,
                Err(error) => {
                    // The lease must end all the same.
                    self.flag(&self.data, &call).await?;
                    return Err(error);
                }
            };
            if !self.room.admits(&self.control, bytes.len()).await {
                observe::no_room(key);
                return self.flag(&self.data, &call).await;
            }
            call = call.arg(&bytes[..]);
            if let Some(ttl) = entry.kept_for().as_millis() {
                call = call.arg(ttl);
            }
        }
        self.flag(&self.data, &call).await
    }
}

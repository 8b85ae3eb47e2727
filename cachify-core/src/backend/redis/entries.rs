//! Entries and leases.

use std::time::Duration;

use redis::Value;

use super::script::{self, Call, Name};
use super::{GRANTED, Shared, error, millis};
use crate::Error;
use crate::backend::{Begin, Begun, Found, NewEntry, Token};

/// The word that the lease of `key` ended.
pub(super) fn lease_word(key: &str) -> String {
    format!("C {key}")
}

impl Shared {
    pub(super) fn entry<'a>(&'a self, key: &'a str) -> Name<'a> {
        Name(&self.names.cached, key, "}")
    }

    pub(super) fn lease<'a>(&'a self, key: &'a str) -> Name<'a> {
        Name(&self.names.cached, key, "}:lease")
    }

    pub(super) async fn get(&self, key: &str) -> Result<Option<Found>, Error> {
        let cmd = script::command("GET", self.entry(key));
        match self.data.ask(&cmd).await? {
            Ok(Value::BulkString(bytes)) => Ok(Some(Found::Bytes(bytes))),
            Ok(Value::Nil) => Ok(None),
            Ok(_) => Err(error::garbled(&self.server.place)),
            // No bytes at all are unreadable, too, and `begin` finds the same.
            Err(error) if error::code(&error) == "WRONGTYPE" => Ok(Some(Found::Bytes(Vec::new()))),
            Err(error) => Err(self.server.translate(&error)),
        }
    }

    pub(super) async fn begin(&self, key: &str, begin: Begin<'_>) -> Result<Begun, Error> {
        let start = self.server.time.local();
        let names = [self.entry(key), self.lease(key)];
        let call = |until, _| {
            let call = Call::new(&script::BEGIN, &names)
                .arg(begin.token.as_str())
                .arg(millis(begin.ttl))
                .arg(until);
            match begin.unreadable {
                Some(Found::Bytes(bytes)) => call.arg(&bytes[..]),
                _ => call,
            }
        };
        let outcome = match self
            .run_until(&self.data, start, self.server.budget, call)
            .await?
        {
            Ok(outcome) => outcome,
            Err(Value::BulkString(bytes)) => return Ok(Begun::Found(Found::Bytes(bytes))),
            Err(_) => return Err(error::garbled(&self.server.place)),
        };
        if outcome.code == GRANTED {
            if outcome.again {
                // The first request may still come, even after a reset, and would bring this lease back to life. The next look asks for another.
                self.give_back(self.end_call(key, begin.token));
                return Ok(Begun::Busy {
                    recheck: Duration::from_millis(1),
                });
            }
            return Ok(Begun::Granted);
        }
        let mut recheck = Duration::from_millis(outcome.number);
        if !self.subscriber.stands() {
            // When it stands, all who wait look again.
            self.subscriber.start(&self.weak);
            recheck = recheck.min(Duration::from_millis(500));
        }
        Ok(Begun::Busy { recheck })
    }

    /// Ends a lease without storing anything.
    fn end_call(&self, key: &str, token: &Token) -> Call {
        Call::new(&script::FILL, &[self.entry(key), self.lease(key)])
            .arg(token.as_str())
            .arg(&self.names.wake)
            .arg(lease_word(key))
    }

    pub(super) async fn end_lease(
        &self,
        key: &str,
        token: &Token,
        entry: Option<NewEntry<'_>>,
    ) -> Result<bool, Error> {
        let mut call = self.end_call(key, token);
        if let Some(entry) = entry {
            let bytes = match (entry.encode)(self.server.time.now()) {
                Ok(bytes) => bytes,
                Err(error) => {
                    // The lease ends all the same.
                    self.flag(&self.data, &call).await?;
                    return Err(error);
                }
            };
            call = call.arg(&bytes[..]);
            if let Some(ttl) = entry.ttl.as_millis() {
                call = call.arg(ttl);
            }
        }
        self.flag(&self.data, &call).await
    }

    pub(super) async fn set(
        &self,
        key: &str,
        entry: NewEntry<'_>,
        within: Duration,
    ) -> Result<(), Error> {
        let start = self.server.time.local();
        let connection = self.control.ready().await?;
        let bytes = (entry.encode)(self.server.time.now())?;
        let call = |until, _| {
            let call = Call::new(&script::SET, &[self.entry(key), self.lease(key)])
                .arg(until)
                .arg(&self.names.wake)
                .arg(lease_word(key))
                .arg(&bytes[..]);
            match entry.ttl.as_millis() {
                Some(ttl) => call.arg(ttl),
                None => call,
            }
        };
        let result = match self.run_until(&self.control, start, within, call).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) => Err(error::garbled(&self.server.place)),
            Err(error) => Err(error),
        };
        if !self.control.is(connection) {
            // What the connection carried when it broke may still come, until it is refused for its age: not after this has ended.
            let passed = self.server.time.local().since(start);
            tokio::time::sleep(within.saturating_sub(passed)).await;
        }
        result
    }
}

//! The state that all operations of the backend share: connections, the server's time, and names.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use redis::Value;

use super::error;
use super::follower::Follower;
use super::limits::LONGEST_ANSWER;
use super::link::Link;
use super::policy::Policy;
use super::room::Room;
use super::script::{Call, RESETS, Spot, WAKE};
use super::server::Server;
use super::subscriber::Subscriber;
use crate::backend::{Node, Signals};
use crate::clock::Moment;
use crate::{Error, Key};

pub(super) struct Shared {
    pub(super) server: Arc<Server>,
    /// The prefix of keys without a prefix of their own.
    pub(super) prefix: String,
    pub(super) node: Node,
    /// The connection for entries, which may be large and must not delay a renewal.
    pub(super) data: Link,
    /// The connection for locks, renewals and resets.
    pub(super) control: Link,
    pub(super) subscriber: Subscriber,
    pub(super) signals: Signals,
    pub(super) allow_evicting_locks: bool,
    pub(super) policy: Policy,
    pub(super) room: Room,
    /// Set once the log says that a reset could not be published.
    pub(super) untold: AtomicBool,
    /// The memory in front of this server, if there is one.
    pub(super) follower: Option<Arc<dyn Follower>>,
    pub(super) weak: Weak<Shared>,
}

/// The answer of a script with several outcomes.
pub(super) struct ScriptReply {
    pub(super) code: i64,
    pub(super) number: u64,
    /// Set if the request may have run twice.
    pub(super) again: bool,
    /// The place of a waiter in the queue.
    pub(super) place: u64,
}

pub(super) const HELD: i64 = 0;
pub(super) const GRANTED: i64 = 1;
pub(super) const WAIT: i64 = 2;
/// The request came too late.
pub(super) const LATE: i64 = 3;
/// The request came after its release.
pub(super) const ENDED: i64 = 4;
/// The script must run again, because it does only a limited amount of work at a time.
pub(super) const MORE: i64 = 5;

impl Shared {
    pub(super) fn spot<'a>(&'a self, key: &'a Key) -> Spot<'a> {
        let prefix = match key.prefix() {
            Some(prefix) => {
                self.server.prefixes.store(true, Ordering::Relaxed);
                prefix.as_str()
            }
            None => &self.prefix,
        };
        let key = key.plain();
        Spot { prefix, key }
    }

    /// Returns this node's channel for messages about the keys with a prefix.
    pub(super) fn channel(&self, prefix: &str) -> String {
        format!("{prefix}{WAKE}{}", self.node.as_str())
    }

    /// Returns the channels to subscribe to for a prefix.
    pub(super) fn channels(&self, prefix: &str) -> Vec<String> {
        let resets = self.follower.as_ref().map(|_| format!("{prefix}{RESETS}"));
        std::iter::once(self.channel(prefix))
            .chain(resets)
            .collect()
    }

    /// Returns the prefix that a channel of this node belongs to.
    pub(super) fn prefix_of<'a>(&self, channel: &'a str) -> Option<&'a str> {
        channel.strip_suffix(self.node.as_str())?.strip_suffix(WAKE)
    }

    /// Runs a script, again and again until it is done. The script refuses to run later than
    /// `within` after `start`. `call` gets the latest time at which it may run, and whether it ran
    /// before. Each answer corrects the estimate of the server's clock.
    pub(super) async fn run_until(
        &self,
        link: &Link,
        start: Moment,
        within: Duration,
        call: impl Fn(u64, bool) -> Call,
    ) -> Result<Result<ScriptReply, Value>, Error> {
        // Connecting measures the server's clock.
        link.ready().await?;
        let time = &self.server.time;
        let (mut more, mut twice) = (false, false);
        loop {
            let sent = time.local();
            let Some(left) = within.checked_sub(sent.since(start)) else {
                return Err(error::late(&self.server.address.place));
            };
            let until = time.now() + left.min(LONGEST_ANSWER);
            let (value, again) = link.run_told(&call(until.as_micros(), more)).await?;
            twice |= again;
            let Value::Array(parts) = &value else {
                return Ok(Err(value));
            };
            let (code, number, now, place) = match parts[..] {
                [Value::Int(code), Value::Int(number), Value::Int(now)] => (code, number, now, 0),
                [
                    Value::Int(code),
                    Value::Int(number),
                    Value::Int(now),
                    Value::Int(place),
                ] => (code, number, now, place),
                _ => return Err(error::garbled(&self.server.address.place)),
            };
            time.sample(sent, now.cast_unsigned());
            match code {
                // It was in time by the estimate, which was wrong and is correct now.
                LATE => {}
                MORE => more = true,
                ENDED => return Err(error::late(&self.server.address.place)),
                _ => {
                    return Ok(Ok(ScriptReply {
                        code,
                        number: number.cast_unsigned(),
                        again: twice,
                        place: place.cast_unsigned(),
                    }));
                }
            }
        }
    }

    /// Asks for the server's time, which shows whether its clock was set.
    pub(super) async fn watch(&self) -> Result<(), Error> {
        self.control.ready().await?;
        let sent = self.server.time.local();
        let answer = self.control.ask(&redis::cmd("TIME")).await?;
        let value = answer.map_err(|error| self.server.translate(&error))?;
        let (seconds, micros): (u64, u64) = redis::from_redis_value(value)
            .map_err(|_| error::garbled(&self.server.address.place))?;
        let now = seconds.saturating_mul(1_000_000).saturating_add(micros);
        self.server.time.sample(sent, now);
        Ok(())
    }

    pub(super) async fn flag(&self, link: &Link, call: &Call) -> Result<bool, Error> {
        match link.run(call).await? {
            Value::Int(flag) => Ok(flag != 0),
            _ => Err(error::garbled(&self.server.address.place)),
        }
    }
}

//! Entries, locks and pools in Redis 6.2 or later, or Valkey.
//!
//! | name | holds | life |
//! |---|---|---|
//! | `PREFIX:cached:{KEY}` | envelope and payload | the entry's |
//! | `PREFIX:cached:{KEY}:lease` | hash: `t:TOKEN` may fill, `w:NODE` waits for that; `s`, `n`, `l` for [`Claim::Join`](super::Claim): since when in µs, how many may join, how many of these are left | 3 s, renewed |
//! | `PREFIX:lock:{KEY}`, `PREFIX:pool:{KEY}` | sorted set: token, deadline in µs | the last deadline |
//! | `..:queue`, `..:places` | the waiters, in order; until when each waits, and how many holders it accepts | as long as there are waiters |
//! | `..:nodes` | until when the waiters of each node count as alive | as long as there are waiters |
//! | `..:ended` | tokens released before their request came | 10 s |
//! | `PREFIX:fence` | the last fencing token of all locks: began as the time in µs, counts on. A cluster needs one in each hash slot | forever |
//! | channel `PREFIX:wake:NODE`, one for each prefix in use, all on one connection | `C KEY`: a lease ended; `DEADLINE TOKEN L KEY` (`P` for a pool): a slot was handed over, or with 0, whether the waiter is still there | |
//!
//! Each operation is one command or one script. What is not idempotent carries the server's time
//! after which it is refused.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use redis::Value;
use tokio::time::timeout;

use super::{
    Acquire, Acquired, Backend, Begin, Begun, BoxFuture, Found, Inspection, NewEntry, Node,
    Signals, Slot, Token,
};
use crate::clock::Moment;
use crate::{Error, Key, Ttl, runtime};

mod entries;
mod error;
mod fitness;
mod link;
mod message;
mod options;
mod reach;
mod rights;
mod room;
mod script;
mod slots;
mod subscriber;
mod time;
#[cfg(feature = "tls")]
mod tls;

use entries::lease_ended;
use link::{Link, Resent, Server};
use message::Message;
pub use options::RedisOptions;
use reach::unreachable;
use rights::Rights;
use room::Room;
use script::{Call, Spot, WAKE};
use subscriber::Subscriber;
use time::ServerTime;
#[cfg(feature = "tls")]
pub use tls::{Pem, TlsOptions};

/// The longest time that a request stays in force: less than its release is remembered for, so that
/// it never comes after that, and much less than what the scripts take for a sign of clocks that
/// disagree.
const LONGEST_ANSWER: Duration = Duration::from_secs(8);
/// How long an attempt to connect goes on in the background; a waiting caller gives up after its
/// own backend timeout.
const CONNECT: Duration = Duration::from_secs(1);
/// How long all that is looked at by a check may take.
const CHECK: Duration = Duration::from_secs(5);
/// A waiter says again and again that it waits, so that no queue must remember it for longer.
const LONGEST_WAIT: Duration = Duration::from_hours(1);
/// How often one waiter of each node asks again.
const RECHECK: Duration = Duration::from_secs(1);
/// Much longer than any hold, and the server can still add it to the present.
const LONGEST_TTL: Duration = Duration::from_hours(24 * 366 * 100);

/// The Redis backend.
pub struct Redis(Arc<Shared>);

struct Shared {
    server: Arc<Server>,
    /// The prefix of keys that have no other one.
    prefix: String,
    node: Node,
    /// For entries, which may be large and must not delay a renewal.
    data: Link,
    /// For locks, renewals and resets.
    control: Link,
    subscriber: Subscriber,
    signals: Signals,
    allow_evicting_locks: bool,
    policy: fitness::Policy,
    room: Room,
    weak: Weak<Shared>,
}

impl Redis {
    /// Makes a backend that connects when it is first used.
    ///
    /// # Errors
    ///
    /// [`Configuration`](crate::ErrorKind::Configuration) if the URL is not understood.
    pub fn lazy(options: RedisOptions) -> Result<Self, Error> {
        let signals = Signals::default();
        let node = options.node.clone();
        let node = node.unwrap_or_else(|| Node::new("redis"));
        let address = options::open(&options, &node)?;
        let server = Arc::new(Server {
            rights: Rights {
                prefix: options.prefix.clone(),
                select: address.database.is_some(),
            },
            address,
            connect_timeout: options.backend_timeout.max(CONNECT),
            backend_timeout: options.backend_timeout,
            time: ServerTime::new(options.clock, signals.clone()),
            resent: Resent::default(),
            known: AtomicBool::new(false),
            prefixes: AtomicBool::new(false),
        });
        Ok(Self(Arc::new_cyclic(|weak| Shared {
            prefix: options.prefix,
            node,
            data: Link::new(Arc::clone(&server)),
            control: Link::new(Arc::clone(&server)),
            server,
            subscriber: Subscriber::default(),
            signals,
            allow_evicting_locks: options.allow_evicting_locks,
            policy: fitness::Policy::default(),
            room: Room::new(options.entries_share),
            weak: Weak::clone(weak),
        })))
    }
}

/// `ttl` in milliseconds, rounded up, 1 at least.
fn millis(ttl: Duration) -> u64 {
    Ttl::new(ttl.min(LONGEST_TTL))
        .as_millis()
        .unwrap_or(u64::MAX)
        .max(1)
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.min(LONGEST_TTL).as_micros()).unwrap_or(u64::MAX)
}

/// The answer of a script with several outcomes.
struct ScriptReply {
    code: i64,
    number: u64,
    /// The request may have run twice.
    again: bool,
    /// Where a waiter stands.
    place: u64,
}

const HELD: i64 = 0;
const GRANTED: i64 = 1;
const WAIT: i64 = 2;
/// It came too late.
const LATE: i64 = 3;
/// It came after its release.
const ENDED: i64 = 4;
/// A script does a limited amount of work at a time. This one must run again.
const MORE: i64 = 5;

impl Shared {
    fn spot<'a>(&'a self, key: &'a Key) -> Spot<'a> {
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

    /// This node's channel of a prefix, for messages about the keys with that prefix.
    fn channel(&self, prefix: &str) -> String {
        format!("{prefix}{WAKE}{}", self.node.as_str())
    }

    /// Returns the prefix that a channel of this node belongs to.
    fn prefix_of<'a>(&self, channel: &'a str) -> Option<&'a str> {
        channel.strip_suffix(self.node.as_str())?.strip_suffix(WAKE)
    }

    /// Acts on a message of one of this node's channels.
    ///
    /// Any user with the right to publish may have sent it. It can wake a waiter, which asks the
    /// server. It can release only a slot that the server has handed over and that was never
    /// claimed.
    fn heard(&self, channel: &str, text: &str) {
        let Some(prefix) = self.prefix_of(channel) else {
            return;
        };
        match Message::parse(text, &self.node) {
            Some(Message::LeaseEnded(key)) => {
                if prefix == self.prefix {
                    self.signals.wake(key);
                }
                self.signals.wake(&Key::name_within(prefix, key));
            }
            Some(Message::Turn {
                deadline,
                token,
                kind,
                key,
            }) => {
                if !self.signals.wake(token) {
                    // The waiter is gone: the next one need not wait until the claim is over.
                    self.give_back_claim(kind, Spot { prefix, key }, token, deadline);
                }
            }
            None => tracing::debug!("a message that no cachify sends was ignored"),
        }
    }

    /// Runs a script that refuses to run after `within`, which counts from `start`, until it is
    /// done: `call` gets the time and whether the script ran before. Its answer also keeps our view
    /// of the server's clock right.
    async fn run_until(
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
                // In time by our clock: then the server's clock was set, and now we know.
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

    /// Asks for the server's time, which tells whether its clock was set.
    async fn watch(&self) -> Result<(), Error> {
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

    async fn flag(&self, link: &Link, call: &Call) -> Result<bool, Error> {
        match link.run(call).await? {
            Value::Int(flag) => Ok(flag != 0),
            _ => Err(error::garbled(&self.server.address.place)),
        }
    }
}

/// See [`testing::fuzzing`](crate::testing::fuzzing).
#[cfg(feature = "testing")]
pub(crate) fn fuzz_message(bytes: &[u8]) {
    let node = Node::new("fuzz");
    // Most messages name a token of their reader.
    let text = String::from_utf8_lossy(bytes).replace("TOKEN", node.token().as_str());
    if let Some(Message::LeaseEnded(key) | Message::Turn { key, .. }) = Message::parse(&text, &node)
    {
        assert!(Key::is_text(key), "{key:?}");
    }
}

impl fmt::Debug for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redis")
            .field("place", &self.0.server.address.place)
            .field("prefix", &self.0.prefix)
            .finish_non_exhaustive()
    }
}

impl Backend for Redis {
    fn now(&self) -> Moment {
        self.0.server.time.now()
    }

    fn signals(&self) -> &Signals {
        &self.0.signals
    }

    fn get<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Result<Option<Found>, Error>> {
        Box::pin(self.0.get(key))
    }

    fn begin<'a>(&'a self, key: &'a Key, begin: Begin<'a>) -> BoxFuture<'a, Result<Begun, Error>> {
        Box::pin(self.0.begin(key, begin))
    }

    fn fill<'a>(
        &'a self,
        key: &'a Key,
        token: &'a Token,
        entry: NewEntry<'a>,
    ) -> BoxFuture<'a, Result<bool, Error>> {
        Box::pin(self.0.end_lease(key, token, Some(entry)))
    }

    fn release_lease<'a>(
        &'a self,
        key: &'a Key,
        token: &'a Token,
    ) -> BoxFuture<'a, Result<bool, Error>> {
        Box::pin(self.0.end_lease(key, token, None))
    }

    fn extend_lease<'a>(
        &'a self,
        key: &'a Key,
        token: &'a Token,
        ttl: Duration,
    ) -> BoxFuture<'a, Result<bool, Error>> {
        let call = Call::new(&script::EXTEND_LEASE, &[self.0.spot(key).lease()])
            .arg(token.as_str())
            .arg(millis(ttl));
        Box::pin(async move { self.0.flag(&self.0.control, &call).await })
    }

    fn reset<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Result<(), Error>> {
        let spot = self.0.spot(key);
        let call = Call::new(&script::RESET, &[spot.entry(), spot.lease()])
            .arg(spot.wake())
            .arg(lease_ended(spot.key));
        Box::pin(async move { self.0.flag(&self.0.control, &call).await.map(drop) })
    }

    fn acquire<'a>(
        &'a self,
        slot: &'a Slot,
        acquire: Acquire<'a>,
    ) -> BoxFuture<'a, Result<Acquired, Error>> {
        Box::pin(self.0.acquire(slot, acquire))
    }

    fn extend<'a>(
        &'a self,
        slot: &'a Slot,
        token: &'a Token,
        ttl: Duration,
    ) -> BoxFuture<'a, Result<bool, Error>> {
        let names = self.0.spot(&slot.key).slot(slot.kind);
        let call = Call::new(&script::EXTEND, &names[..3])
            .arg(token.as_str())
            .arg(micros(ttl));
        Box::pin(async move { self.0.flag(&self.0.control, &call).await })
    }

    fn release<'a>(
        &'a self,
        slot: &'a Slot,
        token: &'a Token,
    ) -> BoxFuture<'a, Result<bool, Error>> {
        Box::pin(self.0.release(slot, token))
    }

    fn evict<'a>(&'a self, slot: &'a Slot) -> BoxFuture<'a, Result<bool, Error>> {
        Box::pin(self.0.evict(slot))
    }

    fn inspect<'a>(&'a self, slot: &'a Slot) -> BoxFuture<'a, Result<Inspection, Error>> {
        Box::pin(self.0.inspect(slot))
    }

    fn check(&self) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(async move {
            runtime::current()?;
            match timeout(CHECK, fitness::check(&self.0)).await {
                Ok(result) => result,
                Err(_) => Err(unreachable(&self.0.server.address.place, reach::LATE)),
            }
        })
    }

    fn watch(&self) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(self.0.watch())
    }

    fn probe(&self) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(fitness::probe(&self.0))
    }
}

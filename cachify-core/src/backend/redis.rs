//! Entries, locks and pools in Redis 6.2 or later, or Valkey.
//!
//! | name | holds | life |
//! |---|---|---|
//! | `PREFIX:cached:{KEY}` | envelope and payload | the entry's |
//! | `PREFIX:cached:{KEY}:lease` | hash: `t` the token of who may fill, `w:NODE` who waits for that | 3 s, renewed |
//! | `PREFIX:lock:{KEY}`, `PREFIX:pool:{KEY}` | sorted set: token, deadline in µs | the last deadline |
//! | `..:queue`, `..:places` | who waits, in order; until when, and how many holders it accepts | as long as somebody waits |
//! | `..:ended` | tokens released before their request came | 10 s |
//! | `PREFIX:lock:{KEY}:fence` | the last fencing token: began as the time in µs, counts on | 2 days |
//! | channel `PREFIX:wake:NODE` | `C KEY`: a lease ended; `DEADLINE TOKEN L KEY` (`P` for a pool): a slot was handed over | |
//!
//! Each operation is one command or one script. What is not idempotent carries the server's time after which it is refused.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use redis::{Client, IntoConnectionInfo, ProtocolVersion, Value};
use tokio::time::timeout;

use super::{
    Acquire, Acquired, Backend, Begin, Begun, BoxFuture, Found, Inspection, NewEntry, Node,
    Signals, Slot, SlotKind, Token,
};
use crate::clock::{Clock, Moment};
use crate::{Error, ErrorKind, Key, Ttl};

mod error;
mod fitness;
mod link;
mod script;
mod subscriber;
mod time;

use link::{Link, Server};
use script::{Call, Name};
use subscriber::Subscriber;
use time::ServerTime;

/// For so long a request stays in force at most: half of what the scripts take for a sign of clocks that disagree.
const LONGEST_ANSWER: Duration = Duration::from_secs(30);

/// How long an attempt to connect goes on in the background; who waits for it gives up with its own budget.
const CONNECT: Duration = Duration::from_secs(1);
/// How long all that is looked at by a check may take.
const CHECK: Duration = Duration::from_secs(5);
/// A waiter says again and again that it waits, so that no queue must remember it for longer.
const LONGEST_WAIT: Duration = Duration::from_hours(1);
/// Much longer than any hold, and the server can still add it to the present.
const LONGEST_TTL: Duration = Duration::from_hours(24 * 366 * 100);

/// What to connect to, and how.
#[must_use = "options do nothing before `Redis::lazy`"]
#[derive(Clone)]
pub struct RedisOptions {
    url: String,
    prefix: String,
    node: Option<Node>,
    budget: Duration,
    allow_evicting_locks: bool,
    clock: Clock,
}

impl RedisOptions {
    /// Options for the server at `url`: `redis://[[USER]:PASSWORD@]HOST[:PORT][/DB]`, `rediss://` for TLS, or `unix://PATH`.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            prefix: "cachify".to_owned(),
            node: None,
            budget: Duration::from_millis(250),
            allow_evicting_locks: false,
            clock: Clock::default(),
        }
    }

    /// What all names begin with. Default `cachify`.
    pub fn prefix(mut self, prefix: &str) -> Self {
        prefix.clone_into(&mut self.prefix);
        self
    }

    /// Whose tokens are used: those of other nodes that wait are told on their own channels.
    pub fn node(mut self, node: Node) -> Self {
        self.node = Some(node);
        self
    }

    /// How long a caller listens for an answer. Default 250 ms.
    pub fn budget(mut self, budget: Duration) -> Self {
        self.budget = budget;
        self
    }

    /// Allows locks and pools on a server that may evict them. Default `false`.
    pub fn allow_evicting_locks(mut self, allow: bool) -> Self {
        self.allow_evicting_locks = allow;
        self
    }

    /// Reads the time from `clock`.
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }
}

impl fmt::Debug for RedisOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not the URL: it may hold a password.
        f.debug_struct("RedisOptions")
            .field("prefix", &self.prefix)
            .field("budget", &self.budget)
            .finish_non_exhaustive()
    }
}

/// The Redis backend.
pub struct Redis(Arc<Shared>);

struct Shared {
    server: Arc<Server>,
    names: Names,
    own_channel: String,
    node: Node,
    /// For entries: what may be large and must not be in the way of a renewal.
    data: Link,
    /// For locks, renewals and resets.
    control: Link,
    subscriber: Subscriber,
    signals: Signals,
    allow_evicting_locks: bool,
    /// The server may evict locks.
    evicting: AtomicBool,
    /// The connection by which the server was last looked at.
    looked: AtomicU64,
    weak: Weak<Shared>,
}

/// What names begin with.
struct Names {
    prefix: String,
    cached: String,
    lock: String,
    pool: String,
    probe: String,
    wake: String,
}

impl Redis {
    /// A backend that connects when it is first used.
    ///
    /// # Errors
    ///
    /// [`Configuration`](ErrorKind::Configuration) if the URL is not understood.
    pub fn lazy(options: RedisOptions) -> Result<Self, Error> {
        let (client, place) = open(&options.url)?;
        let server = Arc::new(Server {
            client,
            place,
            patience: options.budget.max(CONNECT),
            budget: options.budget,
            time: ServerTime::new(options.clock),
        });
        let node = options.node.unwrap_or_else(|| Node::new("redis"));
        let prefix = options.prefix;
        let names = Names {
            cached: format!("{prefix}:cached:{{"),
            lock: format!("{prefix}:lock:{{"),
            pool: format!("{prefix}:pool:{{"),
            probe: format!("{prefix}:probe:{{"),
            wake: format!("{prefix}:wake:"),
            prefix,
        };
        Ok(Self(Arc::new_cyclic(|weak| Shared {
            own_channel: format!("{}{}", names.wake, node.as_str()),
            names,
            node,
            data: Link::new(Arc::clone(&server)),
            control: Link::new(Arc::clone(&server)),
            server,
            subscriber: Subscriber::default(),
            signals: Signals::default(),
            allow_evicting_locks: options.allow_evicting_locks,
            evicting: AtomicBool::new(false),
            looked: AtomicU64::new(0),
            weak: Weak::clone(weak),
        })))
    }
}

fn open(url: &str) -> Result<(Client, String), Error> {
    let wrong = |message: &'static str| Error::new(ErrorKind::Configuration, message);
    if cfg!(not(feature = "tls")) && (url.starts_with("rediss:") || url.starts_with("valkeys:")) {
        return Err(wrong(
            "the URL asks for TLS, but cachify was built without its feature `tls`; turn it on",
        ));
    }
    let info = url.into_connection_info().map_err(|_| {
        // The cause is not told: it may quote the URL, which may hold a password.
        wrong(
            "the URL is not understood; it reads redis://[[USER]:PASSWORD@]HOST[:PORT][/DB], rediss:// for TLS, or unix://PATH[?db=DB]; special characters in a \
             password are percent-encoded",
        )
    })?;
    let redis = info
        .redis_settings()
        .clone()
        .set_protocol(ProtocolVersion::RESP2)
        .set_skip_set_lib_name();
    let tcp = info.tcp_settings().clone().set_nodelay(true);
    let info = info.set_redis_settings(redis).set_tcp_settings(tcp);
    let place = info.addr().to_string();
    #[cfg(feature = "tls")]
    if rustls::crypto::CryptoProvider::get_default().is_none() {
        // Without one, the first connection would panic. Whoever installs another one first is served by that.
        let _ = rustls::crypto::ring::default_provider().install_default();
    }
    let client = Client::open(info)
        .map_err(|_| wrong("the URL names a server that cannot be connected to from here"))?;
    Ok((client, place))
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

/// The word that the lease of `key` ended.
fn lease_word(key: &str) -> String {
    format!("C {key}")
}

/// What a script with several outcomes answers.
struct Outcome {
    code: i64,
    number: u64,
}

const HELD: i64 = 0;
const GRANTED: i64 = 1;
const WAIT: i64 = 2;
/// It came too late.
const LATE: i64 = 3;
/// It came after its release.
const ENDED: i64 = 4;

impl Shared {
    fn entry<'a>(&'a self, key: &'a str) -> Name<'a> {
        Name(&self.names.cached, key, "}")
    }

    fn lease<'a>(&'a self, key: &'a str) -> Name<'a> {
        Name(&self.names.cached, key, "}:lease")
    }

    /// The names that belong to a slot, the fence of a lock last.
    fn slot<'a>(&'a self, kind: SlotKind, key: &'a str) -> [Name<'a>; 5] {
        let start = match kind {
            SlotKind::Lock => &*self.names.lock,
            SlotKind::Pool => &*self.names.pool,
        };
        ["}", "}:queue", "}:places", "}:ended", "}:fence"].map(|end| Name(start, key, end))
    }

    /// What is told to who is handed a slot.
    fn slot_word(kind: SlotKind, key: &str) -> String {
        let letter = match kind {
            SlotKind::Lock => 'L',
            SlotKind::Pool => 'P',
        };
        format!("{letter} {key}")
    }

    /// Something was said on this process's channel.
    fn heard(&self, text: &str) {
        if let Some(key) = text.strip_prefix("C ") {
            self.signals.wake(key);
            return;
        }
        let mut parts = text.splitn(4, ' ');
        let (Some(deadline), Some(token), Some(letter), Some(key)) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return;
        };
        if self.signals.wake(token) {
            return;
        }
        // Who waited is gone: the next one need not wait until the claim is over.
        let kind = match letter {
            "L" => SlotKind::Lock,
            "P" => SlotKind::Pool,
            _ => return,
        };
        let call = self.release_call(kind, key, token).arg(deadline);
        let (control, within) = (self.control.clone(), self.server.budget);
        tokio::spawn(async move {
            if !matches!(timeout(within, control.run(&call)).await, Ok(Ok(_))) {
                tracing::debug!(
                    "a slot that nobody wants any more was not given back; it ends by itself"
                );
            }
        });
    }

    fn release_call(&self, kind: SlotKind, key: &str, token: &str) -> Call {
        Call::new(&script::RELEASE, &self.slot(kind, key)[..4])
            .arg(token)
            .arg(&self.names.wake)
            .arg(Self::slot_word(kind, key))
    }

    /// Runs a script that refuses to run after `within`, which counts from `start`. What it tells of the server's clock keeps ours right.
    async fn run_until(
        &self,
        link: &Link,
        start: Moment,
        within: Duration,
        call: impl Fn(u64) -> Call,
    ) -> Result<Result<Outcome, Value>, Error> {
        // Connecting measures the server's clock.
        link.ready().await?;
        let time = &self.server.time;
        loop {
            let sent = time.local();
            let Some(left) = within.checked_sub(sent.since(start)) else {
                return Err(error::late(&self.server.place));
            };
            let until = time.now() + left.min(LONGEST_ANSWER);
            let value = link.run(&call(until.as_micros())).await?;
            let Value::Array(parts) = &value else {
                return Ok(Err(value));
            };
            let [Value::Int(code), Value::Int(number), Value::Int(now)] = parts[..] else {
                return Err(error::garbled(&self.server.place));
            };
            time.sample(sent, now.cast_unsigned());
            match code {
                // In time by our clock: then the server's clock was set, and now we know.
                LATE => {}
                ENDED => return Err(error::late(&self.server.place)),
                _ => {
                    return Ok(Ok(Outcome {
                        code,
                        number: number.cast_unsigned(),
                    }));
                }
            }
        }
    }

    async fn flag(&self, link: &Link, call: &Call) -> Result<bool, Error> {
        match link.run(call).await? {
            Value::Int(flag) => Ok(flag != 0),
            _ => Err(error::garbled(&self.server.place)),
        }
    }

    async fn get(&self, key: &str) -> Result<Option<Found>, Error> {
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

    async fn begin(&self, key: &str, begin: Begin<'_>) -> Result<Begun, Error> {
        let start = self.server.time.local();
        let names = [self.entry(key), self.lease(key)];
        let call = |until| {
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

    async fn end_lease(
        &self,
        key: &str,
        token: &Token,
        entry: Option<NewEntry<'_>>,
    ) -> Result<bool, Error> {
        let mut call = Call::new(&script::FILL, &[self.entry(key), self.lease(key)])
            .arg(token.as_str())
            .arg(&self.names.wake)
            .arg(lease_word(key));
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

    async fn set(&self, key: &str, entry: NewEntry<'_>, within: Duration) -> Result<(), Error> {
        let start = self.server.time.local();
        self.control.ready().await?;
        let bytes = (entry.encode)(self.server.time.now())?;
        let call = |until| {
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
        match self.run_until(&self.control, start, within, call).await? {
            Ok(_) => Ok(()),
            Err(_) => Err(error::garbled(&self.server.place)),
        }
    }

    async fn acquire(&self, slot: &Slot, acquire: Acquire<'_>) -> Result<Acquired, Error> {
        if slot.max == 0 {
            return Err(Error::new(
                ErrorKind::Configuration,
                "a pool needs room for one holder at least",
            ));
        }
        let start = self.server.time.local();
        let connection = self.control.ready().await?;
        if self.looked.load(Ordering::Acquire) != connection {
            fitness::look(self).await?;
        }
        if self.evicting.load(Ordering::Acquire) && !self.allow_evicting_locks {
            return Err(fitness::evicting(&self.server.place));
        }
        if acquire.wait.is_some() && !self.subscriber.stands() {
            // Who does not listen is passed over. Without a subscription, looking again must do.
            let _ = timeout(acquire.within / 2, self.subscriber.stand(&self.weak)).await;
        }
        let key = slot.key.as_str();
        let names = self.slot(slot.kind, key);
        let names = match slot.kind {
            SlotKind::Lock => &names[..],
            SlotKind::Pool => &names[..4],
        };
        let call = |until| {
            let call = Call::new(&script::ACQUIRE, names)
                .arg(acquire.token.as_str())
                .arg(&self.names.wake)
                .arg(Self::slot_word(slot.kind, key))
                .arg(until)
                .arg(micros(acquire.ttl))
                .arg(millis(acquire.ttl) + 2)
                .arg(slot.max);
            match acquire.wait {
                Some(wait) => call.arg(micros(wait.min(LONGEST_WAIT))),
                None => call,
            }
        };
        let outcome = self.run_until(&self.control, start, acquire.within, call);
        let Ok(outcome) = outcome.await? else {
            return Err(error::garbled(&self.server.place));
        };
        let time = Duration::from_micros(outcome.number);
        Ok(match outcome.code {
            GRANTED => Acquired::Granted {
                fence: outcome.number,
            },
            HELD => Acquired::Held { retry_in: time },
            WAIT => Acquired::Queued { recheck: time },
            _ => return Err(error::garbled(&self.server.place)),
        })
    }

    async fn inspect(&self, slot: &Slot) -> Result<Inspection, Error> {
        let names = self.slot(slot.kind, slot.key.as_str());
        let call = Call::new(&script::INSPECT, &names[..2]);
        let value = self.control.run(&call).await?;
        let (held, waiting, first, left): (usize, usize, String, u64) =
            redis::from_redis_value(value).map_err(|_| error::garbled(&self.server.place))?;
        Ok(Inspection {
            held,
            first: (held != 0).then(|| (first, Duration::from_micros(left))),
            waiting,
        })
    }
}

impl fmt::Debug for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redis")
            .field("place", &self.0.server.place)
            .field("prefix", &self.0.names.prefix)
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
        Box::pin(self.0.get(key.as_str()))
    }

    fn begin<'a>(&'a self, key: &'a Key, begin: Begin<'a>) -> BoxFuture<'a, Result<Begun, Error>> {
        Box::pin(self.0.begin(key.as_str(), begin))
    }

    fn fill<'a>(
        &'a self,
        key: &'a Key,
        token: &'a Token,
        entry: NewEntry<'a>,
    ) -> BoxFuture<'a, Result<bool, Error>> {
        Box::pin(self.0.end_lease(key.as_str(), token, Some(entry)))
    }

    fn confirm<'a>(&'a self, key: &'a Key, token: &'a Token) -> BoxFuture<'a, Result<bool, Error>> {
        Box::pin(self.0.end_lease(key.as_str(), token, None))
    }

    fn extend_lease<'a>(
        &'a self,
        key: &'a Key,
        token: &'a Token,
        ttl: Duration,
    ) -> BoxFuture<'a, Result<bool, Error>> {
        let call = Call::new(&script::EXTEND_LEASE, &[self.0.lease(key.as_str())])
            .arg(token.as_str())
            .arg(millis(ttl));
        Box::pin(async move { self.0.flag(&self.0.control, &call).await })
    }

    fn set<'a>(
        &'a self,
        key: &'a Key,
        entry: NewEntry<'a>,
        within: Duration,
    ) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(self.0.set(key.as_str(), entry, within))
    }

    fn reset<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Result<(), Error>> {
        let key = key.as_str();
        let call = Call::new(&script::RESET, &[self.0.entry(key), self.0.lease(key)])
            .arg(&self.0.names.wake)
            .arg(lease_word(key));
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
        let names = self.0.slot(slot.kind, slot.key.as_str());
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
        let call = self
            .0
            .release_call(slot.kind, slot.key.as_str(), token.as_str())
            .once();
        Box::pin(async move { self.0.flag(&self.0.control, &call).await })
    }

    fn evict<'a>(&'a self, slot: &'a Slot) -> BoxFuture<'a, Result<bool, Error>> {
        let key = slot.key.as_str();
        let call = Call::new(&script::EVICT, &self.0.slot(slot.kind, key)[..4])
            .arg(&self.0.names.wake)
            .arg(Shared::slot_word(slot.kind, key));
        Box::pin(async move { self.0.flag(&self.0.control, &call).await })
    }

    fn inspect<'a>(&'a self, slot: &'a Slot) -> BoxFuture<'a, Result<Inspection, Error>> {
        Box::pin(self.0.inspect(slot))
    }

    fn check(&self) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(async move {
            match timeout(CHECK, fitness::check(&self.0)).await {
                Ok(result) => result,
                Err(_) => Err(error::unreachable(
                    &self.0.server.place,
                    "it did not answer in time",
                )),
            }
        })
    }
}

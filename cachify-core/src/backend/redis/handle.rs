//! [`Redis`], the backend over a server.

use std::fmt;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::time::timeout;

use super::limits::{micros, millis};
use super::link::Link;
use super::lives::Lives;
use super::options::RedisOptions;
use super::policy::Policy;
use super::rights::Rights;
use super::room::Room;
use super::script::{self, Call};
use super::server::{Resent, Server};
use super::shared::Shared;
use super::subscriber::Subscriber;
use super::time::ServerTime;
use super::{address, fitness, reach, subscription};
use crate::backend::{
    Acquire, Acquired, Backend, Begin, Begun, BoxFuture, Found, Inspection, NewEntry, Node, Shard,
    Signals, Slot, Token,
};
use crate::clock::Moment;
use crate::{Error, Key, runtime};

/// The least time limit of an attempt to connect, which runs in the background. A waiting caller
/// gives up after its own backend timeout.
const CONNECT: Duration = Duration::from_secs(1);
/// The time limit of a whole check.
const CHECK: Duration = Duration::from_secs(5);

/// A backend that keeps entries, locks and pools in a Redis server.
pub struct Redis(Arc<Shared>);

impl Redis {
    /// Creates a backend that connects when it is first used.
    ///
    /// # Errors
    ///
    /// [`Configuration`](crate::ErrorKind::Configuration) if the URL cannot be parsed, or an option
    /// is not valid.
    pub fn lazy(options: RedisOptions) -> Result<Self, Error> {
        let signals = Signals::default();
        let node = options.node.clone();
        let node = node.unwrap_or_else(|| Node::new("redis"));
        let address = address::open(&options, &node)?;
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
            lives: Lives::new(signals.clone()),
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
            policy: Policy::default(),
            room: Room::new(options.entries_share),
            untold: AtomicBool::new(false),
            follower: options.follower,
            weak: Weak::clone(weak),
        })))
    }
}

impl Redis {
    /// Returns whether this process hears of every reset of `key`. If not, starts to subscribe.
    pub(crate) fn hears(&self, key: &Key) -> bool {
        let stands = self.0.subscriber.stands(key.prefix());
        if !stands {
            subscription::start(&self.0);
        }
        stands
    }

    /// Returns the address of the server, for messages.
    pub(crate) fn place(&self) -> &str {
        &self.0.server.address.place
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
    fn now(&self, _: &Key) -> Moment {
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
        Box::pin(self.0.reset(key))
    }

    fn expire<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(self.0.expire(key))
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
                Err(_) => Err(reach::unreachable(
                    &self.0.server.address.place,
                    reach::LATE,
                )),
            }
        })
    }

    fn watch(&self) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(self.0.watch())
    }

    fn probe(&self, _: Shard) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(fitness::probe(&self.0))
    }
}

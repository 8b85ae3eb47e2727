//! Helpers that the tests over Redis share.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used, clippy::expect_used)]

use std::sync::Arc;
use std::time::Duration;

use cachify_core::backend::redis::{Redis, RedisOptions};
use cachify_core::backend::{
    Acquire, Acquired, Backend, Begin, Begun, Claim, Found, NewEntry, Node, Slot, Stored, Token,
    Typed,
};
use cachify_core::clock::Moment;
use cachify_core::{Cachify, CachifyBuilder, Error, Key, KeyTemplate, Ttl};

pub const MILLI: Duration = Duration::from_millis(1);
pub const SECOND: Duration = Duration::from_secs(1);

pub fn key(text: &str) -> Key {
    KeyTemplate::parse(text).unwrap().render(&[])
}

/// Connects a handle and checks it.
pub async fn connect(url: &str) -> Cachify {
    builder(url).connect().await.unwrap()
}

pub fn builder(url: &str) -> CachifyBuilder {
    Cachify::builder().redis(url).prefix("test")
}

/// Awaits an event that must happen without any timeout expiring, and panics after 10 s.
pub async fn soon<F: Future>(what: &str, future: F) -> F::Output {
    let output = tokio::time::timeout(10 * SECOND, future).await;
    output.unwrap_or_else(|_| panic!("{what}: not within 10 s"))
}

/// Waits until `condition` holds.
pub async fn until(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    soon(what, async {
        while !condition().await {
            tokio::time::sleep(2 * MILLI).await;
        }
    })
    .await;
}

/// One process, as its backend sees it.
pub struct Process {
    pub redis: Arc<Redis>,
    pub node: Node,
}

impl Process {
    pub fn new(url: &str) -> Self {
        let node = Node::new("test");
        let options = RedisOptions::new(url).prefix("test").node(node.clone());
        Self {
            redis: Arc::new(Redis::lazy(options).unwrap()),
            node,
        }
    }

    pub async fn begin(&self, key: &Key, token: &Token, unreadable: Option<&Found>) -> Begun {
        let begin = Begin::new(token, 3 * SECOND, Claim::Wait).replaces(unreadable);
        self.redis.begin(key, begin).await.unwrap()
    }

    /// Begins regardless of existing entries and leases.
    pub async fn claim(&self, key: &Key, token: &Token, claim: Claim) -> Begun {
        let begin = Begin::new(token, 3 * SECOND, claim);
        self.redis.begin(key, begin).await.unwrap()
    }

    pub async fn fill(
        &self,
        key: &Key,
        token: &Token,
        bytes: &[u8],
        ttl: impl Into<Ttl>,
    ) -> Result<bool, Error> {
        let value: Typed = Arc::new(());
        let encode = |_: Moment| Ok(bytes.to_vec());
        let entry = NewEntry::new(&value, &encode, &|| 0, ttl.into());
        self.redis.fill(key, token, entry).await
    }

    /// Stores an entry regardless of existing ones.
    pub async fn set(&self, key: &Key, bytes: &[u8], ttl: impl Into<Ttl>) {
        let token = self.node.token();
        let begun = self.claim(key, &token, Claim::Overwrite).await;
        assert!(matches!(begun, Begun::Granted), "{begun:?}");
        assert!(self.fill(key, &token, bytes, ttl).await.unwrap());
    }

    pub async fn bytes(&self, key: &Key) -> Option<Vec<u8>> {
        self.redis.get(key).await.unwrap().map(|found| match found {
            Found {
                value: Stored::Bytes(bytes),
                ..
            } => bytes,
            other => panic!("Redis has bytes, not {other:?}"),
        })
    }

    pub async fn acquire(&self, slot: &Slot, token: &Token, wait: Option<Duration>) -> Acquired {
        self.try_acquire(slot, token, wait).await.unwrap()
    }

    pub async fn try_acquire(
        &self,
        slot: &Slot,
        token: &Token,
        wait: Option<Duration>,
    ) -> Result<Acquired, Error> {
        let acquire = Acquire::new(token, 30 * SECOND, SECOND).wait(wait);
        self.redis.acquire(slot, acquire).await
    }

    pub async fn release(&self, slot: &Slot, token: &Token) -> bool {
        self.redis.release(slot, token).await.unwrap()
    }
}

pub fn lock(text: &str) -> Slot {
    Slot::lock(key(text))
}

pub fn pool(text: &str, max: u32) -> Slot {
    Slot::pool(key(text), max)
}

pub fn is_granted(acquired: Acquired) -> bool {
    matches!(acquired, Acquired::Granted { .. })
}

pub fn fence(acquired: Acquired) -> u64 {
    match acquired {
        Acquired::Granted { fence } => fence,
        other => panic!("{other:?}"),
    }
}

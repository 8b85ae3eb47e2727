//! Writes of an entry: sets, resets and expiries.

use std::time::Duration;

use super::access::Access;
use super::lease::{LEASE_TTL, Lease};
use super::policy::Policy;
use super::resets::Change;
#[cfg(feature = "http")]
use super::stale::Usable;
use super::value::Value;
#[cfg(feature = "http")]
use crate::backend::Found;
use crate::backend::{Begin, Begun, Claim, NewEntry};
use crate::codec::{self, Times};
use crate::{Error, ErrorKind};

impl<P> Access<P> {
    /// Stores `value`, or resets the entry if the value must not be stored.
    pub(crate) async fn set<T>(&self, value: T) -> Result<(), Error>
    where
        T: Value,
        P: Policy<T>,
    {
        let Some(times) = self.lifetime(&value) else {
            return self.reset().await;
        };
        let late = self.entries.late_reset(&self.key);
        self.entries.engine.resets.remember(&self.key);
        let result = self.put(value, times).await;
        late.disarm();
        match result {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == ErrorKind::Codec => {
                Err(error.with_template(self.key.template()))
            }
            Err(error) => Err(self.entries.unconfirmed(&self.key, error)),
        }
    }

    /// Removes the entry.
    pub(crate) async fn reset(&self) -> Result<(), Error> {
        self.entries.change(&self.key, Change::Reset).await
    }

    /// Makes the entry stale.
    pub(crate) async fn expire(&self) -> Result<(), Error> {
        self.entries.change(&self.key, Change::Expire).await
    }

    /// Stores `value`. If that fails, an old value may remain.
    pub(crate) async fn put<T>(&self, value: T, times: Times) -> Result<(), Error>
    where
        T: Value,
        P: Policy<T>,
    {
        let known = self.policy.weight(&value);
        let engine = &self.entries.engine;
        let encoding = engine.settings.encoding;
        value.check_first(&self.key, encoding);
        let typed = value.into_typed();
        let encode = |now| T::encode(&typed, encoding, times, now);
        let weigh = || known.unwrap_or_else(|| T::weigh(&typed));
        // Encoded before anything is removed: a value that cannot be encoded changes nothing.
        let bytes = if engine.backend.is_local() {
            None
        } else {
            Some(encode(engine.backend.now(&self.key))?)
        };
        let encode = |now| match &bytes {
            Some(bytes) => Ok(codec::stamped(bytes.clone(), now)),
            None => encode(now),
        };
        let entry = NewEntry::new(&typed, &encode, &weigh, times.ttl)
            .stale(times.stale)
            .local(self.copies);
        engine.attempt(&self.key, self.overwrite(entry)).await
    }

    /// Takes a lease of its own, which removes the entry, and fills it.
    ///
    /// A later reset or set ends that lease. A copy of one of the two requests that arrives after
    /// that stores nothing: the fill is refused, and no fill follows a `begin` without an answer.
    async fn overwrite(&self, entry: NewEntry<'_>) -> Result<(), Error> {
        let engine = &self.entries.engine;
        loop {
            let lease = Lease::new(engine, &self.key, None);
            let begin = Begin {
                token: &lease.token,
                ttl: LEASE_TTL,
                claim: Claim::Overwrite,
                replaces: None,
            };
            lease.asking();
            let recheck = match engine.backend.begin(&self.key, begin).await? {
                Begun::Granted => {
                    lease.granted();
                    // `false` means that a reset or set overtook this one, as if this came earlier.
                    engine.backend.fill(&self.key, &lease.token, entry).await?;
                    lease.ended();
                    self.entries.flights.end(&self.key, None);
                    self.entries.pauses.end(&self.key);
                    return Ok(());
                }
                // The request may have been sent twice, so another lease is needed, as in a read.
                Begun::Busy { recheck } => recheck,
                Begun::Found(_) => Duration::from_millis(1),
            };
            lease.ended();
            tokio::time::sleep(recheck).await;
        }
    }

    /// Stores `value` anew in place of a fresh entry that `is_same`, unless that entry is changed
    /// meanwhile.
    #[cfg(feature = "http")]
    pub(crate) async fn renew<T>(&self, value: T, is_same: impl Fn(&T) -> bool) -> Result<(), Error>
    where
        T: Value,
        P: Policy<T>,
    {
        let Some(times) = self.lifetime(&value) else {
            return Ok(());
        };
        let known = self.policy.weight(&value);
        let engine = &self.entries.engine;
        let encoding = engine.settings.encoding;
        let typed = value.into_typed();
        let encode = |now| T::encode(&typed, encoding, times, now);
        let weigh = || known.unwrap_or_else(|| T::weigh(&typed));
        let entry = NewEntry::new(&typed, &encode, &weigh, times.ttl)
            .stale(times.stale)
            .local(self.copies);
        engine.attempt(&self.key, self.swap(entry, is_same)).await
    }

    #[cfg(feature = "http")]
    async fn swap<T>(&self, entry: NewEntry<'_>, is_same: impl Fn(&T) -> bool) -> Result<(), Error>
    where
        T: Value,
        P: Policy<T>,
    {
        let backend = &self.entries.engine.backend;
        let is_fresh = |found: &Found| match self.read::<T>(found) {
            Usable::Fresh(value) => is_same(&value),
            Usable::Due(_) | Usable::No => false,
        };
        let Some(old) = backend.get(&self.key).await?.filter(is_fresh) else {
            return Ok(());
        };
        let lease = Lease::new(&self.entries.engine, &self.key, None);
        let begin = Begin {
            token: &lease.token,
            ttl: LEASE_TTL,
            claim: Claim::Wait,
            replaces: Some(&old),
        };
        lease.asking();
        let begun = backend.begin(&self.key, begin).await?;
        if !matches!(begun, Begun::Granted) {
            lease.ended();
            return Ok(());
        }
        lease.granted();
        // It may have been expired just before the lease. From now on, a change ends the lease.
        let still = backend.get(&self.key).await?;
        if still.is_some_and(|found| is_fresh(&found)) {
            backend.fill(&self.key, &lease.token, entry).await?;
            lease.ended();
        }
        Ok(())
    }
}

//! The circuit breaker, which saves calls from waiting for a backend that is known to fail.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use super::background::{Backoff, Claim, Context};
use super::budget::limit;
use crate::backend::Shard;
use crate::{Error, ErrorKind, observe};

/// The number of consecutive failures that open the circuit breaker. A successful probe closes it.
const BREAK_AFTER: u32 = 3;

/// The circuit breakers of a backend's servers.
#[derive(Debug)]
pub(crate) struct Breakers {
    /// The breaker of server 0. Most backends have no other.
    first: Arc<Breaker>,
    /// The breakers of the other servers. Server `n` is at index `n - 1`.
    others: RwLock<Vec<Arc<Breaker>>>,
}

impl Breakers {
    pub(crate) fn new(context: Context) -> Self {
        Self {
            first: Breaker::new(context, Shard::default()),
            others: RwLock::default(),
        }
    }

    /// Returns the circuit breaker of a server.
    #[inline]
    pub(crate) fn of(&self, shard: Shard) -> Arc<Breaker> {
        match shard.0.checked_sub(1) {
            None => Arc::clone(&self.first),
            Some(index) => self.other(index as usize),
        }
    }

    fn other(&self, index: usize) -> Arc<Breaker> {
        let others = self.others.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(breaker) = others.get(index) {
            return Arc::clone(breaker);
        }
        drop(others);
        let mut others = self.others.write().unwrap_or_else(PoisonError::into_inner);
        for number in others.len()..=index {
            let shard = Shard(u32::try_from(number).map_or(u32::MAX, |number| number + 1));
            others.push(Breaker::new(self.first.context.clone(), shard));
        }
        Arc::clone(&others[index])
    }

    /// Starts a probe for each open breaker that has none.
    pub(crate) fn probe(&self) {
        self.first.probe();
        let others = self.others.read().unwrap_or_else(PoisonError::into_inner);
        others.iter().for_each(Breaker::probe);
    }
}

/// The circuit breaker of one server. While it is open, calls to the server fail at once.
#[derive(Debug)]
pub(crate) struct Breaker {
    context: Context,
    shard: Shard,
    failures: AtomicU32,
    open: AtomicBool,
    /// Set while a probe runs.
    probing: AtomicBool,
}

impl Breaker {
    fn new(context: Context, shard: Shard) -> Arc<Self> {
        Arc::new(Self {
            context,
            shard,
            failures: AtomicU32::new(0),
            open: AtomicBool::new(false),
            probing: AtomicBool::new(false),
        })
    }

    /// Checks that an operation may be tried.
    pub(crate) fn admit(&self) -> Result<(), Error> {
        // Shutdown has a flag of its own, because a probe that ends late clears `open`.
        if self.context.background.is_shut_down() {
            return Err(Error::new(
                ErrorKind::Unavailable,
                "this cachify handle was closed; connect a new one",
            ));
        }
        if self.is_open() {
            return Err(Error::new(
                ErrorKind::Unavailable,
                "the circuit breaker is open: the backend failed repeatedly, and no probe has \
                 succeeded yet",
            ));
        }
        Ok(())
    }

    /// Records the result of an operation.
    pub(crate) fn record(&self, error: Option<&Error>) {
        if error.is_some_and(Error::is_down) {
            if self.failures.fetch_add(1, Ordering::AcqRel) + 1 >= BREAK_AFTER
                && !self.open.swap(true, Ordering::AcqRel)
                && !self.context.background.is_shut_down()
            {
                observe::breaker(error);
            }
        } else if self.failures.load(Ordering::Acquire) != 0 {
            self.failures.store(0, Ordering::Release);
        }
    }

    pub(crate) fn is_open(&self) -> bool {
        self.open.load(Ordering::Acquire)
    }

    /// Starts a probe if the breaker is open and no probe runs.
    pub(crate) fn probe(self: &Arc<Self>) {
        if self.is_open()
            && !self.context.background.is_shut_down()
            && let Some(claim) = Claim::take(self, |breaker| &breaker.probing)
        {
            self.context.background.spawn(probe(claim));
        }
    }

    /// Closes the breaker, so that calls go through again.
    fn recover(&self) {
        self.failures.store(0, Ordering::Release);
        self.open.store(false, Ordering::Release);
        observe::breaker(None);
    }
}

/// Probes a server until it answers, and then closes its breaker.
async fn probe(claim: Claim<Breaker>) {
    let mut backoff = Backoff::new();
    let mut warned = None;
    loop {
        backoff.pause().await;
        let Some(breaker) = claim.owner() else {
            return;
        };
        let context = &breaker.context;
        if context.background.is_shut_down() {
            return;
        }
        let Err(error) = limit(context.timeout, context.backend.probe(breaker.shard)).await else {
            return breaker.recover();
        };
        // Waiting does not repair a configuration, so warn once for each reason.
        let reason = (error.kind() == ErrorKind::Configuration).then(|| error.to_string());
        if reason.is_some() && reason != warned {
            tracing::warn!(
                %error,
                "the backend is misconfigured; it is not used until that is fixed"
            );
            warned = reason;
        } else {
            tracing::debug!(%error, "the backend is still away");
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::Cachify;
    use crate::backend::Shard;

    #[test]
    fn s4_a_probe_that_ends_late_does_not_open_a_closed_handle() {
        let cachify = Cachify::memory();
        let breaker = cachify.inner.engine.breakers.of(Shard::default());
        breaker.context.background.shut_down();
        breaker.recover();
        assert!(breaker.admit().is_err());
    }
}

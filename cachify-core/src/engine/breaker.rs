//! The circuit breaker: calls lose no time to a backend that is known to fail.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use super::background::{Backoff, Claim, Context};
use super::budget::limit;
use crate::backend::Shard;
use crate::{Error, ErrorKind, observe};

/// The number of failures in a row that open the circuit breaker until a probe succeeds.
const BREAK_AFTER: u32 = 3;

/// The circuit breakers of a backend's servers.
#[derive(Debug)]
pub(crate) struct Breakers {
    /// The only one of most backends.
    first: Arc<Breaker>,
    /// By the number of the server, less one.
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

    /// Starts a probe for each breaker that is open and has none.
    pub(crate) fn probe(&self) {
        self.first.probe();
        let others = self.others.read().unwrap_or_else(PoisonError::into_inner);
        others.iter().for_each(Breaker::probe);
    }
}

/// Leaves a failing server alone, so that calls lose no time to it.
#[derive(Debug)]
pub(crate) struct Breaker {
    context: Context,
    shard: Shard,
    failures: AtomicU32,
    open: AtomicBool,
    /// Whether a probe runs.
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

    /// Returns whether an operation may be tried.
    pub(crate) fn admit(&self) -> Result<(), Error> {
        // By itself: a probe that ends may open what was closed meanwhile.
        if self.context.background.is_shut_down() {
            return Err(Error::new(
                ErrorKind::Unavailable,
                "this cachify handle was closed; connect a new one",
            ));
        }
        if self.is_open() {
            return Err(Error::new(
                ErrorKind::Unavailable,
                "the backend failed repeatedly and is left alone until it answers a probe",
            ));
        }
        Ok(())
    }

    /// Takes note of how an operation ended.
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

    /// Starts a probe if the breaker is open and none runs.
    pub(crate) fn probe(self: &Arc<Self>) {
        if self.is_open()
            && !self.context.background.is_shut_down()
            && let Some(claim) = Claim::take(self, |breaker| &breaker.probing)
        {
            self.context.background.spawn(probe(claim));
        }
    }

    /// Calls go through again.
    fn recover(&self) {
        self.failures.store(0, Ordering::Release);
        self.open.store(false, Ordering::Release);
        observe::breaker(None);
    }
}

/// Asks an absent backend again and again whether it is back.
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
        // Waiting does not help: say so, once for each reason.
        let reason = (error.kind() == ErrorKind::Configuration).then(|| error.to_string());
        if reason.is_some() && reason != warned {
            tracing::warn!(%error, "the backend is not used until it is set up right");
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

//! The engine that reads and slots share: the backend, protection from its failures, and background
//! work.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::backend::{Backend, Node};
use crate::clock::Clock;
use crate::codec::Encoding;
use crate::key::Prefix;
use crate::{Error, ErrorKind, Key, Ttl};

pub(crate) mod background;
pub(crate) mod breaker;
pub(crate) mod budget;
pub(crate) mod debts;
mod history;
pub(crate) mod renewal;
pub(crate) mod resets;

use background::{Background, Context};
use breaker::Breakers;
use budget::{Budget, limit};
use debts::Debts;
use renewal::Renewal;
use resets::Resets;

/// The largest number of keys whose resets may wait for an acknowledgement, and the largest number
/// that is remembered for a backend that loses them.
const RESETS: usize = 10_000;

/// The settings that a handle was built with.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) prefix: String,
    pub(crate) default_ttl: Ttl,
    pub(crate) lock_ttl: Duration,
    pub(crate) backend_timeout: Duration,
    /// The time that a caller waits for another caller's computation before it may compute too.
    pub(crate) compute_wait: Duration,
    pub(crate) encoding: Encoding,
}

/// The state that all parts of a handle share.
pub(crate) struct Engine {
    pub(crate) backend: Arc<dyn Backend>,
    pub(crate) settings: Settings,
    pub(crate) node: Node,
    pub(crate) clock: Clock,
    pub(crate) breakers: Breakers,
    pub(crate) resets: Arc<Resets>,
    pub(crate) debts: Arc<Debts>,
    pub(crate) renewal: Renewal,
    pub(crate) background: Arc<Background>,
}

impl Engine {
    pub(crate) fn new(
        backend: Arc<dyn Backend>,
        settings: Settings,
        node: Node,
        clock: Clock,
    ) -> Arc<Self> {
        let background = Arc::new(Background::new());
        let context = Context {
            backend: Arc::clone(&backend),
            timeout: settings.backend_timeout,
            background: Arc::clone(&background),
        };
        let resets = Resets::new(context.clone(), clock.clone(), RESETS);
        backend.signals().repeat_with(&resets);
        Arc::new(Self {
            backend,
            settings,
            node,
            breakers: Breakers::new(context.clone()),
            resets,
            debts: Debts::new(context.clone(), clock.clone()),
            renewal: Renewal::new(context),
            clock,
            background,
        })
    }

    /// Runs an operation on `key`, or fails at once if the circuit breaker of its server is open.
    pub(crate) async fn attempt<T>(
        &self,
        key: &Key,
        operation: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        self.admit(key)?;
        self.insist(key, operation).await
    }

    /// Like [`attempt`](Self::attempt), but limited to the time that is left of `budget`.
    pub(crate) async fn spend<T>(
        &self,
        key: &Key,
        budget: &mut Budget,
        operation: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        self.admit(key)?;
        let left = budget.left()?;
        let start = Instant::now();
        let result = limit(left, operation).await;
        budget.take(start.elapsed());
        self.settle(key, &result);
        result
    }

    /// Checks that an operation on `key` may be tried. If not, makes sure that a probe runs: the
    /// last probe may have ended with its runtime.
    pub(crate) fn admit(&self, key: &Key) -> Result<(), Error> {
        let breaker = self.breakers.of(self.backend.shard(key));
        breaker.admit().inspect_err(|_| self.kick())
    }

    /// Runs an operation on `key` even if the circuit breaker of its server is open, as releases,
    /// renewals and replays of resets do.
    pub(crate) async fn insist<T>(
        &self,
        key: &Key,
        operation: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        let result = limit(self.settings.backend_timeout, operation).await;
        self.settle(key, &result);
        result
    }

    /// Records the result of an operation, and starts background work that is due. Even after a
    /// success, the task of such work may have ended with its runtime.
    fn settle<T>(&self, key: &Key, result: &Result<T, Error>) {
        let breaker = self.breakers.of(self.backend.shard(key));
        breaker.record(result.as_ref().err());
        if result.is_err()
            || !self.resets.is_empty()
            || self.debts.are_left()
            || self.renewal.is_orphaned()
        {
            self.kick();
        }
    }

    /// Starts the background work that is due: renewals, releases, probes for open breakers, and
    /// the replay of resets.
    pub(crate) fn kick(&self) {
        if self.renewal.is_orphaned() {
            self.renewal.ensure();
        }
        self.debts.collect();
        self.breakers.probe();
        self.resets.replay();
    }

    /// Waits until no background work is left for keys with `prefix`. Without a prefix, waits for
    /// all work, and refuses every operation afterwards.
    pub(crate) async fn close(
        &self,
        prefix: Option<&Prefix>,
        timeout: Duration,
    ) -> Result<(), Error> {
        self.kick();
        let drained = limit(timeout, async {
            loop {
                let progress = self.background.progress();
                if self.left(prefix) == (0, 0) {
                    return Ok(());
                }
                progress.await;
            }
        })
        .await;
        if prefix.is_none() {
            self.background.shut_down();
        }
        drained.map_err(|error| {
            if error.kind() != ErrorKind::Timeout {
                return error;
            }
            let (releases, resets) = self.left(prefix);
            Error::new(
                ErrorKind::Timeout,
                format!(
                    "closed with work left: {releases} releases, {resets} resets; the backend may \
                     be away"
                ),
            )
        })
    }

    /// Returns the numbers of releases and resets that [`close`](Self::close) waits for.
    fn left(&self, prefix: Option<&Prefix>) -> (usize, usize) {
        let Self { debts, resets, .. } = self;
        match prefix {
            None => (debts.len().max(self.background.live()), resets.len()),
            Some(prefix) => {
                let own = |key: &Key| key.prefix() == Some(prefix);
                (debts.count(own), resets.count(own))
            }
        }
    }
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine")
            .field("backend", &self.backend)
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

//! The right to fill one missing entry.

use std::fmt;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use crate::Key;
use crate::backend::{BoxFuture, Token};
use crate::cachify::{Debt, Inner};
use crate::engine::renewal::{Renewable, Ticket};

/// How long a lease stands without being extended: how long others wait for a process that died.
pub(crate) const LEASE_TTL: Duration = Duration::from_secs(3);
const RENEW_EVERY: Duration = Duration::from_secs(1);

/// A lease that this process holds or may hold. Given back when dropped, with word to those who
/// wait.
pub(crate) struct Lease {
    inner: Weak<Inner>,
    key: Key,
    /// The flight that it belongs to; none for a set.
    flight: Option<u64>,
    pub(crate) token: Token,
    state: AtomicU8,
    renewal: OnceLock<Ticket>,
}

/// The backend does not have it: not asked for, refused, or over.
const ENDED: u8 = 0;
/// The backend may have it: it was asked for and did not answer yet.
const ASKING: u8 = 1;
/// The backend granted it.
const GRANTED: u8 = 2;

impl Lease {
    pub(crate) fn new(inner: &Arc<Inner>, key: &Key, flight: Option<u64>) -> Arc<Self> {
        Arc::new(Self {
            inner: Arc::downgrade(inner),
            key: key.clone(),
            flight,
            token: inner.node.token(),
            state: AtomicU8::new(ENDED),
            renewal: OnceLock::new(),
        })
    }

    /// Notes that the backend is about to be asked for it.
    pub(crate) fn asking(&self) {
        self.state.store(ASKING, Ordering::Release);
    }

    /// Notes that the backend granted it.
    pub(crate) fn granted(&self) {
        self.state.store(GRANTED, Ordering::Release);
    }

    /// Keeps it alive from now on.
    pub(crate) fn keep_alive(self: &Arc<Self>, inner: &Arc<Inner>) {
        let disturbances = inner.backend.signals().disturbances();
        let this: Arc<dyn Renewable> = self.clone();
        self.renewal.get_or_init(|| {
            inner
                .renewal
                .register(inner, RENEW_EVERY, disturbances, &this)
        });
    }

    /// Notes that the backend no longer has it.
    pub(crate) fn ended(&self) {
        self.state.store(ENDED, Ordering::Release);
    }

    pub(crate) fn is_granted(&self) -> bool {
        self.state.load(Ordering::Acquire) == GRANTED
    }
}

impl Renewable for Lease {
    fn renew<'a>(&'a self, inner: &'a Arc<Inner>) -> BoxFuture<'a, Option<Duration>> {
        Box::pin(async move {
            if !self.is_granted() {
                return None;
            }
            match inner
                .insist(
                    inner
                        .backend
                        .extend_lease(&self.key, &self.token, LEASE_TTL),
                )
                .await
            {
                Ok(true) => Some(RENEW_EVERY),
                Ok(false) => {
                    // A reset ended it, perhaps in another process: the result of this computation
                    // must not be stored.
                    self.ended();
                    if self.flight.is_some() {
                        inner.flights.end(&self.key, self.flight);
                    }
                    None
                }
                Err(_) => Some(inner.settings.backend_timeout.min(RENEW_EVERY)),
            }
        })
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if *self.state.get_mut() == ENDED {
            return;
        }
        let Some(inner) = self.inner.upgrade() else {
            return;
        };
        let until = inner.clock.now() + LEASE_TTL;
        inner.owe(Debt::of_lease(&self.key, &self.token, until));
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease")
            .field("key", &self.key)
            .field("token", &self.token)
            .finish_non_exhaustive()
    }
}

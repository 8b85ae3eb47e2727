//! Leases, the rights to fill one missing entry.

use std::fmt;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use super::flight;
use crate::Key;
use crate::backend::{BoxFuture, Token};
use crate::engine::Engine;
use crate::engine::debts::Debt;
use crate::engine::renewal::{Renewable, Ticket};

/// The time for which a lease stands unless it is extended. Other processes wait that long for a
/// process that died.
pub(crate) const LEASE_TTL: Duration = Duration::from_secs(3);
const RENEW_EVERY: Duration = Duration::from_secs(1);

/// All flights of one handle. Leadership and lease move together.
pub(crate) type Flights = flight::Flights<Arc<Lease>>;

/// A lease that this process holds or may hold. Dropping it releases the lease, which wakes the
/// waiters.
pub(crate) struct Lease {
    engine: Arc<Engine>,
    key: Key,
    /// The flight that the lease belongs to; `None` for a set.
    flight: Option<(Arc<Flights>, u64)>,
    pub(crate) token: Token,
    state: AtomicU8,
    renewal: OnceLock<Ticket>,
}

/// The backend does not have the lease: it was not asked for, was refused, or is over.
const ENDED: u8 = 0;
/// The backend may have the lease: it was asked for it and has not answered yet.
const ASKING: u8 = 1;
/// The backend granted the lease.
const GRANTED: u8 = 2;

impl Lease {
    pub(crate) fn new(
        engine: &Arc<Engine>,
        key: &Key,
        flight: Option<(Arc<Flights>, u64)>,
    ) -> Arc<Self> {
        Arc::new(Self {
            engine: Arc::clone(engine),
            key: key.clone(),
            flight,
            token: engine.node.token(),
            state: AtomicU8::new(ENDED),
            renewal: OnceLock::new(),
        })
    }

    /// Records that the backend is about to be asked for the lease.
    pub(crate) fn asking(&self) {
        self.state.store(ASKING, Ordering::Release);
    }

    /// Records that the backend granted the lease.
    pub(crate) fn granted(&self) {
        self.state.store(GRANTED, Ordering::Release);
    }

    /// Renews the lease from now on.
    pub(crate) fn keep_alive(self: &Arc<Self>) {
        let disturbances = self.engine.backend.signals().disturbances();
        let this: Arc<dyn Renewable> = self.clone();
        self.renewal.get_or_init(|| {
            let renewal = &self.engine.renewal;
            renewal.register(RENEW_EVERY, disturbances, &this)
        });
    }

    /// Records that the backend no longer has the lease.
    pub(crate) fn ended(&self) {
        self.state.store(ENDED, Ordering::Release);
    }

    pub(crate) fn is_granted(&self) -> bool {
        self.state.load(Ordering::Acquire) == GRANTED
    }
}

impl Renewable for Lease {
    fn renew(&self) -> BoxFuture<'_, Option<Duration>> {
        Box::pin(async move {
            let engine = &self.engine;
            if !self.is_granted() {
                return None;
            }
            let extended = engine
                .backend
                .extend_lease(&self.key, &self.token, LEASE_TTL);
            match engine.insist(&self.key, extended).await {
                Ok(true) => Some(RENEW_EVERY),
                Ok(false) => {
                    // A reset ended the lease, perhaps in another process. The result of this
                    // computation must not be stored.
                    self.ended();
                    if let Some((flights, id)) = &self.flight {
                        flights.end(&self.key, Some(*id));
                    }
                    None
                }
                Err(_) => Some(engine.settings.backend_timeout.min(RENEW_EVERY)),
            }
        })
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if *self.state.get_mut() == ENDED {
            return;
        }
        let until = self.engine.clock.now() + LEASE_TTL;
        let debt = Debt::of_lease(&self.key, &self.token, until);
        self.engine.debts.owe(debt);
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

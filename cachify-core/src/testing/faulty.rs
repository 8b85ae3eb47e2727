//! A backend that fails on demand.

use std::collections::HashMap;
use std::fmt;
use std::future::pending;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Semaphore;

use crate::backend::{
    Acquire, Acquired, Backend, Begin, Begun, BoxFuture, Found, Inspection, NewEntry, Shard,
    Signals, Slot, Token,
};
use crate::clock::Moment;
use crate::{Cachify, Error, ErrorKind, Key};

/// An operation of [`Backend`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[allow(missing_docs, reason = "they have the names of the methods")]
pub enum Op {
    Get,
    Begin,
    Fill,
    ReleaseLease,
    ExtendLease,
    Reset,
    Acquire,
    Extend,
    Release,
    Evict,
    Inspect,
    Check,
}

impl Op {
    const ALL: [Self; 12] = [
        Self::Get,
        Self::Begin,
        Self::Fill,
        Self::ReleaseLease,
        Self::ExtendLease,
        Self::Reset,
        Self::Acquire,
        Self::Extend,
        Self::Release,
        Self::Evict,
        Self::Inspect,
        Self::Check,
    ];
}

/// A way in which an operation fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// The operation does not happen, and an error arrives at once.
    Refuse,
    /// The operation does not happen, and no answer arrives.
    Hang,
    /// The operation happens, but no answer arrives.
    LoseAnswer,
    /// The backend refuses the operation, as a full server does.
    Reject,
}

/// Forwards every call to another backend, unless it is set to fail.
///
/// # Examples
///
/// ```
/// use cachify_core::testing::{Fault, Faulty};
/// use cachify_core::{Cachify, ErrorKind, key};
///
/// #[tokio::main]
/// async fn main() {
///     let (cachify, backend) = Faulty::wrap(&Cachify::memory());
///     backend.fail_all(Fault::Refuse);
///     assert_eq!(cachify.cached(&key!("row")).get_or_compute(async || 1).await, 1);
///     let error = cachify.lock(&key!("door")).acquire().await.unwrap_err();
///     assert_eq!(error.kind(), ErrorKind::Unavailable);
///     backend.heal();
/// }
/// ```
pub struct Faulty {
    inner: Arc<dyn Backend>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    faults: HashMap<Op, Fault>,
    /// Gates before (`true`) and after the operation.
    gates: HashMap<(Op, bool), Gate>,
    calls: HashMap<Op, usize>,
}

/// Stops the next call of an operation until it is opened.
#[derive(Debug, Clone)]
pub struct Gate {
    reached: Arc<Semaphore>,
    open: Arc<Semaphore>,
}

impl Gate {
    /// Waits until a call has reached the gate.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost if the future is dropped: the next `reached` is ready at once.
    ///
    /// # Examples
    ///
    /// ```
    /// use cachify_core::testing::{Faulty, Op};
    /// use cachify_core::{Cachify, key};
    ///
    /// #[tokio::main]
    /// async fn main() -> Result<(), Box<dyn std::error::Error>> {
    ///     let (cachify, backend) = Faulty::wrap(&Cachify::memory());
    ///     let gate = backend.before(Op::Reset);
    ///     let reset = tokio::spawn(async move { cachify.reset(&key!("row")).await });
    ///
    ///     // The reset is stopped right before the backend, for as long as the test needs.
    ///     gate.reached().await;
    ///     assert!(!reset.is_finished());
    ///     gate.open();
    ///     reset.await??;
    ///     Ok(())
    /// }
    /// ```
    pub async fn reached(&self) {
        if let Ok(permit) = self.reached.acquire().await {
            permit.forget();
        }
    }

    /// Lets the call continue.
    pub fn open(&self) {
        self.open.add_permits(1);
    }

    async fn pass(&self) {
        self.reached.add_permits(1);
        if let Ok(permit) = self.open.acquire().await {
            permit.forget();
        }
    }
}

impl Faulty {
    /// Wraps the backend of `cachify`. The new handle shares its data and counts as the same
    /// process.
    pub fn wrap(cachify: &Cachify) -> (Cachify, Arc<Self>) {
        let engine = &cachify.inner.engine;
        let faulty = Arc::new(Self {
            inner: Arc::clone(&engine.backend),
            state: Mutex::default(),
        });
        let over = Cachify::over(
            faulty.clone(),
            engine.settings.clone(),
            engine.node.clone(),
            engine.clock.clone(),
        );
        let wrapped = Cachify {
            prefix: cachify.prefix.clone(),
            ..over
        };
        (wrapped, faulty)
    }

    /// Makes an operation fail from now on.
    pub fn fail(&self, op: Op, fault: Fault) {
        self.state().faults.insert(op, fault);
    }

    /// Makes every operation fail from now on.
    pub fn fail_all(&self, fault: Fault) {
        for op in Op::ALL {
            self.fail(op, fault);
        }
    }

    /// Stops all failures. Calls that already hang stay hung.
    pub fn heal(&self) {
        self.state().faults.clear();
    }

    /// Stops the next call of `op` before it happens.
    pub fn before(&self, op: Op) -> Gate {
        self.gate(op, true)
    }

    /// Stops the next call of `op` after it has happened, before it answers.
    pub fn after(&self, op: Op) -> Gate {
        self.gate(op, false)
    }

    /// Returns the number of calls to `op`.
    pub fn calls(&self, op: Op) -> usize {
        self.state().calls.get(&op).copied().unwrap_or_default()
    }

    fn gate(&self, op: Op, before: bool) -> Gate {
        let gate = Gate {
            reached: Arc::new(Semaphore::new(0)),
            open: Arc::new(Semaphore::new(0)),
        };
        self.state().gates.insert((op, before), gate.clone());
        gate
    }

    /// Calls `operation` only after the gate has opened: a backend may do its work before its
    /// future is polled.
    async fn call<T, F: Future<Output = Result<T, Error>>>(
        &self,
        op: Op,
        operation: impl FnOnce() -> F,
    ) -> Result<T, Error> {
        let (fault, before, after) = {
            let mut state = self.state();
            *state.calls.entry(op).or_default() += 1;
            (
                state.faults.get(&op).copied(),
                state.gates.remove(&(op, true)),
                state.gates.remove(&(op, false)),
            )
        };
        if let Some(gate) = before {
            gate.pass().await;
        }
        let result = match fault {
            None => operation().await,
            Some(Fault::Refuse) => Err(Error::new(ErrorKind::Unavailable, "refused on purpose")),
            Some(Fault::Reject) => Err(Error::new(ErrorKind::Configuration, "full on purpose")),
            Some(Fault::Hang) => pending().await,
            Some(Fault::LoseAnswer) => {
                let _ = operation().await;
                pending().await
            }
        };
        if let Some(gate) = after {
            gate.pass().await;
        }
        result
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Faulty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Faulty")
            .field("inner", &self.inner)
            .finish_non_exhaustive()
    }
}

impl Backend for Faulty {
    fn now(&self, key: &Key) -> Moment {
        self.inner.now(key)
    }

    fn shard(&self, key: &Key) -> Shard {
        self.inner.shard(key)
    }

    fn signals(&self) -> &Signals {
        self.inner.signals()
    }

    fn get<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Result<Option<Found>, Error>> {
        Box::pin(self.call(Op::Get, move || self.inner.get(key)))
    }

    fn begin<'a>(&'a self, key: &'a Key, begin: Begin<'a>) -> BoxFuture<'a, Result<Begun, Error>> {
        Box::pin(self.call(Op::Begin, move || self.inner.begin(key, begin)))
    }

    fn fill<'a>(
        &'a self,
        key: &'a Key,
        token: &'a Token,
        entry: NewEntry<'a>,
    ) -> BoxFuture<'a, Result<bool, Error>> {
        Box::pin(self.call(Op::Fill, move || self.inner.fill(key, token, entry)))
    }

    fn release_lease<'a>(
        &'a self,
        key: &'a Key,
        token: &'a Token,
    ) -> BoxFuture<'a, Result<bool, Error>> {
        Box::pin(self.call(Op::ReleaseLease, move || {
            self.inner.release_lease(key, token)
        }))
    }

    fn extend_lease<'a>(
        &'a self,
        key: &'a Key,
        token: &'a Token,
        ttl: Duration,
    ) -> BoxFuture<'a, Result<bool, Error>> {
        Box::pin(self.call(Op::ExtendLease, move || {
            self.inner.extend_lease(key, token, ttl)
        }))
    }

    fn reset<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(self.call(Op::Reset, move || self.inner.reset(key)))
    }

    fn expire<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(self.call(Op::Reset, move || self.inner.expire(key)))
    }

    fn acquire<'a>(
        &'a self,
        slot: &'a Slot,
        acquire: Acquire<'a>,
    ) -> BoxFuture<'a, Result<Acquired, Error>> {
        Box::pin(self.call(Op::Acquire, move || self.inner.acquire(slot, acquire)))
    }

    fn extend<'a>(
        &'a self,
        slot: &'a Slot,
        token: &'a Token,
        ttl: Duration,
    ) -> BoxFuture<'a, Result<bool, Error>> {
        Box::pin(self.call(Op::Extend, move || self.inner.extend(slot, token, ttl)))
    }

    fn release<'a>(
        &'a self,
        slot: &'a Slot,
        token: &'a Token,
    ) -> BoxFuture<'a, Result<bool, Error>> {
        Box::pin(self.call(Op::Release, move || self.inner.release(slot, token)))
    }

    fn evict<'a>(&'a self, slot: &'a Slot) -> BoxFuture<'a, Result<bool, Error>> {
        Box::pin(self.call(Op::Evict, move || self.inner.evict(slot)))
    }

    fn inspect<'a>(&'a self, slot: &'a Slot) -> BoxFuture<'a, Result<Inspection, Error>> {
        Box::pin(self.call(Op::Inspect, move || self.inner.inspect(slot)))
    }

    fn check(&self) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(self.call(Op::Check, move || self.inner.check()))
    }

    fn watch(&self) -> BoxFuture<'_, Result<(), Error>> {
        self.inner.watch()
    }

    fn probe(&self, shard: Shard) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(self.call(Op::Check, move || self.inner.probe(shard)))
    }
}

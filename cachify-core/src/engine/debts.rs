//! Debts: releases of slots and leases that the backend has not acknowledged yet.
//!
//! The task that sends a release ends with its runtime, and a program may have several runtimes.
//! The debt itself stays in the handle, and the next call pays it on its own runtime.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::future::join_all;
use smol_str::SmolStr;
use tokio::sync::Notify;

use super::background::{Backoff, Claim, Context};
use super::budget::limit;
use crate::backend::{Acquire, Acquired, Slot, SlotKind, Token};
use crate::clock::{Clock, Moment};
use crate::{Error, Key};

/// The largest number of debts without a task that are kept. The time to live ends the others.
const CAPACITY: usize = 10_000;
/// The largest number of debts that are paid at a time.
const AT_ONCE: usize = 100;

/// A release that the backend must acknowledge.
#[derive(Clone)]
pub(crate) struct Debt {
    what: What,
    token: Token,
    /// The time at which the backend ends the hold or lease by itself.
    until: Moment,
}

#[derive(Clone)]
enum What {
    Slot(Slot),
    Lease(Key),
}

impl Debt {
    /// Creates the debt of a hold or of a place in a queue.
    pub(crate) fn of_slot(slot: &Slot, token: &Token, until: Moment) -> Self {
        Self {
            what: What::Slot(slot.clone()),
            token: token.clone(),
            until,
        }
    }

    /// Creates the debt of a lease.
    pub(crate) fn of_lease(key: &Key, token: &Token, until: Moment) -> Self {
        Self {
            what: What::Lease(key.clone()),
            token: token.clone(),
            until,
        }
    }

    fn key(&self) -> &Key {
        match &self.what {
            What::Slot(slot) => &slot.key,
            What::Lease(key) => key,
        }
    }

    fn name(&self) -> Name {
        let kind = match &self.what {
            What::Slot(slot) => Some(slot.kind),
            What::Lease(_) => None,
        };
        (kind, self.key().as_str().into(), self.token.clone())
    }
}

/// The kind of the slot (`None` for a lease), the key's text, and the token.
type Name = (Option<SlotKind>, SmolStr, Token);

/// The debts of a handle.
pub(crate) struct Debts {
    context: Context,
    clock: Clock,
    table: Mutex<Table>,
    /// The sizes of the table's maps, so that a call without debts costs only two loads.
    all: AtomicUsize,
    left: AtomicUsize,
    collecting: AtomicBool,
    /// Notified when a debt was paid, or when its task ended.
    changed: Notify,
}

#[derive(Default)]
struct Table {
    /// Each debt with its place in `left`; `None` while it is being sent.
    debts: BTreeMap<Name, (Debt, Option<u64>)>,
    /// The debts without a task, in the order in which they lost it.
    left: BTreeMap<u64, Name>,
    last: u64,
}

impl Debts {
    pub(crate) fn new(context: Context, clock: Clock) -> Arc<Self> {
        Arc::new(Self {
            context,
            clock,
            table: Mutex::default(),
            all: AtomicUsize::new(0),
            left: AtomicUsize::new(0),
            collecting: AtomicBool::new(false),
            changed: Notify::new(),
        })
    }

    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(crate) fn count(&self, select: impl Fn(&Key) -> bool) -> usize {
        let table = self.table();
        let keys = table.debts.values().map(|(debt, _)| debt.key());
        keys.filter(|key| select(key)).count()
    }

    pub(crate) fn len(&self) -> usize {
        self.all.load(Ordering::Acquire)
    }

    /// Returns whether there are debts that no task sends.
    #[inline]
    pub(crate) fn are_left(&self) -> bool {
        self.left.load(Ordering::Acquire) != 0
    }

    /// Starts a task that pays the debts without a task, unless it runs or there are none.
    pub(crate) fn collect(self: &Arc<Self>) {
        if self.are_left()
            && let Some(claim) = Claim::take(self, |debts| &debts.collecting)
        {
            let debts = Arc::clone(self);
            self.context.background.spawn(collect(claim, debts));
        }
    }

    /// Sends a release to the backend in the background until the backend acknowledges it or the
    /// time to live ends.
    pub(crate) fn owe(self: &Arc<Self>, debt: Debt) {
        if self.change(|table| table.add(&debt)) {
            self.send(debt);
        }
    }

    fn send(self: &Arc<Self>, debt: Debt) {
        let sending = Sending::new(self, debt);
        self.context.background.spawn_tracked(async move {
            sending.pay().await;
        });
    }

    /// Calls [`Backend::acquire`](crate::backend::Backend::acquire), but first sends the releases
    /// that this handle owes for the slot. Otherwise the handle could block itself.
    pub(crate) async fn acquire(
        self: &Arc<Self>,
        slot: &Slot,
        acquire: Acquire<'_>,
    ) -> Result<Acquired, Error> {
        let owed = self.of(slot);
        for name in &owed {
            if let Some(debt) = self.change(|table| table.take(name)) {
                self.send(debt);
            }
        }
        let backend = &self.context.backend;
        let acquired = backend.acquire(slot, acquire).await?;
        if owed.is_empty() || !matches!(acquired, Acquired::Held { .. }) {
            return Ok(acquired);
        }
        // A release that had to reconnect may have arrived after the request.
        self.settled(&owed).await;
        backend.acquire(slot, acquire).await
    }

    /// Returns debts of a slot, up to a limit.
    fn of(&self, slot: &Slot) -> Vec<Name> {
        if self.is_empty() {
            return Vec::new();
        }
        let key = SmolStr::from(slot.key.as_str());
        let first = (Some(slot.kind), key, Token::first());
        let table = self.table();
        let names = table.debts.range(&first..).map(|(name, _)| name);
        let of_slot = names.take_while(|name| (name.0, &name.1) == (first.0, &first.1));
        of_slot.take(AT_ONCE).cloned().collect()
    }

    /// Waits until none of these debts is being sent.
    async fn settled(&self, names: &[Name]) {
        loop {
            let changed = self.changed.notified();
            {
                let debts = &self.table().debts;
                let is_sent = |name| matches!(debts.get(name), Some((_, None)));
                if !names.iter().any(is_sent) {
                    return;
                }
            }
            changed.await;
        }
    }

    fn change<T>(&self, change: impl FnOnce(&mut Table) -> T) -> T {
        let mut table = self.table();
        let output = change(&mut table);
        self.all.store(table.debts.len(), Ordering::Release);
        self.left.store(table.left.len(), Ordering::Release);
        output
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    /// Adds a debt that is about to be sent. Returns `false` if it is there already.
    fn add(&mut self, debt: &Debt) -> bool {
        let name = debt.name();
        let is_new = !self.debts.contains_key(&name);
        if is_new {
            self.debts.insert(name, (debt.clone(), None));
        }
        is_new
    }

    /// Records that no task sends this debt any more. Returns `false` if there is no room for it.
    fn leave(&mut self, debt: &Debt) -> bool {
        let name = debt.name();
        if self.left.len() >= CAPACITY {
            self.debts.remove(&name);
            return false;
        }
        if let Some((_, place)) = self.debts.get_mut(&name) {
            self.last += 1;
            *place = Some(self.last);
            self.left.insert(self.last, name);
        }
        true
    }

    /// Takes a debt that no task sends, so that the caller can send it.
    fn take(&mut self, name: &Name) -> Option<Debt> {
        let (debt, place) = self.debts.get_mut(name)?;
        self.left.remove(&place.take()?);
        Some(debt.clone())
    }

    /// Takes the debt that has been without a task for the longest time.
    fn take_first(&mut self) -> Option<Debt> {
        let (_, name) = self.left.first_key_value()?;
        let name = name.clone();
        self.take(&name)
    }
}

impl fmt::Debug for Debts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Debts")
            .field("all", &self.all)
            .field("left", &self.left)
            .finish_non_exhaustive()
    }
}

/// A debt that is being sent. If it is dropped unpaid, as at the end of a runtime, the next call
/// sends it again.
struct Sending {
    debts: Arc<Debts>,
    debt: Debt,
    paid: bool,
}

impl Sending {
    fn new(debts: &Arc<Debts>, debt: Debt) -> Self {
        Self {
            debts: Arc::clone(debts),
            debt,
            paid: false,
        }
    }

    /// Sends the release once. Returns `false` if it was not acknowledged and must be sent again.
    async fn pay(mut self) -> bool {
        let Self { debts, debt, .. } = &self;
        let (backend, within) = (&debts.context.backend, debts.context.timeout);
        // A release bypasses the circuit breaker, and its repetitions must not open it.
        let result = match &debt.what {
            What::Slot(slot) => limit(within, backend.release(slot, &debt.token)).await,
            What::Lease(key) => limit(within, backend.release_lease(key, &debt.token)).await,
        };
        let template = debt.key().template();
        match result {
            Ok(_) => {
                if let What::Lease(key) = &debt.what {
                    // The subscription that would wake the waiters may have ended with the runtime.
                    backend.signals().wake(key.as_str());
                }
                self.paid = true;
            }
            Err(error) if debts.clock.now() >= debt.until => {
                tracing::warn!(
                    %error,
                    template,
                    "a release was not acknowledged; the time to live ended the lock or lease"
                );
                self.paid = true;
            }
            Err(error) => {
                tracing::debug!(
                    %error,
                    template,
                    "a release was not acknowledged; it will be sent again"
                );
            }
        }
        let (debts, paid) = (Arc::clone(&self.debts), self.paid);
        drop(self);
        if !paid {
            debts.collect();
        }
        paid
    }
}

impl Drop for Sending {
    fn drop(&mut self) {
        let Self { debts, debt, paid } = self;
        let kept = debts.change(|table| {
            if *paid {
                table.debts.remove(&debt.name());
                return true;
            }
            table.leave(debt)
        });
        if !kept {
            let template = debt.key().template();
            tracing::warn!(
                template,
                "too many releases wait to be sent; the time to live ends this lock or lease"
            );
        }
        debts.changed.notify_waiters();
    }
}

/// Pays all debts that have no task. Until then it keeps the backend alive, as a task for each debt
/// would, even if the last handle is dropped: its locks would stay taken.
async fn collect(claim: Claim<Debts>, debts: Arc<Debts>) {
    let mut backoff = Backoff::new();
    loop {
        let left: Vec<_> = debts.change(|table| {
            std::iter::from_fn(|| table.take_first())
                .take(AT_ONCE)
                .collect()
        });
        if left.is_empty() {
            drop(claim);
            debts.context.background.advance();
            // A debt may have lost its task between the last check and the end of the claim.
            return debts.collect();
        }
        let sending = left.into_iter().map(|debt| Sending::new(&debts, debt));
        let all_paid = join_all(sending.map(Sending::pay)).await;
        if all_paid.into_iter().all(|paid| paid) {
            backoff = Backoff::new();
        } else {
            backoff.pause().await;
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::KeyTemplate;
    use crate::backend::Node;

    fn debt(node: &Node, key: &str) -> Debt {
        let key = KeyTemplate::parse(key).unwrap().render(&[]);
        Debt::of_lease(&key, &node.token(), Moment::from_micros(0))
    }

    #[test]
    fn l6_a_debt_is_kept_once_and_only_so_many_are() {
        let (node, mut table) = (Node::new("test"), Table::default());
        let first = debt(&node, "first");
        assert!(table.add(&first) && !table.add(&first), "it is sent once");
        assert!(table.take(&first.name()).is_none(), "it is being sent");
        assert!(table.leave(&first));
        for _ in 1..CAPACITY {
            let debt = debt(&node, "row");
            assert!(table.add(&debt) && table.leave(&debt));
        }
        let late = debt(&node, "late");
        assert!(table.add(&late) && !table.leave(&late), "there is no room");
        assert_eq!((table.debts.len(), table.left.len()), (CAPACITY, CAPACITY));
    }

    #[test]
    fn l6_a_debt_that_always_fails_is_in_no_others_way() {
        let (node, mut table) = (Node::new("test"), Table::default());
        for key in ["a", "b"] {
            let debt = debt(&node, key);
            assert!(table.add(&debt) && table.leave(&debt));
        }
        let failed = table.take_first().unwrap();
        table.leave(&failed);
        assert_ne!(table.take_first().unwrap().name(), failed.name());
    }
}

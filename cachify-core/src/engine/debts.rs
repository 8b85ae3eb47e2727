//! Releases and lease give-backs that the backend has not acknowledged yet. The task that sends one
//! ends with its runtime, and a program may have several runtimes. The debt itself stays in the
//! handle, and the next call pays it on its own runtime.

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

/// The most debts without a task that are kept. The time to live ends the others.
const CAPACITY: usize = 10_000;
/// The most debts that are paid at a time.
const AT_ONCE: usize = 100;

/// Something that the backend must be told is over.
#[derive(Clone)]
pub(crate) struct Debt {
    what: What,
    token: Token,
    /// When the backend ends it by itself.
    until: Moment,
}

#[derive(Clone)]
enum What {
    Slot(Slot),
    Lease(Key),
}

impl Debt {
    /// A hold or a place in the queue.
    pub(crate) fn of_slot(slot: &Slot, token: &Token, until: Moment) -> Self {
        Self {
            what: What::Slot(slot.clone()),
            token: token.clone(),
            until,
        }
    }

    /// The right to fill an entry.
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

/// The kind of slot (`None`: a lease), the key's text, and the token.
type Name = (Option<SlotKind>, SmolStr, Token);

/// What a handle owes.
pub(crate) struct Debts {
    context: Context,
    clock: Clock,
    table: Mutex<Table>,
    /// The sizes of the table's maps: a call costs one load each while nothing is owed.
    all: AtomicUsize,
    left: AtomicUsize,
    collecting: AtomicBool,
    /// One was paid, or its task ended.
    changed: Notify,
}

#[derive(Default)]
struct Table {
    /// With its place in `left`; `None` while it is being sent.
    debts: BTreeMap<Name, (Debt, Option<u64>)>,
    /// Those without a task, in the order in which they lost it.
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

    /// Returns whether some have no task that sends them.
    #[inline]
    pub(crate) fn are_left(&self) -> bool {
        self.left.load(Ordering::Acquire) != 0
    }

    /// Starts to pay all debts that have no task, unless that is under way or there are none.
    pub(crate) fn collect(self: &Arc<Self>) {
        if self.are_left()
            && let Some(claim) = Claim::take(self, |debts| &debts.collecting)
        {
            self.context.background.spawn(collect(claim));
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

    /// [`Backend::acquire`](crate::backend::Backend::acquire), which does not fail for what this
    /// handle itself has yet to release.
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
        // A release that had to connect anew may have come after the request.
        self.settled(&owed).await;
        backend.acquire(slot, acquire).await
    }

    /// Returns the debts for a slot, some at least.
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

    /// Waits until none of these is being sent.
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
    /// Adds a debt that is about to be sent. `false`: it is there already.
    fn add(&mut self, debt: &Debt) -> bool {
        let name = debt.name();
        let is_new = !self.debts.contains_key(&name);
        if is_new {
            self.debts.insert(name, (debt.clone(), None));
        }
        is_new
    }

    /// Nothing sends this debt any more. `false`: there is no room to keep it.
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

    /// Takes one that nothing sends, to send it.
    fn take(&mut self, name: &Name) -> Option<Debt> {
        let (debt, place) = self.debts.get_mut(name)?;
        self.left.remove(&place.take()?);
        Some(debt.clone())
    }

    /// Takes the one that nothing sends for the longest time.
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

/// A debt that is being sent. Dropped unpaid, as by the end of a runtime, it is left to the next
/// call.
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

    /// Sends it. `false`: it was not acknowledged, and is left to be sent again.
    async fn pay(mut self) -> bool {
        let Self { debts, debt, .. } = &self;
        let (backend, within) = (&debts.context.backend, debts.context.timeout);
        // Bypasses the circuit breaker, and repetitions must not open it either.
        let result = match &debt.what {
            What::Slot(slot) => limit(within, backend.release(slot, &debt.token)).await,
            What::Lease(key) => limit(within, backend.release_lease(key, &debt.token)).await,
        };
        let template = debt.key().template();
        match result {
            Ok(_) => {
                if let What::Lease(key) = &debt.what {
                    // The subscription that brings word of it may have ended with the same runtime.
                    backend.signals().wake(key.as_str());
                }
                self.paid = true;
            }
            Err(error) if debts.clock.now() >= debt.until => {
                tracing::warn!(%error, template, "a release was not acknowledged; the time to live ended it");
                self.paid = true;
            }
            Err(error) => {
                tracing::debug!(%error, template, "a release was not acknowledged, and is sent again");
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
                "too many releases are owed; the time to live ends this one"
            );
        }
        debts.changed.notify_waiters();
    }
}

/// Pays all debts that have no task. It keeps the connection until then, as each of their tasks
/// would have.
async fn collect(claim: Claim<Debts>) {
    let Some(debts) = claim.owner() else {
        return;
    };
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
            // For what was left between the last look and the end of the claim.
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

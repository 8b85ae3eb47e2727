//! Renewal: one task for each handle keeps its leases, locks and permits alive.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use futures_util::future::{Either, pending, select};
use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use super::background::Context;
use super::budget::limit;
use crate::backend::{Backend, BoxFuture};

/// An item that expires unless it is renewed.
pub(crate) trait Renewable: Send + Sync {
    /// Renews the item. Returns the time until the next renewal, or `None` if there is none.
    fn renew(&self) -> BoxFuture<'_, Option<Duration>>;
}

/// Renews registered items for as long as the handle lives. The task starts with the first
/// registration and ends with the handle.
pub(crate) struct Renewal {
    context: Context,
    shared: Arc<Shared>,
}

struct Shared {
    table: Mutex<Table>,
    /// Notified if an item is due before `alarm`, or if the handle is dropped.
    changed: Notify,
    watch: Arc<Watch>,
    /// Set if the task ended with its runtime although items are left.
    orphaned: AtomicBool,
}

#[derive(Default)]
struct Table {
    /// Each item with the time at which it is due; `None` while it is being renewed.
    items: BTreeMap<u64, (Weak<dyn Renewable>, Option<Instant>)>,
    /// The items by the time at which they are due, without those that are being renewed.
    due: BTreeSet<(Instant, u64)>,
    /// The items to renew at once. A disturbance moves all items of `due` here.
    overdue: BTreeSet<(Instant, u64)>,
    /// The number of disturbances that the task has seen.
    disturbances: u64,
    /// The items that are being renewed.
    renewing: BTreeSet<u64>,
    /// The time at which the task next wakes by itself.
    alarm: Option<Instant>,
    last: u64,
    running: bool,
    closed: bool,
}

/// A registration. Dropping it ends the renewal of its item.
pub(crate) struct Ticket {
    shared: Arc<Shared>,
    id: u64,
}

/// The largest number of items that are renewed at a time. More requests would wait for each other
/// in the connection until they time out.
const AT_ONCE: usize = 100;

/// An item that watches the backend's clock while other items are renewed.
struct Watch {
    backend: Weak<dyn Backend>,
    timeout: Duration,
}

impl Watch {
    const ID: u64 = 0;
    /// The longest time for which a step of the backend's clock goes unnoticed.
    const EVERY: Duration = Duration::from_secs(1);
}

impl Renewable for Watch {
    fn renew(&self) -> BoxFuture<'_, Option<Duration>> {
        Box::pin(async move {
            let backend = self.backend.upgrade()?;
            // An error is ignored here, because the renewals fail with it as well.
            let _ = limit(self.timeout, backend.watch()).await;
            Some(Self::EVERY)
        })
    }
}

impl Renewal {
    pub(crate) fn new(context: Context) -> Self {
        let watch = Watch {
            backend: Arc::downgrade(&context.backend),
            timeout: context.timeout,
        };
        let shared = Arc::new(Shared {
            table: Mutex::default(),
            changed: Notify::new(),
            watch: Arc::new(watch),
            orphaned: AtomicBool::new(false),
        });
        Self { context, shared }
    }

    /// Renews `item` after `first`, and then as often as the item says, until the ticket is
    /// dropped. `disturbances` is the number of disturbances before the item was acquired: if it
    /// has grown since, the first renewal is due at once.
    pub(crate) fn register(
        &self,
        first: Duration,
        disturbances: u64,
        item: &Arc<dyn Renewable>,
    ) -> Ticket {
        let backend = &self.context.backend;
        let id = {
            let mut table = self.shared.table();
            let now = Instant::now();
            if !backend.is_local() && !table.items.contains_key(&Watch::ID) {
                let watch: Arc<dyn Renewable> = self.shared.watch.clone();
                table.add(Watch::ID, &watch, now + Watch::EVERY);
            }
            table.last += 1;
            let id = table.last;
            // Checked under the lock, so a later disturbance finds the item in the table.
            let is_disturbed = backend.signals().disturbances() != disturbances;
            table.add(id, item, if is_disturbed { now } else { now + first });
            if table.is_due_early() {
                self.shared.changed.notify_one();
            }
            id
        };
        self.ensure();
        Ticket {
            shared: Arc::clone(&self.shared),
            id,
        }
    }

    /// Returns whether items are left but no task renews them. Then call [`ensure`](Self::ensure).
    #[inline]
    pub(crate) fn is_orphaned(&self) -> bool {
        self.shared.orphaned.load(Ordering::Acquire)
    }

    /// Starts the task unless it runs. The task ends with the runtime that it was started on, and a
    /// program may have several runtimes.
    pub(crate) fn ensure(&self) {
        if !std::mem::replace(&mut self.shared.table().running, true) {
            self.shared.orphaned.store(false, Ordering::Release);
            let Context {
                backend,
                background,
                ..
            } = &self.context;
            let running = Running(Arc::clone(&self.shared));
            background.spawn(run(running, Arc::downgrade(backend)));
        }
    }
}

impl Drop for Renewal {
    fn drop(&mut self) {
        self.shared.table().closed = true;
        self.shared.changed.notify_one();
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.shared.table().forget(self.id);
    }
}

impl Shared {
    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn add(&mut self, id: u64, item: &Arc<dyn Renewable>, at: Instant) {
        self.items.insert(id, (Arc::downgrade(item), None));
        self.schedule(id, at);
    }

    /// Makes an item due at `at`, unless the item was forgotten.
    fn schedule(&mut self, id: u64, at: Instant) {
        if let Some((_, due)) = self.items.get_mut(&id) {
            *due = Some(at);
            self.due.insert((at, id));
            self.renewing.remove(&id);
        }
    }

    /// Returns whether an item is due before the task wakes by itself.
    fn is_due_early(&self) -> bool {
        let first = self.due.first();
        first.is_some_and(|(at, _)| self.alarm.is_none_or(|alarm| *at < alarm))
    }

    /// Makes all items due at once, except for those that are being renewed.
    fn hurry(&mut self) {
        self.overdue.append(&mut self.due);
    }

    /// Makes the items due that were being renewed when the last task ended.
    fn resume(&mut self) {
        let now = Instant::now();
        for id in std::mem::take(&mut self.renewing) {
            self.schedule(id, now);
        }
    }

    fn forget(&mut self, id: u64) {
        self.renewing.remove(&id);
        if let Some((_, Some(at))) = self.items.remove(&id) {
            let _ = self.due.remove(&(at, id)) || self.overdue.remove(&(at, id));
        }
    }

    /// Takes an item that is due.
    fn next_due(&mut self, now: Instant) -> Option<(u64, Weak<dyn Renewable>)> {
        if self.overdue.is_empty() {
            let first = *self.due.first().filter(|(at, _)| *at <= now)?;
            self.due.remove(&first);
            self.overdue.insert(first);
        }
        let (_, id) = self.overdue.pop_first()?;
        let (item, due) = self.items.get_mut(&id)?;
        *due = None;
        self.renewing.insert(id);
        Some((id, Weak::clone(item)))
    }
}

/// Clears the running flag on drop, so the next caller restarts the task even if its runtime is
/// gone.
struct Running(Arc<Shared>);

impl Drop for Running {
    fn drop(&mut self) {
        let mut table = self.0.table();
        table.running = false;
        self.0
            .orphaned
            .store(!table.items.is_empty(), Ordering::Release);
    }
}

async fn run(running: Running, backend: Weak<dyn Backend>) {
    let shared = &running.0;
    let Some(mut disturbances) = backend
        .upgrade()
        .map(|backend| backend.signals().on_disturbance())
    else {
        return;
    };
    let mut renewals = FuturesUnordered::new();
    shared.table().resume();
    loop {
        let first = {
            let mut table = shared.table();
            if table.closed {
                return;
            }
            let count = *disturbances.borrow_and_update();
            if count != std::mem::replace(&mut table.disturbances, count) {
                table.hurry();
            }
            while renewals.len() < AT_ONCE
                && let Some((id, item)) = table.next_due(Instant::now())
            {
                renewals.push(renew(id, item, Weak::clone(&backend)));
            }
            table.alarm = table.due.first().map(|(at, _)| *at);
            // At the limit, the next item must wait for a renewal to finish, not for its time.
            table.alarm.filter(|_| renewals.len() < AT_ONCE)
        };
        let finished = pin!(next_finished(&mut renewals));
        let timer = pin!(at(first));
        let changed = pin!(shared.changed.notified());
        let disturbed = pin!(disturbances.changed());
        let Either::Left((Either::Left(((id, again), _)), _)) =
            select(select(finished, timer), select(changed, disturbed)).await
        else {
            continue;
        };
        let mut table = shared.table();
        let is_alone = id == Watch::ID && table.items.len() == 1;
        match again.filter(|_| !is_alone) {
            Some(after) => table.schedule(id, Instant::now() + after),
            None => table.forget(id),
        }
    }
}

async fn renew(
    id: u64,
    item: Weak<dyn Renewable>,
    backend: Weak<dyn Backend>,
) -> (u64, Option<Duration>) {
    let (Some(item), Some(backend)) = (item.upgrade(), backend.upgrade()) else {
        return (id, None);
    };
    let signals = backend.signals();
    let before = signals.disturbances();
    let next = item.renew().await;
    // The renewal may have come before the disturbance, so it is repeated at once.
    let is_disturbed = id != Watch::ID && signals.disturbances() != before;
    (
        id,
        if is_disturbed {
            next.map(|_| Duration::ZERO)
        } else {
            next
        },
    )
}

async fn next_finished<F: Future>(futures: &mut FuturesUnordered<F>) -> F::Output {
    match futures.next().await {
        Some(output) => output,
        None => pending().await,
    }
}

async fn at(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => pending().await,
    }
}

impl fmt::Debug for Renewal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Renewal")
            .field("items", &self.shared.table().items.len())
            .finish_non_exhaustive()
    }
}

#[cfg(all(test, feature = "testing"))]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::testing::Faulty;
    use crate::{Cachify, KeyTemplate};

    #[tokio::test(start_paused = true)]
    async fn l4_the_backend_is_watched_while_something_is_held() {
        // `Faulty` is not local, like a backend on another machine.
        let cachify = Faulty::wrap(&Cachify::memory()).0;
        let key = KeyTemplate::parse("door").unwrap().render(&[]);
        let items = || cachify.inner.engine.renewal.shared.table().items.len();
        let guard = cachify.lock(&key).acquire().await.unwrap();
        tokio::time::sleep(Watch::EVERY * 5).await;
        assert_eq!(items(), 2);
        guard.release().await.unwrap();
        tokio::time::sleep(Watch::EVERY * 2).await;
        assert_eq!(items(), 0);
    }
}

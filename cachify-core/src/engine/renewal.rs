//! One task per handle that keeps leases, locks and permits alive.

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

/// Something that lives as long as it is renewed.
pub(crate) trait Renewable: Send + Sync {
    /// Renews it; answers when to do so next, or `None` if it is over.
    fn renew(&self) -> BoxFuture<'_, Option<Duration>>;
}

/// Renews what is registered, for as long as the handle lives. The task starts with the first
/// registration and ends with the handle.
pub(crate) struct Renewal {
    context: Context,
    shared: Arc<Shared>,
}

struct Shared {
    table: Mutex<Table>,
    /// Something is due before the task would look again.
    changed: Notify,
    watch: Arc<Watch>,
    /// The task ended with its runtime although there is something to renew.
    orphaned: AtomicBool,
}

#[derive(Default)]
struct Table {
    /// With the time at which each is due, unless it is being renewed at the moment.
    items: BTreeMap<u64, (Weak<dyn Renewable>, Option<Instant>)>,
    due: BTreeSet<(Instant, u64)>,
    /// Those that a disturbance made due before their time.
    overdue: BTreeSet<(Instant, u64)>,
    /// How many disturbances were taken note of.
    disturbances: u64,
    /// What is being renewed at the moment.
    renewing: BTreeSet<u64>,
    /// When the task looks again by itself.
    alarm: Option<Instant>,
    last: u64,
    running: bool,
    closed: bool,
}

/// Ends the renewal when it is dropped.
pub(crate) struct Ticket {
    shared: Arc<Shared>,
    id: u64,
}

/// The most that are renewed at a time. More would wait for one another in the connection until
/// their time limit.
const AT_ONCE: usize = 100;

/// Watches the backend while anything else is renewed.
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
            // An error needs no note: the renewals themselves meet it.
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

    /// Renews `item` after `first`, and then as often as it says, until the ticket is dropped; at
    /// once if the backend was disturbed since there were `disturbances`.
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
            // Under the lock: a disturbance that comes later finds it in the table.
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

    /// Returns whether nothing renews what is registered, until the next [`ensure`](Self::ensure).
    #[inline]
    pub(crate) fn is_orphaned(&self) -> bool {
        self.shared.orphaned.load(Ordering::Acquire)
    }

    /// Starts the task unless it runs. It ends with the runtime it was started on, of which a
    /// program may have several.
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

    /// Unless it was forgotten.
    fn schedule(&mut self, id: u64, at: Instant) {
        if let Some((_, due)) = self.items.get_mut(&id) {
            *due = Some(at);
            self.due.insert((at, id));
            self.renewing.remove(&id);
        }
    }

    /// Returns whether the task must be told, because it sleeps for longer.
    fn is_due_early(&self) -> bool {
        let first = self.due.first();
        first.is_some_and(|(at, _)| self.alarm.is_none_or(|alarm| *at < alarm))
    }

    /// Makes all due that are not being renewed.
    fn hurry(&mut self) {
        self.overdue.append(&mut self.due);
    }

    /// Schedules at once what was being renewed when the last task ended.
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

    /// Takes one whose time has come.
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
            // If there is no room, one that is done makes some.
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
    // It may have been renewed before the backend was disturbed.
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
        // As a backend that is somewhere else.
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

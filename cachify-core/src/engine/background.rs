//! Tasks that outlive the call that started them: releases, resets, probes, renewals.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::task::{Context as TaskContext, Poll, Waker};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::sync::futures::Notified;

use crate::backend::Backend;

/// The backend and the limits that background tasks work with.
#[derive(Debug, Clone)]
pub(crate) struct Context {
    pub(crate) backend: Arc<dyn Backend>,
    /// The longest time that one request may take.
    pub(crate) timeout: Duration,
    pub(crate) background: Arc<Background>,
}

/// Starts background tasks, and counts those that closing waits for.
#[derive(Debug)]
pub(crate) struct Background {
    /// The runtime that the handle was created in.
    runtime: Option<Handle>,
    /// The number of tasks that closing waits for.
    live: AtomicUsize,
    /// Notified when work was done that closing waits for.
    progress: Notify,
    shut_down: AtomicBool,
}

impl Background {
    pub(crate) fn new() -> Self {
        Self {
            runtime: Handle::try_current().ok(),
            live: AtomicUsize::new(0),
            progress: Notify::new(),
            shut_down: AtomicBool::new(false),
        }
    }

    /// Runs `future` in the background, on the current runtime or else on the one that the handle
    /// was created in. Returns `false` if there is no runtime.
    pub(crate) fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) -> bool {
        match Handle::try_current().ok().or_else(|| self.runtime.clone()) {
            Some(runtime) => {
                runtime.spawn(future);
                true
            }
            None => false,
        }
    }

    /// Like [`spawn`](Self::spawn), for work that closing waits for.
    ///
    /// Polls the future once before it returns. By then the memory backend is done, and a
    /// connection has sent the request, so the caller's next request finds the lock free.
    pub(crate) fn spawn_tracked(
        self: &Arc<Self>,
        future: impl Future<Output = ()> + Send + 'static,
    ) -> bool {
        self.live.fetch_add(1, Ordering::AcqRel);
        let done = Tracked(Arc::clone(self));
        let mut task = Box::pin(async move {
            future.await;
            drop(done);
        });
        let mut nobody = TaskContext::from_waker(Waker::noop());
        // Without any runtime, the memory backend still completes here, and a connection leaves the
        // work to the next call.
        if Handle::try_current().is_ok() || self.runtime.is_none() {
            // A guard may be calling this in its drop, which must not panic. A timer panics if its
            // runtime was shut down.
            let begin = AssertUnwindSafe(|| task.as_mut().poll(&mut nobody));
            match catch_unwind(begin) {
                Ok(Poll::Pending) => {}
                Ok(Poll::Ready(())) => return true,
                Err(_) => return false,
            }
        }
        self.spawn(task)
    }

    /// Returns whether there is a runtime for [`spawn`](Self::spawn).
    pub(crate) fn has_runtime(&self) -> bool {
        self.runtime.is_some() || Handle::try_current().is_ok()
    }

    /// Like [`spawn`](Self::spawn), for work that closing waits for.
    pub(crate) fn spawn_counted(
        self: &Arc<Self>,
        future: impl Future<Output = ()> + Send + 'static,
    ) {
        self.live.fetch_add(1, Ordering::AcqRel);
        let done = Tracked(Arc::clone(self));
        self.spawn(async move {
            future.await;
            drop(done);
        });
    }

    /// Returns the number of tasks that closing waits for.
    pub(crate) fn live(&self) -> usize {
        self.live.load(Ordering::Acquire)
    }

    /// Waits for the next [`advance`](Self::advance) after this call, even if it is polled later.
    pub(crate) fn progress(&self) -> Notified<'_> {
        self.progress.notified()
    }

    /// Reports that some work was done.
    pub(crate) fn advance(&self) {
        self.progress.notify_waiters();
    }

    pub(crate) fn is_shut_down(&self) -> bool {
        self.shut_down.load(Ordering::Acquire)
    }

    /// Refuses all further operations, and ends probes and replays.
    pub(crate) fn shut_down(&self) {
        self.shut_down.store(true, Ordering::Release);
    }
}

/// Ends the count of a background task when dropped, however the task ends.
struct Tracked(Arc<Background>);

impl Drop for Tracked {
    fn drop(&mut self) {
        self.0.live.fetch_sub(1, Ordering::AcqRel);
        self.0.advance();
    }
}

/// The growing pause before a background task tries an absent backend again.
pub(crate) struct Backoff(Duration);

impl Backoff {
    const FIRST: Duration = Duration::from_millis(50);
    const LAST: Duration = Duration::from_secs(1);

    pub(crate) const fn new() -> Self {
        Self(Self::FIRST)
    }

    pub(crate) async fn pause(&mut self) {
        tokio::time::sleep(self.0).await;
        self.0 = (self.0 * 2).min(Self::LAST);
    }
}

/// The exclusive right to one kind of background work. It ends when it is dropped, with the task or
/// with its runtime.
pub(crate) struct Claim<T> {
    owner: Weak<T>,
    flag: fn(&T) -> &AtomicBool,
}

impl<T> Claim<T> {
    /// Takes the right of `owner` that `flag` guards. Returns `None` if another task has it.
    pub(crate) fn take(owner: &Arc<T>, flag: fn(&T) -> &AtomicBool) -> Option<Self> {
        let taken = flag(owner);
        let is_free = !taken.load(Ordering::Acquire) && !taken.swap(true, Ordering::AcqRel);
        is_free.then(|| Self {
            owner: Arc::downgrade(owner),
            flag,
        })
    }

    /// Returns the owner, unless the handle is gone.
    pub(crate) fn owner(&self) -> Option<Arc<T>> {
        self.owner.upgrade()
    }
}

impl<T> Drop for Claim<T> {
    fn drop(&mut self) {
        if let Some(owner) = self.owner.upgrade() {
            (self.flag)(&owner).store(false, Ordering::Release);
        }
    }
}

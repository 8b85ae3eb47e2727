//! Feature `blocking`: cachify in functions that are not async.
//!
//! The caller's thread runs the function's body and waits; timers, connections and renewals run on
//! a thread of their own. So a synchronous function works with and without a tokio runtime around
//! it.
//!
//! | called | |
//! |---|---|
//! | without a runtime, or through `tokio::task::spawn_blocking` | works |
//! | by a task of a multi-thread runtime | works; another thread takes the worker's tasks over, as by `block_in_place` |
//! | by a task of a current-thread runtime, over memory | works; all other tasks stand still meanwhile |
//! | the same, over a connection that this runtime drives | fails: the answer cannot arrive while the thread is blocked |

use std::cell::RefCell;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Once, OnceLock};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::Duration;

use tokio::runtime::{Builder, Handle, Runtime, RuntimeFlavor};
use tokio::task::block_in_place;
use tokio::time::timeout;

use crate::{Error, ErrorKind};

/// Waits for `future` on this thread.
///
/// Unlike tokio's `block_on`, it may be called anywhere. On the only thread of a current-thread
/// runtime it keeps all tasks from running, those included that `future` waits for: an operation
/// that waits for a connection of that runtime fails with
/// [`Configuration`](crate::ErrorKind::Configuration). Use `tokio::task::spawn_blocking` there, or
/// an `async fn`.
///
/// # Panics
///
/// If the operating system refuses a thread, at the first call.
///
/// # Examples
///
/// ```
/// use cachify_core::{Cachify, blocking, key};
///
/// let cachify = blocking::block_on(Cachify::connect("memory://"))?;
/// let cached = cachify.cached(&key!("answer"));
/// assert_eq!(blocking::block_on(cached.get_or_compute(async || 42)), 42);
/// # Ok::<(), cachify_core::Error>(())
/// ```
pub fn block_on<F: Future>(future: F) -> F::Output {
    // A call within a call finds the runtime of this module, and is part of the outer one.
    let around = Handle::try_current().ok();
    let Some(around) = around.filter(|around| around.id() != runtime().id()) else {
        return wait(future);
    };
    let flavor = around.runtime_flavor();
    let _blocked = Blocked::enter(around);
    if flavor == RuntimeFlavor::CurrentThread {
        return wait(future);
    }
    // What this thread wakes would otherwise stay in the worker's own slot, out of the reach of
    // other workers.
    let mut future = Some(future);
    let waited = catch_unwind(AssertUnwindSafe(|| {
        block_in_place(|| future.take().map(wait))
    }));
    match (waited, future) {
        (Ok(Some(output)), _) => output,
        // In a `LocalSet`, tokio refuses by a panic.
        (_, Some(future)) => wait(future),
        (Err(panic), None) => resume_unwind(panic),
        (Ok(None), None) => unreachable!("it is taken once"),
    }
}

fn wait<F: Future>(future: F) -> F::Output {
    let _runtime = runtime().enter();
    // A budget that a surrounding task has used up would never be filled again here.
    let mut future = pin!(tokio::task::unconstrained(future));
    let wake = Arc::new(Unpark {
        thread: thread::current(),
        woken: AtomicBool::new(false),
    });
    let waker = Waker::from(Arc::clone(&wake));
    let mut context = Context::from_waker(&waker);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return output;
        }
        // A call within the future parks the same thread, and may use up the token that was meant
        // for this one.
        while !wake.woken.swap(false, Ordering::Acquire) {
            thread::park();
        }
    }
}

thread_local! {
    static BLOCKED: RefCell<Option<Blocked>> = const { RefCell::new(None) };
}

/// The runtime around a call that blocks.
struct Blocked {
    runtime: Handle,
    /// An answer was waited for that this runtime must deliver.
    awaited: bool,
}

/// Restores what [`BLOCKED`] was before.
struct Restore(Option<Blocked>);

impl Blocked {
    fn enter(runtime: Handle) -> Restore {
        let blocked = Self {
            runtime,
            awaited: false,
        };
        Restore(BLOCKED.replace(Some(blocked)))
    }
}

impl Drop for Restore {
    fn drop(&mut self) {
        BLOCKED.set(self.0.take());
    }
}

/// Takes note that the caller waits for what `runtime` must deliver.
#[cfg(feature = "redis")]
pub(crate) fn awaits(runtime: &Handle) {
    BLOCKED.with_borrow_mut(|blocked| {
        if let Some(blocked) = blocked {
            blocked.awaited |= blocked.runtime.id() == runtime.id();
        }
    });
}

/// The runtime around a call that blocks, if the call waited for it.
pub(crate) fn awaited() -> Option<Handle> {
    BLOCKED.with_borrow(|blocked| {
        let blocked = blocked.as_ref().filter(|blocked| blocked.awaited);
        blocked.map(|blocked| blocked.runtime.clone())
    })
}

/// How long a runtime may take to run a task before it counts as blocked.
const WITHIN: Duration = Duration::from_millis(100);

/// Returns whether the runtime runs a task at present.
pub(crate) async fn runs(awaited: Handle) -> bool {
    // Spawned from elsewhere, or it would stay with this thread.
    let task = runtime().spawn(async move { awaited.spawn(async {}).await });
    timeout(WITHIN, task).await.is_ok()
}

/// Explains why an operation got no answer, if this thread itself keeps the answer from arriving.
pub(crate) async fn explain() -> Option<Error> {
    static WARNED: Once = Once::new();
    let awaited = awaited()?;
    if runs(awaited).await {
        return None;
    }
    let error = Error::new(
        ErrorKind::Configuration,
        "a function that is not async waits for the backend on the only thread of a current-thread tokio runtime, whose task must \
         deliver the answer; call it through `tokio::task::spawn_blocking`, or make it an `async fn`, or use a multi-thread runtime",
    );
    WARNED.call_once(|| tracing::warn!(%error, "a blocking call blocks itself"));
    Some(error)
}

struct Unpark {
    thread: Thread,
    woken: AtomicBool,
}

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.woken.store(true, Ordering::Release);
        self.thread.unpark();
    }
}

fn runtime() -> &'static Handle {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    let runtime = RUNTIME.get_or_init(|| {
        let built = Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("cachify-blocking")
            .enable_all()
            .build();
        match built {
            Ok(runtime) => runtime,
            Err(error) => panic!("cannot start the thread that blocking calls need: {error}"),
        }
    });
    runtime.handle()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use tokio::sync::oneshot;

    use super::*;

    #[test]
    fn a_call_within_a_call_does_not_take_its_wake_up() {
        let (done, outcome) = mpsc::channel();
        thread::spawn(move || {
            let (outer, told) = oneshot::channel::<()>();
            let within = async move {
                let (inner, later) = oneshot::channel::<()>();
                // While the inner call waits, the outer one is woken first.
                thread::spawn(move || {
                    outer.send(()).unwrap();
                    thread::sleep(Duration::from_millis(50));
                    inner.send(()).unwrap();
                });
                block_on(later).unwrap();
            };
            let (told, ()) = block_on(futures_util::future::join(told, within));
            done.send(told.is_ok()).unwrap();
        });
        let outcome = outcome.recv_timeout(Duration::from_secs(10));
        assert!(outcome.expect("nobody waits for ever"));
    }
}

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

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};

use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::task::block_in_place;

use crate::runtime::blocked::{Blocked, runtime};

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

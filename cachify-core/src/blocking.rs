//! Support for functions that are not async (feature `blocking`).
//!
//! The caller's thread runs the function's body and waits, while timers, connections and renewals
//! run on a separate thread. A synchronous function therefore works both inside and outside a tokio
//! runtime.
//!
//! | call | result |
//! |---|---|
//! | outside a runtime, or through `tokio::task::spawn_blocking` | works |
//! | in a task of a multi-thread runtime | works; another thread takes over the worker's tasks, as with `block_in_place` |
//! | in a task of a current-thread runtime, over memory | works; all other tasks of the runtime stop meanwhile |
//! | in a task of a current-thread runtime, over a connection that this runtime drives | fails: the answer cannot arrive while the thread is blocked |

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

/// Runs `future` to completion on this thread.
///
/// Unlike tokio's `block_on`, it may be called anywhere. On the only thread of a current-thread
/// runtime, however, it stops all tasks of that runtime, even those that `future` waits for. An
/// operation that waits for a connection of that runtime fails with
/// [`Configuration`](crate::ErrorKind::Configuration). Use `tokio::task::spawn_blocking` or an
/// `async fn` there.
///
/// # Panics
///
/// If the operating system refuses to start the thread, which the first call does.
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
    // A nested call finds the runtime of this module, and is part of the outer call.
    let around = Handle::try_current().ok();
    let Some(around) = around.filter(|around| around.id() != runtime().id()) else {
        return wait(future);
    };
    let flavor = around.runtime_flavor();
    let _blocked = Blocked::enter(around);
    if flavor == RuntimeFlavor::CurrentThread {
        return wait(future);
    }
    // Without `block_in_place`, a task that this thread wakes would stay in the worker's own slot,
    // where other workers cannot take it.
    let mut future = Some(future);
    let waited = catch_unwind(AssertUnwindSafe(|| {
        block_in_place(|| future.take().map(wait))
    }));
    match (waited, future) {
        (Ok(Some(output)), _) => output,
        // In a `LocalSet`, `block_in_place` panics before it takes the future.
        (_, Some(future)) => wait(future),
        (Err(panic), None) => resume_unwind(panic),
        (Ok(None), None) => unreachable!("the future is taken once"),
    }
}

fn wait<F: Future>(future: F) -> F::Output {
    let _runtime = runtime().enter();
    // A cooperative budget that the surrounding task has used up would never be refilled here.
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
        // A nested call within the future parks the same thread, and may consume the wake-up that
        // was meant for this call.
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
        assert!(outcome.expect("the calls end"));
    }
}

//! Feature `blocking`: cachify in functions that are not async.
//!
//! The caller's thread runs the function's body and waits; timers, connections and renewals run on a thread of their own. So a
//! synchronous function works with and without a tokio runtime around it. Within one it blocks a worker thread, as all
//! synchronous work does: call it through `tokio::task::spawn_blocking`.

use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};

use tokio::runtime::{Builder, Handle, Runtime};

/// Waits for `future` on this thread.
///
/// Unlike tokio's `block_on`, it may be called anywhere. What blocks a thread of an async runtime keeps that thread from its other
/// tasks, though, those included that this may be waiting for.
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
        // A call within the future parks the same thread, and may use up the token that was meant for this one.
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

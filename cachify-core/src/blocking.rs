//! Feature `blocking`: cachify in functions that are not async.
//!
//! The caller's thread runs the function's body and waits; timers, connections and renewals run on a thread of their own. So a
//! synchronous function works with and without a tokio runtime around it. Within one it blocks a worker thread, as all
//! synchronous work does: call it through `tokio::task::spawn_blocking`.

use std::future::Future;
use std::pin::pin;
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
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut context = Context::from_waker(&waker);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return output;
        }
        thread::park();
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
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

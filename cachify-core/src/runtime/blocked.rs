//! Detects a blocking call that waits for the runtime whose thread it blocks.

use std::cell::RefCell;
use std::sync::{Once, OnceLock};
use std::time::Duration;

use tokio::runtime::{Builder, Handle, Runtime};
use tokio::time::timeout;

use crate::{Error, ErrorKind};

thread_local! {
    static BLOCKED: RefCell<Option<Blocked>> = const { RefCell::new(None) };
}

/// The runtime around a blocking call.
pub(crate) struct Blocked {
    runtime: Handle,
    /// Set when the call waits for an answer that this runtime must deliver.
    awaited: bool,
}

/// Restores the earlier value of [`BLOCKED`] on drop.
pub(crate) struct Restore(Option<Blocked>);

impl Blocked {
    pub(crate) fn enter(runtime: Handle) -> Restore {
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

/// Takes note that the caller waits for an answer that `runtime` must deliver.
#[cfg(feature = "redis")]
pub(crate) fn awaits(runtime: &Handle) {
    BLOCKED.with_borrow_mut(|blocked| {
        if let Some(blocked) = blocked {
            blocked.awaited |= blocked.runtime.id() == runtime.id();
        }
    });
}

/// Returns the runtime around the blocking call, if the call waited for an answer from it.
pub(crate) fn awaited() -> Option<Handle> {
    BLOCKED.with_borrow(|blocked| {
        let blocked = blocked.as_ref().filter(|blocked| blocked.awaited);
        blocked.map(|blocked| blocked.runtime.clone())
    })
}

/// The longest time that a runtime may take to run a task before it counts as blocked.
const WITHIN: Duration = Duration::from_millis(100);

/// Returns whether the runtime can run a task at present.
pub(crate) async fn runs(awaited: Handle) -> bool {
    // Spawned from another thread, or the task would stay in the queue of this one.
    let task = runtime().spawn(async move { awaited.spawn(async {}).await });
    timeout(WITHIN, task).await.is_ok()
}

/// Returns the error of an operation whose answer cannot arrive because it blocks this thread, if
/// that is why no answer came.
pub(crate) async fn explain() -> Option<Error> {
    static WARNED: Once = Once::new();
    let awaited = awaited()?;
    if runs(awaited).await {
        return None;
    }
    let error = Error::new(
        ErrorKind::Configuration,
        "a function that is not async waits for the backend on the only thread of a current-thread \
         tokio runtime, whose task must deliver the answer; call it through \
         `tokio::task::spawn_blocking`, or make it an `async fn`, or use a multi-thread runtime",
    );
    WARNED.call_once(|| tracing::warn!(%error, "a blocking call blocks itself"));
    Some(error)
}

/// Returns the runtime of blocking calls, whose thread runs their timers and connections.
pub(crate) fn runtime() -> &'static Handle {
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

//! The keys that the current task is computing, so that it does not wait for itself.

use std::future::Future;
use std::sync::Arc;

use crate::Key;
use crate::engine::Engine;

tokio::task_local! {
    static INNERMOST: Arc<Frame>;
}

/// A computation, and the computation that it runs inside of, if there is one.
struct Frame {
    handle: Arc<Engine>,
    key: Key,
    outer: Option<Arc<Frame>>,
}

/// Returns whether the current task is computing `key`, for values of any type: all types of a key
/// share one lease.
pub(super) fn is_under_way(handle: &Arc<Engine>, key: &Key) -> bool {
    INNERMOST
        .try_with(|innermost| {
            let mut frames = std::iter::successors(Some(innermost), |frame| frame.outer.as_ref());
            frames.any(|frame| Arc::ptr_eq(&frame.handle, handle) && frame.key == *key)
        })
        .unwrap_or(false)
}

/// Runs a computation of `key`.
pub(super) async fn run<F: Future>(
    handle: &Arc<Engine>,
    key: &Key,
    compute: impl FnOnce() -> F,
) -> F::Output {
    let frame = Arc::new(Frame {
        handle: Arc::clone(handle),
        key: key.clone(),
        outer: INNERMOST.try_with(Arc::clone).ok(),
    });
    // Boxed, because computations nest, and those of blocking functions nest on one stack.
    let compute = Box::pin(async { compute().await });
    INNERMOST.scope(frame, compute).await
}

//! Helpers that the benches share.

use std::sync::atomic::{AtomicUsize, Ordering};

// The module's own heading says "floor".
#[path = "../../../cachify-core/benches/ratio/mod.rs"]
#[allow(dead_code)]
mod ratio;
pub(crate) use ratio::Comparison;

static COMPUTED: AtomicUsize = AtomicUsize::new(0);

/// Counts a computation. Every function calls it, and a hit does not run the function.
pub(crate) fn compute() {
    COMPUTED.fetch_add(1, Ordering::Relaxed);
}

/// Returns the number of computations since the last call.
pub(crate) fn computed() -> usize {
    COMPUTED.swap(0, Ordering::Relaxed)
}

/// Prints the heading.
pub(crate) fn heading() {
    println!(
        "{:<44} {:>11} {:>11} {:>7} {:>12} {:>7}",
        "", "theirs", "ours", "ratio", "quartiles", "budget"
    );
}

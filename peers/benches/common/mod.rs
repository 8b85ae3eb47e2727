//! What the benches share.

use std::sync::atomic::{AtomicUsize, Ordering};

// Its own heading calls the other one "floor".
#[path = "../../../cachify-core/benches/ratio/mod.rs"]
#[allow(dead_code)]
mod ratio;
pub(crate) use ratio::Comparison;

static COMPUTED: AtomicUsize = AtomicUsize::new(0);

/// To be called by everything that a hit spares.
pub(crate) fn compute() {
    COMPUTED.fetch_add(1, Ordering::Relaxed);
}

/// How often that was, since somebody last asked.
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

use std::thread;
use std::time::{Duration, Instant};

/// The time that servers may take to agree.
const LIMIT: Duration = Duration::from_secs(30);

/// Waits until `done` gives no reason to wait any longer.
#[track_caller]
pub(crate) fn until(what: &str, mut done: impl FnMut() -> Result<(), String>) {
    let end = Instant::now() + LIMIT;
    while let Err(reason) = done() {
        assert!(Instant::now() < end, "waited for {what} in vain: {reason}");
        thread::sleep(Duration::from_millis(10));
    }
}

pub(crate) fn check(holds: bool, reason: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(reason()) }
}

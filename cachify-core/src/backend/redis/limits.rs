//! The longest times that are asked of a server, and how it counts time.

use std::time::Duration;

use crate::Ttl;

/// The longest time that a request stays in force: less than its release is remembered for, so that
/// it never comes after that, and much less than what the scripts take for a sign of clocks that
/// disagree.
pub(super) const LONGEST_ANSWER: Duration = Duration::from_secs(8);
/// Much longer than any hold, and the server can still add it to the present.
pub(super) const LONGEST_TTL: Duration = Duration::from_hours(24 * 366 * 100);

/// `ttl` in milliseconds, rounded up, 1 at least.
pub(super) fn millis(ttl: Duration) -> u64 {
    Ttl::new(ttl.min(LONGEST_TTL))
        .as_millis()
        .unwrap_or(u64::MAX)
        .max(1)
}

pub(super) fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.min(LONGEST_TTL).as_micros()).unwrap_or(u64::MAX)
}

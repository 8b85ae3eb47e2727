//! The longest times that requests contain, and their conversion to the server's units.

use std::time::Duration;

use crate::Ttl;

/// The longest time for which a request stays valid.
///
/// It is shorter than the time for which the server remembers a release, so no request is accepted
/// after its release is forgotten. It is much shorter than the time that the scripts take as a sign
/// of clocks that disagree.
pub(super) const LONGEST_ANSWER: Duration = Duration::from_secs(8);
/// The longest time to live: longer than any hold, but the server can still add it to the present.
pub(super) const LONGEST_TTL: Duration = Duration::from_hours(24 * 366 * 100);

/// Returns `ttl` in milliseconds, rounded up, at least 1.
pub(super) fn millis(ttl: Duration) -> u64 {
    Ttl::new(ttl.min(LONGEST_TTL))
        .as_millis()
        .unwrap_or(u64::MAX)
        .max(1)
}

pub(super) fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.min(LONGEST_TTL).as_micros()).unwrap_or(u64::MAX)
}

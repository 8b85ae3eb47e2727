//! How long an entry lives.

use std::fmt;
use std::time::Duration;

/// How long an entry lives: a number of milliseconds, or for ever.
///
/// Every [`Duration`] makes a valid `Ttl`. A part of a millisecond is rounded up, since a backend counts in
/// milliseconds and an entry must not vanish before its time. Zero means *do not store*.
///
/// ```
/// use cachify_core::Ttl;
/// use std::time::Duration;
///
/// assert_eq!(Ttl::from(Duration::from_micros(1)), Ttl::from(Duration::from_millis(1)));
/// assert_eq!(Ttl::NEVER.as_duration(), None);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ttl(u64);

impl Ttl {
    /// The entry never expires by time: it stays until it is reset, replaced or evicted.
    pub const NEVER: Self = Self(u64::MAX);

    /// Not stored at all.
    pub const ZERO: Self = Self(0);

    /// Longer times than this are the same as [`NEVER`](Self::NEVER): 200 years, which a server's clock in
    /// milliseconds can still add to the present.
    const LONGEST: u64 = 200 * 366 * 86_400 * 1000;

    /// A time to live of `duration`, rounded up to a millisecond.
    pub const fn new(duration: Duration) -> Self {
        let millis = duration.as_nanos().div_ceil(1_000_000);
        if millis > Self::LONGEST as u128 {
            return Self::NEVER;
        }
        #[expect(clippy::cast_possible_truncation, reason = "LONGEST fits")]
        Self(millis as u64)
    }

    /// The time to live, or `None` where the entry never expires.
    pub const fn as_duration(self) -> Option<Duration> {
        match self.as_millis() {
            Some(millis) => Some(Duration::from_millis(millis)),
            None => None,
        }
    }

    /// The time to live in milliseconds, or `None` where the entry never expires.
    pub const fn as_millis(self) -> Option<u64> {
        if self.0 == u64::MAX {
            None
        } else {
            Some(self.0)
        }
    }

    /// Whether nothing is to be stored.
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }

    /// Shortens the time by a random share of up to `share` (0 to 1), so that entries that were made together
    /// do not expire together.
    #[must_use]
    pub(crate) fn jittered(self, share: f64) -> Self {
        match self.as_millis() {
            Some(millis) if share > 0.0 && millis > 1 => {
                #[expect(
                    clippy::cast_precision_loss,
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "a random share of a time needs no more precision"
                )]
                let cut = (millis as f64 * share.min(1.0) * fastrand::f64()) as u64;
                Self((millis - cut).max(1))
            }
            _ => self,
        }
    }
}

impl From<Duration> for Ttl {
    fn from(duration: Duration) -> Self {
        Self::new(duration)
    }
}

impl fmt::Debug for Ttl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.as_duration() {
            Some(duration) => duration.fmt(f),
            None => f.write_str("never"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_of_a_millisecond_is_rounded_up() {
        assert_eq!(Ttl::new(Duration::from_nanos(1)).as_millis(), Some(1));
        assert_eq!(
            Ttl::new(Duration::from_micros(500_001)).as_millis(),
            Some(501)
        );
        assert_eq!(Ttl::new(Duration::ZERO), Ttl::ZERO);
    }

    #[test]
    fn the_longest_duration_never_expires() {
        assert_eq!(Ttl::new(Duration::MAX), Ttl::NEVER);
    }

    #[test]
    fn jitter_only_shortens_and_never_to_nothing() {
        for _ in 0..1000 {
            let ttl = Ttl::new(Duration::from_millis(10)).jittered(1.0);
            assert!(
                ttl.as_millis()
                    .is_some_and(|millis| (1..=10).contains(&millis))
            );
        }
        assert_eq!(Ttl::NEVER.jittered(1.0), Ttl::NEVER);
    }
}

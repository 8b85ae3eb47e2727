//! Times for options, and times to live of entries.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use cachify_syntax::time::{self, TimeError};

use crate::clock::Moment;
use crate::{Error, ErrorKind};

/// The time to live of an entry: a number of milliseconds, or forever.
///
/// Every [`Duration`] makes a valid `Ttl`. A part of a millisecond is rounded up, since a backend
/// counts in milliseconds and an entry must not vanish early. Zero means *do not store*.
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
    /// Never expires: the entry stays until it is reset, replaced or evicted.
    pub const NEVER: Self = Self(u64::MAX);

    /// Zero: the value is not stored.
    pub const ZERO: Self = Self(0);

    /// The longest time, 200 years, which a server's clock in milliseconds can still add to the
    /// present. Longer times count as [`NEVER`](Self::NEVER).
    const LONGEST: u64 = 200 * 366 * 86_400 * 1000;

    /// Makes a time to live of `duration`, rounded up to a millisecond.
    pub const fn new(duration: Duration) -> Self {
        let millis = duration.as_nanos().div_ceil(1_000_000);
        if millis > Self::LONGEST as u128 {
            return Self::NEVER;
        }
        #[expect(clippy::cast_possible_truncation, reason = "LONGEST fits")]
        Self(millis as u64)
    }

    /// Returns the time to live, or `None` if the entry never expires.
    pub const fn as_duration(self) -> Option<Duration> {
        match self.as_millis() {
            Some(millis) => Some(Duration::from_millis(millis)),
            None => None,
        }
    }

    /// Returns the time to live in milliseconds, or `None` if the entry never expires.
    pub const fn as_millis(self) -> Option<u64> {
        if self.0 == u64::MAX {
            None
        } else {
            Some(self.0)
        }
    }

    /// Returns whether the value is not stored.
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }

    /// Returns the time to live with `more` time added.
    #[must_use]
    pub(crate) fn extended(self, more: Duration) -> Self {
        let more = Self::new(more);
        match self.0.saturating_add(more.0) {
            millis if millis > Self::LONGEST => Self::NEVER,
            millis => Self(millis),
        }
    }

    /// Shortens the time by a random share of up to `share` (0 to 1), so that entries that were
    /// made together don't expire together.
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

/// The times of an entry, by the backend's clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Life {
    /// The end of its freshness.
    pub fresh_until: Moment,
    /// The end of the entry. Between the two moments, the entry is stale: callers that ask for
    /// stale values may get it.
    pub until: Moment,
    /// The duration of the value's computation.
    pub cost: Duration,
}

impl Life {
    /// Creates the times of an entry that is never stale.
    pub fn new(until: Moment) -> Self {
        Self {
            fresh_until: until,
            until,
            cost: Duration::ZERO,
        }
    }
}

impl From<Duration> for Ttl {
    fn from(duration: Duration) -> Self {
        Self::new(duration)
    }
}

impl FromStr for Ttl {
    type Err = Error;

    /// Reads a time as in an attribute's `ttl`: `"250ms"`, `"5m"`, `"never"`. Use it for settings
    /// that are read when the program starts.
    ///
    /// # Errors
    ///
    /// [`Configuration`](ErrorKind::Configuration) if the text is not a time.
    fn from_str(text: &str) -> Result<Self, Error> {
        if text == "never" {
            return Ok(Self::NEVER);
        }
        parse(text)
            .map(Self::new)
            .map_err(|why| Error::new(ErrorKind::Configuration, why))
    }
}

fn parse(text: &str) -> Result<Duration, String> {
    time::millis(text)
        .map(Duration::from_millis)
        .map_err(|error| match error {
            TimeError::TooLong => {
                format!("the time `{text}` is too long: write, say, `365d`")
            }
            TimeError::Negative | TimeError::Malformed => format!(
                "`{text}` is not a time: write a whole number and one of `ms`, `s`, `m`, `h`, `d`, \
                 such as `250ms` or `5m`"
            ),
        })
}

/// A time for an option: a [`Duration`], a text such as `"250ms"` or `"5m"`, or a whole number of
/// seconds as a `u64`.
///
/// A text is a whole number and one of `ms`, `s`, `m`, `h` and `d`, as in the attributes. Where an
/// entry may live forever (`T` is [`Ttl`]), a time can also be `"never"` or a `Ttl`.
///
/// # Panics
///
/// An option panics if it is given a text that is not a time. For a text from outside of the
/// program, use `text.parse::<Ttl>()?` instead.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use cachify_core::{Cachify, Ttl, key};
///
/// let cachify = Cachify::memory();
/// let page = cachify.cached(&key!("page")).ttl("5m");
/// let rates = cachify.cached(&key!("rates")).ttl(300);
/// let prices = cachify.cached(&key!("prices")).ttl(Duration::from_mins(5));
/// let countries = cachify.cached(&key!("countries")).ttl(Ttl::NEVER);
/// let lock = cachify.lock(&key!("row")).wait("250ms");
/// assert_eq!("5m".parse::<Ttl>()?, Ttl::from(Duration::from_mins(5)));
/// # Ok::<(), cachify_core::Error>(())
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a time",
    label = "expected a time",
    note = "use a `Duration`, a text such as \"250ms\" or \"5m\", or a whole number of seconds \
            as a `u64`; only entries can live for `Ttl::NEVER`"
)]
pub trait IntoTime<T>: sealed::Time<T> {}

#[diagnostic::do_not_recommend]
impl<T, S: sealed::Time<T>> IntoTime<T> for S {}

#[allow(unnameable_types, reason = "sealed")]
mod sealed {
    use super::{Duration, Ttl, parse};

    pub trait Time<T> {
        fn time(self) -> T;
    }

    impl Time<Self> for Duration {
        fn time(self) -> Self {
            self
        }
    }

    impl Time<Duration> for u64 {
        fn time(self) -> Duration {
            Duration::from_secs(self)
        }
    }

    impl Time<Duration> for &str {
        #[track_caller]
        fn time(self) -> Duration {
            match parse(self) {
                Ok(time) => time,
                Err(why) => panic!("{why}"),
            }
        }
    }

    impl Time<Self> for Ttl {
        fn time(self) -> Self {
            self
        }
    }

    impl Time<Ttl> for Duration {
        fn time(self) -> Ttl {
            Ttl::new(self)
        }
    }

    impl Time<Ttl> for u64 {
        fn time(self) -> Ttl {
            Ttl::new(Duration::from_secs(self))
        }
    }

    impl Time<Ttl> for &str {
        #[track_caller]
        fn time(self) -> Ttl {
            match self.parse() {
                Ok(ttl) => ttl,
                Err(why) => panic!("{why}"),
            }
        }
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
#[allow(clippy::unwrap_used)]
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
    fn a_ttl_reads_a_text_and_its_errors_quote_it() {
        assert_eq!("5 m".parse::<Ttl>().unwrap().as_millis(), Some(300_000));
        assert_eq!("never".parse::<Ttl>().unwrap(), Ttl::NEVER);
        for (text, says) in [
            ("5 minutes", "`5 minutes` is not a time"),
            ("-1s", "`-1s` is not a time"),
            (
                "18446744073709551615s",
                "time `18446744073709551615s` is too long",
            ),
        ] {
            let error = text.parse::<Ttl>().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Configuration);
            assert!(error.to_string().contains(says), "{error}");
        }
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

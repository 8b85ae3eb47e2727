//! The times for which stored responses may be served after their lifetime (RFC 5861).

use std::time::Duration;

use super::directives::Directives;
use crate::clock::Moment;

/// The longest time that a response can ask for if the rules set no limit.
pub(super) const LONGEST: Duration = Duration::from_hours(24);

/// The times for which a stored response may be served after its lifetime.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Windows {
    /// While a refresh runs.
    pub(super) at_once: Duration,
    /// Because a refresh failed.
    pub(super) on_error: Duration,
}

impl Windows {
    /// Returns the time for which the response is kept after its lifetime.
    pub(super) fn longest(self) -> Duration {
        self.at_once.max(self.on_error)
    }
}

/// The directives of a response that decide about it after its lifetime.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Staleness {
    /// It must not be served then.
    Forbidden,
    /// It may be served for as long as it says, in seconds.
    Allowed {
        while_revalidate: Option<u64>,
        if_error: Option<u64>,
    },
}

impl Staleness {
    pub(super) fn of(directives: &Directives) -> Self {
        // `s-maxage` implies `proxy-revalidate` (RFC 9111, 5.2.2.10).
        if directives.must_revalidate
            || directives.proxy_revalidate
            || directives.no_cache
            || directives.s_maxage.is_some()
        {
            return Self::Forbidden;
        }
        Self::Allowed {
            while_revalidate: directives.stale_while_revalidate,
            if_error: directives.stale_if_error,
        }
    }

    /// Returns the times of the response. `limit` is that of the rules: the time of responses that
    /// don't say, and the longest time of the others.
    pub(super) fn windows(self, limit: Option<Duration>) -> Windows {
        let Self::Allowed {
            while_revalidate,
            if_error,
        } = self
        else {
            return Windows::default();
        };
        let window = |said: Option<u64>| match said {
            Some(seconds) => Duration::from_secs(seconds).min(limit.unwrap_or(LONGEST)),
            None => limit.unwrap_or_default(),
        };
        Windows {
            at_once: window(while_revalidate),
            on_error: window(if_error),
        }
    }
}

/// Returns the time left until `end`, in whole seconds. It is negative after the end.
pub(super) fn seconds_left(end: Moment, now: Moment) -> i64 {
    let over = now.since(end).as_micros().div_ceil(1_000_000);
    i64::try_from(over).map_or(i64::MIN, |over| -over)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn c9_a_response_may_be_stale_for_a_day_unless_the_rules_say_otherwise() {
        let said = Staleness::Allowed {
            while_revalidate: Some(1 << 31),
            if_error: None,
        };
        for (limit, at_once, on_error) in [
            (None, LONGEST, Duration::ZERO),
            (Some(2 * LONGEST), 2 * LONGEST, 2 * LONGEST),
            (Some(Duration::ZERO), Duration::ZERO, Duration::ZERO),
        ] {
            let windows = Windows { at_once, on_error };
            assert_eq!(said.windows(limit), windows, "{limit:?}");
            assert_eq!(Staleness::Forbidden.windows(limit), Windows::default());
        }
    }

    #[test]
    fn c9_the_time_since_the_end_is_rounded_up() {
        let end = Moment::from_micros(5);
        for (millis, left) in [(0, 0), (1, -1), (1000, -1), (1001, -2), (12_000, -12)] {
            assert_eq!(seconds_left(end, end + Duration::from_millis(millis)), left);
        }
    }
}

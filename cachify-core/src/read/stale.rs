//! Entries that are due for a refresh: past their time to live, or close to its end.

use std::time::Duration;

use super::policy::sealed::Allowed;
use crate::backend::Life;
use crate::clock::Moment;
use crate::observe::ReadOutcome;

/// The options of a read about entries that are due for a refresh.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Refresh {
    /// The time after its time to live for which a value may be served. Zero serves no such value.
    pub(super) window: Duration,
    /// The factor by which values are refreshed early. Zero refreshes no value early.
    pub(super) early: f64,
    /// The time that a caller waits for a refresh before it is served the old value.
    pub(super) soft_limit: Option<Duration>,
}

/// A value that may be served although its refresh is due.
#[derive(Clone)]
pub(super) struct Due<T> {
    pub(super) value: T,
    outcome: ReadOutcome,
    /// Set if it may be served while a refresh runs. Otherwise, only if the refresh failed.
    pub(super) at_once: bool,
}

impl<T> Due<T> {
    /// Returns the value to serve while a refresh runs.
    pub(super) fn serve(self) -> (T, ReadOutcome) {
        (self.value, self.outcome)
    }

    /// Returns the value to serve because its refresh failed.
    pub(super) fn serve_on_error(self) -> (T, ReadOutcome) {
        let outcome = match self.outcome {
            ReadOutcome::Stale(life) => ReadOutcome::StaleOnError(life),
            outcome => outcome,
        };
        (self.value, outcome)
    }
}

/// The use that a read may make of an entry.
pub(super) enum Usable<T> {
    Fresh(T),
    Due(Due<T>),
    /// The value must not be served to this caller.
    No,
}

impl Refresh {
    /// Returns whether entries that [`local`](crate::backend::Backend::local) doesn't return may be
    /// of use.
    pub(super) fn is_wanted(&self) -> bool {
        !self.window.is_zero() || self.early > 0.0
    }

    /// Judges a value by its times, and by those for which it is `allowed` after its time to live.
    /// If `expired`, it is not fresh whatever its times are.
    pub(super) fn judge<T>(
        &self,
        value: T,
        life: Life,
        allowed: Allowed,
        expired: bool,
        now: Moment,
    ) -> Usable<T> {
        // Without a stale time, the backend removes the entry when it ends.
        let fresh = life.fresh_until == life.until || now < life.fresh_until;
        let within = |window| now < life.until.min(life.fresh_until + window);
        let Allowed { at_once, on_error } = allowed;
        let mut is_at_once = true;
        let outcome = if fresh && !expired {
            if !self.is_early(&life, now) {
                return Usable::Fresh(value);
            }
            ReadOutcome::Hit
        } else if within(at_once.max(on_error)) {
            is_at_once = within(at_once);
            ReadOutcome::Stale(life)
        } else {
            return Usable::No;
        };
        Usable::Due(Due {
            value,
            outcome,
            at_once: is_at_once,
        })
    }

    /// Returns whether this caller must refresh a fresh value. This is more likely, the longer the
    /// computation took and the nearer the end of the value is. Of many callers, the first draws a
    /// number that is large enough about as long before the end as the computation takes ("Optimal
    /// Probabilistic Cache Stampede Prevention", Vattani and others, 2015).
    fn is_early(&self, life: &Life, now: Moment) -> bool {
        if self.early <= 0.0 {
            return false;
        }
        let left = life.fresh_until.since(now).as_secs_f64();
        // The random number is in (0, 1], because the logarithm of zero is infinite.
        let draw = -(1.0 - fastrand::f64()).ln();
        let cost = life.cost.as_secs_f64();
        cost > 0.0 && cost * self.early * draw >= left
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn c9_an_expired_value_is_stale_even_if_this_clock_is_behind() {
        let refresh = Refresh::default();
        let life = Life {
            until: Moment::from_micros(9),
            ..Life::new(Moment::from_micros(5))
        };
        let judge = |expired, window| {
            let now = Moment::from_micros(4);
            let allowed = Allowed {
                at_once: Duration::from_micros(window),
                on_error: Duration::ZERO,
            };
            refresh.judge((), life, allowed, expired, now)
        };
        assert!(matches!(judge(false, 0), Usable::Fresh(())));
        assert!(matches!(judge(true, 1), Usable::Due(_)));
    }

    #[test]
    fn c9_a_value_is_refreshed_early_the_likelier_the_nearer_its_end_is() {
        let refresh = Refresh {
            early: 1.0,
            ..Refresh::default()
        };
        let second = 1_000_000;
        let life = |cost| Life {
            cost: Duration::from_secs(cost),
            ..Life::new(Moment::from_micros(1000 * second))
        };
        let early = |refresh: &Refresh, cost, seconds: u64| {
            let now = Moment::from_micros((1000 - seconds) * second);
            let draws = (0..10_000).filter(|_| refresh.is_early(&life(cost), now));
            draws.count()
        };
        // The share of draws that are larger than n is e^-n.
        for (seconds, share) in [(1, 3679), (2, 1353), (4, 183)] {
            let drawn = early(&refresh, 1, seconds);
            let range = share * 7 / 10..share * 13 / 10;
            assert!(range.contains(&drawn), "{seconds} s: {drawn}");
        }
        assert_eq!(early(&refresh, 1, 100), 0);
        assert_eq!(early(&refresh, 0, 0), 0, "it costs nothing to compute");
        assert_eq!(early(&refresh, 1, 0), 10_000);
        assert_eq!(early(&Refresh::default(), 1, 0), 0);
        let forever = Life {
            cost: Duration::from_secs(1),
            ..Life::new(Moment::NEVER)
        };
        assert!(!refresh.is_early(&forever, Moment::from_micros(0)));
    }
}

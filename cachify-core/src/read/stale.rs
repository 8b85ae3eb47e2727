//! Entries that are due for a refresh: past their time to live, or close to its end.

use std::time::Duration;

use crate::backend::Life;
use crate::clock::Moment;
use crate::observe::ReadOutcome;

/// The options of a read about entries that are due for a refresh.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Refresh {
    /// The time after its time to live for which a value may be served. Zero serves no such value.
    pub(super) window: Duration,
}

/// A value that may be served although its refresh is due.
#[derive(Clone)]
pub(super) struct Due<T> {
    pub(super) value: T,
    outcome: ReadOutcome,
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
        !self.window.is_zero()
    }

    /// Judges a value by its times. If `expired`, it is not fresh whatever its times are.
    pub(super) fn judge<T>(&self, value: T, life: Life, expired: bool, now: Moment) -> Usable<T> {
        // Without a stale time, the backend removes the entry when it ends.
        let fresh = life.fresh_until == life.until || now < life.fresh_until;
        if fresh && !expired {
            return Usable::Fresh(value);
        }
        if now < life.until.min(life.fresh_until + self.window) {
            return Usable::Due(Due {
                value,
                outcome: ReadOutcome::Stale(life),
            });
        }
        Usable::No
    }
}

//! Cached reads.

use std::time::Duration;

#[cfg(feature = "metrics")]
use super::labels::{self, Family, label};
use super::seen::{Seen, first_time};
use crate::{Error, ErrorKind, Key};

/// How a cached read was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ReadOutcome {
    /// From the cache.
    Hit,
    /// Computed and stored.
    Miss,
    /// Computed, and not stored although it should have been: the backend was away, or a reset came
    /// between.
    Unstored,
    /// By the computation of another caller.
    Collapsed,
    /// Computed for this caller alone.
    Bypass,
    /// The computation failed.
    Error,
}

impl ReadOutcome {
    #[cfg(feature = "metrics")]
    const ALL: [Self; 6] = [
        Self::Hit,
        Self::Miss,
        Self::Unstored,
        Self::Collapsed,
        Self::Bypass,
        Self::Error,
    ];

    #[cfg(feature = "metrics")]
    const fn as_str(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::Miss => "miss",
            Self::Unstored => "unstored",
            Self::Collapsed => "collapsed",
            Self::Bypass => "bypass",
            Self::Error => "error",
        }
    }
}

/// A cached read was answered.
#[inline]
pub(crate) fn request(key: &Key, outcome: ReadOutcome) {
    #[cfg(feature = "metrics")]
    metrics::counter!("cachify_requests_total", "template" => label_of(key.template()), "outcome" => outcome.as_str()).increment(1);
    tracing::trace!(template = key.template(), ?outcome, "cached read");
}

/// A computation succeeded.
pub(crate) fn computed(key: &Key, took: Duration) {
    #[cfg(feature = "metrics")]
    metrics::histogram!("cachify_compute_seconds", "template" => label(key))
        .record(took.as_secs_f64());
    tracing::debug!(template = key.template(), ?took, "computed");
}

/// A caller has waited for longer than the `compute_wait` for another caller's computation.
pub(crate) fn overdue(key: &Key, waited: Duration) {
    tracing::warn!(
        template = key.template(),
        ?waited,
        "another computation of this key has not ended: it may hang, or its future may not be polled, as in a buffered stream; \
        give it a timeout, or a task of its own"
    );
}

/// A computation asked for its own key.
pub(crate) fn reentrant(key: &Key) {
    static REENTRANT: Seen = Seen::new();
    if first_time(&REENTRANT, key.template()) {
        tracing::warn!(
            template = key.template(),
            "a computation asked for its own key, and computed it once more, inside of itself"
        );
    }
}

/// A computed value could not be stored.
pub(crate) fn not_stored(key: &Key, error: &Error) {
    static UNENCODABLE: Seen = Seen::new();
    if error.kind() == ErrorKind::Codec && first_time(&UNENCODABLE, key.template()) {
        tracing::warn!(template = key.template(), %error, "a value cannot be encoded, and is computed by every call");
        return;
    }
    tracing::debug!(template = key.template(), %error, "computed, but not stored");
}

/// The first value of a type, encoded and decoded again, is not what it was.
pub(crate) fn does_not_read_back(key: &Key, type_name: &str, fault: &str) {
    tracing::warn!(
        template = key.template(),
        type_name,
        fault,
        "a value would not come back from Redis as it was stored; see `testing::assert_round_trips`"
    );
}

/// An entry could not be read, and counts as missing.
pub(crate) fn unreadable(key: &Key) {
    static UNREADABLE: Seen = Seen::new();
    #[cfg(feature = "metrics")]
    metrics::counter!("cachify_unreadable_total", "template" => label(key)).increment(1);
    if first_time(&UNREADABLE, key.template()) {
        tracing::warn!(
            template = key.template(),
            "an entry could not be read and counts as missing: another program's, another type's, an older build's, \
             or of a type that cannot decode what it encodes"
        );
    }
}

#[cfg(feature = "metrics")]
pub(super) fn describe() {
    use metrics::{Unit, describe_counter, describe_histogram};

    describe_counter!("cachify_requests_total", "Cached reads by outcome.");
    describe_histogram!(
        "cachify_compute_seconds",
        Unit::Seconds,
        "How long successful computations took."
    );
    describe_counter!(
        "cachify_unreadable_total",
        "Entries that could not be read, and were replaced."
    );
    describe_counter!(
        "cachify_too_large_total",
        "Values that do not fit into the bound of memory, and were not kept."
    );
    describe_counter!(
        "cachify_no_room_total",
        "Values that were not stored, because entries have their share of the server's memory."
    );
}

/// Returns the label of a template, whose series start at zero with the first use.
#[cfg(feature = "metrics")]
pub(super) fn label_of(template: &str) -> metrics::SharedString {
    labels::label_of(template, Family::Read, start)
}

/// Starts the series of a template at zero.
#[cfg(feature = "metrics")]
pub(super) fn start(template: &metrics::SharedString) {
    use metrics::counter;

    let template = || template.clone();
    for outcome in ReadOutcome::ALL {
        counter!("cachify_requests_total", "template" => template(), "outcome" => outcome.as_str())
            .increment(0);
    }
    counter!("cachify_unreadable_total", "template" => template()).increment(0);
    counter!("cachify_too_large_total", "template" => template()).increment(0);
}

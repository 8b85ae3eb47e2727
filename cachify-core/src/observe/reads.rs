//! Events of cached reads.

use std::time::Duration;

#[cfg(feature = "metrics")]
use super::labels::{self, Family, label};
use super::seen::{Seen, first_time};
use crate::ttl::Life;
use crate::{Error, ErrorKind, Key};

/// The outcome of a cached read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ReadOutcome {
    /// Answered from the cache.
    Hit,
    /// Computed and stored.
    Miss,
    /// Computed, but not stored although it should have been: the backend was away, or a reset came
    /// first.
    Unstored,
    /// Answered by another caller's computation.
    Collapsed,
    /// Computed for this caller alone.
    Bypass,
    /// Answered with a value past its time to live, while it was being refreshed.
    Stale(Life),
    /// Answered with a value past its time to live, because its refresh failed.
    StaleOnError(Life),
    /// The computation failed.
    Error,
}

impl ReadOutcome {
    #[cfg(feature = "metrics")]
    const ALL: [&'static str; 8] = [
        "hit",
        "miss",
        "unstored",
        "collapsed",
        "bypass",
        "stale",
        "stale_on_error",
        "error",
    ];

    #[cfg(feature = "metrics")]
    const fn as_str(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::Miss => "miss",
            Self::Unstored => "unstored",
            Self::Collapsed => "collapsed",
            Self::Bypass => "bypass",
            Self::Stale(_) => "stale",
            Self::StaleOnError(_) => "stale_on_error",
            Self::Error => "error",
        }
    }
}

/// Counts a cached read.
#[inline]
pub(crate) fn request(key: &Key, outcome: ReadOutcome) {
    #[cfg(feature = "metrics")]
    {
        let (template, outcome) = (label_of(key.template()), outcome.as_str());
        metrics::counter!("cachify_requests_total", "template" => template, "outcome" => outcome)
            .increment(1);
    }
    tracing::trace!(template = key.template(), ?outcome, "cached read");
}

/// Records the duration of a successful computation.
pub(crate) fn computed(key: &Key, took: Duration) {
    #[cfg(feature = "metrics")]
    metrics::histogram!("cachify_compute_seconds", "template" => label(key))
        .record(took.as_secs_f64());
    tracing::debug!(template = key.template(), ?took, "computed");
}

/// Warns that a caller has waited longer than `compute_wait` for another caller's computation.
pub(crate) fn overdue(key: &Key, waited: Duration) {
    tracing::warn!(
        template = key.template(),
        ?waited,
        "another computation of this key has not ended: it may hang, or its future may not be \
         polled, as in a buffered stream; give it a timeout, or a task of its own"
    );
}

/// Warns, once for each template, that a computation asked for its own key.
pub(crate) fn reentrant(key: &Key) {
    static REENTRANT: Seen = Seen::new();
    if first_time(&REENTRANT, key.template()) {
        tracing::warn!(
            template = key.template(),
            "a computation asked for its own key, so the value was computed again inside it"
        );
    }
}

/// Counts a refresh that failed while a value could still be served. Warns once for each template:
/// no caller sees the error.
pub(crate) fn refresh_failed(key: &Key) {
    static FAILED: Seen = Seen::new();
    #[cfg(feature = "metrics")]
    metrics::counter!("cachify_refresh_failures_total", "template" => label(key)).increment(1);
    if first_time(&FAILED, key.template()) {
        tracing::warn!(
            template = key.template(),
            "a value could not be refreshed; the old one is served until its time is over"
        );
    } else {
        tracing::debug!(template = key.template(), "a value could not be refreshed");
    }
}

/// Logs that a computed value was not stored. Warns once for each template if it cannot be encoded.
pub(crate) fn not_stored(key: &Key, error: &Error) {
    static UNENCODABLE: Seen = Seen::new();
    if error.kind() == ErrorKind::Codec && first_time(&UNENCODABLE, key.template()) {
        tracing::warn!(
            template = key.template(),
            %error,
            "a value cannot be encoded, so every call computes it"
        );
        return;
    }
    tracing::debug!(template = key.template(), %error, "computed, but not stored");
}

/// Warns that a value differs after encoding and decoding.
pub(crate) fn does_not_read_back(key: &Key, type_name: &str, fault: &str) {
    tracing::warn!(
        template = key.template(),
        type_name,
        fault,
        "a value would read back from Redis differently; see `testing::assert_round_trips`"
    );
}

/// Counts an entry that could not be read. Warns once for each template.
pub(crate) fn unreadable(key: &Key) {
    static UNREADABLE: Seen = Seen::new();
    #[cfg(feature = "metrics")]
    metrics::counter!("cachify_unreadable_total", "template" => label(key)).increment(1);
    if first_time(&UNREADABLE, key.template()) {
        tracing::warn!(
            template = key.template(),
            "an entry could not be read and counts as missing: it is from another program, another \
             type or an older build, or its type cannot decode what it encodes"
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
        "cachify_refresh_failures_total",
        "Refreshes that failed while the old value could still be served."
    );
    describe_counter!(
        "cachify_too_large_total",
        "Values that are too large for the memory backend, and were not kept."
    );
    describe_counter!(
        "cachify_no_room_total",
        "Values not stored, because entries have used up their share of the server's memory."
    );
}

/// Returns the label of a template. On first use, starts its series at zero.
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
        counter!("cachify_requests_total", "template" => template(), "outcome" => outcome)
            .increment(0);
    }
    counter!("cachify_unreadable_total", "template" => template()).increment(0);
    counter!("cachify_too_large_total", "template" => template()).increment(0);
    counter!("cachify_refresh_failures_total", "template" => template()).increment(0);
}

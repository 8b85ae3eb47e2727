//! Events of locks and pools.

use std::time::Duration;

#[cfg(feature = "metrics")]
use super::labels::{self, Family, label};
use crate::Key;

/// The kind of a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Lock,
    Pool,
}

impl Kind {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Lock => "lock",
            Self::Pool => "pool",
        }
    }
}

/// The outcome of an attempt to take a lock or permit, or the loss of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Contest {
    /// The attempt succeeded.
    Acquired,
    /// Other callers hold the lock or all permits.
    Contended,
    /// The backend failed, or the request was invalid.
    Failed,
    /// A held lock or permit was lost.
    Lost,
}

impl Contest {
    #[cfg(feature = "metrics")]
    const ALL: [Self; 4] = [Self::Acquired, Self::Contended, Self::Failed, Self::Lost];

    #[cfg(feature = "metrics")]
    const fn as_str(self) -> &'static str {
        match self {
            Self::Acquired => "acquired",
            Self::Contended => "contended",
            Self::Failed => "failed",
            Self::Lost => "lost",
        }
    }
}

/// Counts an attempt to take a lock or permit, or the loss of one.
pub(crate) fn contest(kind: Kind, key: &Key, contest: Contest, waited: Duration) {
    #[cfg(feature = "metrics")]
    {
        let (template, kind) = (label_of(kind, key.template()), kind.as_str());
        metrics::counter!(
            "cachify_lock_total",
            "kind" => kind, "template" => template, "outcome" => contest.as_str()
        )
        .increment(1);
        if contest == Contest::Acquired {
            let template = label(key);
            metrics::histogram!("cachify_lock_wait_seconds", "kind" => kind, "template" => template)
                .record(waited.as_secs_f64());
        }
    }
    tracing::trace!(
        template = key.template(),
        kind = kind.as_str(),
        ?contest,
        ?waited,
        "lock or permit"
    );
}

/// Changes the number of permits that this process holds.
#[cfg_attr(not(feature = "metrics"), allow(unused_variables))]
pub(crate) fn permits(kind: Kind, key: &Key, change: f64) {
    #[cfg(feature = "metrics")]
    if kind == Kind::Pool {
        metrics::gauge!("cachify_pool_permits", "template" => label(key)).increment(change);
    }
}

#[cfg(feature = "metrics")]
pub(super) fn describe() {
    use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};

    describe_counter!(
        "cachify_lock_total",
        "Attempts to take a lock or permit, and losses, by outcome."
    );
    describe_histogram!(
        "cachify_lock_wait_seconds",
        Unit::Seconds,
        "Wait before a lock or permit was acquired."
    );
    describe_gauge!("cachify_pool_permits", "Permits that this process holds.");
}

#[cfg(feature = "metrics")]
fn label_of(kind: Kind, template: &str) -> metrics::SharedString {
    match kind {
        Kind::Lock => labels::label_of(template, Family::Lock, start_lock),
        Kind::Pool => labels::label_of(template, Family::Pool, start_pool),
    }
}

#[cfg(feature = "metrics")]
fn start_lock(template: &metrics::SharedString) {
    start(Kind::Lock, template);
}

#[cfg(feature = "metrics")]
fn start_pool(template: &metrics::SharedString) {
    start(Kind::Pool, template);
    metrics::gauge!("cachify_pool_permits", "template" => template.clone()).increment(0.0);
}

#[cfg(feature = "metrics")]
fn start(kind: Kind, template: &metrics::SharedString) {
    for contest in Contest::ALL {
        metrics::counter!(
            "cachify_lock_total",
            "kind" => kind.as_str(), "template" => template.clone(), "outcome" => contest.as_str()
        )
        .increment(0);
    }
}

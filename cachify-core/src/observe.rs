//! What the outside can see: events and, with feature `metrics`, counters and histograms. The only place for their names.
//!
//! Everything is labelled by template, never by key: a key's arguments may be secret, and there is no end to them.

use std::time::Duration;

use crate::backend::{Slot, SlotKind};
use crate::{Error, Key};

/// How a cached read was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// From the cache.
    Hit,
    /// Computed and stored.
    Miss,
    /// Computed, and not stored although it should have been: the backend was away, or a reset came between.
    Unstored,
    /// By the computation of another caller.
    Collapsed,
    /// Computed for this caller alone.
    Bypass,
    /// The computation failed.
    Error,
}

impl Outcome {
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
pub(crate) fn request(key: &Key, outcome: Outcome) {
    #[cfg(feature = "metrics")]
    metrics::counter!("cachify_requests_total", "template" => label(key), "outcome" => outcome.as_str()).increment(1);
    tracing::trace!(template = key.template(), ?outcome, "cached read");
}

/// A computation succeeded.
pub(crate) fn computed(key: &Key, took: Duration) {
    #[cfg(feature = "metrics")]
    metrics::histogram!("cachify_compute_seconds", "template" => label(key))
        .record(took.as_secs_f64());
    tracing::debug!(template = key.template(), ?took, "computed");
}

/// A computed value could not be stored.
pub(crate) fn not_stored(key: &Key, error: &Error) {
    tracing::debug!(template = key.template(), %error, "computed, but not stored");
}

/// An entry could not be read, and counts as missing.
pub(crate) fn unreadable(key: &Key) {
    #[cfg(feature = "metrics")]
    metrics::counter!("cachify_unreadable_total", "template" => label(key)).increment(1);
    if first_time(&UNREADABLE, key.template()) {
        tracing::warn!(
            template = key.template(),
            "an entry could not be read and is replaced: another program's, another type's or an older build's"
        );
    }
}

/// How an attempt to take a lock or permit ended, or a hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Contest {
    /// It was taken.
    Acquired,
    /// Somebody else has it.
    Contended,
    /// The backend failed, or the request was malformed.
    Failed,
    /// It ended while it was in use.
    Lost,
}

impl Contest {
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

/// Somebody tried to take a slot, or lost one.
pub(crate) fn contest(slot: &Slot, contest: Contest, waited: Duration) {
    #[cfg(feature = "metrics")]
    {
        let kind = kind(slot.kind);
        metrics::counter!("cachify_lock_total", "kind" => kind, "template" => label(&slot.key), "outcome" => contest.as_str())
            .increment(1);
        if contest == Contest::Acquired {
            metrics::histogram!("cachify_lock_wait_seconds", "kind" => kind, "template" => label(&slot.key))
                .record(waited.as_secs_f64());
        }
    }
    tracing::trace!(
        template = slot.key.template(),
        kind = kind(slot.kind),
        ?contest,
        ?waited,
        "lock or permit"
    );
}

/// This process has so many permits more, or less.
#[cfg_attr(not(feature = "metrics"), allow(unused_variables))]
pub(crate) fn permits(slot: &Slot, change: f64) {
    #[cfg(feature = "metrics")]
    if slot.kind == SlotKind::Pool {
        metrics::gauge!("cachify_pool_permits", "template" => label(&slot.key)).increment(change);
    }
}

const fn kind(kind: SlotKind) -> &'static str {
    match kind {
        SlotKind::Lock => "lock",
        SlotKind::Pool => "pool",
    }
}

static UNREADABLE: Seen = Seen::new();

/// A request does not fill its route's key: it passes through uncached.
#[cfg(feature = "http")]
pub(crate) fn unfilled(missing: &crate::MissingPlaceholder) {
    static UNFILLED: Seen = Seen::new();
    if first_time(&UNFILLED, missing.template()) {
        tracing::warn!(
            template = missing.template(),
            placeholder = missing.name(),
            "a request does not fill the key of a cached route, and passes through uncached"
        );
    }
}

/// A bounded set of templates.
struct Seen(std::sync::Mutex<std::collections::BTreeSet<String>>);

/// The templates that get a label, or a log line, of their own.
const TEMPLATES: usize = 1000;

impl Seen {
    const fn new() -> Self {
        Self(std::sync::Mutex::new(std::collections::BTreeSet::new()))
    }
}

/// Whether `template` was not seen before; never again once the set is full.
fn first_time(seen: &Seen, template: &str) -> bool {
    let mut seen = seen
        .0
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    !seen.contains(template) && seen.len() < TEMPLATES && seen.insert(template.to_owned())
}

/// The label of a key's template: the template, or `other` for all those after the first 1000.
#[cfg(feature = "metrics")]
fn label(key: &Key) -> metrics::SharedString {
    use std::collections::HashMap;
    use std::sync::{Arc, PoisonError, RwLock};

    static LABELS: RwLock<Option<HashMap<String, Arc<str>>>> = RwLock::new(None);

    let template = key.template();
    let known = LABELS.read().unwrap_or_else(PoisonError::into_inner);
    if let Some(labels) = known.as_ref() {
        if let Some(label) = labels.get(template) {
            return Arc::clone(label).into();
        }
        // A flood of templates does not queue up for the lock.
        if labels.len() >= TEMPLATES {
            return "other".into();
        }
    }
    drop(known);
    let mut labels = LABELS.write().unwrap_or_else(PoisonError::into_inner);
    let labels = labels.get_or_insert_default();
    if labels.len() >= TEMPLATES && !labels.contains_key(template) {
        return "other".into();
    }
    Arc::clone(
        labels
            .entry(template.to_owned())
            .or_insert_with(|| template.into()),
    )
    .into()
}

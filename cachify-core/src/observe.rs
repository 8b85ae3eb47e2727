//! Events and, with feature `metrics`, counters and histograms. The only
//! place for their names.
//!
//! Everything is labelled by template, never by key: a key's arguments may be secret, and there is
//! no end to them.

use std::time::Duration;

use crate::backend::{Slot, SlotKind};
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
    metrics::counter!("cachify_requests_total", "template" => label_of(key.template(), Family::Read), "outcome" => outcome.as_str()).increment(1);
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

/// An entry is not stored, since entries have used their share of the server's memory.
#[cfg(feature = "redis")]
pub(crate) fn no_room(key: &Key) {
    #[cfg(feature = "metrics")]
    metrics::counter!("cachify_no_room_total", "template" => label(key)).increment(1);
    tracing::debug!(
        template = key.template(),
        "computed, but not stored: no room"
    );
}

/// An entry does not fit into the memory backend, and is not kept.
pub(crate) fn too_large(key: &Key) {
    static TOO_LARGE: Seen = Seen::new();
    #[cfg(feature = "metrics")]
    metrics::counter!("cachify_too_large_total", "template" => label(key)).increment(1);
    if first_time(&TOO_LARGE, key.template()) {
        tracing::warn!(
            template = key.template(),
            "a value is too large for the memory backend and is not kept; raise `capacity_bytes`, or cache something smaller"
        );
    }
}

/// A store in memory has `now` entries, where it had `before`.
#[cfg_attr(not(feature = "metrics"), allow(unused_variables))]
pub(crate) fn memory_entries(before: usize, now: usize) {
    #[cfg(feature = "metrics")]
    change("cachify_memory_entries", before as u64, now as u64);
}

/// The entries of a store in memory take `now` bytes, where they took `before`.
#[cfg_attr(not(feature = "metrics"), allow(unused_variables))]
pub(crate) fn memory_bytes(before: u64, now: u64) {
    #[cfg(feature = "metrics")]
    change("cachify_memory_bytes", before, now);
}

#[cfg(feature = "metrics")]
#[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
fn change(gauge: &'static str, before: u64, now: u64) {
    let gauge = metrics::gauge!(gauge);
    if now >= before {
        gauge.increment((now - before) as f64);
    } else {
        gauge.decrement((before - now) as f64);
    }
}

/// Counts entries that were evicted from memory to make room.
#[cfg_attr(not(feature = "metrics"), allow(unused_variables))]
pub(crate) fn evictions(evicted: u64) {
    #[cfg(feature = "metrics")]
    metrics::counter!("cachify_evictions_total").increment(evicted);
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

/// Reports that the circuit breaker opened because of this error, or that it closed.
pub(crate) fn breaker(open: Option<&Error>) {
    #[cfg(feature = "metrics")]
    metrics::gauge!("cachify_breaker_state").set(if open.is_some() { 1.0 } else { 0.0 });
    if let Some(error) = open {
        tracing::warn!(%error, "the backend failed repeatedly and is left alone until it answers a probe");
    } else {
        tracing::info!("the backend answers again");
    }
}

/// A connection to the server at `place` was made, or lost.
#[cfg(feature = "redis")]
pub(crate) fn connection(place: &str, made: bool) {
    let event = if made { "made" } else { "lost" };
    #[cfg(feature = "metrics")]
    metrics::counter!("cachify_connections_total", "event" => event).increment(1);
    tracing::info!(place, event, "connection to the backend");
}

/// An entry could not be read, and counts as missing.
pub(crate) fn unreadable(key: &Key) {
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

/// How an attempt to take a lock or permit ended, or a hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Contest {
    /// It was taken.
    Acquired,
    /// Another caller has it.
    Contended,
    /// The backend failed, or the request was malformed.
    Failed,
    /// It ended while it was in use.
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

/// A caller tried to take a slot, or lost one.
pub(crate) fn contest(slot: &Slot, contest: Contest, waited: Duration) {
    #[cfg(feature = "metrics")]
    {
        let kind = kind(slot.kind);
        metrics::counter!("cachify_lock_total", "kind" => kind, "template" => label_of(slot.key.template(), slot.kind.into()), "outcome" => contest.as_str())
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

/// Changes the number of permits of this process.
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

/// A computation ends with its client, because too many run without theirs.
#[cfg(feature = "http")]
pub(crate) fn ended_with_client(key: &Key) {
    static ENDED: Seen = Seen::new();
    #[cfg(feature = "metrics")]
    metrics::counter!("cachify_ended_with_client_total", "template" => label(key)).increment(1);
    if first_time(&ENDED, key.template()) {
        tracing::warn!(
            template = key.template(),
            "too many computations run without their clients: others end with theirs; see `finish_after_disconnect_up_to`"
        );
    }
}

/// Requests that bypass the cache, and routes and hosts that share a key.
#[cfg(feature = "http")]
mod http {
    use super::{Seen, first_time};
    use crate::http::Why;

    /// A cached route of this template was made.
    #[cfg_attr(not(feature = "metrics"), allow(unused_variables))]
    pub(crate) fn cached_template(template: &str) {
        #[cfg(feature = "metrics")]
        {
            super::describe();
            let _ = super::label_of(template, super::Family::Read);
            let _ = super::label_of(template, super::Family::Bypass);
        }
    }

    /// A request was not looked up.
    pub(crate) fn passed(template: &str, why: Why) {
        #[cfg(feature = "metrics")]
        {
            let template = super::label_of(template, super::Family::Read);
            metrics::counter!("cachify_requests_total", "template" => template, "outcome" => "bypass")
                .increment(1);
        }
        bypass(template, why);
    }

    /// A request, counted as a read already, was answered for its client alone.
    pub(crate) fn bypass(template: &str, why: Why) {
        static TOLD: Seen = Seen::new();
        #[cfg(feature = "metrics")]
        {
            let template = super::label_of(template, super::Family::Bypass);
            metrics::counter!("cachify_bypass_total", "template" => template, "reason" => why.as_str())
                .increment(1);
        }
        let Some(advice) = why.advice() else {
            return;
        };
        if first_time(&TOLD, &format!("{} {template}", why.as_str())) {
            tracing::info!(
                template,
                reason = why.as_str(),
                "a request bypassed the cache: {advice}"
            );
        }
    }

    /// A request does not fill its route's key: it passes through uncached.
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

    /// A request is of another route than the first one of this template.
    pub(crate) fn several_routes(template: &str, first: &str, route: &str) {
        static SEVERAL: Seen = Seen::new();
        if first_time(&SEVERAL, template) {
            tracing::warn!(
                template,
                first,
                route,
                "two routes have the same cache, and the second passes through uncached: give each a template of its \
                 own, name `{{path}}` in it, or say `same_on_every_route` if they answer alike"
            );
        }
    }

    /// The framework does not tell the route of a request.
    pub(crate) fn untold_route(template: &str) {
        static UNTOLD: Seen = Seen::new();
        if first_time(&UNTOLD, template) {
            tracing::warn!(
                template,
                "the route of a request is not known to its cache, and it passes through uncached: name `{{path}}` in the \
                 template, put the cache onto each route, or say `same_on_every_route` if all that it covers answer alike"
            );
        }
    }

    /// Requests for two hosts have the same key.
    pub(crate) fn several_hosts(template: &str, first: &str, host: &str) {
        tracing::warn!(
            template,
            first,
            host,
            "requests for two hosts share the entries of a cached route: name `{{host}}` in the template if the hosts \
             answer differently, or say `same_on_every_host` if they do not"
        );
    }
}

/// An error was answered over HTTP with `status`.
///
/// A refusal is the everyday work of a lock and goes to `debug`. What someone must look at is a
/// warning, at most once per minute for each template and kind: a failing backend fails every
/// request.
#[cfg(feature = "http")]
pub(crate) fn answered(error: &Error, status: u16) {
    static ANSWERED: Answered = Answered(std::sync::Mutex::new(std::collections::BTreeMap::new()));
    let kind = error.kind();
    let (kind, template) = (kind.as_str(), error.template());
    // Without a template, it is a value of the client that did not parse.
    let is_unkeyed = error.kind() == ErrorKind::Request && template.is_some();
    if (status >= 500 || is_unkeyed)
        && let Some(unlogged) = ANSWERED.due(kind, template, tokio::time::Instant::now())
    {
        tracing::warn!(kind, status, unlogged, %error, "answered with a problem");
    } else {
        tracing::debug!(kind, status, %error, "answered with a problem");
    }
}

/// When an error of each kind and template was logged last, and how many were not logged since
/// then.
#[cfg(feature = "http")]
struct Answered(std::sync::Mutex<Times>);

#[cfg(feature = "http")]
type Times = std::collections::BTreeMap<
    (&'static str, Option<smol_str::SmolStr>),
    (tokio::time::Instant, u64),
>;

#[cfg(feature = "http")]
impl Answered {
    const EVERY: Duration = Duration::from_mins(1);

    /// Returns how many errors were not logged, if it is time to log one again.
    fn due(
        &self,
        kind: &'static str,
        template: Option<&str>,
        now: tokio::time::Instant,
    ) -> Option<u64> {
        let mut times = self
            .0
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let name = (kind, template.map(Into::into));
        if let Some((last, unlogged)) = times.get_mut(&name) {
            if now.saturating_duration_since(*last) < Self::EVERY {
                *unlogged += 1;
                return None;
            }
            *last = now;
            return Some(std::mem::take(unlogged));
        }
        if times.len() >= TEMPLATES {
            times.retain(|_, (last, _)| now.saturating_duration_since(*last) < Self::EVERY);
        }
        (times.len() < TEMPLATES).then(|| {
            times.insert(name, (now, 0));
            0
        })
    }
}

#[cfg(feature = "http")]
pub(crate) use self::http::{
    bypass, cached_template, passed, several_hosts, several_routes, unfilled, untold_route,
};

/// A bounded set of templates.
struct Seen(std::sync::Mutex<std::collections::BTreeSet<String>>);

/// The templates that get a label, or a log line, of their own.
const TEMPLATES: usize = 1000;

impl Seen {
    const fn new() -> Self {
        Self(std::sync::Mutex::new(std::collections::BTreeSet::new()))
    }
}

/// Returns whether `template` was not seen before; never again once the set is full.
fn first_time(seen: &Seen, template: &str) -> bool {
    let mut seen = seen
        .0
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    !seen.contains(template) && seen.len() < TEMPLATES && seen.insert(template.to_owned())
}

/// Describes every metric, and starts those without a template at zero, so that they are there
/// before the first event.
#[cfg(feature = "metrics")]
pub(crate) fn describe() {
    use metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge};

    describe_counter!("cachify_requests_total", "Cached reads by outcome.");
    #[cfg(feature = "http")]
    describe_counter!(
        "cachify_bypass_total",
        "Requests over HTTP that were answered for their client alone, by reason."
    );
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
    describe_counter!(
        "cachify_lock_total",
        "Attempts to take a lock or permit, and losses, by outcome."
    );
    describe_histogram!(
        "cachify_lock_wait_seconds",
        Unit::Seconds,
        "How long the acquired locks and permits were waited for."
    );
    describe_counter!(
        "cachify_connections_total",
        "Connections to Redis that were made and lost, by event."
    );
    describe_gauge!("cachify_pool_permits", "Permits that this process holds.");
    describe_gauge!(
        "cachify_memory_entries",
        "Entries in the memory of this process."
    );
    #[cfg(feature = "http")]
    describe_counter!(
        "cachify_ended_with_client_total",
        "Computations that ended with their clients, because too many ran without theirs."
    );
    describe_gauge!(
        "cachify_memory_bytes",
        Unit::Bytes,
        "Estimated size of the entries in the memory of this process."
    );
    describe_counter!(
        "cachify_evictions_total",
        "Entries evicted from memory to make room for others."
    );
    describe_gauge!(
        "cachify_breaker_state",
        "1 while the circuit breaker is open after failures, otherwise 0."
    );
    counter!("cachify_evictions_total").increment(0);
    for event in ["made", "lost"] {
        counter!("cachify_connections_total", "event" => event).increment(0);
    }
    for name in [
        "cachify_memory_entries",
        "cachify_memory_bytes",
        "cachify_breaker_state",
    ] {
        gauge!(name).increment(0.0);
    }
}

/// Series that start together, when their template is first seen.
#[cfg(feature = "metrics")]
#[derive(Clone, Copy)]
enum Family {
    Read,
    #[cfg(feature = "http")]
    Bypass,
    Lock,
    Pool,
}

#[cfg(feature = "metrics")]
impl From<SlotKind> for Family {
    fn from(kind: SlotKind) -> Self {
        match kind {
            SlotKind::Lock => Self::Lock,
            SlotKind::Pool => Self::Pool,
        }
    }
}

#[cfg(feature = "metrics")]
impl Family {
    /// Starts the series of a template at zero.
    fn start(self, template: &metrics::SharedString) {
        use metrics::{counter, gauge};

        let template = || template.clone();
        let slot = |kind: &'static str| {
            for contest in Contest::ALL {
                counter!("cachify_lock_total", "kind" => kind, "template" => template(), "outcome" => contest.as_str())
                    .increment(0);
            }
        };
        match self {
            Self::Read => {
                for outcome in ReadOutcome::ALL {
                    counter!("cachify_requests_total", "template" => template(), "outcome" => outcome.as_str())
                        .increment(0);
                }
                counter!("cachify_unreadable_total", "template" => template()).increment(0);
                counter!("cachify_too_large_total", "template" => template()).increment(0);
            }
            #[cfg(feature = "http")]
            Self::Bypass => {
                counter!("cachify_ended_with_client_total", "template" => template()).increment(0);
                for why in crate::http::Why::ALL {
                    counter!("cachify_bypass_total", "template" => template(), "reason" => why.as_str())
                        .increment(0);
                }
            }
            Self::Lock => slot(kind(SlotKind::Lock)),
            Self::Pool => {
                slot(kind(SlotKind::Pool));
                gauge!("cachify_pool_permits", "template" => template()).increment(0.0);
            }
        }
    }
}

/// The label of a key's template: the template, or `other` for all those after the first 1000.
#[cfg(feature = "metrics")]
fn label(key: &Key) -> metrics::SharedString {
    known_label(key.template(), None)
}

/// The label of a template, whose series of a family start at zero with the first use.
#[cfg(feature = "metrics")]
fn label_of(template: &str, family: Family) -> metrics::SharedString {
    known_label(template, Some(family))
}

#[cfg(feature = "metrics")]
fn known_label(template: &str, family: Option<Family>) -> metrics::SharedString {
    use std::collections::HashMap;
    use std::sync::atomic::{AtomicU8, Ordering};
    use std::sync::{Arc, PoisonError, RwLock};

    /// A label, and a bit for each family that started.
    type Label = (Arc<str>, AtomicU8);
    static LABELS: RwLock<Option<HashMap<String, Label>>> = RwLock::new(None);

    let text = |(text, started): &Label| {
        let label = Arc::clone(text).into();
        if let Some(family) = family {
            let bit = 1 << (family as u8);
            if started.load(Ordering::Relaxed) & bit == 0
                && started.fetch_or(bit, Ordering::Relaxed) & bit == 0
            {
                family.start(&label);
            }
        }
        label
    };
    let known = LABELS.read().unwrap_or_else(PoisonError::into_inner);
    if let Some(labels) = known.as_ref() {
        if let Some(label) = labels.get(template) {
            return text(label);
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
    text(
        labels
            .entry(template.to_owned())
            .or_insert_with(|| (template.into(), AtomicU8::new(0))),
    )
}

#[cfg(all(test, feature = "metrics", feature = "testing"))]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::{Arc, Mutex};

    use metrics::{
        Counter, Gauge, GaugeFn, Histogram, Key as Name, KeyName, Metadata, Recorder, SharedString,
        Unit, with_local_recorder,
    };

    use super::*;
    use crate::clock::Clock;
    use crate::testing::{Fault, Faulty};
    use crate::{Cachify, KeyTemplate};

    /// Writes down what is counted, with its labels, and what gauges are set to.
    #[derive(Default, Clone)]
    struct Record(Arc<Mutex<Vec<String>>>);

    impl Record {
        fn write(&self, name: &Name) {
            let mut line = name.name().to_owned();
            for label in name.labels() {
                line.push(' ');
                line.push_str(label.value());
            }
            self.0.lock().unwrap().push(line);
        }

        fn describe(&self, name: &KeyName) {
            let line = format!("described {}", name.as_str());
            self.0.lock().unwrap().push(line);
        }

        fn has(&self, line: &str) -> bool {
            self.0.lock().unwrap().iter().any(|have| have == line)
        }
    }

    impl GaugeFn for Record {
        fn increment(&self, value: f64) {
            self.0.lock().unwrap().push(format!("up by {value}"));
        }
        fn decrement(&self, value: f64) {
            self.0.lock().unwrap().push(format!("down by {value}"));
        }
        fn set(&self, value: f64) {
            self.0.lock().unwrap().push(format!("set to {value}"));
        }
    }

    impl Recorder for Record {
        fn describe_counter(&self, name: KeyName, _: Option<Unit>, _: SharedString) {
            self.describe(&name);
        }
        fn describe_gauge(&self, name: KeyName, _: Option<Unit>, _: SharedString) {
            self.describe(&name);
        }
        fn describe_histogram(&self, name: KeyName, _: Option<Unit>, _: SharedString) {
            self.describe(&name);
        }

        fn register_counter(&self, name: &Name, _: &Metadata<'_>) -> Counter {
            self.write(name);
            Counter::noop()
        }

        fn register_gauge(&self, name: &Name, _: &Metadata<'_>) -> Gauge {
            self.write(name);
            Gauge::from_arc(Arc::new(self.clone()))
        }

        fn register_histogram(&self, name: &Name, _: &Metadata<'_>) -> Histogram {
            self.write(name);
            Histogram::noop()
        }
    }

    fn recorded<F: Future<Output = ()>>(work: F) -> Record {
        let record = Record::default();
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_all().start_paused(true).build().unwrap();
        with_local_recorder(&record, || runtime.block_on(work));
        record
    }

    #[test]
    fn s1_templates_are_labels_up_to_a_thousand_and_keys_never() {
        let record = recorded(async {
            for n in 0..1500 {
                let template = KeyTemplate::parse(&format!("flood-{n}-{{id}}")).unwrap();
                request(&template.render(&[&"s3cret"]), ReadOutcome::Hit);
            }
        });
        let lines = record.0.lock().unwrap();
        assert!(lines.iter().all(|line| !line.contains("s3cret")));
        let hits: Vec<_> = lines.iter().filter(|line| line.ends_with(" hit")).collect();
        assert_eq!(*hits[hits.len() - 1], "cachify_requests_total other hit");
        assert!(hits.into_iter().collect::<BTreeSet<_>>().len() <= TEMPLATES + 1);
    }

    #[test]
    fn h8_every_metric_is_described_and_starts_before_the_first_event() {
        let record = recorded(async {
            let cachify = Cachify::memory();
            drop(cachify);
            // Another test uses up the labels.
            Family::Read.start(&"started-{id}".into());
            #[cfg(feature = "http")]
            Family::Bypass.start(&"started-{id}".into());
        });
        for line in [
            "described cachify_requests_total",
            "described cachify_lock_wait_seconds",
            "cachify_breaker_state",
            "cachify_evictions_total",
            "cachify_memory_bytes",
            "cachify_requests_total started-{id} unstored",
            #[cfg(feature = "http")]
            "cachify_bypass_total started-{id} cookie",
            "cachify_unreadable_total started-{id}",
        ] {
            assert!(record.has(line), "{line}");
        }
        let source = include_str!("observe.rs");
        let names = source.split('"').filter(|text| {
            text.strip_prefix("cachify_").is_some_and(|rest| {
                !rest.is_empty()
                    && rest
                        .bytes()
                        .all(|byte| byte.is_ascii_lowercase() || byte == b'_')
            })
        });
        for name in names {
            assert!(record.has(&format!("described {name}")), "{name}");
        }
    }

    #[test]
    fn c6_what_cannot_be_read_is_counted() {
        let record = recorded(async {
            let cachify = Faulty::wrap(&Cachify::memory()).0;
            let key = KeyTemplate::parse("typed").unwrap().render(&[]);
            cachify.cached(&key).set(1).await.unwrap();
            assert_eq!(cachify.cached(&key).get::<String>().await.unwrap(), None);
        });
        let lines = record.0.lock().unwrap();
        assert!(
            lines
                .iter()
                .any(|line| line.starts_with("cachify_unreadable_total "))
        );
    }

    #[test]
    fn c11_what_memory_holds_shows() {
        let record = recorded(async {
            let clock = Clock::test();
            let builder = Cachify::builder().capacity(3).capacity_bytes(1 << 20);
            let cachify = builder.clock(clock).connect_lazy().unwrap();
            let template = KeyTemplate::parse("row-{id}").unwrap();
            let cached = |id: u32| cachify.cached(&template.render(&[&id]));
            for id in 0..5 {
                cached(id).weigh(|_: &i32| 1000).set(1).await.unwrap();
            }
            cached(5).weigh(|_: &i32| 2 << 20).set(1).await.unwrap();
            tokio::time::sleep(std::time::Duration::from_secs(3)).await;
            drop(cachify);
        });
        assert!(record.has("cachify_too_large_total row-{id}"));
        assert!(record.has("cachify_evictions_total"));
        let lines = record.0.lock().unwrap();
        let bytes = 3 * (1000 + "row-0".len() + 256);
        for line in [
            "up by 3".to_owned(),
            format!("up by {bytes}"),
            "down by 3".to_owned(),
            format!("down by {bytes}"),
        ] {
            assert!(lines.contains(&line), "{line}: {lines:?}");
        }
    }

    #[cfg(feature = "redis")]
    #[test]
    fn connections_that_are_made_and_lost_are_counted() {
        let record = Record::default();
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_all().build().unwrap();
        let server = redis_fixture::Server::start();
        let counted = |event: &str| {
            let name = format!("cachify_connections_total {event}");
            record
                .0
                .lock()
                .unwrap()
                .iter()
                .filter(|line| **line == name)
                .count()
        };
        with_local_recorder(&record, || {
            runtime.block_on(async {
                let cachify = Cachify::connect(&server.url()).await.unwrap();
                let (made, lost) = (counted("made"), counted("lost"));
                // One of each is the series that starts at zero.
                assert!(made >= 3 && lost == 1, "{made} made, {lost} lost");
                server.kill();
                let key = KeyTemplate::parse("row").unwrap().render(&[]);
                assert!(cachify.reset(&key).await.is_err());
                assert!(counted("lost") > lost);
                server.restart();
                cachify.close(Duration::from_secs(20)).await.unwrap();
                assert!(counted("made") > made);
            });
        });
    }

    #[test]
    fn c7_a_backend_that_is_left_alone_shows() {
        let record = recorded(async {
            let (cachify, backend) = Faulty::wrap(&Cachify::memory());
            let key = KeyTemplate::parse("row").unwrap().render(&[]);
            backend.fail_all(Fault::Refuse);
            for _ in 0..10 {
                cachify.cached(&key).get_or_compute(async || 1).await;
            }
        });
        assert!(record.has("cachify_breaker_state"));
        let lines = record.0.lock().unwrap();
        let set: Vec<_> = lines
            .iter()
            .filter(|line| line.starts_with("set to"))
            .collect();
        assert_eq!(set, ["set to 1"], "once");
    }
}

//! The backend: its memory, its connections, the circuit breaker.

#[cfg(feature = "metrics")]
use super::labels::label;
use super::seen::{Seen, first_time};
use crate::{Error, Key};

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

#[cfg(feature = "metrics")]
pub(super) fn describe() {
    use metrics::{Unit, counter, describe_counter, describe_gauge, gauge};

    describe_counter!(
        "cachify_connections_total",
        "Connections to Redis that were made and lost, by event."
    );
    describe_gauge!(
        "cachify_memory_entries",
        "Entries in the memory of this process."
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

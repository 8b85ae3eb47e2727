//! Events of the backend: its memory, its connections, the circuit breaker.

use std::sync::atomic::{AtomicBool, Ordering};

#[cfg(feature = "metrics")]
use super::labels::label;
use super::seen::{Seen, first_time};
use crate::{Error, Key};

/// Counts an entry that is not stored, since entries have used up their share of the server's
/// memory.
#[cfg(feature = "redis")]
pub(crate) fn no_room(key: &Key) {
    #[cfg(feature = "metrics")]
    metrics::counter!("cachify_no_room_total", "template" => label(key)).increment(1);
    tracing::debug!(
        template = key.template(),
        "computed, but not stored: entries have used up their share of the server's memory"
    );
}

/// Counts an entry that is too large for the memory backend. Warns once for each template.
pub(crate) fn too_large(key: &Key) {
    static TOO_LARGE: Seen = Seen::new();
    #[cfg(feature = "metrics")]
    metrics::counter!("cachify_too_large_total", "template" => label(key)).increment(1);
    if first_time(&TOO_LARGE, key.template()) {
        tracing::warn!(
            template = key.template(),
            "a value is too large for the memory backend and is not kept; raise \
             `capacity_bytes`, or cache something smaller"
        );
    }
}

/// Updates the gauge of entries: a memory backend had `before` and has `now`.
#[cfg_attr(not(feature = "metrics"), allow(unused_variables))]
pub(crate) fn memory_entries(before: usize, now: usize) {
    #[cfg(feature = "metrics")]
    change("cachify_memory_entries", before as u64, now as u64);
}

/// Updates the gauge of bytes: the entries of a memory backend took `before` and take `now`.
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
        tracing::warn!(%error, "circuit breaker opened; probing the backend until it answers");
    } else {
        tracing::info!("circuit breaker closed: the backend answers again");
    }
}

/// Counts resets that are repeated because the backend may have lost them.
#[cfg_attr(not(feature = "metrics"), allow(unused_variables))]
pub(crate) fn repeated_resets(count: usize) {
    #[cfg(feature = "metrics")]
    metrics::counter!("cachify_repeated_resets_total").increment(count as u64);
}

/// Counts a reset that is no longer remembered, because `capacity` others came after it within a
/// minute. Warns once.
pub(crate) fn forgotten_reset(capacity: usize) {
    static WARNED: AtomicBool = AtomicBool::new(false);
    #[cfg(feature = "metrics")]
    metrics::counter!("cachify_forgotten_resets_total").increment(1);
    if !WARNED.swap(true, Ordering::Relaxed) {
        tracing::warn!(
            capacity,
            "more keys are reset within a minute than are remembered; if the server loses its \
             data, the first of them are not reset again"
        );
    }
}

/// Reports that the server at `place` is not the one that was there before, or no longer a primary.
#[cfg(feature = "redis")]
pub(crate) fn another_server(place: &str, is_replica: bool, resets: usize) {
    if is_replica {
        tracing::warn!(
            place,
            resets,
            "the server became a replica, and may have lost acknowledged writes; the resets of \
             the last minute are repeated, and all locks are renewed"
        );
    } else {
        tracing::warn!(
            place,
            resets,
            "the server came back as another one, and may have lost acknowledged writes; the \
             resets of the last minute are repeated, and all locks are renewed"
        );
    }
}

/// Reports that a connection to the server at `place` was made or lost.
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
        "Connections to Redis that were made or lost, by event."
    );
    describe_counter!(
        "cachify_repeated_resets_total",
        "Resets repeated because the backend may have lost them."
    );
    describe_counter!(
        "cachify_forgotten_resets_total",
        "Resets of the last minute that are no longer remembered, because there were too many."
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
    for name in [
        "cachify_evictions_total",
        "cachify_repeated_resets_total",
        "cachify_forgotten_resets_total",
    ] {
        counter!(name).increment(0);
    }
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

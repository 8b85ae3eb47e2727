//! Events and, with feature `metrics`, counters and histograms: the only place for their names.
//!
//! Labels are templates, never keys: a key's arguments may be secret, and their number is
//! unlimited.

mod backend;
#[cfg(feature = "http")]
mod bypass;
#[cfg(feature = "http")]
mod http;
#[cfg(feature = "metrics")]
mod labels;
#[cfg(feature = "http")]
mod problems;
mod reads;
mod seen;
mod slots;
#[cfg(all(test, feature = "metrics", feature = "testing"))]
#[allow(clippy::unwrap_used)]
mod tests;
#[cfg(feature = "redis")]
mod tier;

#[cfg(feature = "redis")]
pub(crate) use backend::{another_server, connection, no_room};
pub(crate) use backend::{
    breaker, evictions, forgotten_reset, memory_bytes, memory_entries, repeated_resets, too_large,
};
#[cfg(feature = "http")]
pub(crate) use bypass::Why;
#[cfg(feature = "http")]
pub(crate) use http::{
    bypass, ended_with_client, passed, several_hosts, several_routes, unfilled, untold_route,
};
#[cfg(feature = "http")]
pub(crate) use problems::answered;
pub(crate) use reads::{
    ReadOutcome, computed, does_not_read_back, not_stored, overdue, reentrant, refresh_failed,
    request, unreadable,
};
pub(crate) use slots::{Contest, Kind, contest, permits};
#[cfg(feature = "redis")]
pub(crate) use tier::{Bypassed, Source, Word, bypassed, horizon, tier_hit, word};

/// Describes every metric, and starts those without a template at zero, so that they exist before
/// the first event.
#[cfg(feature = "metrics")]
pub(crate) fn describe() {
    reads::describe();
    slots::describe();
    backend::describe();
    #[cfg(feature = "redis")]
    tier::describe();
    #[cfg(feature = "http")]
    http::describe();
}

/// Starts the metrics of a template when a cached route with it is built.
#[cfg(feature = "http")]
#[cfg_attr(not(feature = "metrics"), allow(unused_variables))]
pub(crate) fn cached_template(template: &str) {
    #[cfg(feature = "metrics")]
    {
        describe();
        let _ = reads::label_of(template);
        let _ = http::label_of(template);
    }
}

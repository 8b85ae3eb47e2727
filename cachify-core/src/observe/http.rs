//! Events of HTTP: requests that bypass the cache, routes and hosts that share a key.

use super::bypass::Why;
#[cfg(feature = "metrics")]
use super::labels::{self, Family, label};
#[cfg(feature = "metrics")]
use super::reads;
use super::seen::{Seen, first_time};
use crate::{Key, MissingPlaceholder};

/// Counts a request that bypasses the cache without a read.
pub(crate) fn passed(template: &str, why: Why) {
    #[cfg(feature = "metrics")]
    {
        let template = reads::label_of(template);
        metrics::counter!("cachify_requests_total", "template" => template, "outcome" => "bypass")
            .increment(1);
    }
    bypass(template, why);
}

/// Counts a request, already counted as a read, that is answered for its client alone. Logs each
/// reason once for each template.
pub(crate) fn bypass(template: &str, why: Why) {
    static TOLD: Seen = Seen::new();
    #[cfg(feature = "metrics")]
    {
        let template = label_of(template);
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

/// Warns, once for each template, that a request lacks a part of its route's key.
pub(crate) fn unfilled(missing: &MissingPlaceholder) {
    static UNFILLED: Seen = Seen::new();
    if first_time(&UNFILLED, missing.template()) {
        tracing::warn!(
            template = missing.template(),
            placeholder = missing.name(),
            "a request lacks a part of the key of a cached route, and passes through uncached"
        );
    }
}

/// Warns, once for each template, that a request belongs to another route than the first one.
pub(crate) fn several_routes(template: &str, first: &str, route: &str) {
    static SEVERAL: Seen = Seen::new();
    if first_time(&SEVERAL, template) {
        tracing::warn!(
            template,
            first,
            route,
            "two routes share a cache, and the second passes through uncached: give each route \
             its own template, name `{{path}}` in it, or set `same_on_every_route` if their \
             responses are the same"
        );
    }
}

/// Warns, once for each template, that the framework does not report the route of a request.
pub(crate) fn untold_route(template: &str) {
    static UNTOLD: Seen = Seen::new();
    if first_time(&UNTOLD, template) {
        tracing::warn!(
            template,
            "the route of a request is unknown, and it passes through uncached: name `{{path}}` \
             in the template, put the cache on each route, or set `same_on_every_route` if the \
             responses are the same on every route"
        );
    }
}

/// Warns that requests for two hosts share entries.
pub(crate) fn several_hosts(template: &str, first: &str, host: &str) {
    tracing::warn!(
        template,
        first,
        host,
        "requests for two hosts share the entries of a cached route: name `{{host}}` in the \
         template if the responses differ by host, or set `same_on_every_host` if they do not"
    );
}

/// Counts a handler that is dropped with its client because the limit of handlers without a client
/// is reached. Warns once for each template.
pub(crate) fn ended_with_client(key: &Key) {
    static ENDED: Seen = Seen::new();
    #[cfg(feature = "metrics")]
    metrics::counter!("cachify_ended_with_client_total", "template" => label(key)).increment(1);
    if first_time(&ENDED, key.template()) {
        tracing::warn!(
            template = key.template(),
            "too many handlers run without their clients: others are dropped with theirs; see \
             `finish_after_disconnect_up_to`"
        );
    }
}

#[cfg(feature = "metrics")]
pub(super) fn describe() {
    use metrics::describe_counter;

    describe_counter!(
        "cachify_bypass_total",
        "Requests over HTTP that were answered for their client alone, by reason."
    );
    describe_counter!(
        "cachify_ended_with_client_total",
        "Computations that ended with their clients, because too many ran without theirs."
    );
}

#[cfg(feature = "metrics")]
pub(super) fn label_of(template: &str) -> metrics::SharedString {
    labels::label_of(template, Family::Bypass, start)
}

/// Starts the series of a template at zero.
#[cfg(feature = "metrics")]
pub(super) fn start(template: &metrics::SharedString) {
    use metrics::counter;

    let template = || template.clone();
    counter!("cachify_ended_with_client_total", "template" => template()).increment(0);
    for why in Why::ALL {
        counter!("cachify_bypass_total", "template" => template(), "reason" => why.as_str())
            .increment(0);
    }
}

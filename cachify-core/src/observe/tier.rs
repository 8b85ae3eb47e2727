//! Events of a memory in front of Redis, and of the reset messages that keep it in step.

use std::time::Duration;

/// The place where a tiered handle found an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    Memory,
    Redis,
}

/// The reason why a tiered handle did not use its memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bypassed {
    /// The channel of resets is not subscribed to.
    Unsubscribed,
    /// No heartbeat came back within the staleness bound.
    Silent,
}

/// An event of a reset message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Word {
    Sent,
    /// The user may not publish on the channel.
    Refused,
    Heard,
}

#[cfg(feature = "metrics")]
impl Source {
    const ALL: [Self; 2] = [Self::Memory, Self::Redis];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Redis => "redis",
        }
    }
}

#[cfg(feature = "metrics")]
impl Bypassed {
    const ALL: [Self; 2] = [Self::Unsubscribed, Self::Silent];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Unsubscribed => "unsubscribed",
            Self::Silent => "silent",
        }
    }
}

#[cfg(feature = "metrics")]
impl Word {
    const ALL: [Self; 3] = [Self::Sent, Self::Refused, Self::Heard];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Sent => "sent",
            Self::Refused => "refused",
            Self::Heard => "heard",
        }
    }
}

/// Counts an entry that a tiered handle found.
#[inline]
#[cfg_attr(not(feature = "metrics"), allow(unused_variables))]
pub(crate) fn tier_hit(source: Source) {
    #[cfg(feature = "metrics")]
    metrics::counter!("cachify_tier_hits_total", "source" => source.as_str()).increment(1);
}

/// Counts a read that could not use the memory of its tiered handle.
#[cfg_attr(not(feature = "metrics"), allow(unused_variables))]
pub(crate) fn bypassed(reason: Bypassed) {
    #[cfg(feature = "metrics")]
    metrics::counter!("cachify_tier_bypass_total", "reason" => reason.as_str()).increment(1);
}

/// Counts a reset message.
#[cfg_attr(not(feature = "metrics"), allow(unused_variables))]
pub(crate) fn word(event: Word) {
    #[cfg(feature = "metrics")]
    metrics::counter!("cachify_reset_words_total", "event" => event.as_str()).increment(1);
}

/// Records how long ago the last heartbeat that came back was sent.
#[cfg_attr(not(feature = "metrics"), allow(unused_variables))]
pub(crate) fn horizon(age: Duration) {
    #[cfg(feature = "metrics")]
    metrics::gauge!("cachify_tier_horizon_seconds").set(age.as_secs_f64());
}

#[cfg(feature = "metrics")]
pub(super) fn describe() {
    use metrics::{Unit, counter, describe_counter, describe_gauge, gauge};

    describe_counter!(
        "cachify_tier_hits_total",
        "Entries that tiered handles found, by source: memory or Redis."
    );
    describe_counter!(
        "cachify_tier_bypass_total",
        "Reads that could not use the memory of their tiered handle, by reason."
    );
    describe_counter!(
        "cachify_reset_words_total",
        "Reset messages to processes with copies in memory, by event."
    );
    describe_gauge!(
        "cachify_tier_horizon_seconds",
        Unit::Seconds,
        "The time since the last heartbeat of a tiered handle that came back was sent."
    );
    for source in Source::ALL {
        counter!("cachify_tier_hits_total", "source" => source.as_str()).increment(0);
    }
    for reason in Bypassed::ALL {
        counter!("cachify_tier_bypass_total", "reason" => reason.as_str()).increment(0);
    }
    for event in Word::ALL {
        counter!("cachify_reset_words_total", "event" => event.as_str()).increment(0);
    }
    gauge!("cachify_tier_horizon_seconds").increment(0.0);
}

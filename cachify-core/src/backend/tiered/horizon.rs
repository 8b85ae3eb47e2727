//! The horizon, which says until when memory can be trusted.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use crate::backend::Token;
use crate::clock::Moment;

/// The largest number of heartbeats on their way. Older ones would not move the horizon far enough.
const ON_THEIR_WAY: usize = 8;

/// The moment up to which all resets were heard, and the bound on the time since then.
pub(super) struct Horizon {
    bound: Duration,
    /// The end of the bound, in microseconds; 0 while memory must not be used.
    trusted_until: AtomicU64,
    /// The heartbeats on their way, with the time at which each was sent.
    sent: Mutex<VecDeque<(Token, Moment)>>,
    /// Changes with every heartbeat that comes back.
    beats: watch::Sender<()>,
}

impl Horizon {
    pub(super) fn new(bound: Duration) -> Self {
        Self {
            bound,
            trusted_until: AtomicU64::new(0),
            sent: Mutex::default(),
            beats: watch::Sender::new(()),
        }
    }

    pub(super) fn bound(&self) -> Duration {
        self.bound
    }

    /// Returns the moment from which memory must not be used. Callers load it before they look into
    /// memory, so that they don't find copies that were removed before it was set.
    #[inline]
    pub(super) fn trusted_until(&self) -> Moment {
        Moment::from_micros(self.trusted_until.load(Ordering::Acquire))
    }

    /// Returns the time since the last heartbeat that came back was sent. `None` if resets may have
    /// been missed since.
    pub(super) fn age(&self, now: Moment) -> Option<Duration> {
        let until = self.trusted_until().as_micros();
        // The sum that `beat` stores saturates as well.
        let bound = u64::try_from(self.bound.as_micros()).unwrap_or(u64::MAX);
        (until > 0).then(|| now.since(Moment::from_micros(until.saturating_sub(bound))))
    }

    pub(super) fn sending(&self, token: &Token, now: Moment) {
        let mut sent = self.sent();
        if sent.len() == ON_THEIR_WAY {
            sent.pop_front();
        }
        sent.push_back((token.clone(), now));
    }

    /// Moves the horizon: a heartbeat came back, behind all reset messages from before it was sent.
    pub(super) fn beat(&self, token: &str) {
        let mut sent = self.sent();
        let Some(place) = sent.iter().position(|(other, _)| other.as_str() == token) else {
            return;
        };
        // Heartbeats before this one are lost, or too late to count.
        let (_, at) = sent[place];
        sent.drain(..=place);
        let until = (at + self.bound).as_micros();
        self.trusted_until.store(until, Ordering::Release);
        drop(sent);
        self.beats.send_replace(());
    }

    /// Discards all heartbeats that were sent, because resets may have been missed.
    pub(super) fn lost(&self) {
        let mut sent = self.sent();
        sent.clear();
        self.trusted_until.store(0, Ordering::Release);
    }

    /// Subscribes to heartbeats that come back.
    pub(super) fn beats(&self) -> watch::Receiver<()> {
        self.beats.subscribe()
    }

    fn sent(&self) -> MutexGuard<'_, VecDeque<(Token, Moment)>> {
        self.sent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::Node;

    #[test]
    fn c10_the_horizon_is_when_a_heartbeat_was_sent_not_when_it_came_back() {
        let horizon = Horizon::new(Duration::from_secs(1));
        let node = Node::new("test");
        let at = Moment::from_micros;
        let (first, second) = (node.token(), node.token());
        assert_eq!(horizon.trusted_until(), at(0));
        horizon.sending(&first, at(1_000_000));
        horizon.sending(&second, at(1_300_000));
        horizon.beat(node.token().as_str());
        assert_eq!(horizon.trusted_until(), at(0), "none of these");
        horizon.beat(first.as_str());
        assert_eq!(horizon.trusted_until(), at(2_000_000));
        assert_eq!(horizon.age(at(1_900_000)), Some(Duration::from_millis(900)));
        horizon.beat(first.as_str());
        horizon.beat(second.as_str());
        assert_eq!(horizon.trusted_until(), at(2_300_000));
    }

    #[test]
    fn c10_a_heartbeat_from_before_a_loss_does_not_count() {
        let horizon = Horizon::new(Duration::from_secs(1));
        let token = Node::new("test").token();
        horizon.sending(&token, Moment::from_micros(1_000_000));
        horizon.lost();
        horizon.beat(token.as_str());
        assert_eq!(horizon.age(Moment::from_micros(1_000_001)), None);
    }
}

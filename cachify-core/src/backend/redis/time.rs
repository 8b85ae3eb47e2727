//! The server's clock, as seen from here.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::clock::{Clock, Moment};

/// After so long a better look at the server's clock is forgotten for a newer one.
const STALE: Duration = Duration::from_secs(30);

/// The local clock and how far the server's is ahead of it.
#[derive(Debug)]
pub(super) struct ServerTime {
    clock: Clock,
    /// In microseconds.
    offset: AtomicI64,
    best: Mutex<Option<Sample>>,
}

/// How the present offset was found: the shorter the round trip, the better.
#[derive(Debug, Clone, Copy)]
struct Sample {
    round_trip: Duration,
    at: Moment,
}

impl ServerTime {
    pub(super) fn new(clock: Clock) -> Self {
        Self {
            clock,
            offset: AtomicI64::new(0),
            best: Mutex::default(),
        }
    }

    /// The local time, for what [`sample`](Self::sample) needs.
    pub(super) fn local(&self) -> Moment {
        self.clock.now()
    }

    /// The server's time.
    pub(super) fn now(&self) -> Moment {
        let offset = self.offset.load(Ordering::Relaxed);
        Moment::from_micros(self.clock.now().as_micros().saturating_add_signed(offset))
    }

    /// The server's clock stood at `server` microseconds some time between `sent` and now.
    pub(super) fn sample(&self, sent: Moment, server: u64) {
        let at = self.clock.now();
        let round_trip = at.since(sent);
        let middle = (sent + round_trip / 2).as_micros();
        let offset = server.wrapping_sub(middle).cast_signed();
        let mut best = self.best.lock().unwrap_or_else(PoisonError::into_inner);
        let keep = best.is_some_and(|best| {
            let apart = offset.abs_diff(self.offset.load(Ordering::Relaxed));
            let explained = (best.round_trip + round_trip) / 2 + Duration::from_micros(50);
            round_trip > best.round_trip
                && at.since(best.at) < STALE
                && u128::from(apart) <= explained.as_micros()
        });
        if !keep {
            *best = Some(Sample { round_trip, at });
            self.offset.store(offset, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SERVER: u64 = 1_800_000_000_000_000;

    fn sampled(time: &ServerTime, clock: &Clock, round_trip: Duration, server: u64) {
        let sent = time.local();
        clock.advance(round_trip);
        time.sample(sent, server);
    }

    #[tokio::test(start_paused = true)]
    async fn the_shortest_round_trip_is_believed() {
        let clock = Clock::test();
        let time = ServerTime::new(clock.clone());
        sampled(&time, &clock, Duration::from_millis(20), SERVER);
        assert_eq!(time.now().as_micros(), SERVER + 10_000);
        sampled(&time, &clock, Duration::from_millis(2), SERVER + 14_000);
        assert_eq!(time.now().as_micros(), SERVER + 15_000);
        // Longer, and nothing that it could not explain.
        sampled(&time, &clock, Duration::from_millis(8), SERVER + 16_500);
        assert_eq!(time.now().as_micros(), SERVER + 23_000);
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_clock_that_was_set_is_noticed_at_once() {
        let clock = Clock::test();
        let time = ServerTime::new(clock.clone());
        sampled(&time, &clock, Duration::from_millis(2), SERVER);
        let hour = 3_600_000_000;
        sampled(&time, &clock, Duration::from_millis(8), SERVER - hour);
        assert_eq!(time.now().as_micros(), SERVER - hour + 4_000);
    }
}

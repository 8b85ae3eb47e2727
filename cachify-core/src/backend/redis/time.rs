//! The server's clock, as estimated by this process.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::backend::Signals;
use crate::clock::{Clock, Moment};

/// The age at which a better sample of the server's clock gives way to a newer one.
const STALE: Duration = Duration::from_secs(30);
/// The largest drift between two clocks, as 1/n, while one of them is being corrected.
const DRIFT: u32 = 1000;
/// The smallest step of the server's clock that is reported. The margin of a guard's deadline, at
/// least 12 ms, covers smaller steps.
const SMALLEST_STEP: Duration = Duration::from_millis(5);

/// The local clock, and the offset of the server's clock from it.
#[derive(Debug)]
pub(super) struct ServerTime {
    clock: Clock,
    /// The server's time minus the local time, in microseconds.
    offset: AtomicI64,
    best: Mutex<Option<Sample>>,
    /// The signals to disturb when the server's clock was set.
    signals: Signals,
}

/// The sample that the present offset is based on. The shorter the round trip, the better.
#[derive(Debug, Clone, Copy)]
struct Sample {
    round_trip: Duration,
    at: Moment,
}

impl ServerTime {
    pub(super) fn new(clock: Clock, signals: Signals) -> Self {
        Self {
            clock,
            offset: AtomicI64::new(0),
            best: Mutex::default(),
            signals,
        }
    }

    /// Returns the local time, to pass to [`sample`](Self::sample) later.
    pub(super) fn local(&self) -> Moment {
        self.clock.now()
    }

    /// Returns the server's time.
    pub(super) fn now(&self) -> Moment {
        let offset = self.offset.load(Ordering::Relaxed);
        Moment::from_micros(self.clock.now().as_micros().saturating_add_signed(offset))
    }

    /// Records that the server's clock stood at `server` microseconds at some time between `sent`
    /// and now.
    pub(super) fn sample(&self, sent: Moment, server: u64) {
        let at = self.clock.now();
        let round_trip = at.since(sent);
        let middle = (sent + round_trip / 2).as_micros();
        let offset = server.wrapping_sub(middle).cast_signed();
        let mut best = self.best.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.offset.load(Ordering::Relaxed);
        let apart = Duration::from_micros(offset.abs_diff(before));
        let (mut keep, mut was_set) = (false, false);
        if let Some(best) = *best {
            let age = at.since(best.at);
            let explained = (best.round_trip + round_trip) / 2 + Duration::from_micros(50);
            keep = round_trip > best.round_trip && age < STALE && apart <= explained;
            was_set = apart > explained + age / DRIFT + SMALLEST_STEP;
        }
        if !keep {
            *best = Some(Sample { round_trip, at });
            self.offset.store(offset, Ordering::Relaxed);
        }
        drop(best);
        if was_set {
            tracing::warn!(
                by = ?apart,
                ahead = offset > before,
                "the server's clock was set; all locks, permits and leases are renewed"
            );
            self.signals.disturb();
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
        let time = ServerTime::new(clock.clone(), Signals::default());
        sampled(&time, &clock, Duration::from_millis(20), SERVER);
        assert_eq!(time.now().as_micros(), SERVER + 10_000);
        sampled(&time, &clock, Duration::from_millis(2), SERVER + 14_000);
        assert_eq!(time.now().as_micros(), SERVER + 15_000);
        // This round trip is longer, and long enough to explain the difference.
        sampled(&time, &clock, Duration::from_millis(8), SERVER + 16_500);
        assert_eq!(time.now().as_micros(), SERVER + 23_000);
        assert_eq!(time.signals.disturbances(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn l4_what_round_trips_and_drift_explain_is_no_step() {
        let clock = Clock::test();
        let time = ServerTime::new(clock.clone(), Signals::default());
        let milli = 1_000;
        sampled(&time, &clock, Duration::from_millis(2), SERVER);
        // The server's clock is at most 20 ms ahead, or was read at either end of the round trip.
        for late in [0, 200, 100] {
            let round_trip = Duration::from_millis(200);
            let now = time.now().as_micros();
            sampled(&time, &clock, round_trip, now + late * milli);
        }
        clock.advance(Duration::from_secs(20));
        let now = time.now().as_micros();
        sampled(&time, &clock, Duration::from_millis(2), now + 20 * milli);
        assert_eq!(time.signals.disturbances(), 0);
        for (steps, step) in [(1, 1_000_000), (2, -1_000_000), (3, 20_000), (4, -20_000)] {
            let now = time.now().as_micros().saturating_add_signed(step);
            sampled(&time, &clock, Duration::from_millis(2), now);
            assert_eq!(time.signals.disturbances(), steps, "{step}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_clock_that_was_set_is_noticed_at_once() {
        let clock = Clock::test();
        let time = ServerTime::new(clock.clone(), Signals::default());
        sampled(&time, &clock, Duration::from_millis(2), SERVER);
        let hour = 3_600_000_000;
        sampled(&time, &clock, Duration::from_millis(8), SERVER - hour);
        assert_eq!(time.now().as_micros(), SERVER - hour + 4_000);
        assert_eq!(time.signals.disturbances(), 1);
    }
}

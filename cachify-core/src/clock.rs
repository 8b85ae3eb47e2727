//! Time that continues while the machine is suspended, and a clock that tests can move.

#[cfg(any(test, feature = "testing"))]
use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};
use std::time::Duration;

/// A point in time, in microseconds since a moment in the past that differs between processes.
///
/// A remote backend uses its server's time; see [`Backend::now`](crate::backend::Backend::now).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment(u64);

impl Moment {
    /// The end of time: a deadline that never comes.
    pub const NEVER: Self = Self(u64::MAX);

    /// Makes the moment `micros` microseconds after the clock's zero.
    pub const fn from_micros(micros: u64) -> Self {
        Self(micros)
    }

    /// Returns the microseconds since the clock's zero.
    pub const fn as_micros(self) -> u64 {
        self.0
    }

    /// Returns the time from `earlier` to this moment; zero if `earlier` is later.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }
}

impl std::ops::Add<Duration> for Moment {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(micros))
    }
}

/// The clock of a handle.
///
/// The system's clock never goes back. On Linux, Android and macOS, it continues while the machine
/// is suspended: a lock that expired during the night is known to be lost in the morning.
#[derive(Debug, Clone, Default)]
pub struct Clock(TimeSource);

#[derive(Debug, Clone, Default)]
enum TimeSource {
    #[default]
    System,
    #[cfg(any(test, feature = "testing"))]
    Test {
        start: tokio::time::Instant,
        ahead: Arc<AtomicU64>,
    },
}

impl Clock {
    /// Makes a clock that follows tokio's clock, paused or not, and that can be moved ahead of it
    /// by [`advance`](Self::advance).
    ///
    /// # Panics
    ///
    /// If called outside a tokio runtime.
    #[cfg(any(test, feature = "testing"))]
    pub fn test() -> Self {
        Self(TimeSource::Test {
            start: tokio::time::Instant::now(),
            ahead: Arc::new(AtomicU64::new(0)),
        })
    }

    /// Moves a test clock forward without firing timers, as on a machine that was suspended.
    ///
    /// Clones move together. A system clock does not move.
    #[cfg(any(test, feature = "testing"))]
    pub fn advance(&self, duration: Duration) {
        if let TimeSource::Test { ahead, .. } = &self.0 {
            let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
            ahead.fetch_add(micros, Ordering::SeqCst);
        }
    }

    /// Moves a test clock back, but not before its start. This imitates a server whose clock was
    /// put ahead.
    ///
    /// Clones move together. A system clock does not move.
    #[cfg(any(test, feature = "testing"))]
    pub fn set_back(&self, duration: Duration) {
        if let TimeSource::Test { ahead, .. } = &self.0 {
            let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
            let _ = ahead.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |ahead| {
                Some(ahead.saturating_sub(micros))
            });
        }
    }

    /// Returns the present moment.
    #[inline]
    pub fn now(&self) -> Moment {
        match &self.0 {
            TimeSource::System => system_now(),
            #[cfg(any(test, feature = "testing"))]
            TimeSource::Test { start, ahead } => {
                Moment(1) + start.elapsed() + Duration::from_micros(ahead.load(Ordering::SeqCst))
            }
        }
    }
}

#[cfg(unix)]
#[inline]
fn system_now() -> Moment {
    use rustix::time::{ClockId, clock_gettime};

    // Linux's monotonic clock stops during suspend, and its boot clock does not. On other systems,
    // the monotonic clock continues.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    const CLOCK: ClockId = ClockId::Boottime;
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    const CLOCK: ClockId = ClockId::Monotonic;

    let time = clock_gettime(CLOCK);
    #[expect(clippy::cast_sign_loss, reason = "time since boot is not negative")]
    Moment(time.tv_sec as u64 * 1_000_000 + time.tv_nsec as u64 / 1000)
}

#[cfg(not(unix))]
fn system_now() -> Moment {
    use std::sync::OnceLock;
    use std::time::Instant;

    static START: OnceLock<Instant> = OnceLock::new();
    Moment(1) + START.get_or_init(Instant::now).elapsed()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_system_clock_moves_forward() {
        let clock = Clock::default();
        let before = clock.now();
        assert!(clock.now() >= before);
        assert!(before.as_micros() > 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_test_clock_follows_tokio_and_can_be_put_ahead() {
        let clock = Clock::test();
        let start = clock.now();
        tokio::time::advance(Duration::from_secs(2)).await;
        assert_eq!(clock.now().since(start), Duration::from_secs(2));
        clock.clone().advance(Duration::from_mins(1));
        assert_eq!(clock.now().since(start), Duration::from_secs(62));
    }
}

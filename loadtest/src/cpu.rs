//! Use of the processors during a measurement: by the load generator, by the apps, and by all. On
//! Linux alone; elsewhere nothing is said.

use std::time::Instant;

/// A moment, as the kernel counts.
pub(crate) struct Moment {
    at: Instant,
    own: u64,
    apps: u64,
    /// Of all processors: ticks in which they worked, and all ticks.
    machine: (u64, u64),
}

/// Between two moments.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Usage {
    /// Processors that this program kept busy, on average.
    pub(crate) load: f64,
    /// Processors that the apps kept busy.
    pub(crate) apps: f64,
    /// The share of the machine that was busy, from 0 to 1.
    pub(crate) busy: f64,
}

/// The kernel's, in which `/proc` counts: 100 a second wherever Linux runs.
const TICKS: f64 = 100.0;
/// Nobody who needs a processor at once gets one on a machine as busy as this.
const SATURATED: f64 = 0.9;

/// Now, with the processes of `pids` as the apps. `None` where the kernel does not tell.
pub(crate) fn now(pids: &[u32]) -> Option<Moment> {
    let apps = pids.iter().map(|pid| ticks(&pid.to_string()));
    Some(Moment {
        at: Instant::now(),
        own: ticks("self")?,
        apps: apps.sum::<Option<u64>>()?,
        machine: machine()?,
    })
}

impl Moment {
    #[expect(clippy::cast_precision_loss, reason = "hundredths of seconds")]
    pub(crate) fn until(&self, end: &Self) -> Usage {
        let ticks = (end.at - self.at).as_secs_f64() * TICKS;
        let since = |end: u64, begin: u64| end.saturating_sub(begin) as f64;
        let (busy, all) = self.machine;
        Usage {
            load: since(end.own, self.own) / ticks,
            apps: since(end.apps, self.apps) / ticks,
            busy: since(end.machine.0, busy) / since(end.machine.1, all).max(1.0),
        }
    }
}

impl Usage {
    /// The mean of some.
    pub(crate) fn mean(all: &[Self]) -> Option<Self> {
        #[expect(clippy::cast_precision_loss, reason = "a number of rounds")]
        let mean = |part: fn(&Self) -> f64| all.iter().map(part).sum::<f64>() / all.len() as f64;
        (!all.is_empty()).then(|| Self {
            load: mean(|it| it.load),
            apps: mean(|it| it.apps),
            busy: mean(|it| it.busy),
        })
    }

    /// Names what kept the figure from being larger, if it was not the app.
    pub(crate) fn limit(self) -> Option<&'static str> {
        let limit = if self.load > self.apps {
            LOAD_GENERATOR
        } else {
            MACHINE
        };
        (self.busy >= SATURATED).then_some(limit)
    }
}

pub(crate) const LOAD_GENERATOR: &str = "load generator";
pub(crate) const MACHINE: &str = "machine";

/// Returns the ticks that a process used so far.
fn ticks(pid: &str) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name may hold blanks and parentheses.
    let (_, fields) = stat.rsplit_once(") ")?;
    let mut fields = fields.split(' ').skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

fn machine() -> Option<(u64, u64)> {
    let stat = std::fs::read_to_string("/proc/stat").ok()?;
    let fields = stat.lines().next()?.strip_prefix("cpu ")?;
    let fields = fields.split_whitespace().map(str::parse);
    let fields: Vec<u64> = fields.collect::<Result<_, _>>().ok()?;
    let all = fields.iter().take(8).sum();
    let idle = fields.get(3)? + fields.get(4)?;
    Some((all - idle, all))
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn who_works_is_seen_to_work() {
        let begin = now(&[std::process::id()]);
        let at = Instant::now();
        while at.elapsed().as_millis() < 300 {
            std::hint::spin_loop();
        }
        let usage = begin.zip(now(&[])).map(|(begin, end)| begin.until(&end));
        assert!(usage.is_some_and(|it| it.load > 0.1), "{usage:?}");
        assert!(now(&[u32::MAX]).is_none());
    }
}

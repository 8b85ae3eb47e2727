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
        let (busy, all) = (
            end.machine.0.saturating_sub(self.machine.0),
            end.machine.1.saturating_sub(self.machine.1),
        );
        Usage {
            load: end.own.saturating_sub(self.own) as f64 / ticks,
            apps: end.apps.saturating_sub(self.apps) as f64 / ticks,
            busy: busy as f64 / all.max(1) as f64,
        }
    }
}

impl Usage {
    /// The mean of some.
    pub(crate) fn mean(all: &[Self]) -> Option<Self> {
        #[expect(clippy::cast_precision_loss, reason = "a number of rounds")]
        let count = all.len() as f64;
        (!all.is_empty()).then(|| Self {
            load: all.iter().map(|it| it.load).sum::<f64>() / count,
            apps: all.iter().map(|it| it.apps).sum::<f64>() / count,
            busy: all.iter().map(|it| it.busy).sum::<f64>() / count,
        })
    }

    /// Names what kept the figure from being larger, if it was not the app.
    pub(crate) fn limit(self) -> Option<&'static str> {
        if self.busy < SATURATED {
            None
        } else if self.load > self.apps {
            Some(LOAD_GENERATOR)
        } else {
            Some(MACHINE)
        }
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
        let (begin, me) = (now(&[]).map(|it| (it, Instant::now())), std::process::id());
        let Some((begin, at)) = begin else {
            panic!("this is Linux")
        };
        while at.elapsed().as_millis() < 300 {
            std::hint::spin_loop();
        }
        let usage = now(&[]).map(|end| begin.until(&end));
        assert!(usage.is_some_and(|it| it.load > 0.1), "{usage:?}");
        assert!(now(&[me]).is_some() && now(&[u32::MAX]).is_none());
    }

    #[test]
    fn a_limit_is_named_only_when_the_machine_is_full() {
        let usage = |load, apps, busy| Usage { load, apps, busy }.limit();
        assert_eq!(usage(1.5, 0.5, 0.5), None);
        assert_eq!(usage(1.2, 0.8, 1.0), Some(LOAD_GENERATOR));
        assert_eq!(usage(0.8, 1.2, 1.0), Some(MACHINE));
    }
}

//! The fields of `report.json`. Every field may be missing, so that reports of other versions can
//! be read.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Grows when a field is renamed or means something else; new fields come without.
pub(crate) const SCHEMA: u32 = 2;

/// `report.json`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Report {
    /// [`SCHEMA`].
    pub(crate) schema: u32,
    pub(crate) machine: Machine,
    pub(crate) versions: Versions,
    /// The command line as given, without passwords.
    pub(crate) flags: Vec<String>,
    /// Of a debug build no figure means anything; promises do.
    pub(crate) debug_build: bool,
    /// Seconds since 1970.
    pub(crate) started: u64,
    /// The time that everything took.
    pub(crate) seconds: f64,
    /// Notes that a reader of the figures should know.
    pub(crate) notes: Vec<String>,
    /// Set if every promise that [counts](Run::counts) was kept.
    pub(crate) kept: bool,
    /// Demands of the command line, such as `--max-p99 hit=2ms`.
    pub(crate) thresholds: Vec<Promise>,
    /// In the order in which they ran.
    pub(crate) runs: Vec<Run>,
}

/// The load, the apps and Redis share it.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Machine {
    pub(crate) cpu: String,
    pub(crate) processors: usize,
    pub(crate) memory_gib: f64,
    /// Operating system and kernel.
    pub(crate) system: String,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Versions {
    pub(crate) cachify: String,
    pub(crate) rustc: String,
    /// A short hash, with `+dirty` if there were changes.
    pub(crate) commit: Option<String>,
    pub(crate) frameworks: BTreeMap<String, String>,
    pub(crate) redis: Option<String>,
    pub(crate) python: Option<String>,
}

/// One measurement of one scenario.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Run {
    pub(crate) scenario: String,
    /// The measurement, where a scenario has several.
    pub(crate) what: String,
    /// `axum`, `poem`, `warp`; `floor`: a constant answer from an app that does nothing else;
    /// `lab`: routes of the load test itself; `python`; `target`.
    pub(crate) app: String,
    /// `memory`, `redis`, or the scheme of the URL.
    pub(crate) cache: String,
    pub(crate) instances: u16,
    pub(crate) users: usize,
    /// The time during which requests were sent, all rounds together.
    pub(crate) seconds: f64,
    /// Requests answered as expected, per second: the median of the rounds.
    pub(crate) per_second: f64,
    /// The distance of the farthest round's `per_second` from the median: 0.04 is ±4 %.
    pub(crate) spread: Option<f64>,
    /// The number of rounds that the figures are medians of.
    pub(crate) repeats: usize,
    /// Microseconds from sending a request to the last byte of its answer.
    pub(crate) latency_us: Latency,
    /// `load generator` or `machine`, where the figures are theirs rather than the app's.
    pub(crate) limit: Option<String>,
    /// Numbers of this scenario; each scenario documents its own.
    pub(crate) facts: serde_json::Value,
    /// The facts in a sentence.
    pub(crate) summary: String,
    pub(crate) promises: Vec<Promise>,
    /// Goose's report, beside `report.json`.
    pub(crate) goose: Option<String>,
    /// The holders of the contended lock over time; at most 400.
    pub(crate) holds: Option<Vec<Hold>>,
    /// The times that were waited for the lock.
    pub(crate) waits_us: Option<Vec<Bucket>>,
    /// The number of callers and of computations.
    pub(crate) fan_in: Option<FanIn>,
}

/// Times in microseconds, from every single one that was taken.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Latency {
    /// The number of times that these are of.
    pub(crate) count: u64,
    pub(crate) p50: u64,
    pub(crate) p90: u64,
    pub(crate) p99: u64,
    pub(crate) p999: u64,
    pub(crate) max: u64,
    /// As [`Run::spread`], of `p50`.
    pub(crate) p50_spread: Option<f64>,
    /// As [`Run::spread`], of `p99`.
    pub(crate) p99_spread: Option<f64>,
    /// Quantiles from 0 to 1, and their times.
    pub(crate) curve: Vec<(f64, u64)>,
}

/// Something that must hold, whatever the machine.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Promise {
    pub(crate) text: String,
    pub(crate) kept: bool,
    /// The observation.
    pub(crate) seen: String,
}

/// From when to when somebody held the lock, since the first one did.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Hold {
    pub(crate) who: u32,
    pub(crate) from_us: u64,
    pub(crate) to_us: u64,
}

/// The number of waits that were longer than the bucket before, and at most this.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Bucket {
    pub(crate) upto_us: u64,
    pub(crate) count: u64,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct FanIn {
    pub(crate) callers: u64,
    pub(crate) processes: u64,
    pub(crate) computations: u64,
    pub(crate) keys: u64,
}

impl Report {
    /// Returns whether every promise that counts was kept, and no threshold was crossed.
    pub(crate) fn passed(&self) -> bool {
        self.kept && self.thresholds.iter().all(|threshold| threshold.kept)
    }
}

impl Promise {
    pub(crate) fn new(text: &str, kept: bool, seen: impl Into<String>) -> Self {
        Self {
            text: text.to_owned(),
            kept,
            seen: seen.into(),
        }
    }

    /// Kept if `seen` is what was `expected`.
    pub(crate) fn equal(text: &str, expected: u64, seen: u64) -> Self {
        let kept = expected == seen;
        let instead = format!("{seen} instead of {expected}");
        Self::new(text, kept, if kept { seen.to_string() } else { instead })
    }

    /// Kept if nothing was `seen`.
    pub(crate) fn none(text: &str, seen: u64) -> Self {
        Self::equal(text, 0, seen)
    }
}

/// The quantiles that tables and charts show.
pub(crate) const SHOWN: [(f64, &str); 5] = [
    (0.5, "p50"),
    (0.9, "p90"),
    (0.99, "p99"),
    (0.999, "p99.9"),
    (1.0, "max"),
];

impl Latency {
    /// Returns the quantiles that tables show, and their times.
    pub(crate) fn figures(&self) -> [(f64, u64); 5] {
        let times = [self.p50, self.p90, self.p99, self.p999, self.max];
        std::array::from_fn(|at| (SHOWN[at].0, times[at]))
    }
}

impl Run {
    /// Returns what was run on what.
    pub(crate) fn title(&self) -> String {
        format!("{} on {}, {}", self.name(), self.app, self.cache)
    }

    /// Returns what was run.
    pub(crate) fn name(&self) -> String {
        format!("{} {}", self.scenario, self.what).trim().to_owned()
    }

    pub(crate) fn kept(&self) -> bool {
        self.promises.iter().all(|promise| promise.kept)
    }

    pub(crate) fn add_facts(&mut self, facts: serde_json::Value) {
        if let (Some(known), serde_json::Value::Object(facts)) = (self.facts.as_object_mut(), facts)
        {
            known.extend(facts);
        }
    }

    /// Returns how many promises were kept, and of how many: `3/4`.
    pub(crate) fn score(&self) -> String {
        let kept = self.promises.iter().filter(|promise| promise.kept).count();
        format!("{kept}/{}", self.promises.len())
    }

    /// Returns whether its promises are ours to keep. Those of the Python original are only shown.
    pub(crate) fn counts(&self) -> bool {
        self.app != "python"
    }
}

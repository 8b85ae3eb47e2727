//! Counts and times, and the figures that come of them.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use goose::goose::{GooseUser, TransactionResult};

use crate::client::Outcome;
use crate::cpu::Usage;
use crate::schema::{Bucket, Latency, Run};

/// Counts events, and keeps the time that each took.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    counts: Mutex<Counts>,
    silent: bool,
}

#[derive(Debug, Default)]
struct Counts {
    span: Option<(Instant, Instant)>,
    /// In microseconds.
    times: BTreeMap<&'static str, Vec<u64>>,
    /// The first failure, in words.
    failure: Option<String>,
}

impl Meter {
    /// One that goose does not hear of.
    pub(crate) fn silent() -> Self {
        Self {
            silent: true,
            ..Self::default()
        }
    }

    /// Counts what just ended, and gives its time to goose.
    pub(crate) async fn note(&self, user: &mut GooseUser, outcome: Outcome) -> TransactionResult {
        let outcomes = match outcome {
            Outcome::Several(outcomes) => outcomes,
            one => vec![one],
        };
        for outcome in outcomes {
            let (method, name, took, status) = match outcome {
                Outcome::Counted(method, name, took) => (method, name, took, None),
                Outcome::Failed(answer) => {
                    let failure = &mut self.lock().failure;
                    failure.get_or_insert_with(|| answer.in_words());
                    let status = answer.status.map(|status| status.as_u16());
                    (answer.method, FAILED, answer.took, status)
                }
                Outcome::Several(_) => continue,
            };
            self.count(name, took);
            if !self.silent {
                let (method, ok) = (method.as_str(), name != FAILED);
                user.record_custom_request_duration(method, name, took, ok, status, None)
                    .await?;
            }
        }
        Ok(())
    }

    fn count(&self, name: &'static str, took: Duration) {
        let now = Instant::now();
        let began = now.checked_sub(took).unwrap_or(now);
        let mut counts = self.lock();
        let (first, last) = counts.span.get_or_insert((began, now));
        *first = began.min(*first);
        *last = now.max(*last);
        counts.times.entry(name).or_default().push(micros(took));
    }

    /// Returns how often something was recorded.
    pub(crate) fn counted(&self, name: &str) -> u64 {
        let counts = self.lock();
        counts.times.get(name).map_or(0, |times| times.len() as u64)
    }

    /// Returns how much failed.
    pub(crate) fn failed(&self) -> u64 {
        self.counted(FAILED)
    }

    /// The first failure, in words.
    pub(crate) fn failure(&self) -> Option<String> {
        self.lock().failure.clone()
    }

    /// Returns the times that were recorded under a name, in microseconds.
    pub(crate) fn times(&self, name: &str) -> Vec<u64> {
        self.lock().times.get(name).cloned().unwrap_or_default()
    }

    /// From the first request to the last answer.
    pub(crate) fn elapsed(&self) -> Duration {
        let span = self.lock().span;
        span.map_or(Duration::ZERO, |(first, last)| last - first)
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const FAILED: &str = "failed";

/// The rounds of a measurement.
#[derive(Default)]
pub(crate) struct Rounds {
    pub(crate) meters: Vec<std::sync::Arc<Meter>>,
    pub(crate) usage: Vec<Usage>,
}

impl Rounds {
    /// Returns how often something was recorded, in all rounds together.
    pub(crate) fn counted(&self, name: &str) -> u64 {
        self.meters.iter().map(|meter| meter.counted(name)).sum()
    }

    /// Returns how much failed, in all rounds together.
    pub(crate) fn failed(&self) -> u64 {
        self.counted(FAILED)
    }

    /// The first failure of all rounds, in words.
    pub(crate) fn failure(&self) -> Option<String> {
        self.meters.iter().find_map(|meter| meter.failure())
    }

    /// All times of all rounds, in microseconds.
    pub(crate) fn times(&self, name: &str) -> Vec<u64> {
        let times = self.meters.iter().map(|meter| meter.times(name));
        times.collect::<Vec<_>>().concat()
    }

    /// Medians over the rounds.
    pub(crate) fn latency(&self, name: &str) -> Latency {
        let rounds = self.meters.iter().map(|meter| meter.times(name));
        let rounds: Vec<Latency> = rounds.map(latency).filter(|it| it.count > 0).collect();
        median_latency(&rounds)
    }

    /// Returns how long all rounds took together.
    pub(crate) fn seconds(&self) -> f64 {
        let elapsed = self.meters.iter().map(|meter| meter.elapsed());
        elapsed.sum::<Duration>().as_secs_f64()
    }

    fn each_per_second(&self, name: &str) -> Vec<f64> {
        let rounds = self.meters.iter();
        rounds
            .map(|meter| per_second(meter.counted(name), meter.elapsed()))
            .collect()
    }

    /// Fills in the figures of what was recorded under `name`.
    pub(crate) fn fill(&self, name: &str, run: &mut Run) {
        let mut each = self.each_per_second(name);
        run.per_second = median(&mut each);
        run.repeats = each.len();
        run.spread = spread(&mut each);
        run.seconds = self.seconds();
        run.latency_us = self.latency(name);
    }
}

/// Returns the farthest distance from the median, by the median; of one figure there is none.
fn spread(figures: &mut [f64]) -> Option<f64> {
    let median = median(figures);
    match figures {
        [first, .., last] if median > 0.0 => Some((*last - median).max(median - *first) / median),
        _ => None,
    }
}

/// Sorts, too.
pub(crate) fn median(figures: &mut [f64]) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or_default()
}

/// Close together where the slow ones are.
const QUANTILES: [f64; 28] = [
    0.0, 0.01, 0.05, 0.1, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.925, 0.95,
    0.96, 0.97, 0.98, 0.99, 0.9925, 0.995, 0.9975, 0.999, 0.9995, 0.9999, 1.0,
];

/// Exact, from every time.
pub(crate) fn latency(mut times: Vec<u64>) -> Latency {
    times.sort_unstable();
    let at = |quantile| quantile_of(&times, quantile);
    Latency {
        count: times.len() as u64,
        p50: at(0.5),
        p90: at(0.9),
        p99: at(0.99),
        p999: at(0.999),
        max: at(1.0),
        p50_spread: None,
        p99_spread: None,
        curve: QUANTILES.map(|quantile| (quantile, at(quantile))).to_vec(),
    }
}

/// The smallest time that so many are not above; 0 of none.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a share of a length"
)]
pub(crate) fn quantile_of(sorted: &[u64], quantile: f64) -> u64 {
    let rank = (quantile * sorted.len() as f64).ceil() as usize;
    let time = sorted.get(rank.saturating_sub(1));
    time.copied().unwrap_or_default()
}

/// The median of each figure over several rounds; the largest maximum, and all counts together.
fn median_latency(rounds: &[Latency]) -> Latency {
    let median = |figure: &dyn Fn(&Latency) -> u64| {
        let mut figures: Vec<u64> = rounds.iter().map(figure).collect();
        figures.sort_unstable();
        figures.get(figures.len() / 2).copied().unwrap_or_default()
    };
    let curve = QUANTILES.iter().enumerate();
    #[expect(clippy::cast_precision_loss, reason = "microseconds")]
    let spread = |figure: &dyn Fn(&Latency) -> u64| {
        let mut figures: Vec<f64> = rounds.iter().map(|round| figure(round) as f64).collect();
        spread(&mut figures)
    };
    Latency {
        count: rounds.iter().map(|round| round.count).sum(),
        p50: median(&|round| round.p50),
        p90: median(&|round| round.p90),
        p99: median(&|round| round.p99),
        p999: median(&|round| round.p999),
        max: rounds.iter().map(|round| round.max).max().unwrap_or(0),
        p50_spread: spread(&|round| round.p50),
        p99_spread: spread(&|round| round.p99),
        curve: curve
            .map(|(at, quantile)| (*quantile, median(&|round| round.curve[at].1)))
            .collect(),
    }
}

/// Sorts times into buckets, each a quarter longer than the one before.
pub(crate) fn histogram(times: &[u64]) -> Vec<Bucket> {
    let mut sorted = times.to_vec();
    sorted.sort_unstable();
    let mut rest = &sorted[..];
    let mut upto_us = 50;
    let longer = |upto_us: u64| upto_us + upto_us / 4;
    while rest.first().is_some_and(|least| *least > longer(upto_us)) {
        upto_us = longer(upto_us);
    }
    let mut buckets = Vec::new();
    while !rest.is_empty() {
        let (within, more) = rest.split_at(rest.partition_point(|time| *time <= upto_us));
        let count = within.len() as u64;
        buckets.push(Bucket { upto_us, count });
        rest = more;
        upto_us = longer(upto_us);
    }
    buckets
}

/// Returns Jain's index of fairness: 1 if all got the same, 1/n if one got everything.
pub(crate) fn evenness(shares: &[u64]) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "counts of requests")]
    let (sum, squares) = shares.iter().fold((0.0, 0.0), |(sum, squares), share| {
        let share = *share as f64;
        (sum + share, squares + share * share)
    });
    #[expect(clippy::cast_precision_loss, reason = "a number of clients")]
    let evenness = sum * sum / (squares * shares.len() as f64);
    if evenness.is_finite() { evenness } else { 0.0 }
}

pub(crate) fn micros(time: Duration) -> u64 {
    time.as_micros().try_into().unwrap_or(u64::MAX)
}

/// `count / of`, 0 of nothing.
#[expect(clippy::cast_precision_loss, reason = "nobody sends 2^52 requests")]
pub(crate) fn ratio(count: u64, of: u64) -> f64 {
    if of == 0 {
        0.0
    } else {
        count as f64 / of as f64
    }
}

/// Returns how many there were per second.
pub(crate) fn per_second(count: u64, time: Duration) -> f64 {
    1e6 * ratio(count, micros(time))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_of_every_time() {
        let latency = latency((1..=1000).rev().collect());
        assert_eq!(latency.count, 1000);
        let figures = [latency.p50, latency.p90, latency.p99, latency.p999];
        assert_eq!(figures, [500, 900, 990, 999]);
        assert_eq!((latency.max, latency.curve[0]), (1000, (0.0, 1)));
        assert_eq!(super::latency(Vec::new()).max, 0);
    }

    #[test]
    fn one_slow_round_of_three_changes_no_median() {
        let rounds = [10, 1_000, 11].map(|time| latency(vec![time; 5]));
        let median = median_latency(&rounds);
        assert_eq!((median.count, median.p99, median.max), (15, 11, 1_000));
    }

    #[test]
    fn the_spread_holds_every_round() {
        assert_eq!(spread(&mut [110.0, 90.0, 100.0]), Some(0.1));
        assert_eq!(spread(&mut [101.0, 100.0, 80.0]), Some(0.2));
        assert_eq!(spread(&mut [100.0]), None);
    }

    #[test]
    fn a_histogram_loses_nobody() {
        let buckets = histogram(&[63, 62, 70, 77, 90, 50_000]);
        let counts: Vec<_> = buckets.iter().map(|it| (it.upto_us, it.count)).collect();
        assert_eq!(counts[..4], [(50, 0), (62, 1), (77, 3), (96, 1)]);
        assert_eq!(counts.iter().map(|it| it.1).sum::<u64>(), 6);
        // Nothing is drawn of times that nobody waited for.
        assert_eq!(histogram(&[1_000, 1_000]).len(), 2);
        assert!(histogram(&[]).is_empty());
    }

    #[test]
    fn evenness_is_one_for_equal_shares() {
        assert!((evenness(&[5, 5, 5]) - 1.0).abs() < 1e-9);
        assert!((evenness(&[9, 0, 0]) - 1.0 / 3.0).abs() < 1e-9);
    }
}

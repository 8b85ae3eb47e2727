//! Counts and times, and the figures that come of them.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use goose::goose::{GooseUser, TransactionResult};

use crate::client::Outcome;
use crate::schema::{Bucket, Latency};

/// Counts events, and keeps the time that each took.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    counts: Mutex<Counts>,
    /// Goose does not hear of what is counted.
    silent: bool,
}

#[derive(Debug, Default)]
struct Counts {
    span: Option<(Instant, Instant)>,
    /// In microseconds.
    times: BTreeMap<&'static str, Vec<u64>>,
    failure: Option<String>,
}

pub(crate) const FAILED: &str = "failed";

impl Meter {
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

    pub(crate) fn counted(&self, name: &str) -> u64 {
        let counts = self.lock();
        counts.times.get(name).map_or(0, |times| times.len() as u64)
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

/// Returns the median, and the farthest distance from it by it; of one figure there is none.
pub(crate) fn median_and_spread(mut figures: Vec<f64>) -> (f64, Option<f64>) {
    figures.sort_by(f64::total_cmp);
    let median = figures.get(figures.len() / 2).copied().unwrap_or_default();
    let spread = match figures[..] {
        [first, .., last] if median > 0.0 => Some((last - median).max(median - first) / median),
        _ => None,
    };
    (median, spread)
}

/// Close together where the slow ones are.
const QUANTILES: [f64; 28] = [
    0.0, 0.01, 0.05, 0.1, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.925, 0.95,
    0.96, 0.97, 0.98, 0.99, 0.9925, 0.995, 0.9975, 0.999, 0.9995, 0.9999, 1.0,
];

/// Exact, from every time: the medians over several rounds, but the largest maximum and all counts
/// together.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "microseconds, and shares of a length"
)]
pub(crate) fn latency(mut rounds: Vec<Vec<u64>>) -> Latency {
    rounds.retain(|times| !times.is_empty());
    for times in &mut rounds {
        times.sort_unstable();
    }
    // The smallest time that so many are not above.
    let at = |quantile: f64| {
        let times = rounds.iter().map(|times| {
            let rank = (quantile * times.len() as f64).ceil() as usize;
            times[rank.saturating_sub(1)] as f64
        });
        let (median, spread) = median_and_spread(times.collect());
        (median as u64, spread)
    };
    let ((p50, p50_spread), (p99, p99_spread)) = (at(0.5), at(0.99));
    Latency {
        count: rounds.iter().map(|times| times.len() as u64).sum(),
        p50,
        p90: at(0.9).0,
        p99,
        p999: at(0.999).0,
        max: rounds.iter().flatten().copied().max().unwrap_or_default(),
        p50_spread,
        p99_spread,
        curve: QUANTILES
            .map(|quantile| (quantile, at(quantile).0))
            .to_vec(),
    }
}

/// Sorts times into buckets, each a quarter longer than the one before.
pub(crate) fn histogram(mut times: Vec<u64>) -> Vec<Bucket> {
    times.sort_unstable();
    let mut rest = &times[..];
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
    let sum: u64 = shares.iter().sum();
    let squares: u64 = shares.iter().map(|share| share * share).sum();
    ratio(sum * sum, squares * shares.len() as u64)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_of_every_time() {
        let latency = latency(vec![(1..=1000).rev().collect()]);
        assert_eq!((latency.count, latency.p50_spread), (1000, None));
        let figures = [latency.p50, latency.p90, latency.p99, latency.p999];
        assert_eq!(figures, [500, 900, 990, 999]);
        assert_eq!((latency.max, latency.curve[0]), (1000, (0.0, 1)));
        assert_eq!(super::latency(vec![Vec::new()]).max, 0);
    }

    #[test]
    fn one_slow_round_of_three_changes_no_median() {
        let latency = latency([10, 1_000, 11].map(|time| vec![time; 5]).to_vec());
        assert_eq!((latency.count, latency.p99, latency.max), (15, 11, 1_000));
    }

    #[test]
    fn the_spread_holds_every_round() {
        let spread = |figures: &[f64]| median_and_spread(figures.to_vec()).1;
        assert_eq!(spread(&[110.0, 90.0, 100.0]), Some(0.1));
        assert_eq!(spread(&[101.0, 100.0, 80.0]), Some(0.2));
        assert_eq!(spread(&[100.0]), None);
    }

    #[test]
    fn a_histogram_loses_nobody() {
        let buckets = histogram(vec![63, 62, 70, 77, 90, 50_000]);
        let counts: Vec<_> = buckets.iter().map(|it| (it.upto_us, it.count)).collect();
        assert_eq!(counts[..4], [(50, 0), (62, 1), (77, 3), (96, 1)]);
        assert_eq!(counts.iter().map(|it| it.1).sum::<u64>(), 6);
        // Nothing is drawn of times that nobody waited for.
        assert_eq!(histogram(vec![1_000, 1_000]).len(), 2);
        assert!(histogram(Vec::new()).is_empty());
    }

    #[test]
    fn evenness_is_one_for_equal_shares() {
        assert!((evenness(&[5, 5, 5]) - 1.0).abs() < 1e-9);
        assert!((evenness(&[9, 0, 0]) - 1.0 / 3.0).abs() < 1e-9);
    }
}

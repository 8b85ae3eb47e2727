//! Compares contenders within one run. Rounds are interleaved, so a busy machine slows all of them
//! alike, and the result is a ratio.

use std::time::{Duration, Instant};

/// Number of measured rounds. One more round runs first as a warm-up.
const ROUNDS: usize = 21;

/// One row of the table.
pub(crate) struct Comparison {
    name: &'static str,
    budget: f64,
    floor: Vec<Duration>,
    ours: Vec<Duration>,
    per_round: u32,
}

impl Comparison {
    /// Allows `ours` to take `budget` times as long as the floor, with `per_round` operations a
    /// round.
    pub(crate) fn new(name: &'static str, budget: f64, per_round: u32) -> Self {
        Self {
            name,
            budget,
            floor: Vec::new(),
            ours: Vec::new(),
            per_round,
        }
    }

    /// Runs both in turn.
    pub(crate) fn run(mut self, mut floor: impl FnMut(), mut ours: impl FnMut()) -> Self {
        for round in 0..=ROUNDS {
            let (floor, ours) = (time(&mut floor), time(&mut ours));
            if round > 0 {
                self.floor.push(floor);
                self.ours.push(ours);
            }
        }
        self
    }

    /// Prints the row.
    pub(crate) fn print(self) {
        let mut ratios: Vec<f64> = (self.floor.iter().zip(&self.ours))
            .map(|(floor, ours)| ours.as_secs_f64() / floor.as_secs_f64())
            .collect();
        ratios.sort_by(f64::total_cmp);
        let ratio = ratios[ratios.len() / 2];
        println!(
            "{:<44} {:>11} {:>11} {:>7.2} [{:.2}, {:.2}] {:>7.2}  {}",
            self.name,
            self.each(&self.floor),
            self.each(&self.ours),
            ratio,
            // Quartiles: on a virtual machine, the extremes reflect its neighbours.
            ratios[ratios.len() / 4],
            ratios[ratios.len() * 3 / 4],
            self.budget,
            if ratio <= self.budget {
                "within"
            } else {
                "OVER"
            },
        );
    }

    /// Returns the median time of one operation.
    fn each(&self, rounds: &[Duration]) -> String {
        let mut rounds = rounds.to_vec();
        rounds.sort_unstable();
        format!("{:.2?}", rounds[rounds.len() / 2] / self.per_round)
    }
}

/// Prints the heading.
pub(crate) fn heading() {
    println!(
        "{:<44} {:>11} {:>11} {:>7} {:>12} {:>7}",
        "", "floor", "ours", "ratio", "quartiles", "budget"
    );
}

fn time(work: &mut impl FnMut()) -> Duration {
    let start = Instant::now();
    work();
    start.elapsed()
}

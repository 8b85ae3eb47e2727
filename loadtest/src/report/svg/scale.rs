//! A logarithmic scale.

use crate::report::text::float;

/// Maps values to pixels, each ten times as far from the last.
pub(crate) struct LogScale {
    low: f64,
    high: f64,
    from: f64,
    to: f64,
}

impl LogScale {
    /// Spans a factor of four at least, so that noise does not look like a mountain.
    pub(crate) fn new(low: f64, high: f64, from: f64, to: f64) -> Self {
        let (low, high) = (low.max(1.0).log10(), high.max(1.0).log10());
        let middle = f64::midpoint(low, high);
        let (low, high) = (low.min(middle - 0.3), high.max(middle + 0.3));
        Self {
            low,
            high,
            from,
            to,
        }
    }

    pub(crate) fn at(&self, value: f64) -> f64 {
        let share = (value.max(1.0).log10() - self.low) / (self.high - self.low);
        self.from + share.clamp(0.0, 1.0) * (self.to - self.from)
    }

    /// Returns round numbers on it: 1, 2 and 5 of each power of ten, or only the powers of many.
    pub(crate) fn ticks(&self) -> Vec<u64> {
        let within = (self.low - 1e-9)..=(self.high + 1e-9);
        let wide = self.high - self.low > 1.8;
        let steps: &[u64] = if wide { &[1] } else { &[1, 2, 5] };
        let powers = (0..15).map(|power| 10_u64.pow(power));
        let ticks = powers.flat_map(|power| steps.iter().map(move |step| step * power));
        ticks
            .filter(|tick| within.contains(&float(*tick).log10()))
            .collect()
    }
}

/// Returns a round time in words.
pub(crate) fn round(us: u64) -> String {
    match us {
        0..1_000 => format!("{us} µs"),
        1_000..1_000_000 => format!("{} ms", us / 1_000),
        _ => format!("{} s", us / 1_000_000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scale_has_its_ends_where_they_belong_and_ticks_between() {
        let scale = LogScale::new(100.0, 10_000.0, 200.0, 0.0);
        assert_eq!(scale.ticks(), [100, 1_000, 10_000]);
        let at = [0.0, 100.0, 1_000.0, 10_000.0, f64::MAX]
            .map(|value| format!("{:.0}", scale.at(value)));
        assert_eq!(at, ["200", "200", "100", "0", "0"]);
        assert_eq!(LogScale::new(150.0, 160.0, 0.0, 1.0).ticks(), [100, 200]);
    }
}

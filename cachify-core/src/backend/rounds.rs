//! Rounds, each of which lets more callers pass than the one before.

/// Lets callers pass in rounds: one in the first, then 2, 4, 8, ...
#[derive(Debug, Default)]
pub(crate) struct Rounds {
    width: u32,
    left: u32,
}

impl Rounds {
    /// Returns whether the caller passes. If `over`, the last round is over and another begins.
    pub(crate) fn pass(&mut self, over: bool) -> bool {
        if over {
            self.width = self.width.saturating_mul(2).max(1);
            self.left = self.width;
        }
        let passes = self.left > 0;
        self.left = self.left.saturating_sub(1);
        passes
    }
}

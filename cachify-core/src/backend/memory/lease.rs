//! The rights to fill entries.

use std::collections::BTreeMap;
use std::time::Duration;

use smol_str::SmolStr;

use crate::backend::rounds::Rounds;
use crate::backend::{Claim, Token};
use crate::clock::Moment;

/// An ordered map, because growing a hash map takes a time in proportion to what it holds.
pub(super) type Leases = BTreeMap<SmolStr, LeaseState>;

pub(super) struct LeaseState {
    /// The tokens that may fill; several once a caller joined.
    pub(super) tokens: Vec<Token>,
    /// When another caller may take it. Until one does, it stays valid: a computation that blocked
    /// its thread, and so its renewal, can still store.
    pub(super) deadline: Moment,
    /// When it was taken, or when callers could join it last.
    pub(super) since: Moment,
    pub(super) rounds: Rounds,
}

impl LeaseState {
    /// Joins it if it is old enough; else says how long to wait.
    pub(super) fn join(&mut self, claim: Claim, now: Moment) -> Result<(), Duration> {
        let left = self.deadline.since(now);
        let Claim::Join(after) = claim else {
            return Err(left);
        };
        let over = now.since(self.since) >= after;
        if over {
            self.since = now;
        }
        if self.rounds.pass(over) {
            return Ok(());
        }
        Err(left.min(after.saturating_sub(now.since(self.since))))
    }
}

/// Returns whether `token` has the lease of `key`.
pub(super) fn stands(leases: &Leases, key: &str, token: &Token) -> bool {
    leases
        .get(key)
        .is_some_and(|lease| lease.tokens.contains(token))
}

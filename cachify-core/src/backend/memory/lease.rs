//! Leases, the rights to fill entries.

use std::collections::BTreeMap;
use std::time::Duration;

use smol_str::SmolStr;

use crate::backend::rounds::Rounds;
use crate::backend::{Claim, Token};
use crate::clock::Moment;

/// The leases by key. The map is ordered, because a hash map moves all its items when it grows.
pub(super) type Leases = BTreeMap<SmolStr, LeaseState>;

pub(super) struct LeaseState {
    /// The tokens that may fill the entry; several once a caller has joined.
    pub(super) tokens: Vec<Token>,
    /// The time from which another caller may take the lease. Until one does, the lease stays
    /// valid: a computation that blocked its thread, and thereby the renewal, can still store.
    pub(super) deadline: Moment,
    /// The time at which the lease was taken, or at which the last round of joining began.
    pub(super) since: Moment,
    pub(super) rounds: Rounds,
}

impl LeaseState {
    /// Returns `Ok` if the caller may join the lease, and otherwise the time after which to check
    /// again.
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

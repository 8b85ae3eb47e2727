//! Everything that can be run.

mod away;
mod contention;
mod hit;
mod miss;
mod pool;
mod reset;
mod stale;
mod stampede;
mod tier;
mod uncached;

use crate::stage::Scenario;

/// All of them, in the order in which they run.
pub(crate) const ALL: &[Scenario] = &[
    hit::SCENARIO,
    uncached::SCENARIO,
    miss::SCENARIO,
    stampede::SCENARIO,
    reset::SCENARIO,
    contention::SCENARIO,
    pool::SCENARIO,
    tier::SCENARIO,
    stale::SCENARIO,
    away::SCENARIO,
];

pub(crate) fn names() -> Vec<&'static str> {
    ALL.iter().map(|scenario| scenario.name).collect()
}

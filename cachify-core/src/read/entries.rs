//! What all reads and writes of a handle's entries share.

use std::sync::Arc;

use super::lease::Flights;
use super::pauses::Pauses;
use crate::Key;
use crate::backend::Typed;
use crate::engine::Engine;

/// The entries of a handle: the engine that reaches them, and the flights of those that are being
/// computed. Keys are complete: they have the prefix of the handle that was asked.
pub(crate) struct Entries {
    pub(crate) engine: Arc<Engine>,
    pub(crate) flights: Arc<Flights>,
    pub(crate) pauses: Arc<Pauses>,
}

impl Entries {
    pub(crate) fn new(engine: Arc<Engine>) -> Self {
        Self {
            engine,
            flights: Arc::default(),
            pauses: Arc::default(),
        }
    }

    /// Returns the value, if it is at hand without waiting: what a hit in memory costs, and nothing
    /// more.
    #[inline]
    pub(crate) fn local(&self, key: &Key) -> Option<Typed> {
        let resets = &self.engine.resets;
        if !resets.is_empty() && resets.contains(key) {
            return None;
        }
        self.engine.backend.local(key)
    }
}

//! The state that all reads and writes of a handle's entries share.

use std::sync::Arc;

use tokio::sync::watch;

use super::lease::Flights;
use super::pauses::Pauses;
use crate::Key;
use crate::backend::Typed;
use crate::engine::Engine;

/// The entries of a handle: the engine that reaches them, and the flights of those that are being
/// computed. Keys include the prefix of the handle that was called.
pub(crate) struct Entries {
    pub(crate) engine: Arc<Engine>,
    pub(crate) flights: Arc<Flights>,
    pub(crate) pauses: Arc<Pauses>,
    end: End,
}

/// Ends the background refreshes of a handle.
enum End {
    /// Dropped with the last clone of the handle.
    Handle(watch::Sender<()>),
    /// A refresh reaches the entries, but does not keep the handle alive.
    Refresh(watch::Receiver<()>),
}

impl Entries {
    pub(crate) fn new(engine: Arc<Engine>) -> Self {
        Self {
            engine,
            flights: Arc::default(),
            pauses: Arc::default(),
            end: End::Handle(watch::Sender::new(())),
        }
    }

    /// Returns the entries for a background refresh, and the signal that ends it: a change, or the
    /// end of the handle.
    pub(crate) fn detached(&self) -> (Arc<Self>, watch::Receiver<()>) {
        let end = match &self.end {
            End::Handle(end) => end.subscribe(),
            End::Refresh(end) => end.clone(),
        };
        let detached = Self {
            engine: Arc::clone(&self.engine),
            flights: Arc::clone(&self.flights),
            pauses: Arc::clone(&self.pauses),
            end: End::Refresh(end.clone()),
        };
        (Arc::new(detached), end)
    }

    /// Ends all background refreshes.
    pub(crate) fn end_refreshes(&self) {
        if let End::Handle(end) = &self.end {
            end.send_replace(());
        }
    }

    /// Returns the value if it is at hand, without waiting. A hit in memory does only this.
    #[inline]
    pub(crate) fn local(&self, key: &Key) -> Option<Typed> {
        let resets = &self.engine.resets;
        if !resets.is_empty() && resets.contains(key) {
            return None;
        }
        self.engine.backend.local(key)
    }
}

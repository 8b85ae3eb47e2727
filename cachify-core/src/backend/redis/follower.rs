//! [`Follower`], the interface between the subscription and a memory in front of the server.

use std::time::Duration;

use crate::backend::{BoxFuture, Token};

/// A memory that keeps copies of entries, and hears of the resets of their keys.
///
/// The subscription calls it in the order of the server's messages, one call at a time.
pub(crate) trait Follower: Send + Sync {
    /// Called when the entry of the key with this text was reset.
    fn reset(&self, text: &str);

    /// Called when resets may have been missed.
    fn lost(&self);

    /// Removes all copies that were made before the last [`lost`](Self::lost). Heartbeats are sent
    /// afterwards.
    fn clear(&self) -> BoxFuture<'_, ()>;

    /// Returns the time between two heartbeats.
    fn heartbeat(&self) -> Duration;

    /// Called before a heartbeat is sent.
    fn sending(&self, token: &Token);

    /// Called when a heartbeat came back: all resets from before it was sent were heard.
    fn beat(&self, token: &str);
}

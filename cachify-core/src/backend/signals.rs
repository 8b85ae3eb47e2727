//! Who waits for what in this process.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use smol_str::SmolStr;
use tokio::sync::Notify;

/// Wakes those in this process who wait for a name: a key's text or a token's.
///
/// A signal that comes between [`listen`](Self::listen) and [`Listener::signalled`] is kept, so that nobody misses one who
/// listens first and looks afterwards.
#[derive(Clone, Default)]
pub struct Signals(Arc<Mutex<HashMap<SmolStr, Vec<Arc<Notify>>>>>);

impl Signals {
    /// Starts to listen for `name`.
    pub fn listen(&self, name: &str) -> Listener {
        let notify = Arc::new(Notify::new());
        let name = SmolStr::from(name);
        self.names()
            .entry(name.clone())
            .or_default()
            .push(Arc::clone(&notify));
        Listener {
            signals: self.clone(),
            name,
            notify,
        }
    }

    /// Wakes all who listen for `name`. `false`: nobody does.
    pub fn wake(&self, name: &str) -> bool {
        let names = self.names();
        let listeners = names.get(name);
        listeners
            .into_iter()
            .flatten()
            .for_each(|notify| notify.notify_one());
        listeners.is_some()
    }

    /// Whether anybody listens for `name`.
    pub(super) fn is_heard(&self, name: &str) -> bool {
        self.names().contains_key(name)
    }

    /// Wakes everybody, who then look again: for a backend that may have lost signals.
    pub fn wake_all(&self) {
        self.names()
            .values()
            .flatten()
            .for_each(|notify| notify.notify_one());
    }

    fn names(&self) -> MutexGuard<'_, HashMap<SmolStr, Vec<Arc<Notify>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Listens for one name until it is dropped.
pub struct Listener {
    signals: Signals,
    name: SmolStr,
    notify: Arc<Notify>,
}

impl Listener {
    /// Waits for the next signal. One that already came is enough.
    ///
    /// # Cancel safety
    ///
    /// A signal is not lost when this future is dropped before it is ready.
    pub async fn signalled(&self) {
        self.notify.notified().await;
    }
}

// Not the names: they are keys.
impl fmt::Debug for Signals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signals")
            .field("names", &self.names().len())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listener").finish_non_exhaustive()
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let mut names = self.signals.names();
        if let Some(listeners) = names.get_mut(&self.name) {
            listeners.retain(|other| !Arc::ptr_eq(other, &self.notify));
            if listeners.is_empty() {
                names.remove(&self.name);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_signal_between_listening_and_waiting_is_kept() {
        let signals = Signals::default();
        let listener = signals.listen("a");
        assert!(signals.wake("a"));
        listener.signalled().await;
    }

    #[test]
    fn s1_no_key_is_shown() {
        let signals = Signals::default();
        let listener = signals.listen("user-secret");
        assert!(!format!("{signals:?} {listener:?}").contains("secret"));
    }

    #[test]
    fn nobody_is_left_behind() {
        let signals = Signals::default();
        let (first, second) = (signals.listen("a"), signals.listen("a"));
        drop(first);
        assert!(signals.wake("a"));
        drop(second);
        assert!(!signals.wake("a"));
        assert!(signals.names().is_empty());
    }
}

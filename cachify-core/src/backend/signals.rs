//! Wakes the waiters of this process.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, Weak};

use smol_str::SmolStr;
use tokio::sync::{Notify, watch};

use super::sharded::{Sharded, lock};
use crate::observe;

/// Wakes those in this process who wait for a name: a key's text or a token's.
///
/// A signal that comes between [`listen`](Self::listen) and [`Listener::signalled`] is kept. So a
/// caller that listens first and checks afterwards misses no signal.
#[derive(Clone, Default)]
pub struct Signals {
    names: Arc<Sharded<Names>>,
    disturbances: Arc<watch::Sender<u64>>,
    /// How often signals may have been lost.
    losses: Arc<watch::Sender<u64>>,
    /// The handles that use the backend.
    handles: Arc<Mutex<Vec<Weak<dyn Repeats>>>>,
}

/// Remembers what a handle reset.
pub(crate) trait Repeats: Send + Sync {
    /// Queues the resets of all that is remembered, and returns how many these are.
    fn repeat_all(self: Arc<Self>) -> usize;
}

/// An ordered map, because growing a hash map takes a time in proportion to what it holds.
type Names = BTreeMap<SmolStr, Vec<Ear>>;

struct Ear {
    notify: Arc<Notify>,
    /// Only a signal for its own name wakes it.
    alone: bool,
}

impl Signals {
    /// Starts to listen for `name`.
    pub fn listen(&self, name: &str) -> Listener {
        self.add(name, false)
    }

    /// Starts to listen for `name`, and not for [`wake_all`](Self::wake_all), of which
    /// [`losses`](Self::losses) tells.
    pub(crate) fn listen_alone(&self, name: &str) -> Listener {
        self.add(name, true)
    }

    fn add(&self, name: &str, alone: bool) -> Listener {
        let notify = Arc::new(Notify::new());
        let name = SmolStr::from(name);
        let mut names = self.names.of(&name);
        names.entry(name.clone()).or_default().push(Ear {
            notify: Arc::clone(&notify),
            alone,
        });
        drop(names);
        Listener {
            signals: self.clone(),
            name,
            notify,
        }
    }

    /// Wakes all listeners for `name`. Returns `false` if there are none.
    pub fn wake(&self, name: &str) -> bool {
        let names = self.names.of(name);
        let listeners = names.get(name);
        listeners
            .into_iter()
            .flatten()
            .for_each(|ear| ear.notify.notify_one());
        listeners.is_some()
    }

    /// Returns whether `name` has a listener.
    pub(super) fn is_heard(&self, name: &str) -> bool {
        self.names.of(name).contains_key(name)
    }

    /// Makes all waiters check again, for a backend that may have lost signals. Of the waiters for
    /// one slot in one handle, only the first one does.
    pub fn wake_all(&self) {
        for names in self.names.iter() {
            let names = lock(names);
            names
                .values()
                .flatten()
                .filter(|ear| !ear.alone)
                .for_each(|ear| ear.notify.notify_one());
        }
        self.losses.send_modify(|count| *count += 1);
    }

    /// Counts the calls of [`wake_all`](Self::wake_all).
    pub(crate) fn losses(&self) -> watch::Receiver<u64> {
        self.losses.subscribe()
    }

    /// Renews every lock, permit and lease of this process at once, because the backend's clock was
    /// set. A guard whose renewal is refused learns that it lost.
    pub fn disturb(&self) {
        self.disturbances.send_modify(|count| *count += 1);
    }

    /// Repeats the resets, sets and expiries of the last 60 seconds, all as resets, and
    /// [disturbs](Self::disturb). Returns how many resets are repeated.
    ///
    /// This is for a backend that may have lost acknowledged writes: its server came back with
    /// older data or without any, or a replica took its place. Call it before the first answer of
    /// the new server reaches a caller. When it returns, no handle over the backend trusts these
    /// keys any more: until the backend has acknowledged the reset of a key, a read computes the
    /// value and does not store it.
    ///
    /// Each handle remembers the last 10 000 keys. A set is repeated as a reset because the value
    /// may be lost, and the one before it may be back.
    ///
    /// # Examples
    ///
    /// ```
    /// use cachify_core::backend::Signals;
    ///
    /// /// Notes on each new connection which run of the server is at its other end.
    /// fn connected(last: &mut Option<String>, run: String, signals: &Signals) {
    ///     if last.replace(run.clone()).is_some_and(|last| last != run) {
    ///         signals.history_lost();
    ///     }
    /// }
    ///
    /// let (mut last, signals) = (None, Signals::default());
    /// connected(&mut last, "first".to_owned(), &signals);
    /// connected(&mut last, "second".to_owned(), &signals);
    /// ```
    pub fn history_lost(&self) -> usize {
        let handles: Vec<_> = lock(&self.handles)
            .iter()
            .filter_map(Weak::upgrade)
            .collect();
        let repeated = handles.into_iter().map(Repeats::repeat_all).sum();
        observe::repeated_resets(repeated);
        self.disturb();
        repeated
    }

    /// Has what `handle` remembers repeated by [`history_lost`](Self::history_lost).
    pub(crate) fn repeat_with<T: Repeats + 'static>(&self, handle: &Arc<T>) {
        let handle: Weak<dyn Repeats> = Arc::<T>::downgrade(handle);
        let mut handles = lock(&self.handles);
        handles.retain(|handle| handle.strong_count() != 0);
        handles.push(handle);
    }

    /// Returns how often the backend was disturbed. A request sent before the count grew may be
    /// void.
    pub(crate) fn disturbances(&self) -> u64 {
        *self.disturbances.borrow()
    }

    /// Subscribes to [`disturbances`](Self::disturbances).
    pub(crate) fn on_disturbance(&self) -> watch::Receiver<u64> {
        self.disturbances.subscribe()
    }

    /// Returns how many names have a listener.
    fn len(&self) -> usize {
        self.names.iter().map(|names| lock(names).len()).sum()
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
    ///
    /// # Examples
    ///
    /// ```
    /// use cachify_core::backend::Signals;
    ///
    /// #[tokio::main]
    /// async fn main() {
    ///     let signals = Signals::default();
    ///
    ///     // Subscribe before asking the store: a signal in between is kept.
    ///     let listener = signals.listen("row-7");
    ///     signals.wake("row-7");
    ///     listener.signalled().await;
    /// }
    /// ```
    pub async fn signalled(&self) {
        self.notify.notified().await;
    }
}

// Not the names: they are keys.
impl fmt::Debug for Signals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signals")
            .field("names", &self.len())
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
        let mut names = self.signals.names.of(&self.name);
        if let Some(listeners) = names.get_mut(&self.name) {
            listeners.retain(|ear| !Arc::ptr_eq(&ear.notify, &self.notify));
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
        assert_eq!(signals.len(), 0);
    }
}

//! Wakes the waiters of this process.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, Weak};

use smol_str::SmolStr;
use tokio::sync::{Notify, watch};

use super::sharded::{Sharded, lock};
use crate::observe;

/// Wakes the tasks of this process that wait for a name: the text of a key or a token.
///
/// A signal that comes between [`listen`](Self::listen) and [`Listener::signalled`] is kept. So a
/// caller that listens first and checks afterwards misses no signal.
#[derive(Clone, Default)]
pub struct Signals {
    names: Arc<Sharded<Names>>,
    disturbances: Arc<watch::Sender<u64>>,
    /// The number of times that signals may have been lost.
    losses: Arc<watch::Sender<u64>>,
    /// The handles that use the backend, each with the resets that it remembers.
    handles: Arc<Mutex<Vec<Weak<dyn Repeats>>>>,
}

/// The memory of a handle's resets.
pub(crate) trait Repeats: Send + Sync {
    /// Queues all remembered resets, and returns their number.
    fn repeat_all(self: Arc<Self>) -> usize;
}

/// The listeners by name. The map is ordered, because a hash map moves all its items when it grows.
type Names = BTreeMap<SmolStr, Vec<Ear>>;

struct Ear {
    notify: Arc<Notify>,
    /// Set if only a signal for its own name wakes the listener.
    alone: bool,
}

impl Signals {
    /// Starts to listen for `name`.
    pub fn listen(&self, name: &str) -> Listener {
        self.add(name, false)
    }

    /// Starts to listen for `name` only. [`wake_all`](Self::wake_all) does not wake this listener;
    /// [`losses`](Self::losses) counts its calls instead.
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
    /// one slot in one handle, only the first one checks.
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

    /// Subscribes to the number of calls of [`wake_all`](Self::wake_all).
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
    /// /// Compares the run of the server on each new connection with the last one.
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

    /// Makes [`history_lost`](Self::history_lost) repeat the resets that `handle` remembers.
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

    /// Returns the number of names with a listener.
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
    /// Waits for the next signal. A signal that has already come is enough.
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

// The names are left out: they are keys.
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

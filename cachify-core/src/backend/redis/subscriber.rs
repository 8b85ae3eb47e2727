//! The subscriptions to this process's channels, and their states.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use smol_str::SmolStr;
use tokio::sync::{Notify, watch};
use tokio::task::AbortHandle;

use crate::key::Prefix;
use crate::{Error, ErrorKind};

/// The subscriptions to this process's channels, one for each prefix that is in use.
#[derive(Default)]
pub(super) struct Subscriber {
    own: Channel,
    /// The channels of other handles' prefixes. A channel is given up when the last handle with its
    /// prefix is gone.
    others: Mutex<HashMap<SmolStr, (Weak<str>, Channel)>>,
    pub(super) task: Mutex<Option<AbortHandle>>,
    /// Notified when a caller waits for a subscription, which ends the pause between attempts.
    pub(super) wanted: Arc<Notify>,
}

/// The subscription to a channel.
#[derive(Clone)]
pub(super) struct Channel(pub(super) watch::Sender<State>);

#[derive(Debug, Clone, Default)]
pub(super) struct State {
    /// Set while the server delivers messages.
    pub(super) stands: bool,
    /// The number of attempts that have ended.
    pub(super) attempts: u64,
    pub(super) error: Option<Error>,
}

impl Default for Channel {
    fn default() -> Self {
        Self(watch::Sender::new(State::default()))
    }
}

impl Channel {
    pub(super) fn stands(&self) -> bool {
        self.0.borrow().stands
    }

    pub(super) fn attempted(&self, error: Option<Error>) {
        self.0.send_modify(|state| {
            state.stands = error.is_none();
            state.attempts += 1;
            state.error = error;
        });
    }

    pub(super) fn fell(&self) {
        self.0.send_modify(|state| state.stands = false);
    }

    /// Returns whether the server has refused the subscription.
    pub(super) fn is_refused(&self) -> bool {
        self.0.borrow().error.as_ref().is_some_and(is_refusal)
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        if let Some(task) = self
            .task
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
        {
            task.abort();
        }
    }
}

impl Subscriber {
    /// Returns whether the channel of a prefix is subscribed to, and makes it wanted from now on.
    pub(super) fn stands(&self, prefix: Option<&Prefix>) -> bool {
        self.channel(prefix).stands()
    }

    pub(super) fn channel(&self, prefix: Option<&Prefix>) -> Channel {
        let Some(prefix) = prefix else {
            return self.own.clone();
        };
        let mut others = self.others();
        if let Some((in_use, channel)) = others.get_mut(prefix.as_str()) {
            // Since the task last checked, the last handle may have gone and a new one come.
            if in_use.strong_count() == 0 {
                *in_use = prefix.downgrade();
            }
            return channel.clone();
        }
        let channel = Channel::default();
        let entry = (prefix.downgrade(), channel.clone());
        others.insert(prefix.as_str().into(), entry);
        channel
    }

    fn others(&self) -> MutexGuard<'_, HashMap<SmolStr, (Weak<str>, Channel)>> {
        self.others.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets the prefixes that no handle uses any more, and returns them.
    pub(super) fn unused(&self) -> Vec<SmolStr> {
        let mut others = self.others();
        let unused = others.extract_if(|_, (in_use, _)| in_use.strong_count() == 0);
        unused.map(|(prefix, _)| prefix).collect()
    }

    /// Returns the channels with their prefixes. `own` is the prefix of the first channel.
    pub(super) fn channels(&self, own: &str) -> Vec<(SmolStr, Channel)> {
        let others = self.others();
        let others = others
            .iter()
            .map(|(prefix, (_, channel))| (prefix.clone(), channel.clone()));
        std::iter::once((own.into(), self.own.clone()))
            .chain(others)
            .collect()
    }
}

/// Returns whether the server does not permit the subscription. Then trying sooner does not help.
pub(super) fn is_refusal(error: &Error) -> bool {
    error.kind() == ErrorKind::Configuration
}

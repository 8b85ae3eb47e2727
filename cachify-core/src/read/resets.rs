//! Resets and expiries of one key or of several keys.

use std::collections::BTreeSet;
use std::future::Future;
use std::slice;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;

use super::entries::Entries;
use crate::{Error, ErrorKind, Key};

/// The number of resets of one call that are under way at a time. Each has the handle's backend
/// timeout, so a call with more keys than the backend answers within one timeout does not fail.
const AT_ONCE: usize = 128;

/// The largest number of templates that an error names.
const NAMED: usize = 8;

/// The change of an entry whose data changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    /// The entry is removed.
    Reset,
    /// The entry stays and is stale.
    Expire,
}

/// Queues a reset when it is dropped.
pub(crate) struct LateReset<'a> {
    entries: &'a Entries,
    key: Option<&'a Key>,
}

impl LateReset<'_> {
    pub(crate) fn disarm(mut self) {
        self.key = None;
    }
}

impl Drop for LateReset<'_> {
    fn drop(&mut self) {
        if let Some(key) = self.key {
            self.entries.reset_later(key);
        }
    }
}

/// Queues the resets of its keys when it is dropped.
pub(crate) struct LateResets<'a> {
    entries: &'a Entries,
    keys: slice::Iter<'a, Key>,
}

impl LateResets<'_> {
    pub(crate) fn disarm(mut self) {
        self.keys = [].iter();
    }
}

impl Drop for LateResets<'_> {
    fn drop(&mut self) {
        for key in self.keys.by_ref() {
            self.entries.reset_later(key);
        }
    }
}

impl Entries {
    /// Changes the entry of `key`. The first poll arms a guard that makes sure of the change: if it
    /// is not confirmed, a reset is queued.
    pub(crate) async fn change(&self, key: &Key, change: Change) -> Result<(), Error> {
        let late = self.late_reset(key);
        let backend = &self.engine.backend;
        let admitted = self.engine.admit(key);
        if admitted.is_ok() {
            self.engine.resets.remember(key);
        }
        let result = match (admitted, change) {
            (Ok(()), Change::Reset) => self.engine.insist(key, backend.reset(key)).await,
            (Ok(()), Change::Expire) => self.engine.insist(key, backend.expire(key)).await,
            (Err(error), _) => Err(error),
        };
        // Done last, because the next flight must not begin before the reset.
        self.flights.end(key, None);
        self.pauses.end(key);
        late.disarm();
        result.map_err(|error| self.unconfirmed(key, error))
    }

    /// Queues the reset of a key whose entry may be old now. Returns the error for the caller.
    pub(crate) fn unconfirmed(&self, key: &Key, cause: Error) -> Error {
        let (kind, message) = if self.engine.background.is_shut_down() {
            // If there is room, reads of this handle no longer trust the entry, but the reset is
            // not repeated.
            self.engine.resets.add(key);
            (
                ErrorKind::NotQueued,
                "this cachify handle was closed; the reset did not happen and is not repeated: \
                 connect a new one and reset again",
            )
        } else if self.reset_later(key) {
            (
                ErrorKind::Unconfirmed,
                "the backend did not acknowledge the reset; it is queued and will be repeated \
                 until it does",
            )
        } else {
            (
                ErrorKind::NotQueued,
                "the backend did not acknowledge the reset, and too many are queued already; reset \
                 again later",
            )
        };
        Error::new(kind, message)
            .with_template(key.template())
            .with_source(cause)
    }

    /// Queues a reset and starts to repeat it. Returns `false` if the queue is full.
    fn reset_later(&self, key: &Key) -> bool {
        let queued = self.engine.resets.add(key);
        self.flights.end(key, None);
        if !queued {
            tracing::error!(
                template = key.template(),
                "a reset was dropped, because too many are queued"
            );
        }
        self.engine.kick();
        queued
    }

    /// Returns a guard that queues a reset unless it is disarmed.
    pub(crate) fn late_reset<'a>(&'a self, key: &'a Key) -> LateReset<'a> {
        LateReset {
            entries: self,
            key: Some(key),
        }
    }

    /// Changes the entries of all `keys`, even if some fail. The first poll arms a guard for all.
    pub(crate) async fn change_each(&self, keys: &[Key], change: Change) -> Result<(), Error> {
        if let [key] = keys {
            return self.change(key, change).await;
        }
        let mut unsent = self.late_resets(keys);
        let mut sent = FuturesUnordered::new();
        let mut failed = Vec::new();
        loop {
            while sent.len() < AT_ONCE
                && let Some(key) = unsent.keys.next()
            {
                sent.push(self.armed(key, change));
            }
            match sent.next().await {
                Some(Ok(())) => {}
                Some(Err(error)) => failed.push(error),
                None => return summary(keys.len(), &failed),
            }
        }
    }

    /// Returns a guard that queues the resets of `keys` unless it is disarmed.
    pub(crate) fn late_resets<'a>(&'a self, keys: &'a [Key]) -> LateResets<'a> {
        LateResets {
            entries: self,
            keys: keys.iter(),
        }
    }

    /// Returns a change that happens even if the future is dropped before its first poll.
    fn armed<'a>(
        &'a self,
        key: &'a Key,
        change: Change,
    ) -> impl Future<Output = Result<(), Error>> + use<'a> {
        let late = self.late_reset(key);
        async move {
            let result = self.change(key, change).await;
            late.disarm();
            result
        }
    }
}

/// Returns one error for all failed resets of a call, if there are any.
fn summary(total: usize, failed: &[Error]) -> Result<(), Error> {
    let given_up = |error: &&Error| error.kind() == ErrorKind::NotQueued;
    let Some(source) = failed.iter().find(given_up).or(failed.first()) else {
        return Ok(());
    };
    let count = failed.len();
    let then = match failed.iter().filter(given_up).count() {
        0 => "; they are queued and will be repeated until it does".to_owned(),
        lost => format!(
            ", and {lost} of these are not repeated; reset again later, with a new handle if this \
             one was closed"
        ),
    };
    let templates: BTreeSet<_> = failed.iter().filter_map(Error::template).collect();
    let named = match templates.len() {
        0 | 1 => String::new(),
        named => {
            let first: Vec<_> = templates.iter().take(NAMED).copied().collect();
            let more = match named.saturating_sub(NAMED) {
                0 => String::new(),
                more => format!(" and {more} more"),
            };
            format!(" (key templates `{}`{more})", first.join("`, `"))
        }
    };
    let message = format!("the backend did not acknowledge {count} of {total} resets{then}{named}");
    let error = Error::new(source.kind(), message).with_source(source.clone());
    Err(match templates.first() {
        Some(template) if templates.len() == 1 => error.with_template(template),
        _ => error,
    })
}

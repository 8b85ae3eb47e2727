//! Resets of several keys at once.

use std::collections::BTreeSet;
use std::future::Future;
use std::slice;
use std::sync::Arc;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;

use super::Inner;
use crate::{Error, ErrorKind, Key};

/// How many resets of one call are under way at a time. Each has the handle's backend timeout, so a
/// call with more keys than the backend answers within one timeout does not fail.
const AT_ONCE: usize = 128;

/// How many templates an error names.
const NAMED: usize = 8;

/// Queues the resets of its keys when it is dropped.
pub(super) struct LateResets<'a> {
    inner: &'a Arc<Inner>,
    keys: slice::Iter<'a, Key>,
}

impl LateResets<'_> {
    pub(super) fn disarm(mut self) {
        self.keys = [].iter();
    }
}

impl Drop for LateResets<'_> {
    fn drop(&mut self) {
        for key in self.keys.by_ref() {
            self.inner.reset_later(key);
        }
    }
}

impl Inner {
    /// Resets each of `keys`, even if the others fail. The first poll arms a guard for all.
    pub(super) async fn reset_each(self: &Arc<Self>, keys: &[Key]) -> Result<(), Error> {
        if let [key] = keys {
            return self.reset(key).await;
        }
        let mut unsent = self.late_resets(keys);
        let mut sent = FuturesUnordered::new();
        let mut failed = Vec::new();
        loop {
            while sent.len() < AT_ONCE
                && let Some(key) = unsent.keys.next()
            {
                sent.push(self.armed_reset(key));
            }
            match sent.next().await {
                Some(Ok(())) => {}
                Some(Err(error)) => failed.push(error),
                None => return summary(keys.len(), &failed),
            }
        }
    }

    /// Queues the resets of `keys` unless it is disarmed.
    pub(super) fn late_resets<'a>(self: &'a Arc<Self>, keys: &'a [Key]) -> LateResets<'a> {
        LateResets {
            inner: self,
            keys: keys.iter(),
        }
    }

    /// A reset that happens even if the future is dropped before its first poll.
    fn armed_reset<'a>(
        self: &'a Arc<Self>,
        key: &'a Key,
    ) -> impl Future<Output = Result<(), Error>> + use<'a> {
        let late = self.late_reset(key);
        async move {
            let result = self.reset(key).await;
            late.disarm();
            result
        }
    }
}

/// One error for those of several resets that failed.
fn summary(total: usize, failed: &[Error]) -> Result<(), Error> {
    let given_up = |error: &&Error| error.kind() == ErrorKind::NotQueued;
    let Some(source) = failed.iter().find(given_up).or(failed.first()) else {
        return Ok(());
    };
    let count = failed.len();
    let then = match failed.iter().filter(given_up).count() {
        0 => "; they are queued and will be repeated until it does".to_owned(),
        lost => format!(
            ", and {lost} of these are not repeated; reset again later, by a new handle if this one was closed"
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

//! Errors that were answered over HTTP.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use smol_str::SmolStr;
use tokio::time::Instant;

use super::seen::TEMPLATES;
use crate::{Error, ErrorKind};

/// An error was answered over HTTP with `status`.
///
/// A refusal is the everyday work of a lock and goes to `debug`. What someone must look at is a
/// warning, at most once per minute for each template and kind: a failing backend fails every
/// request.
pub(crate) fn answered(error: &Error, status: u16) {
    static ANSWERED: Answered = Answered(Mutex::new(BTreeMap::new()));
    let kind = error.kind();
    let (kind, template) = (kind.as_str(), error.template());
    // Without a template, it is a value of the client that did not parse.
    let is_unkeyed = error.kind() == ErrorKind::Request && template.is_some();
    if (status >= 500 || is_unkeyed)
        && let Some(unlogged) = ANSWERED.due(kind, template, Instant::now())
    {
        tracing::warn!(kind, status, unlogged, %error, "answered with a problem");
    } else {
        tracing::debug!(kind, status, %error, "answered with a problem");
    }
}

/// When an error of each kind and template was logged last, and how many were not logged since
/// then.
struct Answered(Mutex<Times>);

type Times = BTreeMap<(&'static str, Option<SmolStr>), (Instant, u64)>;

impl Answered {
    const EVERY: Duration = Duration::from_mins(1);

    /// Returns how many errors were not logged, if it is time to log one again.
    fn due(&self, kind: &'static str, template: Option<&str>, now: Instant) -> Option<u64> {
        let mut times = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let name = (kind, template.map(Into::into));
        if let Some((last, unlogged)) = times.get_mut(&name) {
            if now.saturating_duration_since(*last) < Self::EVERY {
                *unlogged += 1;
                return None;
            }
            *last = now;
            return Some(std::mem::take(unlogged));
        }
        if times.len() >= TEMPLATES {
            times.retain(|_, (last, _)| now.saturating_duration_since(*last) < Self::EVERY);
        }
        (times.len() < TEMPLATES).then(|| {
            times.insert(name, (now, 0));
            0
        })
    }
}

//! Events for errors that were answered over HTTP.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use smol_str::SmolStr;
use tokio::time::Instant;

use super::seen::TEMPLATES;
use crate::{Error, ErrorKind};

/// Logs an error that was answered over HTTP with `status`.
///
/// Refusals are normal for a lock, so they go to `debug`. Errors that need attention are warnings,
/// at most once per minute for each template and kind, because a failing backend fails every
/// request.
pub(crate) fn answered(error: &Error, status: u16) {
    static ANSWERED: Answered = Answered(Mutex::new(BTreeMap::new()));
    let kind = error.kind();
    let (kind, template) = (kind.as_str(), error.template());
    // Without a template, a value from the client could not be parsed.
    let is_unkeyed = error.kind() == ErrorKind::Request && template.is_some();
    if (status >= 500 || is_unkeyed)
        && let Some(unlogged) = ANSWERED.due(kind, template, Instant::now())
    {
        tracing::warn!(kind, status, unlogged, %error, "answered with a problem");
    } else {
        tracing::debug!(kind, status, %error, "answered with a problem");
    }
}

/// The time of the last warning for each kind and template, and the number of errors not logged
/// since.
struct Answered(Mutex<Times>);

type Times = BTreeMap<(&'static str, Option<SmolStr>), (Instant, u64)>;

impl Answered {
    const EVERY: Duration = Duration::from_mins(1);

    /// Returns the number of errors not logged since the last warning, if a new warning is due.
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

//! Limits how much of the server's memory entries may fill.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use redis::cmd;
use tokio::time::Instant;

use super::info::{field, text};
use super::link::Link;

/// The time for which a reading of the server's memory is used.
const BELIEVED: Duration = Duration::from_secs(1);
/// The part of the free memory, as 1/n, that this process may fill before it checks again.
const PARTS: u64 = 8;

/// The room that is left for entries. Callers check it before they store.
pub(super) struct Room {
    /// The part of `maxmemory` above which no more entries are stored; `None` without a limit.
    share: Option<f64>,
    known: Mutex<Known>,
    /// Held by the only caller that asks the server.
    looking: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct Known {
    asked: Option<Instant>,
    /// The number of bytes that were left; `None` without a limit.
    left: Option<u64>,
    /// The number of bytes that this process has stored since.
    stored: u64,
}

impl Known {
    fn is_due(&self) -> bool {
        let stored = self.left.is_some_and(|left| self.stored > left / PARTS);
        // If nothing is left, nothing is stored, and only time makes the next reading due.
        self.asked.is_none_or(|at| at.elapsed() >= BELIEVED) || (stored && self.left != Some(0))
    }
}

impl Room {
    pub(super) fn new(share: Option<f64>) -> Self {
        Self {
            share,
            known: Mutex::default(),
            looking: tokio::sync::Mutex::default(),
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns whether an entry of this many bytes may be stored. If a reading is due, one caller
    /// asks the server through `link`.
    pub(super) async fn admits(&self, link: &Link, bytes: usize) -> bool {
        let Some(share) = self.share else {
            return true;
        };
        if self.known().is_due()
            && let Ok(_looking) = self.looking.try_lock()
        {
            self.look(link, share).await;
        }
        let mut known = self.known();
        known.stored = known.stored.saturating_add(bytes as u64);
        known.left != Some(0)
    }

    async fn look(&self, link: &Link, share: f64) {
        let Ok(Ok(info)) = link.ask(cmd("INFO").arg("memory")).await else {
            // If the server is away, the attempt to store the entry reports it.
            return;
        };
        let left = left(&text(info), share);
        let mut known = self.known();
        let (was_full, is_full) = (known.left == Some(0), left == Some(0));
        *known = Known {
            asked: Some(Instant::now()),
            left,
            stored: 0,
        };
        drop(known);
        let place = link.place();
        if is_full && !was_full {
            tracing::warn!(
                place,
                "the server uses more memory than `entries_share` allows; values are computed but \
                 not stored until it uses less"
            );
        } else if was_full && !is_full {
            tracing::info!(place, "entries are stored again");
        }
    }
}

/// Returns the number of bytes that are left below the share of `maxmemory`, according to `INFO
/// memory`. Returns `None` without a limit.
fn left(info: &str, share: f64) -> Option<u64> {
    let number = |name| field(info, name)?.parse::<u64>().ok();
    let max = number("maxmemory").filter(|max| *max != 0)?;
    #[allow(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a share of a size, about"
    )]
    let limit = (max as f64 * share) as u64;
    Some(limit.saturating_sub(number("used_memory")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_is_a_share_of_the_limit() {
        let info = "used_memory:70\r\nused_memory_rss:900\r\nmaxmemory:100\r\n";
        assert_eq!(left(info, 0.8), Some(10));
        assert_eq!(left(info, 0.7), Some(0));
        assert_eq!(left(info, 0.5), Some(0));
        assert_eq!(left("used_memory:70\r\nmaxmemory:0\r\n", 0.5), None);
        assert_eq!(left("", 0.5), None);
    }
}

//! The lives of a server, which show that it may have lost acknowledged writes.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use redis::Value;

use super::info::{field, text};
use crate::backend::Signals;
use crate::observe;

/// A life of a server: a time in which it loses no acknowledged write.
///
/// A life ends with the server's process, because each process has a `run_id` of its own. It also
/// ends when the server becomes a replica, even if it is promoted again before it is asked: each
/// promotion gives it another `master_replid`, and the id that it followed as `master_replid2`. If
/// there is no `master_replid2`, `master_replid` is ignored, because it also changes when the first
/// replica comes.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Life {
    run: String,
    /// The `master_replid`; empty if the server was never promoted.
    promotion: String,
}

impl Life {
    /// Parses the answers to `INFO server` and `INFO replication`. Returns `None` if they do not
    /// identify the life.
    pub(super) fn parse(server: Value, replication: Value) -> Option<Self> {
        let (server, replication) = (text(server), text(replication));
        let run = field(&server, "run_id").filter(|run| !run.is_empty())?;
        let promotion = field(&replication, "master_replid")?;
        let followed = field(&replication, "master_replid2")?;
        let is_promoted = followed.bytes().any(|byte| byte != b'0');
        Some(Self {
            run: run.to_owned(),
            promotion: if is_promoted { promotion } else { "" }.to_owned(),
        })
    }
}

/// The lives of the server, as this process has met them.
///
/// Three connections meet the server separately: one for entries, one for locks and resets, and one
/// for messages. The first connection that meets another life makes the resets of the last minute
/// pending again, once for all connections, before a caller gets it. Meanwhile, no reader gets an
/// old value through another connection:
///
/// - A connection that is being made waits for the lock in [`meet`](Self::meet), and so until the
///   resets are pending.
/// - An older connection to a dead server cannot answer. But the server may have been replaced
///   without being dead, for example behind a name or a proxy that now leads elsewhere. Then it may
///   not know of resets that its successor acknowledged. So every connection has the epoch of its
///   life, and is not used in another epoch.
/// - A reset is remembered before its connection is chosen, and the epoch changes before the
///   remembered resets are collected. So a reset that is not collected is sent to the new server.
/// - A read that was sent earlier checks again, once it has its answer, whether its key has become
///   pending.
pub(super) struct Lives {
    signals: Signals,
    met: Mutex<Met>,
    /// The number of times that another life was met.
    epoch: AtomicU64,
}

/// The server as it was met last.
#[derive(Debug)]
enum Met {
    Never,
    As(Life),
    /// The server did not identify its life.
    Unknown,
    Replica,
}

impl Lives {
    pub(super) fn new(signals: Signals) -> Self {
        Self {
            signals,
            met: Mutex::new(Met::Never),
            epoch: AtomicU64::new(0),
        }
    }

    /// Returns whether the server was ever met.
    pub(super) fn is_known(&self) -> bool {
        !matches!(*self.met(), Met::Never)
    }

    /// Returns the number of the present life.
    pub(super) fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Acquire)
    }

    /// Records that a new connection met the server at `place` in this life; `None` if the server
    /// does not identify it. Returns the number of the life.
    ///
    /// A server that does not identify its life may be another one each time. Its other connections
    /// stay in use, because otherwise two connections would replace each other forever.
    pub(super) fn meet(&self, place: &str, life: Option<Life>) -> u64 {
        let mut met = self.met();
        match (&*met, &life) {
            (Met::Never, _) => {}
            (Met::As(before), Some(now)) if before == now => {}
            (Met::As(_) | Met::Replica, Some(_)) => self.change(place, false),
            (Met::Unknown, _) | (_, None) => {
                let resets = self.signals.history_lost();
                tracing::debug!(
                    place,
                    resets,
                    "connected again, perhaps to another server; the resets of the last minute are \
                     repeated"
                );
            }
        }
        *met = life.map_or(Met::Unknown, Met::As);
        self.epoch()
    }

    /// Records that the server at `place` has become a replica.
    pub(super) fn demoted(&self, place: &str) {
        let mut met = self.met();
        if matches!(*met, Met::As(_) | Met::Unknown) {
            *met = Met::Replica;
            self.change(place, true);
        }
    }

    fn change(&self, place: &str, is_replica: bool) {
        self.epoch.fetch_add(1, Ordering::AcqRel);
        let resets = self.signals.history_lost();
        observe::another_server(place, is_replica, resets);
    }

    fn met(&self) -> MutexGuard<'_, Met> {
        self.met.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn life(run: &str, id: &str, followed: &str) -> Option<Life> {
        let value = |text: String| Value::BulkString(text.into_bytes());
        let server = format!("# Server\r\nredis_version:7.0.15\r\nrun_id:{run}\r\n");
        let replication =
            format!("role:master\r\nmaster_replid:{id}\r\nmaster_replid2:{followed}\r\n");
        Life::parse(value(server), value(replication))
    }

    #[test]
    fn c8_each_life_is_met_once() {
        let signals = Signals::default();
        let lives = Lives::new(signals.clone());
        let disturbed = || signals.disturbances();
        assert!(!lives.is_known());
        assert_eq!(lives.meet("", life("a", "1", "00")), 0);
        // A replica came.
        assert_eq!(lives.meet("", life("a", "2", "00")), 0);
        assert!(lives.is_known() && disturbed() == 0);
        assert_eq!(lives.meet("", life("b", "3", "2")), 1);
        assert_eq!(lives.meet("", life("b", "3", "2")), 1);
        assert_eq!(disturbed(), 1);
        // The server followed another one meanwhile.
        assert_eq!(lives.meet("", life("b", "4", "2")), 2);
        lives.demoted("");
        lives.demoted("");
        assert_eq!((lives.epoch(), disturbed()), (3, 3));
        assert_eq!(lives.meet("", life("b", "4", "2")), 4);
        assert_eq!(disturbed(), 4);
    }

    #[test]
    fn c8_a_server_that_does_not_say_may_be_another_one_each_time() {
        let signals = Signals::default();
        let lives = Lives::new(signals.clone());
        for connections in 0..3 {
            assert_eq!(lives.meet("", None), 0);
            assert_eq!(signals.disturbances(), connections);
        }
        assert_eq!(lives.meet("", life("a", "1", "0")), 0);
        assert_eq!(lives.meet("", None), 0);
        assert_eq!(signals.disturbances(), 4);
        assert_eq!(Life::parse(Value::Nil, Value::Nil), None);
    }
}

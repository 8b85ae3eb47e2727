//! Whether the server is still the one that was met before.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use redis::Value;

use super::info::{field, text};
use crate::backend::Signals;
use crate::observe;

/// A time in which a server loses no acknowledged write.
///
/// It ends with the server's process: another one has another `run_id`. It also ends when the
/// server becomes a replica, even if it is promoted again before it is asked. Each promotion gives
/// it another `master_replid`, with the one that it followed as `master_replid2`. Without the
/// second, the first tells nothing: it also changes when the first replica comes.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Life {
    run: String,
    /// Empty if it was never promoted.
    promotion: String,
}

impl Life {
    /// Reads the answers to `INFO server` and `INFO replication`. `None`: the user may not ask, or
    /// what answers does not say.
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

/// What this process knows of the lives of its server.
///
/// Three connections meet the server separately: one for entries, one for locks and resets, one
/// that listens. The first of them that meets another life makes the resets of the last minute
/// pending again, once for all, before it is handed out. No reader gets an old value through
/// another connection meanwhile:
///
/// - A connection that is just being made waits in [`meet`](Self::meet) for the lock, and so until
///   the resets are pending.
/// - An older connection to a dead server cannot answer. But the server may not be dead, only
///   replaced, as behind a name or a proxy that leads elsewhere now. It may then know nothing of
///   resets that its successor acknowledged. So every connection carries the epoch of its life and
///   is not used in another epoch.
/// - A reset is remembered before its connection is chosen. The epoch changes before what is
///   remembered is collected. So a reset that is not collected is sent to the new server.
/// - A read that was sent before looks again, once it has its answer, whether its key became
///   pending.
pub(super) struct Lives {
    signals: Signals,
    met: Mutex<Met>,
    /// How often another life was met.
    epoch: AtomicU64,
}

/// The server, as it was met last.
#[derive(Debug)]
enum Met {
    Never,
    As(Life),
    /// It did not say.
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

    /// Returns whether a server was met.
    pub(super) fn is_known(&self) -> bool {
        !matches!(*self.met(), Met::Never)
    }

    /// Returns the number of the present life.
    pub(super) fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Acquire)
    }

    /// Notes that a new connection leads to the server at `place` in this life, `None` if it does
    /// not say. Returns the number of the life.
    ///
    /// A server that does not say may be another one each time. Its other connections stay in use:
    /// if they did not, the two would replace one another forever.
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
                    "connected anew, perhaps to another server: the resets of the last minute are repeated"
                );
            }
        }
        *met = life.map_or(Met::Unknown, Met::As);
        self.epoch()
    }

    /// Notes that the server at `place` is a replica now.
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
        // It followed another server meanwhile.
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

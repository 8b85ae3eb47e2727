//! Whether a server is fit for use, and what to do if it is not.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::join;
use redis::{RedisError, Value, cmd};
use tokio::time::Instant;

use super::link::Server;
use super::script::{self, Call, Name, PROBE, RESET, WAKE};
use super::{Shared, error};
use crate::{Error, ErrorKind};

/// Names what is tried.
const PROBED: &str = ":probe:{";

/// Finds what cannot work, by name and with the fix.
pub(super) async fn check(shared: &Shared) -> Result<(), Error> {
    let server = &shared.server;
    let answer = shared.control.ask(&cmd("PING")).await?;
    answer.map_err(|error| server.translate(&error))?;
    look(shared).await?;
    let names = [Name(&shared.prefix, PROBED, shared.node.as_str(), "}")];
    // With its text: a server that knows it already would not tell whether `EVAL` is permitted.
    let call = Call::new(&PROBE, &names).arg(Name(&shared.prefix, WAKE, shared.node.as_str(), ""));
    match shared.control.ask(&call.with_source()).await? {
        Ok(Value::Int(_)) => {}
        Ok(Value::BulkString(command)) if command == b"channel" => {
            return Err(server.missing(&format!("&{}:*", server.rights.prefix)));
        }
        Ok(Value::BulkString(command)) => {
            let command = String::from_utf8_lossy(&command).to_lowercase();
            return Err(server.missing(&format!("+{command}")));
        }
        Ok(Value::Array(commands)) => {
            let command = commands.into_iter().next().unwrap_or(Value::Nil);
            return Err(server.unknown(&text(command)));
        }
        Ok(_) => return Err(error::garbled(&server.address.place)),
        Err(error) => return Err(server.translate(&error)),
    }
    probe(shared).await?;
    shared.subscriber.stand(None, &shared.weak).await
}

/// Finds out whether operations are answered again: one reads, and one runs a script that writes.
pub(super) async fn probe(shared: &Shared) -> Result<(), Error> {
    let name = |end| Name(&shared.prefix, PROBED, shared.node.as_str(), end);
    let read = script::command("GET", name("}"));
    let write = Call::new(&RESET, &[name("}"), name("}:lease")])
        .arg(Name(&shared.prefix, WAKE, "", ""))
        .arg("");
    let (read, write) = join(shared.data.ask(&read), shared.control.call(&write)).await;
    for answer in [read?, write?.0] {
        let error = answer.map_err(|error| shared.server.translate(&error));
        // What fails for one operation alone is no reason to refuse the others.
        if let Err(error) = error
            && error.is_down()
        {
            return Err(error);
        }
    }
    Ok(())
}

/// Reads the answer to a new connection's `HELLO`: what is not fit for use is refused before it is
/// used.
pub(super) fn greet(server: &Server, answer: Result<Value, RedisError>) -> Result<(), Error> {
    let place = &server.address.place;
    let answer = answer.map_err(|error| server.translate(&error))?;
    let facts = Facts::parse(answer);
    let wrong = |message| Err(Error::new(ErrorKind::Configuration, message).with_down(true));
    if facts.version.is_some_and(|version| version < (6, 2)) {
        return wrong(format!(
            "Redis at {place} is older than 6.2; use Redis 6.2 or later, or Valkey"
        ));
    }
    match facts.mode.as_str() {
        "cluster" => return wrong(error::cluster(place)),
        "sentinel" => {
            return wrong(format!(
                "what answers at {place} is a Sentinel, which is not supported yet; connect to the primary that `SENTINEL get-master-addr-by-name` names"
            ));
        }
        _ => {}
    }
    if facts.replica {
        let message = format!("Redis at {place} is a read-only replica; connect to its primary");
        // One that was the primary once: the name may lead to the new one soon.
        return if server.is_known() {
            Err(Error::new(ErrorKind::Unavailable, message))
        } else {
            wrong(message)
        };
    }
    Ok(())
}

/// What a server reports about itself in answer to `HELLO`.
#[derive(Debug, Default, PartialEq)]
struct Facts {
    version: Option<(u32, u32)>,
    mode: String,
    replica: bool,
}

impl Facts {
    fn parse(answer: Value) -> Self {
        let Value::Array(fields) = answer else {
            return Self::default();
        };
        let mut facts = Self::default();
        let mut fields = fields.into_iter();
        while let (Some(name), Some(value)) = (fields.next(), fields.next()) {
            match text(name).as_str() {
                "version" => facts.version = version(&text(value)),
                "mode" => facts.mode = text(value),
                "role" => facts.replica = text(value) == "replica",
                _ => {}
            }
        }
        facts
    }
}

fn version(text: &str) -> Option<(u32, u32)> {
    let mut parts = text.split('.');
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

/// How long a reading of the eviction policy is used.
const BELIEVED: Duration = Duration::from_secs(30);
/// How long it is used while locks are refused because of it.
const REFUSED: Duration = Duration::from_secs(1);

/// Whether the server may evict locks, and when that was found out.
#[derive(Default)]
pub(super) struct Policy {
    known: Mutex<Known>,
    /// Held by the one caller that looks.
    looking: tokio::sync::Mutex<()>,
}

#[derive(Clone, Copy, Default)]
struct Known {
    /// The connection that was asked, and when.
    asked: Option<(u64, Instant)>,
    evicts: bool,
    /// That it cannot be known was logged.
    unknown: bool,
}

enum Due {
    No,
    /// One caller looks, and the others do not wait for it.
    Soon,
    Now,
}

impl Policy {
    fn known(&self) -> Known {
        *self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, known: Known) {
        *self.known.lock().unwrap_or_else(PoisonError::into_inner) = known;
    }
}

impl Known {
    fn due(&self, connection: u64, allow: bool) -> Due {
        match self.asked {
            Some((asked, at)) if asked == connection => {
                let refused = self.evicts && !allow;
                let believed = if refused { REFUSED } else { BELIEVED };
                match at.elapsed() < believed {
                    true => Due::No,
                    false if refused => Due::Now,
                    false => Due::Soon,
                }
            }
            _ => Due::Now,
        }
    }
}

/// Refuses locks and pools on a server that may evict them. The policy can change at any time, so
/// it is checked repeatedly.
pub(super) async fn admit_slots(shared: &Shared) -> Result<(), Error> {
    let connection = shared.control.ready().await?;
    let policy = &shared.policy;
    let allow = shared.allow_evicting_locks;
    match policy.known().due(connection, allow) {
        Due::No => {}
        Due::Soon => {
            if let Ok(_looking) = policy.looking.try_lock() {
                look(shared).await?;
            }
        }
        Due::Now => {
            // One caller checks on behalf of all that arrive meanwhile.
            let _looking = policy.looking.lock().await;
            if matches!(policy.known().due(connection, allow), Due::Now) {
                look(shared).await?;
            }
        }
    }
    if policy.known().evicts && !allow {
        let place = &shared.server.address.place;
        return Err(Error::new(
            ErrorKind::Configuration,
            format!("Redis at {place} may evict locks, and two could hold one; {FIX}"),
        ));
    }
    Ok(())
}

/// Looks at the server's eviction policy.
async fn look(shared: &Shared) -> Result<(), Error> {
    let (server, policy) = (&shared.server, &shared.policy);
    let place = &server.address.place;
    let connection = shared.control.ready().await?;
    let mut known = policy.known();
    match shared.control.ask(cmd("INFO").arg("memory")).await? {
        Ok(info) => {
            let evicts = evicts(&text(info));
            if evicts && !known.evicts {
                if shared.allow_evicting_locks {
                    tracing::warn!(place, "the server may evict locks and permits");
                } else {
                    tracing::warn!(
                        place,
                        "the server may evict keys, so that locks and pools are refused; {FIX}"
                    );
                }
            }
            known.evicts = evicts;
            known.unknown = false;
        }
        Err(error) if error::code(&error) == "NOPERM" => {
            if !known.unknown {
                tracing::warn!(
                    place,
                    "the user may not run INFO, so that the server's eviction policy is not checked; `+info` allows it"
                );
            }
            known.unknown = true;
        }
        // Nothing else needs the command.
        Err(error) => return Err(server.translate(&error).with_down(false)),
    }
    known.asked = Some((connection, Instant::now()));
    policy.set(known);
    Ok(())
}

const FIX: &str = "set its `maxmemory-policy` to `noeviction`, or keep locks elsewhere, or call the builder's `allow_evicting_locks`";

pub(super) fn text(value: Value) -> String {
    match value {
        Value::BulkString(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        Value::VerbatimString { text, .. } => text,
        _ => String::new(),
    }
}

/// Returns whether a server with this answer to `INFO memory` may evict keys.
fn evicts(info: &str) -> bool {
    field(info, "maxmemory").is_some_and(|max| max != "0")
        && field(info, "maxmemory_policy").is_some_and(|policy| policy != "noeviction")
}

/// Returns the value of `name` in the answer to `INFO`.
pub(super) fn field<'a>(info: &'a str, name: &str) -> Option<&'a str> {
    info.lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
        .map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn info_is_read_by_whole_names() {
        let info = "maxmemory_human:1M\r\nmaxmemory:1048576\r\nmaxmemory_policy:volatile-ttl\r\n";
        assert!(evicts(info));
        assert!(!evicts("maxmemory:0\r\nmaxmemory_policy:allkeys-lru\r\n"));
        assert!(!evicts("maxmemory:9\r\nmaxmemory_policy:noeviction\r\n"));
        assert!(!evicts(""));
    }

    #[test]
    fn a_greeting_is_read() {
        let words = [
            "server", "redis", "version", "7.0.15", "mode", "cluster", "role", "replica",
        ];
        let words = words.map(|word| Value::BulkString(word.into()));
        let facts = Facts {
            version: Some((7, 0)),
            mode: "cluster".to_owned(),
            replica: true,
        };
        assert_eq!(Facts::parse(Value::Array(words.into())), facts);
        assert_eq!(Facts::parse(Value::Nil), Facts::default());
    }
}

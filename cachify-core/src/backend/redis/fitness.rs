//! Whether a server is fit for use, and what to do if it is not.

use std::sync::atomic::Ordering;

use futures_util::future::join3;
use redis::{Cmd, RedisError, Value};

use super::script::{Call, Name, PROBE};
use super::{Shared, error};
use crate::{Error, ErrorKind};

/// Finds what cannot work, by name and with the fix.
pub(super) async fn check(shared: &Shared) -> Result<(), Error> {
    let place = &shared.server.place;
    look(shared).await?;
    let names = [Name(&shared.names.probe, shared.node.as_str(), "}")];
    let call = Call::new(&PROBE, &names).arg(&shared.own_channel);
    match shared.control.call(&call).await?.0 {
        Ok(Value::Int(_)) => {}
        Ok(Value::BulkString(command)) if command == b"PUBLISH" => {
            return Err(missing_channels(shared));
        }
        Ok(Value::BulkString(command)) => {
            let command = String::from_utf8_lossy(&command).to_lowercase();
            return Err(missing(shared, &format!("+{command}")));
        }
        Ok(_) => return Err(error::garbled(place)),
        Err(error) if is_forbidden(&error) => {
            return Err(missing(shared, "+eval +evalsha"));
        }
        Err(error) => return Err(shared.server.translate(&error)),
    }
    shared.data.ready().await?;
    shared.subscriber.stand(&shared.weak).await
}

/// The user may not run what every operation needs.
fn missing(shared: &Shared, rights: &str) -> Error {
    Error::new(
        ErrorKind::Configuration,
        format!(
            "the user of Redis at {} lacks a right; `ACL SETUSER NAME ~{}:* {rights}` gives it",
            shared.server.place, shared.names.prefix,
        ),
    )
}

pub(super) fn is_forbidden(error: &RedisError) -> bool {
    error::code(error) == "NOPERM"
}

/// The user may not use the channels that processes tell one another by.
pub(super) fn missing_channels(shared: &Shared) -> Error {
    Error::new(
        ErrorKind::Configuration,
        format!(
            "the user of Redis at {} may not publish and subscribe on the channels `{prefix}:*`; `ACL SETUSER NAME &{prefix}:* +publish +subscribe` gives it \
             the right",
            shared.server.place,
            prefix = shared.names.prefix,
        ),
    )
}

/// Looks at the server's version, role and eviction policy.
pub(super) async fn look(shared: &Shared) -> Result<(), Error> {
    let place = &shared.server.place;
    let connection = shared.control.ready().await?;
    let info = |section: &'static str| async move {
        let mut cmd = Cmd::new();
        cmd.arg("INFO").arg(section);
        shared.control.ask(&cmd).await
    };
    let (server, memory, replication) =
        join3(info("server"), info("memory"), info("replication")).await;
    let text = match (server?, memory?, replication?) {
        (Ok(server), Ok(memory), Ok(replication)) => {
            [text(server), text(memory), text(replication)].concat()
        }
        (Err(error), ..) | (_, Err(error), _) | (.., Err(error)) if is_forbidden(&error) => {
            tracing::warn!(
                place,
                "the user may not run INFO, so that the server's version, role and eviction policy are not checked; `+info` allows it"
            );
            String::new()
        }
        (Err(error), ..) | (_, Err(error), _) | (.., Err(error)) => {
            return Err(shared.server.translate(&error));
        }
    };
    let facts = Facts::parse(&text);
    if facts.version.is_some_and(|version| version < (6, 2)) {
        return Err(Error::new(
            ErrorKind::Configuration,
            format!("Redis at {place} is older than 6.2; use Redis 6.2 or later, or Valkey"),
        ));
    }
    if facts.replica {
        // It may have been the primary once, and the name may lead to the new one by now.
        shared.control.discard(connection);
        return Err(Error::new(
            ErrorKind::Configuration,
            format!("Redis at {place} is a read-only replica; connect to its primary"),
        ));
    }
    if facts.evicts && !shared.evicting.swap(true, Ordering::AcqRel) {
        if shared.allow_evicting_locks {
            tracing::warn!(place, "the server may evict locks and permits");
        } else {
            tracing::warn!(
                place,
                "the server may evict keys, so that locks and pools are refused; {FIX}"
            );
        }
    }
    shared.evicting.store(facts.evicts, Ordering::Release);
    shared.looked.store(connection, Ordering::Release);
    Ok(())
}

const FIX: &str = "set its `maxmemory-policy` to `noeviction`, or keep locks elsewhere, or call the builder's `allow_evicting_locks`";

/// Locks and pools are refused on this server.
pub(super) fn evicting(place: &str) -> Error {
    Error::new(
        ErrorKind::Configuration,
        format!("Redis at {place} may evict locks, and two could hold one; {FIX}"),
    )
}

fn text(value: Value) -> String {
    match value {
        Value::BulkString(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        Value::VerbatimString { text, .. } => text,
        _ => String::new(),
    }
}

/// What `INFO` says.
#[derive(Debug, Default, PartialEq)]
struct Facts {
    version: Option<(u32, u32)>,
    replica: bool,
    evicts: bool,
}

impl Facts {
    fn parse(info: &str) -> Self {
        let field = |name: &str| {
            info.lines()
                .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
                .map(str::trim)
        };
        let version = |text: &str| {
            let mut parts = text.split('.');
            Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
        };
        let limited = field("maxmemory").is_some_and(|max| max != "0");
        Self {
            version: field("redis_version").and_then(version),
            replica: field("role") == Some("slave"),
            evicts: limited
                && field("maxmemory_policy").is_some_and(|policy| policy != "noeviction"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn info_is_read_by_whole_names() {
        let info = "# Server\r\nredis_version:7.0.15\r\nmaxmemory_human:1M\r\nmaxmemory:1048576\r\nmaxmemory_policy:volatile-ttl\r\nrole:master\r\n";
        let facts = Facts {
            version: Some((7, 0)),
            replica: false,
            evicts: true,
        };
        assert_eq!(Facts::parse(info), facts);
        assert!(!Facts::parse("maxmemory:0\r\nmaxmemory_policy:allkeys-lru\r\n").evicts);
        assert!(!Facts::parse("maxmemory:9\r\nmaxmemory_policy:noeviction\r\n").evicts);
        assert!(Facts::parse("role:slave").replica);
        assert_eq!(Facts::parse(""), Facts::default());
    }
}

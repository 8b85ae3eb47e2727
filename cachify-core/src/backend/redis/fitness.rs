//! Checks that a server is fit for use, and names the fix if it is not.

use futures_util::future::join;
use redis::{Value, cmd};
use tokio::time::Instant;

use super::info::{field, text};
use super::policy::Due;
use super::script::{self, Call, Name, PROBE, RESET, RESETS, WAKE};
use super::shared::Shared;
use super::{error, subscription};
use crate::{Error, ErrorKind};

/// The part of a name, after the prefix, that probes use.
const PROBED: &str = ":probe:{";

/// Checks all that operations need. An error names what is missing, and the fix.
pub(super) async fn check(shared: &Shared) -> Result<(), Error> {
    let server = &shared.server;
    let answer = shared.control.ask(&cmd("PING")).await?;
    answer.map_err(|error| server.translate(&error))?;
    look(shared).await?;
    let names = [Name(&shared.prefix, PROBED, shared.node.as_str(), "}")];
    // Sent with its source, because a server that knows the script would not check `EVAL`.
    let call = Call::new(&PROBE, &names)
        .arg(Name(&shared.prefix, WAKE, shared.node.as_str(), ""))
        .arg(Name(&shared.prefix, RESETS, "", ""));
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
    subscription::stand(shared, None).await
}

/// Checks that operations are answered again: a read, and a script that writes.
pub(super) async fn probe(shared: &Shared) -> Result<(), Error> {
    let name = |end| Name(&shared.prefix, PROBED, shared.node.as_str(), end);
    let read = script::command("GET", name("}"));
    let write = Call::new(&RESET, &[name("}"), name("}:lease")])
        .arg(Name(&shared.prefix, WAKE, "", ""))
        .arg("")
        .arg(Name(&shared.prefix, RESETS, "", ""))
        .arg("");
    let (read, write) = join(shared.data.ask(&read), shared.control.call(&write)).await;
    for answer in [read?, write?.0] {
        let error = answer.map_err(|error| shared.server.translate(&error));
        // A failure of one operation alone is no reason to refuse the others.
        if let Err(error) = error
            && error.is_down()
        {
            return Err(error);
        }
    }
    Ok(())
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
            format!("Redis at {place} may evict locks, so two callers could hold one lock; {FIX}"),
        ));
    }
    Ok(())
}

/// Reads the server's eviction policy.
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
                        "the server may evict keys, so locks and pools are refused; {FIX}"
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
                    "the user may not run INFO, so the server's eviction policy is not checked, \
                     and a server that lost its data is not recognized; `+info` grants it"
                );
            }
            known.unknown = true;
        }
        // No operation needs `INFO`, so the server does not count as down.
        Err(error) => return Err(server.translate(&error).with_down(false)),
    }
    known.asked = Some((connection, Instant::now()));
    policy.set(known);
    Ok(())
}

const FIX: &str = "set its `maxmemory-policy` to `noeviction`, or keep locks elsewhere, or call \
    the builder's `allow_evicting_locks`";

/// Returns whether a server with this answer to `INFO memory` may evict keys.
fn evicts(info: &str) -> bool {
    field(info, "maxmemory").is_some_and(|max| max != "0")
        && field(info, "maxmemory_policy").is_some_and(|policy| policy != "noeviction")
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
}

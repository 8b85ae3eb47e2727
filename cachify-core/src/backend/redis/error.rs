//! What Redis says, in our words: by its code alone, since its texts may quote keys, values and passwords.

use redis::{ErrorKind as Kind, RedisError, ServerErrorKind as Server};

use crate::{Error, ErrorKind};

/// Translates an error of the server `place`, which is shown.
pub(super) fn translate(error: &RedisError, place: &str) -> Error {
    let (kind, message) = match error.kind() {
        Kind::Io if error.is_timeout() => (
            ErrorKind::Timeout,
            format!(
                "Redis at {place} did not answer in time; see whether it is overloaded or hung"
            ),
        ),
        Kind::Io => return unreachable(place, &io_reason(error)),
        Kind::AuthenticationFailed => return refused(place),
        Kind::Server(Server::ReadOnly) => (
            ErrorKind::Unavailable,
            format!("Redis at {place} is a read-only replica; connect to its primary"),
        ),
        Kind::Server(Server::NoPerm) => (
            ErrorKind::Configuration,
            format!(
                "Redis at {place} forbids a command or key to this user, who needs `~PREFIX:* &PREFIX:* +@read +@write +@scripting +@pubsub +@connection +time +info`"
            ),
        ),
        Kind::Server(Server::BusyLoading) => (
            ErrorKind::Unavailable,
            format!("Redis at {place} is still loading its data"),
        ),
        Kind::Server(
            Server::MasterDown | Server::ClusterDown | Server::TryAgain | Server::NotBusy,
        ) => (
            ErrorKind::Unavailable,
            format!("Redis at {place} is not ready ({})", code(error)),
        ),
        Kind::Server(Server::Moved | Server::Ask | Server::CrossSlot) => (
            ErrorKind::Configuration,
            format!("Redis at {place} is one node of a cluster; connect to a single server"),
        ),
        Kind::Parse | Kind::UnexpectedReturnType | Kind::RESP3NotSupported => {
            return garbled(place);
        }
        _ => return by_code(code(error), place),
    };
    Error::new(kind, message)
}

fn by_code(code: &str, place: &str) -> Error {
    let (kind, message) = match code {
        "OOM" => (
            ErrorKind::Configuration,
            format!("Redis at {place} is full; raise its `maxmemory` or free some"),
        ),
        "MISCONF" => (
            ErrorKind::Configuration,
            format!(
                "Redis at {place} refuses to write because it cannot save to disk (MISCONF); see its log"
            ),
        ),
        "WRONGTYPE" => (
            ErrorKind::Configuration,
            format!(
                "a key at {place} holds what some other program put there; give cachify a prefix of its own"
            ),
        ),
        "NOAUTH" | "WRONGPASS" => return refused(place),
        code => (
            ErrorKind::Unavailable,
            format!("Redis at {place} answered with an error ({code})"),
        ),
    };
    Error::new(kind, message)
}

/// The error's code if it looks like one.
fn code(error: &RedisError) -> &str {
    error
        .code()
        .filter(|code| code.len() < 20 && code.bytes().all(|b| b.is_ascii_uppercase()))
        .unwrap_or("no code")
}

fn io_reason(error: &RedisError) -> String {
    use std::error::Error as _;
    error
        .source()
        .and_then(|source| source.downcast_ref::<std::io::Error>())
        .map_or_else(
            || "the connection was closed".to_owned(),
            |io| io.kind().to_string(),
        )
}

pub(super) fn unreachable(place: &str, reason: &str) -> Error {
    Error::new(
        ErrorKind::Unavailable,
        format!("Redis at {place} cannot be reached: {reason}"),
    )
}

fn refused(place: &str) -> Error {
    Error::new(
        ErrorKind::Configuration,
        format!("Redis at {place} refuses the user or the password; see those in the URL"),
    )
}

/// The answer is not one of ours.
pub(super) fn garbled(place: &str) -> Error {
    Error::new(
        ErrorKind::Unavailable,
        format!("what answers at {place} does not speak like Redis 6.2 or later"),
    )
}

/// The request came so late that the server refused it.
pub(super) fn late(place: &str) -> Error {
    Error::new(
        ErrorKind::Timeout,
        format!("the request reached Redis at {place} too late and was refused; nothing was taken"),
    )
}

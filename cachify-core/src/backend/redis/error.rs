//! What Redis says, in our words: by its code alone, since its texts may quote keys, values and passwords.

use std::error::Error as _;

use redis::{ErrorKind as Kind, RedisError};

use crate::{Error, ErrorKind};

/// Translates an error of the server at `place`, which is shown.
pub(super) fn translate(error: &RedisError, place: &str) -> Error {
    let unavailable = ErrorKind::Unavailable;
    let configuration = ErrorKind::Configuration;
    let (kind, message) = match (error.kind(), code(error)) {
        (Kind::Io, _) => return unreachable(place, &io_reason(error)),
        (Kind::Parse | Kind::UnexpectedReturnType | Kind::RESP3NotSupported, _) => {
            return garbled(place);
        }
        (Kind::AuthenticationFailed, _) | (_, "NOAUTH" | "WRONGPASS") => (
            configuration,
            format!("Redis at {place} refuses the user or the password; see those in the URL"),
        ),
        (_, "NOPERM") => (
            configuration,
            format!(
                "Redis at {place} forbids a command or key to this user, who needs `~PREFIX:* &PREFIX:* +@read +@write +@scripting +@pubsub +@connection \
                 +time +info`"
            ),
        ),
        (_, "OOM") => (
            configuration,
            format!("Redis at {place} is full; raise its `maxmemory` or free some"),
        ),
        (_, "MISCONF") => (
            configuration,
            format!("Redis at {place} refuses to write while it cannot save to disk; see its log"),
        ),
        (_, "WRONGTYPE") => (
            configuration,
            format!(
                "a key in Redis at {place} holds what some other program put there; give cachify a prefix of its own"
            ),
        ),
        (_, "MOVED" | "ASK" | "CROSSSLOT") => (
            configuration,
            format!("Redis at {place} is one node of a cluster; connect to a single server"),
        ),
        (_, "READONLY") => (
            unavailable,
            format!("Redis at {place} is a read-only replica; connect to its primary"),
        ),
        (_, "LOADING") => (
            unavailable,
            format!("Redis at {place} is still loading its data"),
        ),
        (_, code) => (
            unavailable,
            format!("Redis at {place} answered with an error ({code})"),
        ),
    };
    Error::new(kind, message)
}

/// The error's code: of what a script called, if it was that.
pub(super) fn code(error: &RedisError) -> &str {
    const INSIDE: [&str; 6] = [
        "OOM",
        "READONLY",
        "NOPERM",
        "WRONGTYPE",
        "MISCONF",
        "MASTERDOWN",
    ];

    let is_code = |code: &&str| code.len() < 20 && code.bytes().all(|b| b.is_ascii_uppercase());
    let code = error.code().filter(is_code).unwrap_or("no code");
    if code != "ERR" {
        return code;
    }
    // Redis 6.2 says: "ERR Error running script (call to ..): @user_script:7: -OOM command not allowed ..".
    let mut parts = error.detail().unwrap_or_default().rsplit(": ");
    let inside = parts.find_map(|part| {
        let word = part.trim_start_matches('-').split(' ').next()?;
        INSIDE.into_iter().find(|code| *code == word)
    });
    inside.unwrap_or(code)
}

fn io_reason(error: &RedisError) -> String {
    let io = error
        .source()
        .and_then(|source| source.downcast_ref::<std::io::Error>());
    io.map_or_else(
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

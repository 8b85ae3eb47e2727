//! Translates errors of Redis by their code alone, since their texts may quote keys, values and
//! passwords.

use std::sync::atomic::Ordering;

use redis::{ErrorKind as Kind, RedisError};

use super::reach::broken;
use super::server::Server;
use crate::{Error, ErrorKind};

/// The words by which the server says that it does not know a command; the command follows in
/// quotes.
const UNKNOWN: &str = "unknown command ";

impl Server {
    /// Translates an error of this server.
    pub(super) fn translate(&self, error: &RedisError) -> Error {
        let place = &self.address.place;
        let unavailable = ErrorKind::Unavailable;
        let configuration = ErrorKind::Configuration;
        let detail = error.detail().unwrap_or_default();
        // What a script calls fails for that script alone.
        let whole = !detail.contains("script");
        let (kind, down, message) = match (error.kind(), code(error)) {
            (Kind::Io | Kind::InvalidClientConfig, _) => return broken(error, place),
            (Kind::Parse | Kind::UnexpectedReturnType | Kind::RESP3NotSupported, _) => {
                return garbled(place);
            }
            (Kind::AuthenticationFailed, _) | (_, "NOAUTH" | "WRONGPASS") => (
                configuration,
                true,
                format!(
                    "Redis at {place} refuses the user or the password; see those in the URL, and whether the user is `on`"
                ),
            ),
            (_, "NOPERM") => {
                let right = self.rights.lacking(detail);
                // Rights to keys and channels may be missing for one of several prefixes alone.
                let all = right.starts_with('+') || !self.prefixes.load(Ordering::Relaxed);
                let down = error.code() == Some("NOPERM") && whole && all;
                return self.missing(&right).with_down(down);
            }
            (_, "OOM") => (
                unavailable,
                false,
                format!("Redis at {place} is full; raise its `maxmemory` or free some"),
            ),
            (_, "MISCONF") => (
                unavailable,
                false,
                format!(
                    "Redis at {place} refuses to write while it cannot save to disk; see its log"
                ),
            ),
            (_, "WRONGTYPE") => (
                configuration,
                false,
                format!(
                    "a key in Redis at {place} holds what some other program put there; give cachify a prefix of its own"
                ),
            ),
            (_, "MOVED" | "ASK" | "CROSSSLOT") => (configuration, true, cluster(place)),
            (_, "DENIED") => (
                configuration,
                true,
                format!(
                    "Redis at {place} is in protected mode; give it a password or bind it to an address"
                ),
            ),
            (_, "READONLY") => (
                unavailable,
                true,
                format!("Redis at {place} is a read-only replica; connect to its primary"),
            ),
            (_, "LOADING") => (
                unavailable,
                true,
                format!("Redis at {place} is still loading its data"),
            ),
            (_, "ERR") if detail.contains("max number of clients") => (
                unavailable,
                true,
                format!("Redis at {place} has as many connections as its `maxclients` allows"),
            ),
            (_, "ERR") if detail.starts_with(UNKNOWN) => {
                return self.unknown(quoted(&detail[UNKNOWN.len()..]));
            }
            (_, code) => (
                unavailable,
                true,
                format!("Redis at {place} answered with an error ({code})"),
            ),
        };
        Error::new(kind, message).with_down(down)
    }

    /// Makes the error of a user that lacks a right.
    pub(super) fn missing(&self, right: &str) -> Error {
        let (place, rights) = (&self.address.place, &self.rights);
        let each = if self.prefixes.load(Ordering::Relaxed) {
            ", but each other prefix needs its `~PREFIX:*` and `&PREFIX:*` as well"
        } else {
            ""
        };
        Error::new(
            ErrorKind::Configuration,
            format!(
                "the user of Redis at {place} lacks the right `{right}`; `{rights}` gives what is needed and no more{each}"
            ),
        )
    }

    /// Makes the error of a server that does not have a command.
    pub(super) fn unknown(&self, command: &str) -> Error {
        let place = &self.address.place;
        Error::new(
            ErrorKind::Configuration,
            format!(
                "Redis at {place} does not know the command `{command}`; take it out of `rename-command`, or use Redis 6.2 or later"
            ),
        )
        .with_down(true)
    }
}

/// The word in quotes at the start of `text`, if it is one that a command may have.
fn quoted(text: &str) -> &str {
    let word = text.get(1..).unwrap_or_default();
    let word = word.split(['\'', '`', '"']).next().unwrap_or_default();
    let is_command = word.len() < 20 && word.bytes().all(|b| b.is_ascii_alphanumeric());
    if is_command { word } else { "?" }
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
    // Redis 6.2 says: "ERR Error running script (call to ..): @user_script:7: -OOM command not
    // allowed ..".
    let mut parts = error.detail().unwrap_or_default().rsplit(": ");
    let inside = parts.find_map(|part| {
        let word = part.trim_start_matches('-').split(' ').next()?;
        INSIDE.into_iter().find(|code| *code == word)
    });
    inside.unwrap_or(code)
}

pub(super) fn cluster(place: &str) -> String {
    format!(
        "Redis at {place} is one node of a cluster, which is not supported yet; connect to a single server"
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

//! Translates errors of Redis. Messages contain only the code of an error, because its text may
//! quote keys, values and passwords.

use std::sync::atomic::Ordering;

use redis::{ErrorKind as Kind, RedisError};

use super::reach::broken;
use super::server::Server;
use crate::{Error, ErrorKind};

/// The words with which the server rejects an unknown command. The command follows in quotes.
const UNKNOWN: &str = "unknown command ";

impl Server {
    /// Translates an error of this server.
    pub(super) fn translate(&self, error: &RedisError) -> Error {
        let place = &self.address.place;
        let unavailable = ErrorKind::Unavailable;
        let configuration = ErrorKind::Configuration;
        let detail = error.detail().unwrap_or_default();
        // If a command inside a script fails, other scripts and commands may still work.
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
                    "Redis at {place} rejects the user or the password; check both in the URL, and \
                     check that the user is `on`"
                ),
            ),
            (_, "NOPERM") => {
                let right = self.rights.lacking(detail);
                // Rights to keys and channels may be missing for only one of several prefixes.
                let all = right.starts_with('+') || !self.prefixes.load(Ordering::Relaxed);
                let down = error.code() == Some("NOPERM") && whole && all;
                return self.missing(&right).with_down(down);
            }
            (_, "OOM") => (
                unavailable,
                false,
                format!("Redis at {place} is full; raise its `maxmemory` or free memory"),
            ),
            (_, "MISCONF") => (
                unavailable,
                false,
                format!(
                    "Redis at {place} refuses writes because it cannot save to disk; see its log"
                ),
            ),
            (_, "WRONGTYPE") => (
                configuration,
                false,
                format!(
                    "a key in Redis at {place} holds the data of another program; give cachify a \
                     prefix of its own"
                ),
            ),
            (_, "MOVED" | "ASK" | "CROSSSLOT") => (configuration, true, cluster(place)),
            (_, "DENIED") => (
                configuration,
                true,
                format!(
                    "Redis at {place} is in protected mode; give it a password or bind it to an \
                     address"
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
                format!(
                    "Redis at {place} has reached its `maxclients`; raise it or close connections"
                ),
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

    /// Creates the error of a user that lacks a right.
    pub(super) fn missing(&self, right: &str) -> Error {
        let (place, rights) = (&self.address.place, &self.rights);
        let each = if self.prefixes.load(Ordering::Relaxed) {
            "; every other prefix needs its own `~PREFIX:*` and `&PREFIX:*` as well"
        } else {
            ""
        };
        Error::new(
            ErrorKind::Configuration,
            format!(
                "the user of Redis at {place} lacks the right `{right}`; `{rights}` grants exactly \
                 what is needed{each}"
            ),
        )
    }

    /// Creates the error of a server that does not know a command.
    pub(super) fn unknown(&self, command: &str) -> Error {
        let place = &self.address.place;
        Error::new(
            ErrorKind::Configuration,
            format!(
                "Redis at {place} does not know the command `{command}`; remove it from \
                 `rename-command`, or use Redis 6.2 or later"
            ),
        )
        .with_down(true)
    }
}

/// Returns the quoted word at the start of `text`, or `?` if no command can have this name.
fn quoted(text: &str) -> &str {
    let word = text.get(1..).unwrap_or_default();
    let word = word.split(['\'', '`', '"']).next().unwrap_or_default();
    let is_command = word.len() < 20 && word.bytes().all(|b| b.is_ascii_alphanumeric());
    if is_command { word } else { "?" }
}

/// Returns the code of an error. If a command inside a script failed, this is the command's code.
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
    // Redis 6.2 answers: "ERR Error running script (call to ..): @user_script:7: -OOM command not
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
        "Redis at {place} is one node of a cluster, which is not supported yet; connect to a \
         single server"
    )
}

/// Creates the error of an answer that Redis does not give to such a request.
pub(super) fn garbled(place: &str) -> Error {
    Error::new(
        ErrorKind::Unavailable,
        format!("the server at {place} does not answer like Redis 6.2 or later"),
    )
}

/// Creates the error of a request that arrived so late that the server refused it.
pub(super) fn late(place: &str) -> Error {
    Error::new(
        ErrorKind::Timeout,
        format!("the request reached Redis at {place} too late and was refused; nothing was taken"),
    )
}

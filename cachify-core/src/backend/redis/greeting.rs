//! The first answer of a server to a new connection.

use redis::{RedisError, Value};

use super::error;
use super::info::text;
use super::server::Server;
use crate::{Error, ErrorKind};

/// Reads the answer to a new connection's `HELLO`, and refuses a server that is not fit for use.
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
                "the server at {place} is a Sentinel, which is not supported yet; connect to the \
                 primary that `SENTINEL get-master-addr-by-name` names"
            ));
        }
        _ => {}
    }
    if facts.replica {
        let message = format!("Redis at {place} is a read-only replica; connect to its primary");
        // The server was the primary before, so its name may soon lead to the new primary.
        return if server.lives.is_known() {
            server.lives.demoted(place);
            Err(Error::new(ErrorKind::Unavailable, message))
        } else {
            wrong(message)
        };
    }
    Ok(())
}

/// The facts that a server reports about itself in its answer to `HELLO`.
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

#[cfg(test)]
mod tests {
    use super::*;

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

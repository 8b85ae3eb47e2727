//! The least rights that a Redis user needs.

use std::fmt;

/// The commands that this backend sends, and those that its scripts run.
pub(super) const COMMANDS: &str = "+info +ping +time +eval +evalsha +publish +subscribe +get +set \
    +setrange +incr +del +exists +pttl +pexpire +pexpireat +hset +hget +hmget +hexists +hkeys \
    +hdel +zadd +zrem +zscore +zcard +zcount +zrange +zrangebyscore";

/// The command that gives a user exactly the rights that names with one prefix need, ready to
/// paste. `NAME` stands for the user.
pub(super) struct Rights {
    pub(super) prefix: String,
    /// Set if the URL names a database other than 0, which takes a command to select.
    pub(super) select: bool,
}

impl fmt::Display for Rights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let prefix = &self.prefix;
        write!(
            f,
            "ACL SETUSER NAME resetkeys ~{prefix}:* resetchannels &{prefix}:* -@all {COMMANDS}"
        )?;
        f.write_str(if self.select { " +select" } else { "" })
    }
}

impl Rights {
    /// Returns the right that is missing according to `detail`, the server's text.
    pub(super) fn lacking(&self, detail: &str) -> String {
        let prefix = &self.prefix;
        let command = detail.split("run the '").nth(1);
        let command = command.and_then(|rest| rest.split('\'').next());
        match command.filter(|name| name.bytes().all(|b| b.is_ascii_alphanumeric())) {
            Some(command) => format!("+{}", command.to_ascii_lowercase()),
            None if detail.contains("channel") => format!("&{prefix}:*"),
            None => format!("~{prefix}:*"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_servers_words_name_the_right() {
        let rights = Rights {
            prefix: "shop".to_owned(),
            select: false,
        };
        for (detail, right) in [
            (
                "User app has no permissions to run the 'get' command",
                "+get",
            ),
            (
                "this user has no permissions to run the 'evalsha' command or its subcommand",
                "+evalsha",
            ),
            ("No permissions to access a key", "~shop:*"),
            (
                "this user has no permissions to access one of the keys used as arguments",
                "~shop:*",
            ),
            ("No permissions to access a channel", "&shop:*"),
            (
                "this user has no permissions to access one of the channels used as arguments",
                "&shop:*",
            ),
        ] {
            assert_eq!(rights.lacking(detail), right);
        }
    }
}

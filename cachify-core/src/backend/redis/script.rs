//! The scripts, their calls, and the spelling of names.

use std::io::Write;
use std::sync::LazyLock;

use redis::{Arg, Cmd, RedisWrite, ToRedisArgs};

use crate::backend::{SlotKind, Token};

/// A script that is called by its hash.
pub(super) struct Script {
    hash: LazyLock<redis::Script>,
    source: &'static str,
}

macro_rules! scripts {
    ($($name:ident: $($file:literal)+;)+) => {
        $(pub(super) static $name: Script = Script {
            hash: LazyLock::new(|| redis::Script::new($name.source)),
            source: concat!($(include_str!($file)),+),
        };)+
        #[cfg(test)]
        const ALL: &[&Script] = &[$(&$name),+];
    };
}

scripts! {
    BEGIN: "time.lua" "tell.lua" "begin.lua";
    FILL: "tell.lua" "fill.lua";
    EXTEND_LEASE: "extend_lease.lua";
    RESET: "tell.lua" "reset.lua";
    ACQUIRE: "time.lua" "acquire.lua" "slots.lua" "contend.lua";
    EXTEND: "time.lua" "slots.lua" "extend.lua";
    RELEASE: "release.lua" "time.lua" "slots.lua" "give.lua";
    EVICT: "time.lua" "slots.lua" "evict.lua";
    INSPECT: "time.lua" "inspect.lua";
    PROBE: "probe.lua";
}

/// A name in Redis: the prefix, the kind of thing, the key inside the hash tag, and the end.
#[derive(Clone, Copy)]
pub(super) struct Name<'a>(
    pub(super) &'a str,
    pub(super) &'static str,
    pub(super) &'a str,
    pub(super) &'static str,
);

/// A key and its prefix.
#[derive(Clone, Copy)]
pub(super) struct Spot<'a> {
    pub(super) prefix: &'a str,
    pub(super) key: &'a str,
}

impl<'a> Spot<'a> {
    pub(super) fn entry(self) -> Name<'a> {
        Name(self.prefix, ":cached:{", self.key, "}")
    }

    pub(super) fn lease(self) -> Name<'a> {
        Name(self.prefix, ":cached:{", self.key, "}:lease")
    }

    /// Returns the names of a slot's parts.
    pub(super) fn slot(self, kind: SlotKind) -> [Name<'a>; 5] {
        let start = match kind {
            SlotKind::Lock => ":lock:{",
            SlotKind::Pool => ":pool:{",
        };
        let ends = ["}", "}:queue", "}:places", "}:ended", "}:nodes"];
        ends.map(|end| Name(self.prefix, start, self.key, end))
    }

    /// Returns the name of the last fencing token.
    pub(super) fn fence(self) -> Name<'a> {
        Name(self.prefix, ":fence", "", "")
    }

    /// Returns the channel that tells processes with copies in memory of resets.
    pub(super) fn resets(self) -> Name<'a> {
        Name(self.prefix, RESETS, "", "")
    }

    /// Returns the start of the channels' names; a node's name follows.
    pub(super) fn wake(self) -> Name<'a> {
        Name(self.prefix, WAKE, "", "")
    }
}

/// The part of a channel's name between the prefix and the node.
pub(super) const WAKE: &str = ":wake:";
/// The end of the name of the channel of resets, after the prefix.
pub(super) const RESETS: &str = ":reset";

impl ToRedisArgs for Name<'_> {
    fn write_redis_args<W: ?Sized + RedisWrite>(&self, out: &mut W) {
        let mut writer = out.writer_for_next_arg();
        for part in [self.0, self.1, self.2, self.3] {
            // Writing to memory does not fail.
            let _ = writer.write_all(part.as_bytes());
        }
    }
}

/// Builds a command with a name as its argument.
pub(super) fn command(name: &str, key: Name<'_>) -> Cmd {
    let len = key.0.len() + key.1.len() + key.2.len() + key.3.len();
    let mut cmd = Cmd::with_capacity(2, name.len() + len);
    cmd.arg(name).arg(key);
    cmd
}

/// One call of a script.
pub(super) struct Call {
    script: &'static Script,
    pub(super) cmd: Cmd,
    /// The token of a request for a lock or permit, whose release must know if it was sent twice.
    pub(super) asks_for: Option<Token>,
}

impl Call {
    pub(super) fn new(script: &'static Script, names: &[Name<'_>]) -> Self {
        let mut cmd = Cmd::with_capacity(names.len() + 12, 512);
        cmd.arg("EVALSHA")
            .arg(script.hash.get_hash())
            .arg(names.len());
        for name in names {
            cmd.arg(name);
        }
        Self {
            script,
            cmd,
            asks_for: None,
        }
    }

    /// Returns the same call with the source of the script, which the server then remembers.
    pub(super) fn with_source(&self) -> Cmd {
        let mut cmd = Cmd::new();
        cmd.arg("EVAL").arg(self.script.source);
        for arg in self.cmd.args_iter().skip(2) {
            if let Arg::Simple(arg) = arg {
                cmd.arg(arg);
            }
        }
        cmd
    }

    pub(super) fn arg(mut self, arg: impl ToRedisArgs) -> Self {
        self.cmd.arg(arg);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_probe_tries_every_command_there_is() {
        let calls = ALL
            .iter()
            .flat_map(|script| script.source.split("call(").skip(1));
        for command in
            calls.filter_map(|call| call.trim_start().strip_prefix('\'')?.split('\'').next())
        {
            let tried = PROBE.source.contains(&format!("{{'{command}'"));
            assert!(tried, "{command} is not tried");
            let right = format!("+{}", command.to_lowercase());
            let mut rights = super::super::rights::COMMANDS.split_whitespace();
            assert!(rights.any(|have| have == right), "{right} is not advised");
        }
    }
}

//! The command line of every sample app.

use std::net::SocketAddr;
use std::time::Duration;

use clap::Args;

use crate::Store;

/// Where to listen, where to cache, where users are kept. Each flag reads the environment too.
#[derive(Clone, Args)]
pub struct Flags {
    /// Address to listen on; port 0 takes a free one
    #[arg(long, env = "LISTEN", default_value = "127.0.0.1:8000")]
    pub listen: SocketAddr,

    /// Where entries and locks live: `memory://`, `redis://HOST:PORT`, `unix://PATH`
    #[arg(
        long,
        env = "CACHIFY_URL",
        default_value = "memory://",
        value_name = "URL",
        hide_env_values = true
    )]
    pub cache: String,

    /// Start of all names in Redis, so that apps can share a server; the database's own name follows
    #[arg(long, env = "CACHIFY_PREFIX", default_value = "users")]
    pub prefix: String,

    /// Database, created and migrated if needed, such as `sqlite://users.db`; without it, a temporary one
    #[arg(long, env = "DATABASE_URL", value_name = "URL", hide_env_values = true)]
    pub database: Option<String>,

    /// Simulated latency, after the database was read and before the answer or the write
    #[arg(long, env = "DELAY", default_value = "0ms", value_parser = humantime::parse_duration)]
    pub delay: Duration,

    /// How long an update waits for another one of the same user; 0: it is told at once that there is one (226)
    #[arg(long, env = "LOCK_WAIT", default_value = "0ms", value_parser = humantime::parse_duration)]
    pub lock_wait: Duration,

    /// How long requests in flight may still take after the app was asked to end
    #[arg(long, env = "GRACE", default_value = "10s", value_parser = humantime::parse_duration)]
    pub grace: Duration,
}

impl Flags {
    /// The prefix of this database's entries. A Redis can outlive a database: another database with
    /// the same ids must not be answered from what the first one left behind.
    pub fn prefix_for(&self, store: &Store) -> String {
        format!("{}.{}", self.prefix, store.name())
    }
}

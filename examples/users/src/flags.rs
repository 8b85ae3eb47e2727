//! The command line of every sample app.

use std::net::SocketAddr;
use std::time::Duration;

use clap::Args;

use crate::Store;

/// Settings of the server, the cache and the database. Each flag has an environment variable.
#[derive(Clone, Args)]
pub struct Flags {
    /// Address to listen on; port 0 picks a free one
    #[arg(long, env = "LISTEN", default_value = "127.0.0.1:8000")]
    pub listen: SocketAddr,

    /// Backend of entries and locks: `memory://`, `redis://HOST:PORT`, `unix://PATH`
    #[arg(
        long,
        env = "CACHIFY_URL",
        default_value = "memory://",
        value_name = "URL",
        hide_env_values = true
    )]
    pub cache: String,

    /// Prefix of all names in Redis, so that apps can share a server; the database's own name is
    /// appended
    #[arg(long, env = "CACHIFY_PREFIX", default_value = "users")]
    pub prefix: String,

    /// Database, created and migrated if needed, such as `sqlite://users.db`; a temporary one by
    /// default
    #[arg(long, env = "DATABASE_URL", value_name = "URL", hide_env_values = true)]
    pub database: Option<String>,

    /// Simulated latency between reading the database and answering or writing
    #[arg(long, env = "DELAY", default_value = "0ms", value_parser = humantime::parse_duration)]
    pub delay: Duration,

    /// Longest wait for another update of the same user; with 0, the second update is answered at
    /// once (226)
    #[arg(long, env = "LOCK_WAIT", default_value = "0ms", value_parser = humantime::parse_duration)]
    pub lock_wait: Duration,

    /// Longest time for requests in flight after the app was asked to end
    #[arg(long, env = "GRACE", default_value = "10s", value_parser = humantime::parse_duration)]
    pub grace: Duration,
}

impl Flags {
    /// Returns the prefix of this database's entries. A Redis can outlive a database, and another
    /// database with the same ids must not get the first one's entries.
    pub fn prefix_for(&self, store: &Store) -> String {
        format!("{}.{}", self.prefix, store.name())
    }
}

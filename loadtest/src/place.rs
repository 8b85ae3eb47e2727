//! Where the apps cache, and the Redis that is started for it.

use anyhow::{Result, bail};
use redis_fixture::Server;

use crate::flags::Cache;

/// A cache that is there: a server of ours ends when this is dropped, or when this process ends.
pub(crate) struct Place {
    pub(crate) cache: Cache,
    pub(crate) url: String,
    _server: Option<Server>,
}

impl Place {
    /// Starts a server if it takes one.
    pub(crate) async fn open(cache: Cache) -> Result<Self> {
        let (url, server) = match &cache {
            Cache::Memory => ("memory://".to_owned(), None),
            Cache::Url(url) => (url.clone(), None),
            Cache::Redis if !can_start_redis() => bail!(
                "there is no Redis to start: install redis-server or valkey-server, name one in CACHIFY_REDIS_SERVER, \
                 or name one that runs by `--cache redis://HOST:PORT`"
            ),
            Cache::Redis => {
                let server = tokio::task::spawn_blocking(Server::start).await?;
                (server.url(), Some(server))
            }
        };
        Ok(Self {
            cache,
            url,
            _server: server,
        })
    }
}

/// Whether there is a server program on this machine.
pub(crate) fn can_start_redis() -> bool {
    std::env::var_os("CACHIFY_REDIS_SERVER").is_some()
        || std::env::var_os("PATH").is_some_and(|path| {
            std::env::split_paths(&path).any(|directory| {
                ["redis-server", "valkey-server"]
                    .iter()
                    .any(|name| directory.join(name).is_file())
            })
        })
}

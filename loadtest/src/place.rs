//! The cache of the apps, and the Redis that is started for it.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use redis_fixture::Server;

use crate::app::Cache;

const TIERED: &str = "tiered+";
/// The default of `CachifyBuilder::tier_staleness`.
const STALENESS: Duration = Duration::from_secs(1);

/// A cache that is there: a server of ours ends when this is dropped, or when this process ends.
pub(crate) struct CacheServer {
    pub(crate) cache: Cache,
    pub(crate) url: String,
    server: Option<Arc<Server>>,
}

impl CacheServer {
    /// Starts a server if it takes one.
    pub(crate) async fn open(cache: Cache) -> Result<Self> {
        let (url, server) = match &cache {
            Cache::Memory => ("memory://".to_owned(), None),
            Cache::Url(url) => (url.clone(), None),
            Cache::Redis | Cache::Tiered if redis_fixture::program().is_none() => bail!(
                "there is no Redis to start: install redis-server or valkey-server, name one in \
                 CACHIFY_REDIS_SERVER, or name one that runs by `--cache redis://HOST:PORT`"
            ),
            Cache::Redis | Cache::Tiered => {
                let server = tokio::task::spawn_blocking(Server::start).await?;
                (server.url(), Some(Arc::new(server)))
            }
        };
        let place = Self { cache, url, server };
        Ok(if place.cache == Cache::Tiered {
            place.tiered()
        } else {
            place
        })
    }

    /// Returns the same server, with memory in front of it.
    pub(crate) fn tiered(&self) -> Self {
        Self {
            cache: Cache::Tiered,
            url: format!("{TIERED}{}", self.plain().url),
            server: self.server.clone(),
        }
    }

    /// Returns the same server, without memory in front of it.
    pub(crate) fn plain(&self) -> Self {
        Self {
            cache: Cache::Redis,
            url: self.url.trim_start_matches(TIERED).to_owned(),
            server: self.server.clone(),
        }
    }

    /// Returns for how long after an update a process may answer what was there before.
    pub(crate) fn staleness(&self) -> Duration {
        let tiered = self.url.starts_with(TIERED);
        if tiered { STALENESS } else { Duration::ZERO }
    }

    /// Ends the server at once, with all it holds.
    pub(crate) async fn kill(&self) -> Result<()> {
        self.with(Server::kill).await
    }

    /// Starts it again, empty.
    pub(crate) async fn restart(&self) -> Result<()> {
        self.with(Server::restart).await
    }

    /// Returns its version, if it is ours.
    pub(crate) async fn version(&self) -> Option<String> {
        let server = Arc::clone(self.server.as_ref()?);
        let info = tokio::task::spawn_blocking(move || server.command(&["INFO", "server"]).text());
        let info = info.await.ok()?;
        ["valkey_version:", "redis_version:"]
            .iter()
            .find_map(|name| info.lines().find_map(|line| line.strip_prefix(name)))
            .map(str::to_owned)
    }

    async fn with(&self, work: impl FnOnce(&Server) + Send + 'static) -> Result<()> {
        let server = self.server.as_ref().map(Arc::clone);
        let server = server.context("only a server that was started here can be ended")?;
        tokio::task::spawn_blocking(move || work(&server)).await?;
        Ok(())
    }
}

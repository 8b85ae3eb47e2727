//! Routes that only the load test has: work under a lock, or in a pool, that reports its begin and
//! end; and entries that may be stale, of a database that can be made slow or broken.

use std::time::Duration;

use anyhow::Result;
use axum::extract::Path;
use axum::handler::Handler;
use axum::http::StatusCode;
use axum::routing::{MethodRouter, get, put};
use axum::{Json, Router};
use cachify_axum::{Cachify, LockLayer, PoolLayer, key};
use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::listen::listen;
use crate::sabotage::Sabotage;

pub(crate) const PLACES: u32 = 4;
/// Longer than any queue: nobody gives up.
const TIMEOUT: Duration = Duration::from_mins(1);

/// From when to when somebody was inside, by the [clock](now_us) of this machine.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Inside {
    pub(crate) from_us: u64,
    pub(crate) to_us: u64,
}

/// Microseconds since some moment, the same in all processes of this machine.
pub(crate) fn now_us() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    let micros = now.tv_sec * 1_000_000 + now.tv_nsec / 1_000;
    micros.try_into().unwrap_or_default()
}

/// The time for which an entry of the lab is fresh.
pub(crate) const FRESH: Duration = Duration::from_millis(100);
/// The time for which it may be stale after that, which is longer than any run.
const STALE: Duration = Duration::from_mins(10);
/// The time that the slow database takes.
const SLOW: Duration = Duration::from_secs(1);

/// The condition of the lab's database.
#[derive(Debug, Default, Clone, Copy, Serialize, Deserialize)]
pub(crate) enum Database {
    #[default]
    Well,
    Slow,
    Failing,
}

impl Database {
    /// Returns when this was read.
    async fn read(self) -> Result<u64, StatusCode> {
        match self {
            Self::Well => Ok(now_us()),
            Self::Slow => {
                tokio::time::sleep(SLOW).await;
                Ok(now_us())
            }
            Self::Failing => Err(StatusCode::BAD_GATEWAY),
        }
    }
}

/// Returns a route to entries that may be stale, and another to their database.
fn aged(cachify: Cachify, sabotage: Option<Sabotage>) -> (MethodRouter, MethodRouter) {
    let (told, database) = watch::channel(Database::default());
    let entry = async move |Path(key): Path<u32>| {
        let key = key!("aged-{key}");
        let mut cached = cachify.cached(&key).ttl(FRESH);
        if sabotage != Some(Sabotage::Stale) {
            cached = cached.stale(STALE);
        }
        let database = *database.borrow();
        cached
            .get_or_try_spawn(move || database.read())
            .await
            .map(Json)
    };
    let tell = async move |Json(database): Json<Database>| {
        told.send_replace(database);
    };
    (get(entry), put(tell))
}

pub(crate) async fn serve(
    flags: &users::Flags,
    sabotage: Option<Sabotage>,
    end: impl Future<Output = ()> + Send + 'static,
) -> Result<()> {
    let cachify = Cachify::builder().url(&flags.cache).prefix(&flags.prefix);
    let cachify = cachify.connect().await?;
    let delay = flags.delay;
    let work = move || async move {
        let from_us = now_us();
        tokio::time::sleep(delay).await;
        let to_us = now_us();
        Json(Inside { from_us, to_us })
    };
    let lock = LockLayer::new(&cachify, "lab-{key}").wait(TIMEOUT);
    let pool = PoolLayer::new(&cachify, "lab-{key}", PLACES).wait(TIMEOUT);
    let (mut locked, mut pooled) = (get(work.layer(lock)), get(work.layer(pool)));
    match sabotage {
        Some(Sabotage::Lock) => locked = get(work),
        Some(Sabotage::Pool) => pooled = get(work),
        _ => {}
    }
    let (aged, database) = aged(cachify.clone(), sabotage);
    let app = Router::new()
        .route("/locked/{key}", locked)
        .route("/pooled/{key}", pooled)
        .route("/aged/{key}", aged)
        .route("/database", database);
    listen(flags, app, end).await?;
    cachify.close(Duration::from_secs(5)).await?;
    Ok(())
}

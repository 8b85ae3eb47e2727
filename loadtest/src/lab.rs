//! Routes that only the load test has: work under a lock, or in a pool, that reports its begin and
//! end. The routes of the sample apps do not.

use std::time::Duration;

use anyhow::Result;
use axum::handler::Handler;
use axum::routing::get;
use axum::{Json, Router};
use cachify_axum::{Cachify, LockLayer, PoolLayer};
use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

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
    let app = Router::new()
        .route("/locked/{key}", locked)
        .route("/pooled/{key}", pooled);
    listen(flags, app, end).await?;
    cachify.close(Duration::from_secs(5)).await?;
    Ok(())
}

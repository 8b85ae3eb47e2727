//! Breaks a promise on purpose, to see that the load test notices: for its own tests, by the environment variable `LOADTEST_SABOTAGE` of a child.
//!
//! The apps are as they always are. There are several of them in one process, each with a cache and locks of its own, and the request decides which one it meets.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Result, anyhow};
use axum::Router;
use axum::extract::Request;
use axum::http::Method;
use cachify_axum::Cachify;
use tower::ServiceExt;
use users::{Store, Updates};

use crate::serve::listen;

/// What is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sabotage {
    /// A reset does nothing: reads and updates meet different apps.
    Reset,
    /// A lock is always free: each update meets another app.
    Lock,
    /// No single flight: each read meets another app.
    Flight,
    /// A pool has always a place: the lab does without it.
    Pool,
    /// The parent panics once its apps run.
    Panic,
    /// Poem does not start.
    Start,
}

const VARIABLE: &str = "LOADTEST_SABOTAGE";
const APPS: usize = 16;

impl Sabotage {
    pub(crate) fn asked_for() -> Result<Option<Self>> {
        let Some(what) = std::env::var_os(VARIABLE) else {
            return Ok(None);
        };
        Ok(Some(match what.to_str() {
            Some("reset") => Self::Reset,
            Some("lock") => Self::Lock,
            Some("flight") => Self::Flight,
            Some("pool") => Self::Pool,
            Some("panic") => Self::Panic,
            Some("start") => Self::Start,
            _ => {
                return Err(anyhow!(
                    "{VARIABLE} is none of reset, lock, flight, pool, panic, start"
                ));
            }
        }))
    }

    /// Which app a request meets that is the `turn`th of all.
    fn app(self, method: &Method, turn: usize) -> usize {
        match self {
            Self::Reset => usize::from(method != Method::GET),
            Self::Lock if method == Method::PUT => turn % APPS,
            Self::Flight if method == Method::GET => turn % APPS,
            _ => 0,
        }
    }
}

pub(crate) async fn serve(
    sabotage: Sabotage,
    flags: &users::Flags,
    end: impl Future<Output = ()> + Send + 'static,
) -> Result<()> {
    users::render_metrics();
    let store = Store::open(flags.database.as_deref(), flags.delay).await?;
    let mut apps = Vec::new();
    for number in 0..APPS {
        let prefix = format!("{}-{number}", flags.prefix);
        let cachify = Cachify::builder().url(&flags.cache).prefix(prefix);
        let cachify = cachify.connect().await?;
        let updates = Updates::default();
        apps.push(users_axum::app(&cachify, &store, &updates, flags.lock_wait));
    }
    let (apps, turn) = (Arc::<[Router]>::from(apps), Arc::<AtomicUsize>::default());
    let app = Router::new().fallback(move |request: Request| {
        let turn = turn.fetch_add(1, Ordering::Relaxed);
        let app = apps[sabotage.app(request.method(), turn)].clone();
        app.oneshot(request)
    });
    listen(flags, app, end).await
}

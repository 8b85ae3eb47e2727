//! Breaks a promise on purpose, to see that the load test notices: for its own tests, by the
//! environment variable `LOADTEST_SABOTAGE` of a child.
//!
//! The apps are as they always are. There are several of them in one process, each with a cache and
//! locks of its own, and the request decides which one it meets.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Result, anyhow};
use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
use cachify_axum::Cachify;
use clap::ValueEnum;
use sqlx::{Connection, Executor, SqliteConnection};
use tower::ServiceExt;
use users::{NewUser, Store, Updates};

use crate::listen::listen;

/// The promise that is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Sabotage {
    /// A reset does nothing: reads and updates meet different apps.
    Reset,
    /// A lock is always free: each update meets another app.
    Lock,
    /// No single flight: each read meets another app.
    Flight,
    /// An update is answered although its commit failed: the database commits those of odd users
    /// alone.
    Commit,
    /// A pool has always a place: the lab does without it.
    Pool,
    /// An entry is never stale, but gone: the lab computes it anew.
    Stale,
    /// A process never hears of resets in another one: each has entries of its own.
    Tier,
    /// The parent panics once its apps run.
    Panic,
    /// Poem does not start.
    Start,
}

const VARIABLE: &str = "LOADTEST_SABOTAGE";
const APPS: usize = 16;

impl Sabotage {
    pub(crate) fn asked_for() -> Result<Option<Self>> {
        let named = std::env::var(VARIABLE).ok();
        let known = |name: String| Self::from_str(&name, false);
        named
            .map(known)
            .transpose()
            .map_err(|error| anyhow!("{VARIABLE}: {error}"))
    }

    /// Chooses the app that the `turn`th request of all meets.
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
    if sabotage == Sabotage::Commit {
        break_commits(flags.database.as_deref().unwrap_or_default()).await?;
    }
    let mut apps = Vec::new();
    for number in 0..APPS {
        let mut prefix = format!("{}-{number}", flags.prefix);
        if sabotage == Sabotage::Tier {
            prefix = format!("{prefix}-{}", std::process::id());
        }
        let cachify = Cachify::builder().url(&flags.cache).prefix(prefix);
        let cachify = cachify.connect().await?;
        let updates = Updates::default();
        apps.push(users_axum::app(&cachify, &store, &updates, flags.lock_wait));
    }
    let (apps, turn) = (Arc::<[Router]>::from(apps), Arc::<AtomicUsize>::default());
    let app = Router::new().fallback(move |request: Request| {
        let turn = turn.fetch_add(1, Ordering::Relaxed);
        let app = apps[sabotage.app(request.method(), turn)].clone();
        async move {
            if sabotage == Sabotage::Commit && request.method() == Method::PUT {
                return pretend(app, request).await;
            }
            app.oneshot(request).await.into_response()
        }
    });
    listen(flags, app, end).await
}

/// Leaves a broken reference behind each update of an even user, which only the commit looks at.
async fn break_commits(database: &str) -> Result<()> {
    let sql = "CREATE TABLE absent (id INTEGER PRIMARY KEY);
        CREATE TABLE broken (id REFERENCES absent DEFERRABLE INITIALLY DEFERRED);
        CREATE TRIGGER commits AFTER UPDATE ON users WHEN NEW.id % 2 = 0
            BEGIN INSERT INTO broken VALUES (1); END;";
    let mut database = SqliteConnection::connect(database).await?;
    database.execute(sqlx::raw_sql(sql)).await?;
    Ok(())
}

/// Answers an update as if it had been committed.
async fn pretend(app: Router, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = to_bytes(body, usize::MAX).await.unwrap_or_default();
    let id = parts.uri.path().rsplit('/').next().map(str::parse::<i64>);
    let request = Request::from_parts(parts, Body::from(body.clone()));
    let answer = app.oneshot(request).await.into_response();
    let new = serde_json::from_slice::<NewUser>(&body);
    match (answer.status(), id, new) {
        (StatusCode::INTERNAL_SERVER_ERROR, Some(Ok(id)), Ok(new)) => {
            Json(new.with_id(id)).into_response()
        }
        _ => answer,
    }
}

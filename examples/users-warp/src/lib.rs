//! The users API on warp.

mod answer;
mod docs;

use std::time::Duration;

use cachify_warp::{
    CacheOptions, Cachify, ErrorKind, FilterExt, Guard, LockOptions, get_or_head, key,
};
use serde_json::json;
use users::{
    BodyProblems, Ending, Flags, LockProblems, NewUser, PathProblems, Problem, Store, Updates, User,
};
use utoipa::OpenApi;
use warp::Filter;
use warp::filters::BoxedFilter;
use warp::http::StatusCode;
use warp::reply::{self, Json, Reply, WithStatus};

use answer::Failure;

/// Any error.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

#[derive(Clone)]
struct App {
    cachify: Cachify,
    store: Store,
    updates: Updates,
}

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Users",
        description = "The users API on warp, cached and locked by cachify."
    ),
    paths(create_user, read_user, update_user)
)]
struct Api;

/// Returns the routes. An update waits up to `lock_wait` for another update of the same user, and
/// is then answered 226.
pub fn app(
    cachify: &Cachify,
    store: &Store,
    updates: &Updates,
    lock_wait: Duration,
) -> BoxedFilter<(impl Reply + use<>,)> {
    let app = App {
        cachify: cachify.clone(),
        store: store.clone(),
        updates: updates.clone(),
    };
    let app = warp::any().map(move || app.clone());
    let cached = CacheOptions::new(cachify).ttl(Duration::from_mins(5));
    let locked = LockOptions::new(cachify).wait(lock_wait).on_locked(|| {
        let status = json!({"status": "Update in progress"});
        reply::with_status(reply::json(&status), StatusCode::IM_USED)
    });

    let create = warp::path!("users")
        .and(warp::post())
        .and(answer::body())
        .and(app.clone())
        .then(create_user);
    let read = answer::user_path()
        .and(get_or_head())
        .and(app.clone())
        .cached(
            cached,
            |(user_id, _)| key!("read_user-{user_id}"),
            read_user,
        );
    let update = answer::user_path()
        .and(warp::put())
        .and(answer::body())
        .and(app.clone())
        .locked(locked, |(user_id, ..)| key!("update-user-{user_id}"))
        .then(update_user);
    let metrics = warp::path!("metrics").and(get_or_head()).then(metrics);
    let health = warp::path!("healthz")
        .and(get_or_head())
        .and(app)
        .then(health);

    create
        .or(read)
        .or(update)
        .or(metrics)
        .or(health)
        .or(docs::routes(Api::openapi()))
        .or(answer::other_methods())
        .recover(answer::recover)
        .boxed()
}

/// Runs the app until it is asked to end and the requests in flight have been answered.
///
/// Reads fail open, so the app also starts while Redis is away.
///
/// # Errors
///
/// Returns an error if the cache is unfit for use, the database cannot be opened, or the address is
/// taken.
pub async fn serve(flags: Flags, end: Ending) -> Result<(), BoxError> {
    users::render_metrics();
    let store = Store::open(flags.database.as_deref(), flags.delay).await?;
    let cachify = Cachify::builder()
        .url(&flags.cache)
        .prefix(flags.prefix_for(&store))
        .connect_lazy()?;
    match cachify.check().await {
        Err(error) if error.kind() == ErrorKind::Configuration => return Err(error.into()),
        Err(error) => tracing::warn!(%error, "starting without the cache"),
        Ok(()) => {}
    }
    let listener = users::listen(flags.listen).await?;
    users::announce(listener.local_addr()?)?;
    let updates = Updates::default();
    let server = warp::serve(app(&cachify, &store, &updates, flags.lock_wait))
        .incoming(listener)
        .graceful(end.asked())
        .run();
    let served = end.drain(flags.grace, async {
        server.await;
        updates.end().await;
    });
    served.await;
    // Even if the server failed, send the releases and resets that are still pending.
    let closed = cachify.close(Duration::from_secs(5)).await;
    store.close().await;
    Ok(closed?)
}

/// Creates a user.
#[utoipa::path(post, path = "/users/", tag = "users", request_body = NewUser, responses(
    (status = 201, description = "The user, under its new id", body = User),
    BodyProblems,
))]
async fn create_user(new: NewUser, app: App) -> Result<WithStatus<Json>, Failure> {
    let user = reply::json(&app.store.create(&new).await?);
    Ok(reply::with_status(user, StatusCode::CREATED))
}

/// Reads a user.
#[utoipa::path(
    get,
    path = "/users/{user_id}",
    tag = "users",
    params(("user_id" = i64, Path)),
    responses(
        (status = 200, description = "The user", body = User),
        PathProblems,
    )
)]
async fn read_user(user_id: i64, app: App) -> Result<Json, Failure> {
    let user = app.store.find(user_id).await?;
    Ok(reply::json(&user.ok_or_else(|| Problem::no_user(user_id))?))
}

/// Updates a user.
#[utoipa::path(
    put,
    path = "/users/{user_id}",
    tag = "users",
    params(("user_id" = i64, Path)),
    request_body = NewUser,
    responses(
        (status = 200, description = "The user as it is now", body = User),
        (
            status = 226,
            description = "Another update of this user is in progress",
            body = serde_json::Value,
        ),
        PathProblems,
        BodyProblems,
        LockProblems,
    )
)]
async fn update_user(user_id: i64, new: NewUser, app: App, guard: Guard) -> Result<Json, Failure> {
    let updates = app.updates.clone();
    // The task owns the guard.
    let update = updates.run(async move {
        let update = app.store.update(user_id, &new);
        // Resets no matter how the update ends, even by a panic.
        let key = key!("read_user-{user_id}");
        let user = guard.run(app.cachify.update(&key, update)).await;
        guard.finish().await;
        user
    });
    // The task, the lock and the database can fail.
    let user = update.await???;
    Ok(reply::json(&user.ok_or_else(|| Problem::no_user(user_id))?))
}

async fn metrics() -> impl Reply {
    let content_type = "text/plain; version=0.0.4";
    reply::with_header(users::render_metrics(), "content-type", content_type)
}

/// Checks the database. Reads fail open: without its cache, the app is slow but healthy.
async fn health(app: App) -> Result<String, Failure> {
    app.store.check().await?;
    Ok(match app.cachify.check().await {
        Ok(()) => "ok".to_owned(),
        Err(error) => format!("ok, without the cache: {error}"),
    })
}

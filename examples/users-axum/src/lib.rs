//! The users API on axum.

mod answer;
mod docs;

use std::time::Duration;

use axum::extract::{FromRef, Request, State};
use axum::handler::Handler;
use axum::http::{HeaderName, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use axum::routing::{get, post, put};
use axum::{Json, Router};
use cachify_axum::{BodyLayer, CacheLayer, Cachify, ErrorKind, LockLayer, OnceLayer, key};
use serde_json::json;
use users::{
    BodyProblems, Ending, Flags, LockProblems, NewUser, PathProblems, Problem, Store, Updates,
    User, UserId,
};
use utoipa::OpenApi;

use answer::{Body, Failure, Param};

/// Any error.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

#[derive(Clone, FromRef)]
struct App {
    cachify: Cachify,
    store: Store,
}

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Users",
        description = "The users API on axum, cached and locked by cachify."
    ),
    paths(create_user, read_user, update_user)
)]
struct Api;

/// Returns the routes. An update waits up to `lock_wait` for another update of the same user, and
/// is then answered 226.
pub fn app(cachify: &Cachify, store: &Store, updates: &Updates, lock_wait: Duration) -> Router {
    let cached = CacheLayer::new(cachify, "read_user-{user_id}").ttl(Duration::from_mins(5));
    let in_progress = || {
        let status = json!({"status": "Update in progress"});
        (StatusCode::IM_USED, Json(status))
    };
    let update = if lock_wait.is_zero() {
        let once = OnceLayer::new(cachify, "update-user-{user_id}").on_locked(in_progress);
        put(update_user.layer(once))
    } else {
        let lock = LockLayer::new(cachify, "update-user-{user_id}").on_locked(in_progress);
        put(update_user.layer(lock.wait(lock_wait)))
    };
    // The first layer is the outermost.
    let update = update.layer((
        BodyLayer::new(),
        from_fn_with_state(updates.clone(), to_the_end),
    ));
    let read = get(read_user.layer(cached));
    Router::new()
        .route("/users/", post(create_user).layer(BodyLayer::new()))
        .route("/users/{user_id}", read.merge(update))
        .route("/metrics", get(metrics))
        .route("/healthz", get(health))
        .merge(docs::routes(Api::openapi()))
        .fallback(async || Failure::from(StatusCode::NOT_FOUND))
        .method_not_allowed_fallback(async || Failure::from(StatusCode::METHOD_NOT_ALLOWED))
        .with_state(App {
            cachify: cachify.clone(),
            store: store.clone(),
        })
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
    let server = axum::serve(listener, app(&cachify, &store, &updates, flags.lock_wait))
        .with_graceful_shutdown(end.asked())
        .into_future();
    let served = end.drain(flags.grace, async {
        let served = server.await;
        updates.end().await;
        served
    });
    let served = served.await;
    // Even if the server failed, send the releases and resets that are still pending.
    let closed = cachify.close(Duration::from_secs(5)).await;
    store.close().await;
    served.transpose()?;
    Ok(closed?)
}

/// Creates a user.
#[utoipa::path(post, path = "/users/", tag = "users", request_body = NewUser, responses(
    (status = 201, description = "The user, under its new id", body = User),
    BodyProblems,
))]
async fn create_user(
    State(store): State<Store>,
    Body(new): Body<NewUser>,
) -> Result<(StatusCode, Json<User>), Failure> {
    Ok((StatusCode::CREATED, Json(store.create(&new).await?)))
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
async fn read_user(
    State(store): State<Store>,
    Param(UserId(user_id)): Param<UserId>,
) -> Result<Json<User>, Failure> {
    let user = store.find(user_id).await?;
    Ok(Json(user.ok_or_else(|| Problem::no_user(user_id))?))
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
async fn update_user(
    State(cachify): State<Cachify>,
    State(store): State<Store>,
    Param(UserId(user_id)): Param<UserId>,
    Body(new): Body<NewUser>,
) -> Result<Json<User>, Failure> {
    // Resets no matter how the update ends, even by a panic.
    let user = cachify
        .update(&key!("read_user-{user_id}"), store.update(user_id, &new))
        .await?;
    Ok(Json(user.ok_or_else(|| Problem::no_user(user_id))?))
}

async fn to_the_end(
    State(updates): State<Updates>,
    request: Request,
    next: Next,
) -> Result<Response, Failure> {
    let update = updates.run(next.run(request));
    update
        .await
        .map_err(|_| StatusCode::INTERNAL_SERVER_ERROR.into())
}

async fn metrics() -> ([(HeaderName, &'static str); 1], String) {
    let content_type = (header::CONTENT_TYPE, "text/plain; version=0.0.4");
    ([content_type], users::render_metrics())
}

/// Checks the database. Reads fail open: without its cache, the app is slow but healthy.
async fn health(State(app): State<App>) -> Result<String, Failure> {
    app.store.check().await?;
    Ok(match app.cachify.check().await {
        Ok(()) => "ok".to_owned(),
        Err(error) => format!("ok, without the cache: {error}"),
    })
}

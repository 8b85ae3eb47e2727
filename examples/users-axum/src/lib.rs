//! The users API on axum.

mod answer;
mod docs;

use std::time::Duration;

use axum::extract::{FromRef, State};
use axum::http::{HeaderName, StatusCode, header};
use axum::routing::{get, post};
use axum::{Json, Router};
use tokio::net::TcpListener;
use users::{Flags, NewUser, Problem, Store, User};

use answer::{Body, Failure, Param};

/// Any error.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

#[derive(Clone, FromRef)]
struct App {
    store: Store,
}

/// The routes.
pub fn app(store: &Store, lock_wait: Duration) -> Router {
    let _ = lock_wait;
    Router::new()
        .route("/users/", post(create_user))
        .route("/users/{user_id}", get(read_user).put(update_user))
        .route("/metrics", get(metrics))
        .route("/healthz", get(health))
        .merge(docs::routes())
        .fallback(async || Failure::from(StatusCode::NOT_FOUND))
        .method_not_allowed_fallback(async || Failure::from(StatusCode::METHOD_NOT_ALLOWED))
        .with_state(App {
            store: store.clone(),
        })
}

/// Runs the app until `end` resolves and the requests in flight are answered.
///
/// # Errors
///
/// If the database cannot be opened, or the address is taken.
pub async fn serve(
    flags: Flags,
    end: impl Future<Output = ()> + Send + 'static,
) -> Result<(), BoxError> {
    users::render_metrics();
    let store = Store::open(flags.database.as_deref(), flags.delay).await?;
    let listener = TcpListener::bind(flags.listen).await?;
    users::announce(listener.local_addr()?)?;
    axum::serve(listener, app(&store, flags.lock_wait))
        .with_graceful_shutdown(end)
        .await?;
    store.close().await;
    Ok(())
}

/// Creates a user.
#[utoipa::path(post, path = "/users/", tag = "users", request_body = NewUser, responses(
    (status = 201, description = "The user, under its new id", body = User),
    (status = "4XX", description = "Not a valid user", body = Problem, content_type = Problem::CONTENT_TYPE),
))]
async fn create_user(
    State(store): State<Store>,
    Body(new): Body<NewUser>,
) -> Result<(StatusCode, Json<User>), Failure> {
    Ok((StatusCode::CREATED, Json(store.create(&new).await?)))
}

/// Reads a user.
#[utoipa::path(get, path = "/users/{user_id}", tag = "users", params(("user_id" = i64, Path)), responses(
    (status = 200, description = "The user", body = User),
    (status = 404, description = "There is no such user", body = Problem, content_type = Problem::CONTENT_TYPE),
))]
async fn read_user(
    State(store): State<Store>,
    Param(id): Param<i64>,
) -> Result<Json<User>, Failure> {
    let user = store.find(id).await?;
    Ok(Json(user.ok_or_else(|| Problem::no_user(id))?))
}

/// Updates a user.
#[utoipa::path(put, path = "/users/{user_id}", tag = "users", params(("user_id" = i64, Path)), request_body = NewUser, responses(
    (status = 200, description = "The user as it is now", body = User),
    (status = 404, description = "There is no such user", body = Problem, content_type = Problem::CONTENT_TYPE),
))]
async fn update_user(
    State(store): State<Store>,
    Param(id): Param<i64>,
    Body(new): Body<NewUser>,
) -> Result<Json<User>, Failure> {
    let user = store.update(id, &new).await?;
    Ok(Json(user.ok_or_else(|| Problem::no_user(id))?))
}

async fn metrics() -> ([(HeaderName, &'static str); 1], String) {
    let content_type = (header::CONTENT_TYPE, "text/plain; version=0.0.4");
    ([content_type], users::render_metrics())
}

async fn health(State(store): State<Store>) -> Result<&'static str, Failure> {
    store.check().await?;
    Ok("ok")
}

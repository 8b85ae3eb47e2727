//! Guards as handler arguments.

use axum::extract::{FromRef, FromRequestParts, RawPathParams};
use axum::http::request::Parts;
use cachify_core::http::read_key;
use cachify_core::{CacheKey, Cachify, Error, Guard};
use serde::de::DeserializeOwned;

use crate::problem::Problem;

/// The lock of a key that the request makes; 423 if another caller holds it, 400 if the request
/// lacks a part of the key.
///
/// The fields of `K` come from the path and the query, of which the path wins; the [`Cachify`]
/// comes from the state. The lock is held until the handler drops this, at its end, or when the
/// client goes away. It does not wait: [`LockLayer`](crate::LockLayer) can.
///
/// # Examples
///
/// ```
/// use axum::{Router, routing::put};
/// use cachify_axum::{CacheKey, Cachify, Locked};
/// use serde::Deserialize;
///
/// #[derive(Deserialize, CacheKey)]
/// #[key("update-user-{user_id}")]
/// struct UpdateUser {
///     user_id: i64,
/// }
///
/// async fn update_user(Locked { key, guard }: Locked<UpdateUser>) -> String {
///     format!("user {} with token {}", key.user_id, guard.fencing_token())
/// }
///
/// let app: Router = Router::new()
///     .route("/users/{user_id}", put(update_user))
///     .with_state(Cachify::memory());
/// ```
///
/// # Bodies
///
/// axum reads the body last, so the lock is held meanwhile. [`BodyLayer`](crate::BodyLayer) reads
/// it first: without it, a client that stalls halfway keeps the lock.
///
/// # When the lock is lost
///
/// The handler goes on, unless it asks: [`Guard::run`] stops what it is given.
/// [`LockLayer`](crate::LockLayer) stops the whole handler.
#[derive(Debug)]
pub struct Locked<K> {
    /// The key made from the request.
    pub key: K,
    /// Gives the lock back when it is dropped.
    pub guard: Guard,
}

impl<S, K> FromRequestParts<S> for Locked<K>
where
    S: Send + Sync,
    Cachify: FromRef<S>,
    K: CacheKey + DeserializeOwned + Send,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let key: K = read(parts, state).await?;
        let guard = Cachify::from_ref(state).lock(&key.key()).acquire().await?;
        Ok(Self { key, guard })
    }
}

/// The exclusive right to run the handler for a key; 409 if another caller has it.
///
/// It is the lock of that key; all else is as with [`Locked`].
///
/// # Examples
///
/// ```
/// use axum::{Router, routing::post};
/// use cachify_axum::{CacheKey, Cachify, RunOnce};
/// use serde::Deserialize;
///
/// #[derive(Deserialize, CacheKey)]
/// #[key("report-{month}")]
/// struct Report {
///     month: String,
/// }
///
/// async fn report(once: RunOnce<Report>) -> String {
///     format!("the report of {}", once.key.month)
/// }
///
/// let app: Router = Router::new()
///     .route("/reports/{month}", post(report))
///     .with_state(Cachify::memory());
/// ```
#[derive(Debug)]
pub struct RunOnce<K> {
    /// The key made from the request.
    pub key: K,
    /// Lets the next one run when it is dropped.
    pub guard: Guard,
}

impl<S, K> FromRequestParts<S> for RunOnce<K>
where
    S: Send + Sync,
    Cachify: FromRef<S>,
    K: CacheKey + DeserializeOwned + Send,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let key: K = read(parts, state).await?;
        let guard = Cachify::from_ref(state).once(&key.key()).acquire().await?;
        Ok(Self { key, guard })
    }
}

/// One of `MAX` permits of a key; 429 if all are out.
///
/// All else is as with [`Locked`].
///
/// # Examples
///
/// ```
/// use axum::{Router, routing::get};
/// use cachify_axum::{CacheKey, Cachify, Pooled};
/// use serde::Deserialize;
///
/// #[derive(Deserialize, CacheKey)]
/// #[key("vendor-{tenant}")]
/// struct Vendor {
///     tenant: String,
/// }
///
/// async fn ask_vendor(permit: Pooled<Vendor, 10>) -> String {
///     format!("one of ten for {}", permit.key.tenant)
/// }
///
/// let app: Router = Router::new()
///     .route("/vendors/{tenant}", get(ask_vendor))
///     .with_state(Cachify::memory());
/// ```
#[derive(Debug)]
pub struct Pooled<K, const MAX: u32> {
    /// The key made from the request.
    pub key: K,
    /// Goes back to the pool when it is dropped.
    pub permit: cachify_core::Permit,
}

impl<S, K, const MAX: u32> FromRequestParts<S> for Pooled<K, MAX>
where
    S: Send + Sync,
    Cachify: FromRef<S>,
    K: CacheKey + DeserializeOwned + Send,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let key: K = read(parts, state).await?;
        let pool = Cachify::from_ref(state).pool(&key.key(), MAX);
        let permit = pool.acquire().await?;
        Ok(Self { key, permit })
    }
}

/// Reads a value whose fields are path parameters, or else query parameters.
async fn read<K, S>(parts: &mut Parts, state: &S) -> Result<K, Error>
where
    K: DeserializeOwned,
    S: Send + Sync,
{
    let path = RawPathParams::from_request_parts(parts, state).await.ok();
    read_key(path.iter().flatten(), parts.uri.query())
}

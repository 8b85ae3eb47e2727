//! Guards as handler arguments.

use axum::extract::{FromRef, FromRequestParts, RawPathParams};
use axum::http::request::Parts;
use cachify_core::http::read_key;
use cachify_core::{CacheKey, Cachify, Error, Guard};
use serde::de::DeserializeOwned;

use crate::problem::Problem;

/// Acquires the lock of a key that the request makes, as a handler's argument.
///
/// If another caller holds the lock, the answer is 423. If the request lacks a part of the key, it
/// is 400.
///
/// The fields of `K` come from the path, or otherwise from the query; the [`Cachify`] comes from
/// the state. The lock is held until the argument is dropped: by the handler, at its end, or
/// because the client disconnects. An argument does not wait for the lock;
/// [`LockLayer`](crate::LockLayer) can.
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
/// axum reads the body after all other arguments, which means while the lock is held. Add a
/// [`BodyLayer`](crate::BodyLayer), which reads the body first; without it, a client that stalls
/// halfway keeps the lock.
///
/// # When the lock is lost
///
/// The handler continues, but a future that it runs by [`Guard::run`] is stopped.
/// [`LockLayer`](crate::LockLayer) stops the whole handler.
#[derive(Debug)]
pub struct Locked<K> {
    /// The key made from the request.
    pub key: K,
    /// The guard of the lock; dropping it releases the lock.
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

/// Acquires the exclusive right to run the handler for a key.
///
/// If another caller is running it, the answer is 409.
///
/// It uses the lock of the key. Everything else is as with [`Locked`].
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
    /// The guard of the run; dropping it lets the next request run.
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

/// Acquires one of `MAX` permits of a key.
///
/// If no permit is free, the answer is 429. Everything else is as with [`Locked`].
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
    /// The permit; dropping it releases the permit.
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

/// Reads a value whose fields are path parameters, or otherwise query parameters.
async fn read<K, S>(parts: &mut Parts, state: &S) -> Result<K, Error>
where
    K: DeserializeOwned,
    S: Send + Sync,
{
    let path = RawPathParams::from_request_parts(parts, state).await.ok();
    read_key(path.iter().flatten(), parts.uri.query())
}

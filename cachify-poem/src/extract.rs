//! Guards as handler arguments.

use cachify_core::http::{BodyRules, read_key};
use cachify_core::{CacheKey, Cachify, Guard};
use poem::error::GetDataError;
use poem::{FromRequest, Request, RequestBody, Result};
use serde::de::DeserializeOwned;

use crate::body::boxed;
use crate::problem::Problem;
use crate::routed::path_params;

/// Acquires the lock of a key that the request makes, as a handler's argument.
///
/// If another caller holds the lock, the answer is 423. If the request lacks a part of the key, it
/// is 400.
///
/// The fields of `K` come from the path, or otherwise from the query. The [`Cachify`] comes from
/// [`Data`](poem::web::Data), or otherwise from the [scope](crate::ScopeMiddleware) or
/// [`init`](crate::init). The lock is held until the argument is dropped: by the handler, at its
/// end, or because the client disconnects and [the server notices](crate::HangupListener). An
/// argument does not wait for the lock; [`LockMiddleware`](crate::LockMiddleware) can.
///
/// # Examples
///
/// ```
/// use cachify_poem::{CacheKey, Cachify, Locked};
/// use poem::{EndpointExt, Route, handler, put};
/// use serde::Deserialize;
///
/// #[derive(Deserialize, CacheKey)]
/// #[key("update-user-{user_id}")]
/// struct UpdateUser {
///     user_id: i64,
/// }
///
/// #[handler]
/// async fn update_user(Locked { key, guard }: Locked<UpdateUser>) -> String {
///     format!("user {} with token {}", key.user_id, guard.fencing_token())
/// }
///
/// let app = Route::new()
///     .at("/users/:user_id", put(update_user))
///     .data(Cachify::memory());
/// ```
///
/// # In poem-openapi
///
/// It can be an argument of an operation too. There, path parameters are called `param0`, `param1`
/// and so on, in their order, so a field needs that name as an alias: `#[serde(alias = "param0")]`.
///
/// # Bodies
///
/// The body of the request is read before the lock is acquired, up to 2 MiB and for up to 10 s, so
/// a stalled client does not block others. For longer uploads, use
/// [`LockMiddleware`](crate::LockMiddleware).
///
/// # When the lock is lost
///
/// The handler continues, but a future that it runs by [`Guard::run`] is stopped.
/// [`LockMiddleware`](crate::LockMiddleware) stops the whole handler.
#[derive(Debug)]
pub struct Locked<K> {
    /// The key made from the request.
    pub key: K,
    /// The guard of the lock; dropping it releases the lock.
    pub guard: Guard,
}

impl<'a, K: CacheKey + DeserializeOwned + Send> FromRequest<'a> for Locked<K> {
    async fn from_request(request: &'a Request, body: &mut RequestBody) -> Result<Self> {
        let (cachify, key) = read::<K>(request, body).await?;
        let guard = cachify.lock(&key.key()).acquire().await.map_err(Problem)?;
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
/// use cachify_poem::{CacheKey, Cachify, RunOnce};
/// use poem::{EndpointExt, Route, handler, post};
/// use serde::Deserialize;
///
/// #[derive(Deserialize, CacheKey)]
/// #[key("report-{month}")]
/// struct Report {
///     month: String,
/// }
///
/// #[handler]
/// async fn report(once: RunOnce<Report>) -> String {
///     format!("the report of {}", once.key.month)
/// }
///
/// let app = Route::new()
///     .at("/reports/:month", post(report))
///     .data(Cachify::memory());
/// ```
#[derive(Debug)]
pub struct RunOnce<K> {
    /// The key made from the request.
    pub key: K,
    /// The guard of the run; dropping it lets the next request run.
    pub guard: Guard,
}

impl<'a, K: CacheKey + DeserializeOwned + Send> FromRequest<'a> for RunOnce<K> {
    async fn from_request(request: &'a Request, body: &mut RequestBody) -> Result<Self> {
        let (cachify, key) = read::<K>(request, body).await?;
        let guard = cachify.once(&key.key()).acquire().await.map_err(Problem)?;
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
/// use cachify_poem::{CacheKey, Cachify, Pooled};
/// use poem::{EndpointExt, Route, get, handler};
/// use serde::Deserialize;
///
/// #[derive(Deserialize, CacheKey)]
/// #[key("vendor-{tenant}")]
/// struct Vendor {
///     tenant: String,
/// }
///
/// #[handler]
/// async fn ask_vendor(permit: Pooled<Vendor, 10>) -> String {
///     format!("one of ten for {}", permit.key.tenant)
/// }
///
/// let app = Route::new()
///     .at("/vendors/:tenant", get(ask_vendor))
///     .data(Cachify::memory());
/// ```
#[derive(Debug)]
pub struct Pooled<K, const MAX: u32> {
    /// The key made from the request.
    pub key: K,
    /// The permit; dropping it releases the permit.
    pub permit: cachify_core::Permit,
}

impl<'a, K: CacheKey + DeserializeOwned + Send, const MAX: u32> FromRequest<'a> for Pooled<K, MAX> {
    async fn from_request(request: &'a Request, body: &mut RequestBody) -> Result<Self> {
        let (cachify, key) = read::<K>(request, body).await?;
        let pool = cachify.pool(&key.key(), MAX);
        let permit = pool.acquire().await.map_err(Problem)?;
        Ok(Self { key, permit })
    }
}

/// Returns the handle, and a value whose fields are path parameters, or otherwise query parameters.
///
/// It also reads the body into memory, unless another argument took it.
async fn read<K: DeserializeOwned>(
    request: &Request,
    body: &mut RequestBody,
) -> Result<(Cachify, K)> {
    let cachify = request.data().cloned().or_else(Cachify::current);
    let cachify = cachify.ok_or_else(|| GetDataError(std::any::type_name::<Cachify>()))?;
    let key = read_key(path_params(request).iter(), request.uri().query()).map_err(Problem)?;
    if let Ok(unread) = body.take() {
        let read = BodyRules::default().read(unread.into(), boxed).await;
        *body = RequestBody::new(read.map_err(Problem)?.into());
    }
    Ok((cachify, key))
}

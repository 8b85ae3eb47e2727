//! Guards as handler arguments.

use std::fmt;

use cachify_core::http::{BodyRules, RequestKey, read_key};
use cachify_core::{CacheKey, Cachify, Guard};
use poem::error::GetDataError;
use poem::{FromRequest, Request, RequestBody, Result};
use serde::de::{Deserialize, DeserializeOwned, Deserializer, MapAccess, Visitor};

use crate::Problem;
use crate::hold::whole;

/// The lock of a key that the request makes; 423 if another caller holds it.
///
/// The fields of `K` come from the path and the query, of which the path wins. The [`Cachify`]
/// comes from [`Data`](poem::web::Data), else from the [scope](crate::ScopeMiddleware) or
/// [`init`](crate::init). The lock is held until the handler drops this, at its end, or when the
/// client goes away, as far as [the server tells](crate::HangupListener). It does not wait:
/// [`LockMiddleware`](crate::LockMiddleware) can.
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
/// It is an argument of an operation as well. But there path parameters are called `param0`,
/// `param1` and so on, in their order, so that a field needs that name too:
/// `#[serde(alias = "param0")]`.
///
/// # Bodies
///
/// The body of the request is read before the lock is taken, up to 2 MiB and for up to 10 s, so a
/// stalled client does not block others. For longer uploads, use
/// [`LockMiddleware`](crate::LockMiddleware).
///
/// # When the lock is lost
///
/// The handler goes on, unless it asks: [`Guard::run`] stops what it is given.
/// [`LockMiddleware`](crate::LockMiddleware) stops the whole handler.
#[derive(Debug)]
pub struct Locked<K> {
    /// What the request made.
    pub key: K,
    /// Gives the lock back when it is dropped.
    pub guard: Guard,
}

impl<'a, K: CacheKey + DeserializeOwned + Send> FromRequest<'a> for Locked<K> {
    async fn from_request(request: &'a Request, body: &mut RequestBody) -> Result<Self> {
        let (cachify, key) = read::<K>(request, body).await?;
        let lock = cachify.lock(&key.key());
        let guard = lock.acquire().await.map_err(Problem)?;
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
    /// What the request made.
    pub key: K,
    /// Lets the next one run when it is dropped.
    pub guard: Guard,
}

impl<'a, K: CacheKey + DeserializeOwned + Send> FromRequest<'a> for RunOnce<K> {
    async fn from_request(request: &'a Request, body: &mut RequestBody) -> Result<Self> {
        let (cachify, key) = read::<K>(request, body).await?;
        let once = cachify.once(&key.key());
        let guard = once.acquire().await.map_err(Problem)?;
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
    /// What the request made.
    pub key: K,
    /// Goes back to the pool when it is dropped.
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

/// The handle, and a value whose fields are path parameters, or else query parameters.
///
/// The body is in memory then, unless another argument took it.
async fn read<K>(request: &Request, body: &mut RequestBody) -> Result<(Cachify, K)>
where
    K: DeserializeOwned,
{
    let cachify = request
        .data()
        .cloned()
        .or_else(Cachify::current)
        .ok_or_else(|| GetDataError(std::any::type_name::<Cachify>()))?;
    let key = read_key(Params::all(request).iter(), request.uri().query()).map_err(Problem)?;
    if let Ok(unread) = body.take() {
        let read = whole(&BodyRules::default(), unread).await;
        *body = RequestBody::new(read.map_err(Problem)?);
    }
    Ok((cachify, key))
}

/// The path parameters.
pub(crate) struct Params(Vec<(String, String)>);

impl Params {
    fn all(request: &Request) -> Self {
        request.path_params().unwrap_or(Self(Vec::new()))
    }

    /// All of them if the key is made of any.
    pub(crate) fn if_read(request: &Request, key: Option<&RequestKey>) -> Self {
        match key {
            Some(key) if key.reads_path() => Self::all(request),
            _ => Self(Vec::new()),
        }
    }

    fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Returns a parameter by name; `None` if nested routes use the name twice, since either could
    /// be meant.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        let mut named = self.iter().filter(|(other, _)| *other == name);
        let (_, value) = named.next()?;
        named.next().is_none().then_some(value)
    }
}

/// poem shows them as a map that may name one twice.
impl<'de> Deserialize<'de> for Params {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Pairs;

        impl<'de> Visitor<'de> for Pairs {
            type Value = Params;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("path parameters")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Params, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(Params(pairs))
            }
        }

        deserializer.deserialize_map(Pairs)
    }
}

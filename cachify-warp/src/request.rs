//! Filters that extract the parts of keys.

use std::borrow::Cow;
use std::convert::Infallible;

use cachify_core::Cachify;
use cachify_core::http::sorted_query;
use warp::host::Authority;
use warp::http::request::Parts;
use warp::http::{Request, Uri};
use warp::{Filter, Rejection};

/// Extracts a clone of the handle.
///
/// # Examples
///
/// ```
/// use cachify_warp::{Cachify, Problem, key, with_cachify};
/// use warp::Filter;
///
/// async fn forget(user_id: i64, cachify: Cachify) -> Result<&'static str, Problem> {
///     cachify.reset(&key!("read_user-{user_id}")).await?;
///     Ok("forgotten")
/// }
///
/// let cachify = Cachify::memory();
/// let route = warp::path!("users" / i64)
///     .and(warp::delete())
///     .and(with_cachify(&cachify))
///     .then(forget);
/// ```
pub fn with_cachify(
    cachify: &Cachify,
) -> impl Filter<Extract = (Cachify,), Error = Infallible> + Clone + Send + Sync + 'static + use<> {
    let cachify = cachify.clone();
    warp::any().map(move || cachify.clone())
}

/// Accepts GET and HEAD requests, which a cached route can answer.
///
/// A handler can treat both alike, since a server sends no body in response to HEAD.
pub fn get_or_head() -> impl Filter<Extract = (), Error = Rejection> + Copy + Send + Sync {
    warp::get().or(warp::head()).unify()
}

/// Extracts the [host](cachify_core::http::host) of the request for a key, or an empty string if
/// there is none.
///
/// It is the same in all versions of HTTP, in lower case and without a default port.
///
/// # Examples
///
/// ```
/// use cachify_warp::{CacheOptions, Cachify, FilterExt, host, key};
/// use warp::{Filter, http::header};
///
/// async fn shop(host: String) -> String {
///     format!("the shop of {host}")
/// }
///
/// let cache = CacheOptions::new(&Cachify::memory()).keyed_by([header::HOST]);
/// let shop = warp::path::end()
///     .and(warp::get())
///     .and(host())
///     .cached(cache, |(host,)| key!("shop-{host}"), shop);
/// ```
pub fn host() -> impl Filter<Extract = (String,), Error = Rejection> + Copy + Send + Sync {
    let name = |host| cachify_core::http::host(&sent_to(host)).map(Cow::into_owned);
    warp::host::optional().map(move |host| name(host).unwrap_or_default())
}

/// Extracts the parts of the request that the rules read.
pub(crate) fn head() -> impl Filter<Extract = (Parts,), Error = Rejection> + Copy + Send + Sync {
    let host = warp::host::optional().map(sent_to);
    let head = warp::method().and(host).and(warp::header::headers_cloned());
    head.map(|method, mut parts: Parts, headers| {
        (parts.method, parts.headers) = (method, headers);
        parts
    })
}

fn sent_to(host: Option<Authority>) -> Parts {
    let (mut parts, ()) = Request::new(()).into_parts();
    parts.uri = host.map(Uri::from).unwrap_or_default();
    parts
}

/// Extracts the whole query for a key, sorted by the names of its parameters, or an empty string if
/// there is none.
///
/// # Examples
///
/// ```
/// use cachify_warp::{CacheOptions, Cachify, FilterExt, key, query};
/// use warp::Filter;
///
/// async fn list_users(query: String) -> String {
///     format!("users of {query}")
/// }
///
/// let list = warp::path!("users").and(warp::get()).and(query()).cached(
///     CacheOptions::new(&Cachify::memory()),
///     |(query,)| key!("list_users-{query}"),
///     list_users,
/// );
/// ```
pub fn query() -> impl Filter<Extract = (String,), Error = Infallible> + Copy + Send + Sync {
    let none = warp::any().map(String::new);
    let query = warp::query::raw().or(none).unify();
    query.map(|query: String| sorted_query(&query).into_owned())
}

//! Functions that `#[cached]` calls.

use std::future::Future;
use std::ops::ControlFlow;
use std::pin::Pin;

use super::handle::HandleSource;
use super::returned::Returned;
use crate::observe::{self, ReadOutcome};
use crate::{CacheIf, Cacheable, Cached, Error, IntoTime, Key, Policy, Ttl, TtlWith};

/// Returns the tag. It comes first wherever a tag is used, so that all complaints of a type that
/// cannot be cached are the same, and are told once.
pub fn cacheable<R>(tag: R) -> R
where
    R: Returned,
    R::Value: Cacheable,
{
    tag
}

/// Types that are named like a response but can be cached.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is a response, which cannot be cached",
    note = "cache the value that the response is made of, in a function of its own; or put the cache layer of the adapter on the route"
)]
pub trait CacheableResponse: Cacheable {}

#[diagnostic::do_not_recommend]
impl<T: Cacheable> CacheableResponse for T {}

/// Like [`cacheable`], for a type that is named like a response.
pub fn cacheable_response<R>(tag: R) -> R
where
    R: Returned,
    R::Value: CacheableResponse,
{
    tag
}

/// Returns the value if it is in memory; otherwise how to get it. Takes the key, so that the
/// function's future does not keep it.
#[inline]
#[expect(clippy::needless_pass_by_value, reason = "see above")]
pub fn begin<R>(_: R, source: impl HandleSource, key: Key) -> ControlFlow<R::Returned, Cached>
where
    R: Returned,
    R::Value: Cacheable,
{
    source.using(|cachify| match cachify.local(&key) {
        Some(value) => {
            observe::request(&key, ReadOutcome::Hit);
            ControlFlow::Break(R::join(Ok(value)))
        }
        None => ControlFlow::Continue(cachify.cached(&key)),
    })
}

/// Gets a value that was not in memory. Boxed, so that the function's future stays as small as a
/// hit needs it.
pub fn finish<R, P, F, Fut>(
    _: R,
    cached: Cached<P>,
    compute: F,
) -> Pin<Box<impl Future<Output = R::Returned>>>
where
    R: Returned,
    R::Value: Cacheable,
    P: Policy<R::Value>,
    F: FnOnce() -> Fut,
    Fut: Future<Output = R::Returned>,
{
    Box::pin(async move {
        let compute = |_| async { R::split(compute().await) };
        let result = cached.fetch(compute, R::sharing()).await;
        R::join(result.map(|(value, _)| value))
    })
}

/// [`Cached::ttl_with`] with the type that the closure gets.
pub fn ttl_with<R, P, F, L>(_: R, cached: Cached<P>, ttl: F) -> Cached<TtlWith<P, F>>
where
    R: Returned,
    F: Fn(&R::Value) -> L,
    L: IntoTime<Ttl>,
{
    cached.ttl_with(ttl)
}

/// [`Cached::cache_if`] with the type that the closure gets.
pub fn cache_if<R, P, F>(_: R, cached: Cached<P>, condition: F) -> Cached<CacheIf<P, F>>
where
    R: Returned,
    F: Fn(&R::Value) -> bool,
{
    cached.cache_if(condition)
}

pub async fn set_value<R, P>(_: R, cached: Cached<P>, value: R::Value) -> Result<(), Error>
where
    R: Returned,
    R::Value: Cacheable,
    P: Policy<R::Value>,
{
    cached.set(value).await
}

/// Stores what the function might have returned; an error is not stored, and leaves nothing.
pub async fn set_returned<R, P>(tag: R, cached: Cached<P>, value: R::Returned) -> Result<(), Error>
where
    R: Returned,
    R::Value: Cacheable,
    P: Policy<R::Value>,
{
    match R::split(value) {
        Ok(value) => set_value(tag, cached, value).await,
        Err(_) => cached.reset().await,
    }
}

pub async fn get_value<R>(_: R, cached: Cached) -> Result<Option<R::Value>, Error>
where
    R: Returned,
    R::Value: Cacheable,
{
    cached.get().await
}

pub async fn get_returned<R>(tag: R, cached: Cached) -> Result<Option<R::Returned>, Error>
where
    R: Returned,
    R::Value: Cacheable,
{
    let value = get_value(tag, cached).await?;
    Ok(value.map(|value| R::join(Ok(value))))
}

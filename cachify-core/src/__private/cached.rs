//! Functions that expansions of `#[cached]` call.

use std::future::Future;
use std::ops::ControlFlow;
use std::pin::Pin;

use super::handle::HandleSource;
use super::returned::Returned;
use crate::observe::{self, ReadOutcome};
use crate::{
    CacheErr, CacheIf, Cacheable, Cached, Error, ErrorPolicy, IntoTime, Key, Policy, Ttl, TtlWith,
};

/// Returns the tag unchanged, and checks its type. Every use of a tag goes through this first, so
/// that a type that cannot be cached gives one error, once.
pub fn cacheable<R>(tag: R) -> R
where
    R: Returned,
    R::Value: Cacheable,
{
    tag
}

/// A type that has the name of a response, and that can be cached.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is a response, which cannot be cached",
    note = "cache the value that the response is made of, in a function of its own; or put the \
            cache layer of the adapter on the route"
)]
pub trait CacheableResponse: Cacheable {}

#[diagnostic::do_not_recommend]
impl<T: Cacheable> CacheableResponse for T {}

/// Does the same as [`cacheable`], for a type that has the name of a response.
pub fn cacheable_response<R>(tag: R) -> R
where
    R: Returned,
    R::Value: CacheableResponse,
{
    tag
}

/// Returns the value if it is in memory, or otherwise the `Cached` for [`finish`]. It takes the key
/// by value, so that the function's future does not hold it.
#[inline]
#[expect(clippy::needless_pass_by_value, reason = "the future must not hold it")]
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

/// Does not look in memory: [`finish`] looks at the value with its times.
#[expect(clippy::needless_pass_by_value, reason = "as for `begin`")]
pub fn begin_early<R>(_: R, source: impl HandleSource, key: Key) -> ControlFlow<R::Returned, Cached>
where
    R: Returned,
    R::Value: Cacheable,
{
    source.using(|cachify| ControlFlow::Continue(cachify.cached(&key)))
}

/// Reads or computes a value that was not in memory. The future is boxed, so that the function's
/// own future is only as large as a hit needs.
pub fn finish<R, P, F, Fut>(
    _: R,
    cached: Cached<P>,
    compute: F,
) -> Pin<Box<impl Future<Output = R::Returned>>>
where
    R: Returned,
    R::Value: Cacheable,
    P: Policy<R::Value> + ErrorPolicy<R::Error>,
    F: FnOnce() -> Fut,
    Fut: Future<Output = R::Returned>,
{
    Box::pin(async move {
        // Boxed to keep it out of the futures around it: nested calls share one stack.
        let compute = async || R::split(Box::pin(compute()).await);
        let compute = |_| cached.within(compute());
        let result = cached.fetch(compute, R::sharing()).await;
        R::join(result.map(|(value, _)| value))
    })
}

/// Does the same as [`finish`], with errors that are stored.
pub fn finish_chosen<R, P, C, L, F, Fut>(
    _: R,
    cached: CacheErr<P, C>,
    compute: F,
) -> Pin<Box<impl Future<Output = R::Returned>>>
where
    R: Returned,
    R::Value: Cacheable,
    R::Error: Cacheable,
    P: Policy<R::Value> + ErrorPolicy<R::Error>,
    C: Fn(&R::Error) -> Option<L>,
    L: IntoTime<Ttl>,
    F: FnOnce() -> Fut,
    Fut: Future<Output = R::Returned>,
{
    Box::pin(async move {
        let compute = async || R::split(Box::pin(compute()).await);
        R::join(cached.read(compute, R::sharing()).await)
    })
}

/// Calls [`Cached::cache_err`], and fixes the type of the closure's argument.
pub fn cache_err<R, P, F, L>(_: R, cached: Cached<P>, choose: F) -> CacheErr<P, F>
where
    R: Returned,
    F: Fn(&R::Error) -> Option<L>,
    L: IntoTime<Ttl>,
{
    cached.cache_err(choose)
}

/// Calls [`Cached::ttl_with`], and fixes the type of the closure's argument.
pub fn ttl_with<R, P, F, L>(_: R, cached: Cached<P>, ttl: F) -> Cached<TtlWith<P, F>>
where
    R: Returned,
    F: Fn(&R::Value) -> L,
    L: IntoTime<Ttl>,
{
    cached.ttl_with(ttl)
}

/// Calls [`Cached::cache_if`], and fixes the type of the closure's argument.
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

/// Stores a return value of the function. An error is not stored; it resets the entry.
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

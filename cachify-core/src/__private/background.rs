//! The refresh of a function's value in the background, if the future of its body permits it.
//!
//! `(&&work).way()` finds [`ViaBackground`] if the future is `Send + 'static`, and otherwise
//! [`ViaCaller`], since a method call prefers the one that needs the fewest dereferences.

use std::future::Future;
use std::pin::Pin;

use super::cached::{finish, finish_chosen};
use super::returned::Returned;
use crate::backend::BoxFuture;
use crate::{CacheErr, Cacheable, Cached, Cachify, ErrorPolicy, IntoTime, Policy, Ttl};

/// The body of a function, as a future that was not polled yet.
#[allow(missing_debug_implementations, reason = "not public API")]
pub struct Work<Fut>(Fut);

impl<Fut> Work<Fut> {
    pub fn new(body: Fut) -> Self {
        Self(body)
    }
}

/// The body may outlive the call.
#[derive(Debug)]
pub struct Background;

/// The body is polled by the caller.
#[derive(Debug)]
pub struct Caller;

pub trait ViaBackground {
    fn way(&self) -> Background;
}

impl<Fut> ViaBackground for &Work<Fut>
where
    Fut: Future<Output: Send + 'static> + Send + 'static,
{
    fn way(&self) -> Background {
        Background
    }
}

pub trait ViaCaller {
    fn way(&self) -> Caller;
}

impl<Fut> ViaCaller for Work<Fut> {
    fn way(&self) -> Caller {
        Caller
    }
}

impl Caller {
    pub fn finish<R, P, Fut>(
        self,
        tag: R,
        cached: Cached<P>,
        work: Work<Fut>,
    ) -> Pin<Box<impl Future<Output = R::Returned>>>
    where
        R: Returned,
        R::Value: Cacheable,
        P: Policy<R::Value> + ErrorPolicy<R::Error>,
        Fut: Future<Output = R::Returned>,
    {
        finish(tag, cached, || work.0)
    }

    pub fn finish_chosen<R, P, C, L, Fut>(
        self,
        tag: R,
        cached: CacheErr<P, C>,
        work: Work<Fut>,
    ) -> Pin<Box<impl Future<Output = R::Returned>>>
    where
        R: Returned,
        R::Value: Cacheable,
        R::Error: Cacheable,
        P: Policy<R::Value> + ErrorPolicy<R::Error>,
        C: Fn(&R::Error) -> Option<L>,
        L: IntoTime<Ttl>,
        Fut: Future<Output = R::Returned>,
    {
        finish_chosen(tag, cached, || work.0)
    }
}

impl Background {
    pub fn finish<R, P, Fut>(
        self,
        _: R,
        cached: Cached<P>,
        work: Work<Fut>,
    ) -> Pin<Box<impl Future<Output = R::Returned>>>
    where
        R: Returned + 'static,
        R::Value: Cacheable,
        R::Error: Send + 'static,
        P: Policy<R::Value> + ErrorPolicy<R::Error> + Clone + Send + Sync + 'static,
        R::Returned: Send,
        Fut: Future<Output = R::Returned> + Send + 'static,
    {
        let compute = in_scope(work.0);
        let compute = |background| async move { R::split(compute(background).await) };
        Box::pin(async move { R::join(cached.spawn(compute, R::sharing()).await) })
    }

    pub fn finish_chosen<R, P, C, L, Fut>(
        self,
        _: R,
        cached: CacheErr<P, C>,
        work: Work<Fut>,
    ) -> Pin<Box<impl Future<Output = R::Returned>>>
    where
        R: Returned + 'static,
        R::Value: Cacheable,
        R::Error: Cacheable,
        P: Policy<R::Value> + ErrorPolicy<R::Error> + Clone + Send + Sync + 'static,
        C: Fn(&R::Error) -> Option<L> + Clone + Send + Sync + 'static,
        L: IntoTime<Ttl>,
        R::Returned: Send,
        Fut: Future<Output = R::Returned> + Send + 'static,
    {
        let compute = in_scope(work.0);
        let compute = |background| async move { R::split(compute(background).await) };
        Box::pin(async move { R::join(cached.spawn(compute, R::sharing()).await) })
    }
}

/// Runs a body with the current handle. A task in the background does not inherit the scope, and
/// must not keep the handle alive.
fn in_scope<Fut>(body: Fut) -> impl FnOnce(bool) -> BoxFuture<'static, Fut::Output> + Send
where
    Fut: Future<Output: Send> + Send + 'static,
{
    let current = Cachify::current().map(|current| current.detached());
    move |in_background| match current {
        Some(current) if in_background => Box::pin(current.scope(body)),
        _ => Box::pin(body),
    }
}

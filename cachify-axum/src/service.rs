//! The parts that the services of this crate share.

use std::fmt;
use std::future::{Future, Ready, ready};
use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::response::Response;
use futures_util::future::{BoxFuture, Either};

/// The future returned by the services of this crate.
pub struct ResponseFuture<E>(Progress<Result<Response, E>>);

/// A hit is ready at once, and is not boxed.
type Progress<T> = Either<Ready<T>, BoxFuture<'static, T>>;

impl<E> ResponseFuture<E> {
    pub(crate) fn ready(response: Response) -> Self {
        Self(Either::Left(ready(Ok(response))))
    }

    pub(crate) fn running(
        future: impl Future<Output = Result<Response, E>> + Send + 'static,
    ) -> Self {
        Self(Either::Right(Box::pin(future)))
    }
}

impl<E> Future for ResponseFuture<E> {
    type Output = Result<Response, E>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(cx)
    }
}

impl<E> fmt::Debug for ResponseFuture<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}

/// Takes the service that was polled ready, and leaves a clone in its place. Only the service that
/// was polled may be called.
pub(crate) fn take_ready<S: Clone>(service: &mut S) -> S {
    let clone = service.clone();
    mem::replace(service, clone)
}

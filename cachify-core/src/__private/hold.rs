//! Functions that `#[once]`, `#[locked]` and `#[pooled]` call.

use std::future::Future;

use super::handle::HandleSource;
use super::returned::Returns;
use crate::{Error, Guard, Key, Lock, Once, Permit, Pool};

pub fn lock(source: impl HandleSource, key: &Key) -> Lock {
    source.using(|cachify| cachify.lock(key))
}

pub fn once(source: impl HandleSource, key: &Key) -> Once {
    source.using(|cachify| cachify.once(key))
}

pub fn pool(source: impl HandleSource, key: &Key, max: u32) -> Pool {
    source.using(|cachify| cachify.pool(key, max))
}

pub async fn in_use(pool: Pool) -> Result<usize, Error> {
    Ok(pool.status().await?.in_use)
}

macro_rules! hold {
    ($($name:ident($holder:ty);)*) => {$(
        /// Runs `work` under it, and gives it back: a failed release is logged and costs no result.
        /// The error is that it was lost.
        pub async fn $name<F, Fut>(holder: $holder, work: F) -> Result<Fut::Output, Error>
        where
            F: FnOnce() -> Fut,
            Fut: Future,
        {
            // In a box, so that stacked attributes do not multiply the size of the body's future.
            let output = holder.run(Box::pin(work())).await?;
            holder.finish().await;
            Ok(output)
        }
    )*};
}

hold! {
    under_guard(Guard);
    under_permit(Permit);
}

/// A function that can return what went wrong with its lock.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot say that the lock is held, or that the backend is away",
    label = "returns no `Result`",
    note = "return a `Result` whose error implements `From<cachify_core::Error>`, or give the attribute `on_error = |error| ..`, \
            or both `on_locked = ..` (`on_full = ..` for a pool) and `on_unavailable = ..`"
)]
pub trait Report {
    fn report(error: Error) -> Self;
}

impl<T, E: Takes> Report for Result<T, E> {
    fn report(error: Error) -> Self {
        Err(E::take(error))
    }
}

/// An error that an [`Error`] can become.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot say that the lock is held, or that the backend is away",
    label = "does not implement `From<cachify_core::Error>`",
    note = "implement `From<cachify_core::Error>` for it, or give the attribute `map_err = path::to::function` (for an error type that is not yours), \
            or `on_error = |error| ..`, or both `on_locked = ..` (`on_full = ..` for a pool) and `on_unavailable = ..`"
)]
pub trait Takes {
    fn take(error: Error) -> Self;
}

#[diagnostic::do_not_recommend]
impl<E: From<Error>> Takes for E {
    fn take(error: Error) -> Self {
        error.into()
    }
}

pub fn report<R: Report>(error: Error) -> R {
    R::report(error)
}

/// Like [`Report`], but with `on_locked` or `on_full` given: asks for the missing option.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot say that the backend is away",
    label = "has no error that implements `From<cachify_core::Error>`",
    note = "give the attribute `on_unavailable = ..`, or `map_err = ..` or `on_error = ..`, or return a `Result` whose error implements `From<cachify_core::Error>`"
)]
pub trait ReportAway: Report {}

#[diagnostic::do_not_recommend]
impl<R: Report> ReportAway for R {}

pub fn report_away<R: ReportAway>(error: Error) -> R {
    R::report(error)
}

/// Like [`Report`], but with `on_unavailable` given: asks for the missing option.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot say that the lock is held, or the pool full",
    label = "has no error that implements `From<cachify_core::Error>`",
    note = "give the attribute `on_locked = ..` (`on_full = ..` for a pool), or `map_err = ..` or `on_error = ..`, or return a `Result` whose error implements `From<cachify_core::Error>`"
)]
pub trait ReportHeld: Report {}

#[diagnostic::do_not_recommend]
impl<R: Report> ReportHeld for R {}

pub fn report_held<R: ReportHeld>(error: Error) -> R {
    R::report(error)
}

/// `on_error = ..`, with the type that the closure gets.
pub fn on_error<R>(answer: impl FnOnce(Error) -> R, error: Error) -> R {
    answer(error)
}

/// `map_err = ..`.
pub fn map_err<T, M, E: From<M>>(map: impl FnOnce(Error) -> M, error: Error) -> Result<T, E> {
    Err(map(error).into())
}

/// Returns whether `on_unavailable` answers: then the error is reported nowhere else.
pub fn is_unavailable(error: &Error) -> bool {
    let is_unavailable = error.is_unavailable();
    if is_unavailable {
        log(error);
    }
    is_unavailable
}

fn log(error: &Error) {
    tracing::warn!(%error, "returned what the function has for a backend that is away");
}

pub trait ViaReport {
    type Returned;
    /// Other errors than those of `on_unavailable`: reported by a type that can.
    fn report_or(&self, error: Error, answer: impl FnOnce() -> Self::Returned) -> Self::Returned;
}

impl<T, E: From<Error>> ViaReport for &Returns<Result<T, E>> {
    type Returned = Result<T, E>;

    fn report_or(&self, error: Error, _: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
        Err(error.into())
    }
}

pub trait ViaAnswer {
    type Returned;
    /// Other errors than those of `on_unavailable`: all the same for a type that cannot tell them.
    fn report_or(&self, error: Error, answer: impl FnOnce() -> Self::Returned) -> Self::Returned;
}

impl<R> ViaAnswer for Returns<R> {
    type Returned = R;

    fn report_or(&self, error: Error, answer: impl FnOnce() -> R) -> R {
        log(&error);
        answer()
    }
}

//! Functions that expansions of `#[once]`, `#[locked]` and `#[pooled]` call.

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
        /// Runs `work` under the guard or permit, and then releases it. A failed release is logged
        /// and does not affect the result. The only error is that it was lost.
        pub async fn $name<F, Fut>(holder: $holder, work: F) -> Result<Fut::Output, Error>
        where
            F: FnOnce() -> Fut,
            Fut: Future,
        {
            // Boxed, so that stacked attributes do not multiply the size of the body's future.
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

/// A return type that can report an error of a lock or pool.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot report that the lock is held or that the backend is away",
    label = "is not a `Result`",
    note = "return a `Result` whose error implements `From<cachify_core::Error>`, or give the \
            attribute `on_error = |error| ..`, or both `on_locked = ..` (`on_full = ..` for a \
            pool) and `on_unavailable = ..`"
)]
pub trait Report {
    fn report(error: Error) -> Self;
}

impl<T, E: Takes> Report for Result<T, E> {
    fn report(error: Error) -> Self {
        Err(E::take(error))
    }
}

/// An error type that an [`Error`] converts into.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot report that the lock is held or that the backend is away",
    label = "does not implement `From<cachify_core::Error>`",
    note = "implement `From<cachify_core::Error>` for it, or give the attribute `map_err = \
            path::to::function` (for an error type that is not yours), or `on_error = |error| \
            ..`, or both `on_locked = ..` (`on_full = ..` for a pool) and `on_unavailable = ..`"
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

/// A [`Report`] where `on_locked` or `on_full` is given: its diagnostic asks for the missing option
/// only.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot report that the backend is away",
    label = "has no error that implements `From<cachify_core::Error>`",
    note = "give the attribute `on_unavailable = ..`, or `map_err = ..` or `on_error = ..`, or \
            return a `Result` whose error implements `From<cachify_core::Error>`"
)]
pub trait ReportAway: Report {}

#[diagnostic::do_not_recommend]
impl<R: Report> ReportAway for R {}

pub fn report_away<R: ReportAway>(error: Error) -> R {
    R::report(error)
}

/// A [`Report`] where `on_unavailable` is given: its diagnostic asks for the missing option only.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot report that the lock is held or that the pool is full",
    label = "has no error that implements `From<cachify_core::Error>`",
    note = "give the attribute `on_locked = ..` (`on_full = ..` for a pool), or `map_err = ..` or \
            `on_error = ..`, or return a `Result` whose error implements \
            `From<cachify_core::Error>`"
)]
pub trait ReportHeld: Report {}

#[diagnostic::do_not_recommend]
impl<R: Report> ReportHeld for R {}

pub fn report_held<R: ReportHeld>(error: Error) -> R {
    R::report(error)
}

/// Calls the closure of `on_error`, and fixes the type of its argument.
pub fn on_error<R>(answer: impl FnOnce(Error) -> R, error: Error) -> R {
    answer(error)
}

/// Calls the function of `map_err`.
pub fn map_err<T, M, E: From<M>>(map: impl FnOnce(Error) -> M, error: Error) -> Result<T, E> {
    Err(map(error).into())
}

/// Returns whether `on_unavailable` answers this error. If so, the error is logged, since it is
/// reported nowhere else.
pub fn is_unavailable(error: &Error) -> bool {
    let is_unavailable = error.is_unavailable();
    if is_unavailable {
        log(error);
    }
    is_unavailable
}

fn log(error: &Error) {
    tracing::warn!(%error, "`on_unavailable` answered an error");
}

pub trait ViaReport {
    type Returned;
    /// Reports an error that `on_unavailable` is not for, since the type can.
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
    /// Answers with `on_unavailable` an error that it is not for, since the type cannot report it.
    fn report_or(&self, error: Error, answer: impl FnOnce() -> Self::Returned) -> Self::Returned;
}

impl<R> ViaAnswer for Returns<R> {
    type Returned = R;

    fn report_or(&self, error: Error, answer: impl FnOnce() -> R) -> R {
        log(&error);
        answer()
    }
}

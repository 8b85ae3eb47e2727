//! Items that the macros' expansions name. Not public API; adapters re-export it, so that an
//! expansion finds it in whichever cachify crate the user depends on.

mod cached;
mod hold;
mod returned;

use std::borrow::Borrow;

pub use self::cached::{
    CacheableResponse, begin, cache_if, cacheable, cacheable_response, finish, get_returned,
    get_value, set_returned, set_value, ttl_with,
};
pub use self::hold::{
    Report, ReportAway, ReportHeld, Takes, ViaAnswer, ViaReport, in_use, is_unavailable, lock,
    map_err, on_error, once, pool, report, report_away, report_held, under_guard, under_permit,
};
pub use self::returned::{
    Fallible, Plain, Returned, Returns, Shared, ViaFallible, ViaPlain, ViaShared,
};
pub use crate::key::{CacheKey, Key, KeyPart, KeyTemplate, Slot};
pub use crate::read::policy::Sharing;
pub use crate::{Cachify, Error, Ttl};
#[cfg(feature = "http")]
pub use http::StatusCode;

#[cfg(feature = "blocking")]
pub use crate::blocking::block_on;

/// Never reached: [`needs_blocking`] does not compile.
#[cfg(not(feature = "blocking"))]
pub fn block_on<F: Future>(_: F) -> F::Output {
    unreachable!("a synchronous function without feature `blocking`")
}

pub use crate::__cachify_needs_blocking as needs_blocking;

/// Refuses synchronous functions without feature `blocking`.
#[doc(hidden)]
#[macro_export]
#[cfg(feature = "blocking")]
macro_rules! __cachify_needs_blocking {
    () => {};
}

/// Refuses synchronous functions without feature `blocking`.
#[doc(hidden)]
#[macro_export]
#[cfg(not(feature = "blocking"))]
macro_rules! __cachify_needs_blocking {
    () => {
        compile_error!(
            "this function is not async: make it an `async fn`, or turn on the feature `blocking` of the cachify crate in your Cargo.toml"
        );
    };
}

/// The source of a macro's handle.
pub trait HandleSource {
    fn using<T>(self, work: impl FnOnce(&Cachify) -> T) -> T;
}

/// Without `with = ..`: from the scope, or the global one.
#[derive(Debug)]
pub struct Ambient;

impl HandleSource for Ambient {
    fn using<T>(self, work: impl FnOnce(&Cachify) -> T) -> T {
        crate::global::with_current(work)
    }
}

/// With `with = ..`.
#[derive(Debug)]
pub struct Given<'a, H: ?Sized>(pub &'a H);

impl<H: Handle + ?Sized> HandleSource for Given<'_, H> {
    fn using<T>(self, work: impl FnOnce(&Cachify) -> T) -> T {
        work(self.0.cachify())
    }
}

/// A handle, owned or not.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no handle: `with` takes a `Cachify`, a reference to one or an `Arc` of one",
    label = "is no `Cachify`"
)]
pub trait Handle {
    fn cachify(&self) -> &Cachify;
}

#[diagnostic::do_not_recommend]
impl<H: Borrow<Cachify> + ?Sized> Handle for H {
    fn cachify(&self) -> &Cachify {
        self.borrow()
    }
}

/// Makes a handle of its own.
pub fn handle(source: impl HandleSource) -> Cachify {
    source.using(Cachify::clone)
}

/// Returns the first error of operations that all ran.
pub fn all<const N: usize>(results: [Result<(), Error>; N]) -> Result<(), Error> {
    results.into_iter().collect()
}

/// Returns whether any operation returned `true`, or the first error of operations that all ran.
pub fn any<const N: usize>(results: [Result<bool, Error>; N]) -> Result<bool, Error> {
    results
        .into_iter()
        .try_fold(false, |any, result| Ok(any | result?))
}

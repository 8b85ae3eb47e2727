//! Items that the expansions of macros name. This is not public API. Adapters re-export the module,
//! so that an expansion finds it in every cachify crate.

mod background;
mod cached;
mod handle;
mod hold;
mod results;
mod returned;

pub use self::background::{Background, Caller, ViaBackground, ViaCaller, Work};
pub use self::cached::{
    CacheableResponse, begin, begin_early, cache_err, cache_if, cacheable, cacheable_response,
    finish, finish_chosen, get_returned, get_value, set_returned, set_value, ttl_with,
};
pub use self::handle::{Ambient, Given, Handle, HandleSource, handle};
pub use self::hold::{
    Report, ReportAway, ReportHeld, Takes, ViaAnswer, ViaReport, in_use, is_unavailable, lock,
    map_err, on_error, once, pool, report, report_away, report_held, under_guard, under_permit,
};
pub use self::results::{all, any};
pub use self::returned::{
    Fallible, Plain, Returned, Returns, Shared, ViaFallible, ViaPlain, ViaShared,
};
pub use crate::key::{CacheKey, Key, KeyPart, KeyTemplate, Segment};
pub use crate::read::policy::Sharing;
pub use crate::{Cachify, Error, Ttl};
#[cfg(feature = "http")]
pub use http::StatusCode;

#[cfg(feature = "blocking")]
pub use crate::blocking::block_on;

/// Stands in for the real one. It is never called: without the feature, [`needs_blocking`] is a
/// compile error.
#[cfg(not(feature = "blocking"))]
pub fn block_on<F: Future>(_: F) -> F::Output {
    unreachable!("a function that is not async needs the feature `blocking`")
}

pub use crate::__cachify_needs_blocking as needs_blocking;

/// Refuses functions that are not async without the feature `blocking`.
#[doc(hidden)]
#[macro_export]
#[cfg(feature = "blocking")]
macro_rules! __cachify_needs_blocking {
    () => {};
}

/// Refuses functions that are not async without the feature `blocking`.
#[doc(hidden)]
#[macro_export]
#[cfg(not(feature = "blocking"))]
macro_rules! __cachify_needs_blocking {
    () => {
        compile_error!(
            "this function is not async: make it an `async fn`, or turn on the feature `blocking` \
             of the cachify crate in your Cargo.toml"
        );
    };
}

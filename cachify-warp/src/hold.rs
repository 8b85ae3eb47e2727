//! Options of routes that run under a lock, once at a time, or under a permit.

use cachify_core::Cachify;
use cachify_core::http::HoldRules;
use warp::Reply;
use warp::reply::Response;

/// Options of a locked route, for [`then_locked`](crate::FilterExt::then_locked) and
/// [`locked`](crate::FilterExt::locked). For the default options, pass `&Cachify` instead.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use cachify_warp::{Cachify, FilterExt, Guard, LockOptions, key};
/// use warp::Filter;
///
/// let cachify = Cachify::memory();
/// let lock = LockOptions::new(&cachify).wait(Duration::from_secs(2));
/// let charge = warp::path!("orders" / u64 / "charge")
///     .and(warp::post())
///     .locked(lock, |(order,)| key!("charge-{order}"))
///     .map(|order, guard: Guard| format!("order {order} with token {}", guard.fencing_token()));
/// ```
#[must_use = "options do nothing until they are given to a filter"]
#[derive(Debug, Clone)]
pub struct LockOptions(pub(crate) HoldRules<Response>);

impl LockOptions {
    /// Creates options of a lock in `cachify`, for which requests do not wait.
    pub fn new(cachify: &Cachify) -> Self {
        Self(HoldRules::lock(cachify))
    }
}

impl From<&Cachify> for LockOptions {
    fn from(cachify: &Cachify) -> Self {
        Self::new(cachify)
    }
}

/// Options of a route that runs once at a time, for [`then_once`](crate::FilterExt::then_once) and
/// [`once`](crate::FilterExt::once). For the default options, pass `&Cachify` instead.
///
/// # Examples
///
/// ```
/// use cachify_warp::{Cachify, FilterExt, OnceOptions, key};
/// use warp::{Filter, http::StatusCode, reply::with_status};
///
/// let cachify = Cachify::memory();
/// let once = OnceOptions::new(&cachify)
///     .on_locked(|| with_status("in progress", StatusCode::IM_USED));
/// let report = warp::path!("reports" / String)
///     .and(warp::post())
///     .once(once, |(month,)| key!("report-{month}"))
///     .map(|month, _guard| format!("the report of {month}"))
///     .recover(cachify_warp::recover);
/// ```
#[must_use = "options do nothing until they are given to a filter"]
#[derive(Debug, Clone)]
pub struct OnceOptions(pub(crate) HoldRules<Response>);

impl OnceOptions {
    /// Creates options of a run-once route in `cachify`.
    pub fn new(cachify: &Cachify) -> Self {
        Self(HoldRules::once(cachify))
    }
}

impl From<&Cachify> for OnceOptions {
    fn from(cachify: &Cachify) -> Self {
        Self::new(cachify)
    }
}

/// Options of a route that runs a limited number of requests at a time, for
/// [`then_pooled`](crate::FilterExt::then_pooled) and [`pooled`](crate::FilterExt::pooled).
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use cachify_warp::{Cachify, FilterExt, PoolOptions, key};
/// use warp::Filter;
///
/// let cachify = Cachify::memory();
/// let pool = PoolOptions::new(&cachify, 10).wait(Duration::from_secs(1));
/// let vendor = warp::path!("vendors" / String)
///     .pooled(pool, |(name,)| key!("vendor-{name}"))
///     .map(|name, _permit| format!("one of ten for {name}"));
/// ```
#[must_use = "options do nothing until they are given to a filter"]
#[derive(Debug, Clone)]
pub struct PoolOptions(pub(crate) HoldRules<Response>);

impl PoolOptions {
    /// Creates options of a pool in `cachify`. At most `max` requests of each key run at a time,
    /// across all processes.
    pub fn new(cachify: &Cachify, max: u32) -> Self {
        Self(HoldRules::pool(cachify, max))
    }
}

/// Adds the public methods that set the options.
macro_rules! hold {
    ($($Options:ident: $($options:ident)+;)+) => {$(
        impl $Options {
            fn rules(mut self, change: impl FnOnce(&mut HoldRules<Response>)) -> Self {
                change(&mut self.0);
                self
            }
        }

        cachify_core::__cachify_hold_options!($Options, Reply: $($options)+);
    )+};
}

hold! {
    LockOptions: hold wait locked;
    OnceOptions: hold running;
    PoolOptions: hold wait full;
}

//! Options of routes that run under a lock, once at a time, or a limited number at a time.

use cachify_core::Cachify;
use cachify_core::http::HoldRules;
use warp::Reply;
use warp::reply::Response;

/// Configures how a route is locked; taken by [`then_locked`](crate::FilterExt::then_locked)
/// and [`locked`](crate::FilterExt::locked). `&Cachify` is one with the defaults.
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
#[must_use = "it does nothing until it is given to a filter"]
#[derive(Debug, Clone)]
pub struct LockOptions(pub(crate) HoldRules<Response>);

impl LockOptions {
    /// Makes a lock that does not wait.
    pub fn new(cachify: &Cachify) -> Self {
        Self(HoldRules::lock(cachify))
    }
}

impl From<&Cachify> for LockOptions {
    fn from(cachify: &Cachify) -> Self {
        Self::new(cachify)
    }
}

/// Configures a route that runs once at a time; taken by
/// [`then_once`](crate::FilterExt::then_once) and [`once`](crate::FilterExt::once). `&Cachify`
/// is one with the defaults.
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
#[must_use = "it does nothing until it is given to a filter"]
#[derive(Debug, Clone)]
pub struct OnceOptions(pub(crate) HoldRules<Response>);

impl OnceOptions {
    /// Runs once at a time.
    pub fn new(cachify: &Cachify) -> Self {
        Self(HoldRules::once(cachify))
    }
}

impl From<&Cachify> for OnceOptions {
    fn from(cachify: &Cachify) -> Self {
        Self::new(cachify)
    }
}

/// Configures how many requests a route runs at a time; taken by
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
#[must_use = "it does nothing until it is given to a filter"]
#[derive(Debug, Clone)]
pub struct PoolOptions(pub(crate) HoldRules<Response>);

impl PoolOptions {
    /// Runs at most `max` at a time, in all processes together.
    pub fn new(cachify: &Cachify, max: u32) -> Self {
        Self(HoldRules::pool(cachify, max))
    }
}

/// Makes the options public.
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

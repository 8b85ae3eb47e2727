//! Caching and locking over HTTP: all rules, for any framework (feature `http`).
//!
//! An adapter for a framework makes a [`Plan`] of a request and has [`CacheRules::serve`] do the
//! rest; or has [`HoldRules`] run a route under a lock or permit, and answers errors with
//! [`problem`].
//!
//! # What is cached
//!
//! | | |
//! |---|---|
//! | requests | GET. HEAD is answered from GET's entry, and never fills it |
//! | statuses | 200, 203, 301 and 308; others by [`statuses`](CacheRules::statuses) |
//! | never | answers with `Set-Cookie`, `Cache-Control: no-store`, `private` or `no-cache`, or one that cannot be parsed, `Vary: *`, trailers |
//! | never | bodies over the [`limit`](CacheRules::limit), and streams of unknown length: they pass through whole |
//! | unless the key names the header | requests with `Authorization`, except for answers that say `public`, `s-maxage` or `must-revalidate` (RFC 9111, 3.5) |
//! | unless the key names the header | requests with `Cookie`, except for [ignored](CacheRules::ignore_cookies) cookies |
//! | reset | the key of a method that is not safe, such as POST or PUT, whose answer is not an error (RFC 9111, 4.4) |
//! | passed through | requests with a body, `If-Match`, `If-Unmodified-Since` or `Upgrade` |
//! | how long | the [`ttl`](CacheRules::ttl), or what `s-maxage`, else `max-age`, else `Expires` of the answer leaves if that is less; answers that vary, an hour at most |
//! | which field counts | the first of `Cachify-Cache-Control` and `CDN-Cache-Control` (RFC 9213), else `Cache-Control`, else `Pragma: no-cache` |
//!
//! An answer that turns out not to be storable is not shared: the requests that waited for it run
//! at once, in parallel, and for a minute no request waits under that key, until an answer can be
//! stored again. A server error (5xx), 408, 409, 423, 425 or 429 is not shared either, but counts
//! as temporary: later requests wait for one another again.
//!
//! `Vary` is honoured: answers that differ are stored side by side, at most 64 for each key and
//! process, and one reset of the key forgets them all. Values are compared by meaning.
//! `Cache-Control` of requests is ignored, so that reloads do not cause a stampede, unless
//! [`honor_request_cache_control`](CacheRules::honor_request_cache_control) is set.
//!
//! # What the answers carry
//!
//! `Cache-Status` (RFC 9211): `cachify; hit; ttl=299`, `cachify; fwd=uri-miss; stored`,
//! `cachify; fwd=vary-miss; collapsed`, `cachify; fwd=bypass; detail=cookie`. Reused ones have an
//! `Age`, and the `Date` when they were made. Successful ones have an `ETag`, a weak one if the
//! inner service made none. All other headers, but for those of one connection, and the body come
//! back byte for byte. `If-None-Match`, `If-Modified-Since` and single ranges are taken off the
//! request before the inner call and evaluated on the answer.

mod answer;
mod body;
mod cache_status;
mod cacheable;
mod cookies;
mod directives;
mod fields;
#[cfg(feature = "testing")]
mod fuzz;
mod hangup;
mod hit_for_miss;
mod hold;
mod options;
mod params;
mod plan;
mod problem;
mod request_key;
mod routed;
mod rules;
mod serve;
mod stored;
mod variants;
mod vary;
mod wish;

pub use self::body::{BodyRules, ReadBody};
pub use self::hangup::HangupStream;
pub use self::hold::{HeldRoute, HoldRules};
pub use self::params::PathParams;
pub use self::plan::Plan;
pub use self::problem::{problem, problem_status};
pub use self::request_key::{RequestKey, hashed, read_key, sorted_query};
pub use self::routed::{Routed, host};
pub use self::rules::CacheRules;

#[cfg(feature = "testing")]
pub(crate) use self::fuzz::{fuzz_fields, fuzz_stored};

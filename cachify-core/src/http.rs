//! Caching and locking over HTTP, for any framework (feature `http`).
//!
//! An adapter makes a [`Plan`] for a request, and [`CacheRules::serve`] carries it out. To run a
//! route under a lock or permit, an adapter uses [`HoldRules`]. It answers errors with [`problem`].
//!
//! # What is cached
//!
//! | | |
//! |---|---|
//! | requests | GET. HEAD is answered from GET's entry, and never fills it |
//! | statuses | 200, 203, 301 and 308; others by [`statuses`](CacheRules::statuses) |
//! | never | responses with `Set-Cookie`, `Vary: *` or trailers, or with a `Cache-Control` that says `no-store`, `private` or `no-cache`, or that cannot be parsed |
//! | never | bodies over the [`limit`](CacheRules::limit), and streams of unknown length: they pass through whole |
//! | not unless the key names the header | responses to requests with `Authorization`, except those that say `public`, `s-maxage` or `must-revalidate` (RFC 9111, 3.5) |
//! | not unless the key names the header | responses to requests with `Cookie`, except for [ignored](CacheRules::ignore_cookies) cookies |
//! | reset | the key, by an unsafe method such as POST or PUT whose response is not an error (RFC 9111, 4.4) |
//! | passed through | requests with a body, `If-Match`, `If-Unmodified-Since` or `Upgrade` |
//! | lifetime | the [`ttl`](CacheRules::ttl), or the response's own lifetime if that is shorter: `s-maxage`, else `max-age`, else `Expires`. A response with `Vary` lives at most an hour |
//! | after that | served stale while a refresh runs or if it fails, within [`stale`](CacheRules::stale), `stale-while-revalidate` and `stale-if-error` (RFC 5861) |
//! | deciding field | the first of `Cachify-Cache-Control` and `CDN-Cache-Control` (RFC 9213), else `Cache-Control`, else `Pragma: no-cache` |
//!
//! If a response turns out not to be storable, it is not shared: the requests that waited for it
//! run at once, in parallel. For a minute, or until a response can be stored again, requests under
//! that key don't wait for one another. A server error (5xx), 408, 409, 423, 425 or 429 is not
//! shared either, but counts as temporary: later requests wait for one another again.
//!
//! `Vary` is honoured: responses that differ are stored side by side, at most 64 for each key and
//! process, and one reset of the key removes them all. Values are compared by meaning.
//!
//! `Cache-Control` of requests is ignored, so that reloads don't cause a stampede, unless
//! [`honor_request_cache_control`](CacheRules::honor_request_cache_control) is set.
//!
//! # Response headers
//!
//! `Cache-Status` (RFC 9211) says where the response came from: `cachify; hit; ttl=299`,
//! `cachify; hit; ttl=-12` if it is stale, `cachify; fwd=uri-miss; stored`,
//! `cachify; fwd=vary-miss; collapsed`,
//! `cachify; fwd=bypass; detail=cookie`.
//!
//! A reused response has an `Age`, and the `Date` at which it was made. A successful response has
//! an `ETag`; if the inner service sets none, the cache adds a weak one. The body and all other
//! headers come back byte for byte, except for headers of one connection.
//!
//! `If-None-Match`, `If-Modified-Since` and single ranges are removed from the request before the
//! inner service is called, and evaluated on its response.

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
mod policy;
mod problem;
mod request_key;
mod routed;
mod rules;
mod serve;
mod stale;
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

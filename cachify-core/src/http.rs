//! Caching and locking over HTTP: all rules, for any framework (feature `http`).
//!
//! An adapter for a framework says how to handle its responses ([`Framework`]), makes a [`Plan`] of
//! a request and has [`CacheRules::serve`] do the rest; or has [`HoldRules`] run a route under a
//! lock or permit, and tells errors as [`problem`] does.
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

mod adapter;
mod answer;
mod cacheable;
mod cookies;
mod directives;
#[cfg(feature = "testing")]
mod fuzz;
mod hit_for_miss;
mod hold;
mod problem;
mod request_key;
mod routed;
mod serve;
mod stored;
mod variants;
mod vary;

use std::sync::Arc;

use http::header::HOST;
use http::request::Parts;
use http::{HeaderName, StatusCode};
use tokio::sync::Semaphore;

#[cfg(feature = "testing")]
pub(crate) use self::fuzz::{fuzz_fields, fuzz_stored};
pub use self::hold::{BodyRules, HoldRules};
pub use self::problem::{problem, problem_status};
pub use self::request_key::{RequestKey, hashed, read_key, sorted_query};
pub use self::routed::{Routed, host};
pub use self::serve::Framework;

use self::answer::Fwd;
use self::cacheable::Wish;
use self::cookies::Ignored;
use self::hit_for_miss::HitForMiss;
use self::routed::Met;
use self::stored::Stored;
use self::variants::Variants;
use crate::clock::Moment;
use crate::observe::Why;
use crate::{Error, Key, MissingPlaceholder, Ttl, observe};

/// Configures which answers of a route are cached, under which key, and for how long.
#[derive(Debug, Clone)]
#[allow(clippy::struct_excessive_bools)] // Options, each with a method of its own.
pub struct CacheRules {
    /// `None`: the adapter makes the keys.
    key: Option<RequestKey>,
    /// The request's headers that the key tells apart.
    keyed: Vec<HeaderName>,
    ttl: Option<Ttl>,
    statuses: Vec<StatusCode>,
    limit: usize,
    /// One permit for each computation that may outlive its client.
    disconnected: Option<Arc<Semaphore>>,
    honor_request_cache_control: bool,
    only_explicit: bool,
    ignored_cookies: Ignored,
    every_route: bool,
    every_host: bool,
    met: Arc<Met>,
    hit_for_miss: Arc<HitForMiss>,
    /// Keys under which requests with `Authorization` pass through.
    guarded: Arc<HitForMiss>,
    variants: Arc<Variants>,
}

impl CacheRules {
    /// Rules with the defaults, for a key template as [`RequestKey`] describes it.
    ///
    /// # Errors
    ///
    /// Those of [`RequestKey::parse`].
    pub fn new(template: &str) -> Result<Self, Error> {
        let key = RequestKey::parse(template)?;
        let mut rules = Self::without_template();
        rules.keyed_by(key.headers().iter().cloned());
        rules.ignored_cookies = Ignored::keyed(key.cookies());
        observe::cached_template(template);
        rules.key = Some(key);
        Ok(rules)
    }

    /// Rules with the defaults, for keys that are made elsewhere: see
    /// [`plan_keyed`](Self::plan_keyed).
    pub fn without_template() -> Self {
        Self {
            key: None,
            keyed: Vec::new(),
            ttl: None,
            statuses: cacheable::STATUSES.to_vec(),
            limit: 1 << 20,
            disconnected: None,
            honor_request_cache_control: false,
            only_explicit: false,
            ignored_cookies: Ignored::default(),
            every_route: false,
            every_host: false,
            met: Arc::default(),
            hit_for_miss: Arc::default(),
            guarded: Arc::default(),
            variants: Arc::default(),
        }
    }

    /// Says which headers of a request are part of keys that are made elsewhere. Default: none.
    pub fn keyed_by(&mut self, headers: impl IntoIterator<Item = HeaderName>) {
        self.keyed = headers.into_iter().collect();
    }

    /// Sets how long answers live. Default: the handle's default, 5 minutes if that was not
    /// changed. An answer's own `max-age` can shorten it.
    pub fn ttl(&mut self, ttl: Ttl) {
        self.ttl = Some(ttl);
    }

    /// Which statuses are stored. Default 200, 203, 301 and 308; 206 and 304 never are.
    pub fn statuses(&mut self, statuses: impl IntoIterator<Item = StatusCode>) {
        self.statuses = statuses.into_iter().collect();
    }

    /// Sets the longest body that is stored, in bytes. Default 1 MiB.
    pub fn limit(&mut self, bytes: usize) {
        self.limit = bytes;
    }

    /// The number of handlers that an adapter lets
    /// [finish after their clients disconnect](Self::finish_after_disconnect) at the same time,
    /// unless its user gives another one.
    pub const AFTER_DISCONNECT: usize = 1000;

    /// Sets how many computations at a time may finish and fill after their clients disconnect.
    /// Further ones are cancelled with their clients, and a waiting caller takes over. Default:
    /// none.
    pub fn finish_after_disconnect(&mut self, at_most: usize) {
        let permits = at_most.min(Semaphore::MAX_PERMITS);
        self.disconnected = (at_most > 0).then(|| Arc::new(Semaphore::new(permits)));
    }

    /// Honors `Cache-Control` of requests. Default: ignored.
    ///
    /// | directive | effect |
    /// |---|---|
    /// | `no-cache`, `max-age=0` | a new response, which replaces the one that this request would have got |
    /// | `max-age`, `min-fresh` | the same, if the stored response is older, or stays fresh for less |
    /// | `only-if-cached` | a stored response, or else 504 |
    /// | `no-store`, and what cannot be parsed | a response that is not stored |
    /// | `max-stale` | none: nothing stale is ever stored |
    pub fn honor_request_cache_control(&mut self, honor: bool) {
        self.honor_request_cache_control = honor;
    }

    /// Stores only responses that say how long they are fresh: by `s-maxage`, `max-age`, `Expires`,
    /// or a targeted field. Default: the others live for the [`ttl`](Self::ttl).
    pub fn only_explicit(&mut self, only: bool) {
        self.only_explicit = only;
    }

    /// Ignores cookies of these names; a trailing `*` stands for any end, and `*` alone for every
    /// cookie. Default: none.
    ///
    /// A request that has no others is answered from the cache. The inner service does not see the
    /// ignored ones when it makes a response that may be stored.
    pub fn ignore_cookies<S: Into<String>>(&mut self, names: impl IntoIterator<Item = S>) {
        self.ignored_cookies.set(names);
    }

    /// Shares entries between routes. Default: only the first route that is seen is cached, unless
    /// the key names `{path}`.
    ///
    /// For routes that answer alike, and where the framework does not tell the route of a request.
    pub fn same_on_every_route(&mut self) {
        self.every_route = true;
    }

    /// Says that responses do not depend on the host. Default: a warning when requests for a second
    /// host get the responses of the first, unless the key names `{host}`.
    pub fn same_on_every_host(&mut self) {
        self.every_host = true;
    }

    /// Returns whether answers of this status can be stored.
    pub fn stores(&self, status: StatusCode) -> bool {
        self.statuses.contains(&status)
    }

    /// Returns how answers are keyed, if a template says so.
    pub fn key(&self) -> Option<&RequestKey> {
        self.key.as_ref()
    }

    /// Decides what to do with a request.
    ///
    /// One that does not fill the key is to be passed through, which the log says once for each
    /// template. So is one of another route than the first, or of an unknown one, unless the key
    /// names `{path}` or [`same_on_every_route`](Self::same_on_every_route) is set. Where there is
    /// no template, every request passes through.
    pub fn plan(&self, request: &Parts, routed: &impl Routed) -> Plan {
        let template = self.key.as_ref().map_or("", |key| key.template().as_str());
        self.plan_by(request, template, || {
            let key = self.key.as_ref().ok_or(Unkeyed::Template)?;
            let anywhere = self.every_route || key.names_path();
            if !anywhere && !self.met.is_same_route(template, routed.route()) {
                return Err(Unkeyed::Route);
            }
            key.render_routed(request, routed)
                .map_err(Unkeyed::Placeholder)
        })
    }

    /// Decides what to do with a request of this key.
    ///
    /// The headers that it was made of are to be named by [`keyed_by`](Self::keyed_by).
    pub fn plan_keyed(&self, request: &Parts, key: impl FnOnce() -> Key) -> Plan {
        let key = key();
        let named = key.clone();
        self.plan_by(request, named.template(), || Ok(key))
    }

    fn plan_by(
        &self,
        request: &Parts,
        template: &str,
        key: impl FnOnce() -> Result<Key, Unkeyed>,
    ) -> Plan {
        let bypass = |why| {
            observe::passed(template, why);
            Plan(Step::Forward(Fwd::Bypass(why)))
        };
        let admitted = cacheable::admit(
            &request.method,
            &request.headers,
            &self.keyed,
            &self.ignored_cookies,
        );
        let authorized = match admitted {
            Ok(authorized) => authorized,
            Err(Fwd::Bypass(why)) => return bypass(why),
            Err(fwd) => {
                observe::passed(template, Why::Method);
                // Of an unknown method, RFC 9111 (4.4) assumes that it changes something.
                let changes = !request.method.is_safe();
                let key = changes.then(|| key().ok()).flatten();
                return Plan(key.map_or(Step::Forward(fwd), Step::Change));
            }
        };
        let wish = if self.honor_request_cache_control {
            Wish::of(&request.headers)
        } else {
            Some(Wish::default())
        };
        let Some(wish) = wish else {
            return Plan(Step::Forward(Fwd::Request));
        };
        let key = match key() {
            Ok(key) => key,
            Err(Unkeyed::Route) => return bypass(Why::Route),
            Err(Unkeyed::Template) => return bypass(Why::NoKey),
            Err(Unkeyed::Placeholder(missing)) => {
                observe::unfilled(&missing);
                return bypass(Why::NoKey);
            }
        };
        if authorized && self.guarded.contains(&key) {
            return bypass(Why::Authorization);
        }
        if !self.every_host && !self.keyed.contains(&HOST) {
            self.met.see_host(template, request);
        }
        Plan(Step::Look(Look {
            key,
            wish,
            authorized,
        }))
    }
}

/// Why a request has no key.
enum Unkeyed {
    Template,
    Route,
    Placeholder(MissingPlaceholder),
}

/// The decision about one request: made by [`CacheRules::plan`], carried out by
/// [`CacheRules::serve`].
#[must_use = "a plan is carried out by `CacheRules::serve`"]
#[derive(Debug)]
pub struct Plan(Step);

#[derive(Debug)]
enum Step {
    /// Run the inner service.
    Forward(Fwd),
    /// Run the inner service, and reset the key unless it answers with an error.
    Change(Key),
    Look(Look),
}

/// Which stored response will do.
#[derive(Debug)]
struct Look {
    key: Key,
    wish: Wish,
    /// Whether it must be open to requests with `Authorization`.
    authorized: bool,
}

impl Look {
    fn accepts(&self, stored: &Stored, now: impl FnOnce() -> Moment) -> bool {
        (!self.authorized || stored.facts.open) && self.wish.accepts(stored, now)
    }
}

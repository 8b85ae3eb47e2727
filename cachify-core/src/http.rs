//! Caching and locking over HTTP: all rules, for any framework (feature `http`).
//!
//! An adapter for a framework says how to handle its responses ([`Framework`]), makes a [`Plan`] of a request and has [`CacheRules::serve`] do
//! the rest; or has [`HoldRules`] run a route under a lock or permit, and tells errors as [`problem`] does.
//!
//! # What is cached
//!
//! | | |
//! |---|---|
//! | requests | GET. HEAD is answered from GET's entry, and never fills it |
//! | statuses | 200, 203, 301 and 308; others by [`statuses`](CacheRules::statuses) |
//! | never | answers with `Set-Cookie`, `Cache-Control: no-store`, `private` or `no-cache`, `Vary: *`, trailers |
//! | never | bodies over the [`limit`](CacheRules::limit), and streams of unknown length: they pass through whole |
//! | unless the key names the header | requests with `Authorization` or `Cookie` |
//! | passed through | requests with a body, `If-Match`, `If-Unmodified-Since` or `Upgrade` |
//! | how long | the [`ttl`](CacheRules::ttl), or what `s-maxage`, else `max-age`, else `Expires` of the answer leaves if that is less; answers that vary, a day at most |
//!
//! An answer that turns out not to be storable is shared with nobody: those who waited for it run at once, in parallel, and for a
//! minute nobody waits for an answer under that key, until one can be stored again. A server error (5xx), 408, 409, 423, 425 or 429 is shared with nobody either, but
//! is taken for an accident: the next requests wait for one another again.
//!
//! `Vary` is honoured: answers that differ lie beside one another, and one reset of the key forgets them all. `Cache-Control` of requests is
//! ignored, since a reload must not be a stampede, unless [`listen`](CacheRules::listen) is set.
//!
//! # What the answers carry
//!
//! `Cache-Status` (RFC 9211): `cachify; hit; ttl=299`, `cachify; fwd=uri-miss; stored`, `cachify; fwd=vary-miss; collapsed`,
//! `cachify; fwd=bypass`. Reused ones have an `Age`. Successful ones have an `ETag`, made of the body if the inner service made none. All other
//! headers, but for those of one connection, and the body come back byte for byte. `If-None-Match`, `If-Modified-Since` and single
//! ranges are taken off the request before the inner call and evaluated on the answer.

mod adapter;
mod answer;
mod cacheable;
mod hold;
mod pass;
mod problem;
mod request_key;
mod serve;
mod stored;

use std::sync::Arc;

use http::request::Parts;
use http::{HeaderName, StatusCode};

pub use self::hold::HoldRules;
pub use self::problem::problem;
pub use self::request_key::{RequestKey, read_key, sorted_query};
pub use self::serve::Framework;

use self::answer::Fwd;
use self::pass::Passes;
use crate::{Error, Key, Ttl, observe};

/// What a route's answers are cached under, which of them, and for how long.
#[derive(Debug, Clone)]
pub struct CacheRules {
    /// `None`: the adapter makes the keys.
    key: Option<RequestKey>,
    /// The request's headers that the key tells apart.
    keyed: Vec<HeaderName>,
    ttl: Option<Ttl>,
    statuses: Vec<StatusCode>,
    limit: usize,
    detach: bool,
    listen: bool,
    passes: Arc<Passes>,
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
        rules.key = Some(key);
        Ok(rules)
    }

    /// Rules with the defaults, for keys that are made elsewhere: see [`plan_keyed`](Self::plan_keyed).
    pub fn without_template() -> Self {
        Self {
            key: None,
            keyed: Vec::new(),
            ttl: None,
            statuses: cacheable::STATUSES.to_vec(),
            limit: 1 << 20,
            detach: false,
            listen: false,
            passes: Arc::default(),
        }
    }

    /// Says which headers of a request are part of keys that are made elsewhere. Default: none.
    pub fn keyed_by(&mut self, headers: impl IntoIterator<Item = HeaderName>) {
        self.keyed = headers.into_iter().collect();
    }

    /// How long answers live. Default: the handle's default, 5 minutes if that was not changed. An answer's own `max-age` can shorten it.
    pub fn ttl(&mut self, ttl: Ttl) {
        self.ttl = Some(ttl);
    }

    /// Which statuses are stored. Default 200, 203, 301 and 308; 206 and 304 never are.
    pub fn statuses(&mut self, statuses: impl IntoIterator<Item = StatusCode>) {
        self.statuses = statuses.into_iter().collect();
    }

    /// The longest body that is stored, in bytes. Default 1 MiB.
    pub fn limit(&mut self, bytes: usize) {
        self.limit = bytes;
    }

    /// Lets a computation finish and fill although its client went away. Default: it is cancelled, and somebody who waits takes over.
    pub fn detach(&mut self, detach: bool) {
        self.detach = detach;
    }

    /// Listens to `Cache-Control` of requests: `no-cache` and `max-age=0` make a new answer for everybody, `no-store` one that
    /// is not kept. Default: ignored.
    pub fn listen(&mut self, listen: bool) {
        self.listen = listen;
    }

    /// Whether answers of this status can be stored.
    pub fn stores(&self, status: StatusCode) -> bool {
        self.statuses.contains(&status)
    }

    /// How answers are keyed, if a template says so.
    pub fn key(&self) -> Option<&RequestKey> {
        self.key.as_ref()
    }

    /// What to do with a request; `param` returns the path parameter of a name.
    ///
    /// A request that does not fill the key is to be passed through, which the log says once for each template. So is every one
    /// where there is no template.
    pub fn plan<'a>(&self, request: &'a Parts, param: impl Fn(&str) -> Option<&'a str>) -> Plan {
        self.plan_by(request, || match &self.key {
            Some(key) => key
                .render(request, param)
                .inspect_err(observe::unfilled)
                .ok(),
            None => None,
        })
    }

    /// What to do with a request of this key, which is made only where it is needed.
    ///
    /// The headers that it was made of are to be named by [`keyed_by`](Self::keyed_by).
    pub fn plan_keyed(&self, request: &Parts, key: impl FnOnce() -> Key) -> Plan {
        self.plan_by(request, || Some(key()))
    }

    fn plan_by(&self, request: &Parts, key: impl FnOnce() -> Option<Key>) -> Plan {
        if let Some(fwd) = cacheable::bypass(&request.method, &request.headers, &self.keyed) {
            return Plan(Step::Forward(fwd));
        }
        let wish = if self.listen {
            cacheable::wish(&request.headers)
        } else {
            cacheable::Wish::Nothing
        };
        if wish == cacheable::Wish::Unstored {
            return Plan(Step::Forward(Fwd::Request));
        }
        let fresh = wish == cacheable::Wish::Fresh;
        Plan(match key() {
            Some(key) => Step::Look { key, fresh },
            None => Step::Forward(Fwd::Bypass),
        })
    }
}

/// What is to be done with one request: made by [`CacheRules::plan`], carried out by [`CacheRules::serve`].
#[must_use = "a plan is carried out by `CacheRules::serve`"]
#[derive(Debug)]
pub struct Plan(Step);

#[derive(Debug)]
enum Step {
    /// Run the inner service.
    Forward(Fwd),
    /// Look for an answer under the key, after forgetting the old one if it is to be `fresh`.
    Look { key: Key, fresh: bool },
}

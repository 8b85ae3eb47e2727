//! The decision about a request for a cached route.

use http::header::HOST;
use http::request::Parts;

use super::cache_status::Fwd;
use super::cacheable;
use super::routed::Routed;
use super::rules::CacheRules;
use super::stored::Stored;
use super::wish::Wish;
use crate::clock::Moment;
use crate::observe::Why;
use crate::{Key, MissingPlaceholder, observe};

impl CacheRules {
    /// Decides what to do with a request.
    ///
    /// These requests pass through, with a warning once for each template:
    ///
    /// - requests that lack a part of the key;
    /// - requests of an unknown route, or of another route than the first one seen, unless the key
    ///   names `{path}` or [`same_on_every_route`](Self::same_on_every_route) is set.
    ///
    /// If the rules have no template, every request passes through.
    pub fn plan(&self, request: &Parts, routed: &impl Routed) -> Plan {
        let template = self.key.as_ref().map_or("", |key| key.template().as_str());
        self.plan_by(request, template, || {
            let key = self.key.as_ref().ok_or(Unkeyed::Template)?;
            let anywhere = self.every_route || key.names_path();
            if !anywhere && !self.met.is_same_route(template, routed.route()) {
                return Err(Unkeyed::Route);
            }
            key.render(request, routed).map_err(Unkeyed::Placeholder)
        })
    }

    /// Decides what to do with a request that has this key.
    ///
    /// If the key is made from headers, name these with [`keyed_by`](Self::keyed_by).
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
                // RFC 9111 (4.4) assumes that an unknown method changes something.
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

/// The reason why a request has no key.
enum Unkeyed {
    Template,
    Route,
    Placeholder(MissingPlaceholder),
}

/// The decision about one request. [`CacheRules::plan`] makes it, and [`CacheRules::serve`] carries
/// it out.
#[must_use = "`CacheRules::serve` carries out a plan"]
#[derive(Debug)]
pub struct Plan(pub(super) Step);

#[derive(Debug)]
pub(super) enum Step {
    /// Calls the inner service.
    Forward(Fwd),
    /// Calls the inner service, and resets the key unless the response is an error.
    Change(Key),
    /// Looks for a stored response.
    Look(Look),
}

/// The stored responses that a request accepts.
#[derive(Debug)]
pub(super) struct Look {
    pub(super) key: Key,
    pub(super) wish: Wish,
    /// Set if they must be open to requests with `Authorization`.
    pub(super) authorized: bool,
}

impl Look {
    /// Returns whether the request may start a refresh of a stale response.
    pub(super) fn refreshes(&self, head: bool) -> bool {
        !head && !self.wish.only_stored && !self.wish.fresh && !self.wish.is_choosy()
    }

    /// Returns whether a fresh response is acceptable.
    pub(super) fn accepts(&self, stored: &Stored, now: impl FnOnce() -> Moment) -> bool {
        self.is_open(stored) && self.wish.accepts(stored, now)
    }

    /// Returns whether a response is acceptable that has been stale since `end`.
    pub(super) fn accepts_stale(&self, stored: &Stored, end: Moment, now: Moment) -> bool {
        self.is_open(stored) && self.wish.accepts_stale(stored, end, now)
    }

    fn is_open(&self, stored: &Stored) -> bool {
        !self.authorized || stored.facts.open
    }
}

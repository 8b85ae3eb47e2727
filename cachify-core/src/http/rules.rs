//! The configuration of a cached route.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, StatusCode};
use tokio::sync::Semaphore;

use super::cacheable;
use super::cookies::Ignored;
use super::hit_for_miss::HitForMiss;
use super::request_key::RequestKey;
use super::routed::Met;
use super::stale;
use super::variants::Variants;
use crate::{Cachify, Ttl, observe};

/// The rules of a cached route: which responses are cached, under which key, and for how long.
#[derive(Debug, Clone)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "each option has a method of its own"
)]
pub struct CacheRules {
    pub(super) cachify: Cachify,
    /// `None` if the adapter makes the keys.
    pub(super) key: Option<RequestKey>,
    /// The request headers that are part of the key.
    pub(super) keyed: Vec<HeaderName>,
    pub(super) ttl: Option<Ttl>,
    pub(super) statuses: Vec<StatusCode>,
    pub(super) limit: usize,
    /// One permit for each computation that may continue without its client.
    pub(super) detached: Arc<Semaphore>,
    pub(super) finish_after_disconnect: bool,
    pub(super) stale: Option<Duration>,
    pub(super) honor_request_cache_control: bool,
    pub(super) only_explicit: bool,
    pub(super) ignored_cookies: Ignored,
    pub(super) every_route: bool,
    pub(super) every_host: bool,
    pub(super) met: Arc<Met>,
    pub(super) hit_for_miss: Arc<HitForMiss>,
    /// Keys under which requests with `Authorization` pass through.
    pub(super) guarded: Arc<HitForMiss>,
    pub(super) variants: Arc<Variants>,
}

impl CacheRules {
    /// Builds rules with the defaults, for keys that are made from requests.
    pub fn new(cachify: &Cachify, key: RequestKey) -> Self {
        let mut rules = Self::without_template(cachify);
        rules.keyed_by(key.headers().iter().cloned());
        rules.ignored_cookies = Ignored::keyed(key.cookies());
        observe::cached_template(key.template().as_str());
        rules.key = Some(key);
        rules
    }

    /// Builds rules with the defaults, for keys that are made elsewhere: see
    /// [`plan_keyed`](Self::plan_keyed).
    pub fn without_template(cachify: &Cachify) -> Self {
        Self {
            cachify: cachify.clone(),
            key: None,
            keyed: Vec::new(),
            ttl: None,
            statuses: cacheable::STATUSES.to_vec(),
            limit: 1 << 20,
            detached: Arc::new(Semaphore::new(Self::AFTER_DISCONNECT)),
            finish_after_disconnect: false,
            stale: None,
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

    /// Names the request headers that are part of the key. Default: those that the template names,
    /// or none if the rules have no template.
    pub fn keyed_by(&mut self, headers: impl IntoIterator<Item = HeaderName>) {
        self.keyed = headers.into_iter().collect();
    }

    /// Sets the lifetime of responses. Default: the handle's default, 5 minutes unless changed. A
    /// response's own lifetime, such as `max-age`, can shorten it.
    pub fn ttl(&mut self, ttl: Ttl) {
        self.ttl = Some(ttl);
    }

    /// Sets the statuses that are stored. Default: 200, 203, 301 and 308; 206 and 304 never are.
    pub fn statuses(&mut self, statuses: impl IntoIterator<Item = StatusCode>) {
        self.statuses = statuses.into_iter().collect();
    }

    /// Sets the longest body that is stored, in bytes. Default: 1 MiB.
    pub fn limit(&mut self, bytes: usize) {
        self.limit = bytes;
    }

    /// Serves a response for up to `window` after its lifetime, while it is being refreshed or if
    /// its refresh fails. Default: only responses that say so themselves, for at most a day.
    ///
    /// The first request in all processes that finds a *stale* response is answered with it at
    /// once, and starts a refresh in the background. Requests that come meanwhile get the stale
    /// response, too. A refresh fails if the inner service returns an error, or one of the statuses
    /// 500, 502, 503 and 504. Then this process serves the stale response, and pauses before it
    /// tries again: for 100 ms, then twice as long each time, up to 10 s. Nothing stale is served
    /// after a reset.
    ///
    /// | directive of the response | effect |
    /// |---|---|
    /// | `stale-while-revalidate` | the time for which the response is served while a refresh runs; at most `window`, or a day without this option |
    /// | `stale-if-error` | the time for which the response is served if its refresh fails; with the same limits |
    /// | `must-revalidate`, `proxy-revalidate`, `s-maxage` | the response is never served stale |
    ///
    /// After the first of these times and within the second, a request waits for the refresh.
    ///
    /// At most [`AFTER_DISCONNECT`](Self::AFTER_DISCONNECT) refreshes run in the background at a
    /// time, or as many as [`finish_after_disconnect`](Self::finish_after_disconnect) says. Any
    /// further request refreshes in its own call. HEAD is answered with a stale response, but does
    /// not start a refresh.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use cachify_core::Cachify;
    /// use cachify_core::http::{CacheRules, RequestKey};
    ///
    /// let mut rules = CacheRules::new(&Cachify::memory(), RequestKey::new("rates"));
    /// rules.ttl(Duration::from_mins(1).into());
    /// rules.stale(Duration::from_hours(1));
    /// ```
    pub fn stale(&mut self, window: Duration) {
        self.stale = Some(window);
    }

    /// The default of adapters for [`finish_after_disconnect`](Self::finish_after_disconnect), and
    /// the default for [`stale`](Self::stale): 1000 handlers at a time.
    pub const AFTER_DISCONNECT: usize = 1000;

    /// Sets the number of handlers that may run to their end at a time after their clients
    /// disconnect, so that their responses are stored. Any more are cancelled with their clients,
    /// and a waiting request takes over. Default: none.
    ///
    /// Refreshes in the background have the same limit; see [`stale`](Self::stale).
    pub fn finish_after_disconnect(&mut self, at_most: usize) {
        let permits = at_most.min(Semaphore::MAX_PERMITS);
        self.detached = Arc::new(Semaphore::new(permits));
        self.finish_after_disconnect = at_most > 0;
    }

    /// Honors `Cache-Control` of requests. Default: it is ignored.
    ///
    /// | directive | effect |
    /// |---|---|
    /// | `no-cache`, `max-age=0` | a new response, which replaces the stored response for this request |
    /// | `max-age`, `min-fresh` | the same if the stored response is older, or stays fresh for less |
    /// | `only-if-cached` | a stored response, or else 504 |
    /// | `no-store`, or a field that cannot be parsed | a response that is not stored |
    /// | `max-stale` | a stored response that has been stale for no longer, if it is still [kept](Self::stale); otherwise a new one |
    pub fn honor_request_cache_control(&mut self, honor: bool) {
        self.honor_request_cache_control = honor;
    }

    /// Stores only responses with a lifetime of their own: `s-maxage`, `max-age`, `Expires`, or a
    /// targeted field. Default: the others live for the [`ttl`](Self::ttl).
    pub fn only_explicit(&mut self, only: bool) {
        self.only_explicit = only;
    }

    /// Ignores cookies with these names. A trailing `*` matches any suffix, and `*` alone matches
    /// every cookie. Default: none.
    ///
    /// A request without other cookies is answered from the cache. The inner service does not see
    /// ignored cookies when its response may be stored.
    pub fn ignore_cookies<S: Into<String>>(&mut self, names: impl IntoIterator<Item = S>) {
        self.ignored_cookies.set(names);
    }

    /// Shares entries between routes. Default: only the first route that is seen is cached, unless
    /// the key names `{path}`.
    ///
    /// Use it for routes that give the same responses, or if the framework does not report the
    /// route of a request.
    pub fn same_on_every_route(&mut self) {
        self.every_route = true;
    }

    /// Declares that responses do not depend on the host. Default: a warning when requests for a
    /// second host get the responses of the first, unless the key names `{host}`.
    pub fn same_on_every_host(&mut self) {
        self.every_host = true;
    }

    /// Returns the longest time for which a response is served after its lifetime.
    pub(super) fn longest_stale(&self) -> Duration {
        self.stale.unwrap_or(stale::LONGEST)
    }

    /// Returns the handle.
    pub fn cachify(&self) -> &Cachify {
        &self.cachify
    }

    /// Returns whether responses of this status can be stored.
    pub fn stores(&self, status: StatusCode) -> bool {
        self.statuses.contains(&status)
    }

    /// Returns the key template, if there is one.
    pub fn key(&self) -> Option<&RequestKey> {
        self.key.as_ref()
    }
}

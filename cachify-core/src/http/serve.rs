//! The path of one request through the cache.

use std::borrow::Cow;
use std::convert::Infallible;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::header::{CACHE_STATUS, CONTENT_LENGTH};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode};
use http_body::Body;
use tokio::sync::{OwnedSemaphorePermit, TryAcquireError};
use tokio::time::Instant;
use tracing::Instrument as _;

use super::answer::{CONDITIONS, answer};
use super::body::{BoxError, ReadBody};
use super::cache_status::{Fwd, Origin};
use super::cacheable::{Refusal, can_be_an_entry, initial_age, is_failure, storable};
use super::plan::{Look, Plan, Step};
use super::policy::HttpPolicy;
use super::routed::with_host;
use super::rules::CacheRules;
use super::stale::seconds_left;
use super::stored::{Facts, HttpEntry, Stored, Varies};
use super::variants::LIFE;
use crate::backend::Life;
use crate::clock::Moment;
use crate::observe::{self, ReadOutcome, Why};
use crate::read::policy::sealed::Unstored;
use crate::{Cached, Cachify, Key, Ttl};

/// A function that makes a framework's body.
type Build<B> = fn(ReadBody) -> B;

impl CacheRules {
    /// Returns the response to a request if it is in local memory. The caller then skips
    /// [`serve`](Self::serve) and all preparation for it.
    pub fn hit<B>(
        &self,
        plan: &Plan,
        request: &Parts,
        body: fn(ReadBody) -> B,
    ) -> Option<Response<B>> {
        let Step::Look(look) = &plan.0 else {
            return None;
        };
        let (key, cachify) = (&look.key, &self.cachify);
        let mut entry = cachify.at_hand(key)?;
        if let HttpEntry::Varies(varies) = entry.downcast_ref()? {
            entry = cachify.at_hand(&varies.variant(key, &seen_headers(request)))?;
        }
        let HttpEntry::Answer(stored) = entry.downcast_ref()? else {
            return None;
        };
        if !look.accepts(stored, || cachify.inner.engine.backend.now(key)) {
            return None;
        }
        observe::request(key, ReadOutcome::Hit);
        Some(hit(cachify, key, stored, request, body))
    }

    /// Answers a request: from the cache, with the response to another request that is under way,
    /// or by `call`.
    ///
    /// `call` receives the request's head, without conditions and ranges if the response is to be
    /// stored. A response that cannot be stored is returned as `call` made it, with one more
    /// `Cache-Status` line.
    ///
    /// # Errors
    ///
    /// Returns only the errors of `call`.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future drops `call`, and a waiter takes over. With
    /// [`finish_after_disconnect`](Self::finish_after_disconnect), `call` continues and its
    /// response is stored. So does a refresh of a [stale](Self::stale) response.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::convert::Infallible;
    /// use std::sync::Arc;
    ///
    /// use bytes::Bytes;
    /// use cachify_core::http::{CacheRules, ReadBody};
    /// use cachify_core::{Cachify, key};
    /// use http::{Request, Response};
    /// use http_body_util::Full;
    ///
    /// /// Makes a body of the framework.
    /// fn full(read: ReadBody) -> Full<Bytes> {
    ///     Full::new(read.into_bytes().unwrap_or_default())
    /// }
    ///
    /// #[tokio::main]
    /// async fn main() -> Result<(), Box<dyn std::error::Error>> {
    ///     let rules = Arc::new(CacheRules::without_template(&Cachify::memory()));
    ///     for expected in ["cachify; fwd=uri-miss; stored", "cachify; hit"] {
    ///         let (request, ()) = Request::get("/users/7").body(())?.into_parts();
    ///         let plan = rules.plan_keyed(&request, || key!("user-7"));
    ///         let handler = async |_| Ok::<_, Infallible>(Response::new(Full::from("Ann")));
    ///         let response = rules.serve(plan, request, full, handler).await?;
    ///         let status = response.headers()["cache-status"].to_str()?;
    ///         assert!(status.starts_with(expected), "{status}");
    ///     }
    ///     Ok(())
    /// }
    /// ```
    pub async fn serve<B, E, F, Fut>(
        self: &Arc<Self>,
        plan: Plan,
        request: Parts,
        body: fn(ReadBody) -> B,
        call: F,
    ) -> Result<Response<B>, E>
    where
        B: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
        E: Send + 'static,
        F: FnOnce(Parts) -> Fut + Send + 'static,
        Fut: Future<Output = Result<Response<B>, E>> + Send + 'static,
    {
        let cachify = &self.cachify;
        if let Some(response) = self.hit(&plan, &request, body) {
            return Ok(response);
        }
        let look = match plan.0 {
            Step::Look(look) => look,
            Step::Change(key) => return change(cachify, key, request, call).await,
            Step::Forward(fwd) => return forward(request, call, fwd).await,
        };
        let (template, wish) = (look.key.template(), look.wish);
        let head = request.method == Method::HEAD;
        let mut fwd = Fwd::UriMiss;
        let mut stale = false;
        if head || look.authorized || wish.only_stored || wish.is_choosy() {
            let found = peek(self, &look, &seen_headers(&request)).await;
            let accepts = |found: &Peeked| match found.1 {
                None => look.accepts(&found.0, || self.now(&look.key)),
                Some(end) => look.accepts_stale(&found.0, end, self.now(&look.key)),
            };
            match found {
                // It may start a refresh.
                Some((_, Some(_))) if look.authorized && look.refreshes(head) => {}
                Some(found) if accepts(&found) => {
                    let stale = |end| ReadOutcome::Stale(Life::new(end));
                    observe::request(&look.key, found.1.map_or(ReadOutcome::Hit, stale));
                    return Ok(peeked(self, &look.key, &found, &request, body));
                }
                _ if wish.only_stored => return Ok(nothing_stored(body)),
                Some((stored, _)) if look.authorized && !stored.facts.open => {
                    self.guarded.add(&look.key);
                    let why = Why::Authorization;
                    observe::passed(template, why);
                    return forward(request, call, Fwd::Bypass(why)).await;
                }
                Some((_, Some(_))) if !wish.is_choosy() => stale = true,
                Some(_) => fwd = Fwd::Request,
                None => {}
            }
        }
        if wish.fresh || fwd == Fwd::Request {
            (fwd, stale) = (Fwd::Request, false);
            forget(cachify, &look.key, &seen_headers(&request)).await;
        }
        if head && stale {
            return head_or_stale(self, &look, request, call, body).await;
        }
        if head {
            return forward(request, call, fwd).await;
        }
        let permit = if self.finish_after_disconnect {
            let permit = self.detach();
            permit
                .inspect_err(|_| observe::ended_with_client(&look.key))
                .ok()
        } else {
            None
        };
        let finishes = permit.is_some();
        let exchange = Arc::new(Exchange {
            rules: Arc::clone(self),
            body,
            policy: HttpPolicy {
                authorized: look.authorized,
                only_fresh: fwd == Fwd::Request || wish.is_choosy(),
            },
            key: look.key,
            headers: seen_headers(&request).into_owned(),
            scope: Cachify::current(),
            state: Mutex::new(State {
                request: Some((request, call)),
                own: None,
                seen: cachify.inner.entries.flights.tick(),
                permit,
            }),
        });
        if !finishes {
            // Boxed, so that a hit does not carry the state of a miss.
            return Box::pin(exchange.run(fwd)).await;
        }
        match tokio::spawn(exchange.run(fwd).in_current_span()).await {
            Ok(response) => response,
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                // The runtime is shutting down and has cancelled the task.
                Err(_) => std::future::pending().await,
            },
        }
    }

    /// Takes a permit to run on without the client.
    fn detach(&self) -> Result<OwnedSemaphorePermit, TryAcquireError> {
        Arc::clone(&self.detached).try_acquire_owned()
    }

    fn now(&self, key: &Key) -> Moment {
        self.cachify.inner.engine.backend.now(key)
    }

    fn lifetime(&self) -> Ttl {
        self.ttl
            .unwrap_or(self.cachify.inner.engine.settings.default_ttl)
    }

    /// Reads a response that may be stored. Also returns the fields that it varies by, except those
    /// that the key contains.
    async fn capture<B>(
        &self,
        key: &Key,
        response: Response<B>,
        asked: Instant,
        authorized: bool,
        variant: bool,
        build: Build<B>,
    ) -> Result<(Stored, Vec<HeaderName>), (Response<B>, Refusal)>
    where
        B: Body<Data = Bytes, Error: Into<BoxError>>,
    {
        let (status, headers) = (response.status(), response.headers());
        let mut storable = match storable(status, headers, &self.statuses, authorized) {
            Ok(storable) if storable.lifetime.is_some() || !self.only_explicit => storable,
            Ok(_) => return Err((response, Refusal::Kind(Why::NotExplicit))),
            Err(refusal) => return Err((response, refusal)),
        };
        let number = |name| headers.get(name)?.to_str().ok()?.parse::<u64>().ok();
        let told = number(CONTENT_LENGTH);
        let age = initial_age(headers, SystemTime::now(), asked.elapsed());
        let mut ttl = self.lifetime();
        storable.vary.retain(|field| !self.keyed.contains(field));
        if variant || !storable.vary.is_empty() {
            ttl = ttl.min(LIFE.into());
        }
        if let Some(lifetime) = storable.lifetime {
            ttl = ttl.min(lifetime.saturating_sub(Duration::from_secs(age)).into());
        }
        let length = response.body().size_hint().exact().or(told);
        let refused = match length {
            _ if ttl.is_zero() => Some(Why::Expired),
            None => Some(Why::Streaming),
            Some(length) if length > self.limit as u64 => Some(Why::TooLarge),
            Some(length) if told.is_some_and(|told| told != length) => Some(Why::Broken),
            Some(length) => (!can_be_an_entry(status, length)).then_some(Why::Status),
        };
        if let Some(why) = refused {
            return Err((response, Refusal::Kind(why)));
        }
        let broken = Refusal::Accident(Why::Broken);
        let (head, body) = response.into_parts();
        let body = match ReadBody::read(body, self.limit).await.into_bytes() {
            Ok(bytes) if Some(bytes.len() as u64) == length => bytes,
            Ok(bytes) => return Err((Response::from_parts(head, build(bytes.into())), broken)),
            Err(read) => return Err((Response::from_parts(head, build(read)), broken)),
        };
        let facts = Facts {
            age,
            open: storable.open,
            at: self.now(key),
            ttl,
            stale: storable.stale.windows(self.stale),
        };
        let stored = Stored::new(head.status, head.headers, body, facts);
        Ok((stored, storable.vary))
    }
}

/// Returns the request headers that responses can vary by.
fn seen_headers(request: &Parts) -> Cow<'_, HeaderMap> {
    with_host(request, &request.headers)
}

/// Calls the inner service, and resets the key unless the response is an error. Resets also if the
/// client disconnects, since the data may have changed.
async fn change<B, E, F, Fut>(
    cachify: &Cachify,
    key: Key,
    request: Parts,
    call: F,
) -> Result<Response<B>, E>
where
    F: FnOnce(Parts) -> Fut,
    Fut: Future<Output = Result<Response<B>, E>>,
{
    let late = cachify.inner.entries.late_reset(&key);
    let answer = forward(request, call, Fwd::Method).await;
    let status = answer.as_ref().ok().map(Response::status);
    if status.is_some_and(|status| status.is_success() || status.is_redirection()) {
        let reset = cachify.reset(&key);
        if let Err(error) = reset.await {
            tracing::warn!(%error, "reset after an update is not confirmed yet");
        }
    }
    late.disarm();
    answer
}

/// Calls the inner service without sharing its response.
async fn forward<B, E, F, Fut>(request: Parts, call: F, fwd: Fwd) -> Result<Response<B>, E>
where
    F: FnOnce(Parts) -> Fut,
    Fut: Future<Output = Result<Response<B>, E>>,
{
    let mut response = call(request).await?;
    Origin::Forwarded(fwd).tell(response.headers_mut());
    Ok(response)
}

fn hit<B>(
    cachify: &Cachify,
    key: &Key,
    stored: &Stored,
    request: &Parts,
    body: Build<B>,
) -> Response<B> {
    let (headers, head) = (&request.headers, request.method == Method::HEAD);
    let now = cachify.inner.engine.backend.now(key);
    answer(stored, Origin::Hit, now, head, headers).map(|bytes| body(bytes.into()))
}

/// A stored response, and the end of its freshness if it is stale.
type Peeked = (Stored, Option<Moment>);

fn peeked<B>(
    rules: &CacheRules,
    key: &Key,
    (stored, end): &Peeked,
    request: &Parts,
    body: Build<B>,
) -> Response<B> {
    let now = rules.now(key);
    let origin = end.map_or(Origin::Hit, |end| Origin::Stale(seconds_left(end, now)));
    let (headers, head) = (&request.headers, request.method == Method::HEAD);
    answer(stored, origin, now, head, headers).map(|bytes| body(bytes.into()))
}

/// Returns the stored response that a request gets, fresh or stale, if there is one.
async fn peek(rules: &CacheRules, look: &Look, headers: &HeaderMap) -> Option<Peeked> {
    let policy = HttpPolicy {
        authorized: look.authorized,
        only_fresh: false,
    };
    let key = &look.key;
    match find(rules, key, policy).await? {
        (HttpEntry::Answer(stored), end) => Some((stored, end)),
        (HttpEntry::Varies(varies), end) => {
            let variant = varies.variant(key, headers);
            match find(rules, &variant, policy).await? {
                (HttpEntry::Answer(stored), own) => expired_by(rules, key, (stored, own), end),
                _ => None,
            }
        }
        (HttpEntry::Own(_), _) => None,
    }
}

/// Makes a variant stale if its index has been since `index`. Returns `None` if it must not be
/// served any more.
fn expired_by(
    rules: &CacheRules,
    key: &Key,
    (stored, own): Peeked,
    index: Option<Moment>,
) -> Option<Peeked> {
    let end = own.into_iter().chain(index).min();
    let until = end.map(|end| end + stored.facts.stale.longest());
    let over = until.is_some_and(|until| until <= rules.now(key));
    (!over).then_some((stored, end))
}

/// Returns an entry, and the end of its freshness if it is stale.
async fn find(
    rules: &CacheRules,
    key: &Key,
    policy: HttpPolicy,
) -> Option<(HttpEntry, Option<Moment>)> {
    let cached = rules.cachify.cached(key).stale(rules.longest_stale());
    let (entry, outcome) = cached.policy(policy).find().await.ok()??;
    Some((entry, stale_since(outcome)))
}

/// Returns the end of the freshness of an entry that is stale.
fn stale_since(outcome: ReadOutcome) -> Option<Moment> {
    match outcome {
        ReadOutcome::Stale(life) | ReadOutcome::StaleOnError(life) => Some(life.fresh_until),
        _ => None,
    }
}

/// Calls the inner service with a HEAD request, and answers with the stale response if that fails.
async fn head_or_stale<B, E, F, Fut>(
    rules: &CacheRules,
    look: &Look,
    request: Parts,
    call: F,
    body: Build<B>,
) -> Result<Response<B>, E>
where
    F: FnOnce(Parts) -> Fut,
    Fut: Future<Output = Result<Response<B>, E>>,
{
    let asked = request.clone();
    let answered = forward(request, call, Fwd::UriMiss).await;
    let failed = match &answered {
        Ok(response) if !is_failure(response.status()) => return answered,
        Ok(response) => Some(response.status()),
        Err(_) => None,
    };
    // Again: it may have been reset.
    let Some((stored, end)) = peek(rules, look, &seen_headers(&asked)).await else {
        return answered;
    };
    let now = rules.now(&look.key);
    let origin = end.map_or(Origin::Hit, |end| {
        Origin::Failed(failed, seconds_left(end, now))
    });
    let answer = answer(&stored, origin, now, true, &asked.headers);
    Ok(answer.map(|bytes| body(bytes.into())))
}

/// Resets the entry that a request would get. Other variants of the key stay.
async fn forget(cachify: &Cachify, key: &Key, headers: &HeaderMap) {
    let own = match cachify.cached(key).get::<HttpEntry>().await {
        Ok(Some(HttpEntry::Varies(varies))) => varies.variant(key, headers),
        _ => key.clone(),
    };
    // A reset that is not confirmed is retried, and logged then.
    let _ = cachify.reset(&own).await;
}

/// Answers 504 to a request that accepts only a stored response (RFC 9111, 5.2.1.7).
fn nothing_stored<B>(body: Build<B>) -> Response<B> {
    let mut response = Response::new(body(Bytes::new().into()));
    *response.status_mut() = StatusCode::GATEWAY_TIMEOUT;
    let status = HeaderValue::from_static("cachify; detail=only-if-cached");
    response.headers_mut().insert(CACHE_STATUS, status);
    response
}

/// A GET that could not be answered at once. A refresh in the background shares it.
struct Exchange<B, E, F> {
    rules: Arc<CacheRules>,
    body: Build<B>,
    key: Key,
    policy: HttpPolicy,
    /// The request headers as they came.
    headers: HeaderMap,
    /// The scope of the caller, which a task does not inherit.
    scope: Option<Cachify>,
    state: Mutex<State<B, E, F>>,
}

struct State<B, E, F> {
    /// Present until the inner service is called.
    request: Option<(Parts, F)>,
    /// The inner service's response, unless it is the shared one.
    own: Option<Own<Response<B>, E>>,
    /// The tick of the last look at the variants.
    seen: u64,
    /// The right to run on without the client.
    permit: Option<OwnedSemaphorePermit>,
}

enum Own<R, E> {
    /// A response for this client alone.
    Answer(R, Why),
    /// A response that was stored as a variant.
    Variant(Stored),
    Error(E),
}

impl<B, E, F, Fut> Exchange<B, E, F>
where
    B: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
    E: Send + 'static,
    F: FnOnce(Parts) -> Fut + Send + 'static,
    Fut: Future<Output = Result<Response<B>, E>> + Send + 'static,
{
    async fn run(self: Arc<Self>, mut fwd: Fwd) -> Result<Response<B>, E> {
        let (mut entry, mut outcome) = self.fetch(&self.key, None).await;
        let mut stale = stale_since(outcome);
        if let HttpEntry::Varies(varies) = &entry
            && (stale.is_some() || self.state().own.is_none())
        {
            let varies = varies.clone();
            let key = varies.variant(&self.key, &self.headers);
            if stale.is_some() {
                // The index was expired, and its refresh failed.
                (entry, stale) = self.variant_on_error(&key, stale).await;
            } else {
                let first = outcome;
                (entry, outcome) = self.fetch(&key, Some(&varies)).await;
                stale = stale_since(outcome);
                self.note(&varies, None);
                match first {
                    // The response that this request waited for was stored as this variant.
                    ReadOutcome::Collapsed if outcome == ReadOutcome::Hit => outcome = first,
                    _ if fwd == Fwd::UriMiss => fwd = Fwd::VaryMiss,
                    _ => {}
                }
            }
        }
        let mut own = match outcome {
            // A refresh in the background may be about to use the state.
            ReadOutcome::Stale(_) => None,
            _ => self.state().own.take(),
        };
        let guarded = match &entry {
            HttpEntry::Answer(stored) => self.policy.authorized && !stored.facts.open,
            _ => false,
        };
        if guarded {
            entry = HttpEntry::Own(Unstored::Keeps);
        }
        if let HttpEntry::Answer(stored) = &entry {
            if let Some(end) = stale {
                let left = seconds_left(end, self.rules.now(&self.key));
                let origin = match own {
                    Some(Own::Answer(failed, _)) => Origin::Failed(Some(failed.status()), left),
                    Some(_) => Origin::Failed(None, left),
                    None => Origin::Stale(left),
                };
                return Ok(self.answer(stored, origin));
            }
            if outcome == ReadOutcome::Hit {
                // This refresh failed, and another one did not.
                own = None;
            }
        }
        let why = match &own {
            Some(Own::Answer(_, why)) => Some(*why),
            Some(Own::Error(_)) => Some(Why::Error),
            None if guarded => {
                self.rules.guarded.add(&self.key);
                Some(Why::Authorization)
            }
            _ => (outcome == ReadOutcome::Bypass).then_some(Why::Alone),
        };
        if let Some(why) = why {
            fwd = Fwd::Bypass(why);
            observe::bypass(self.key.template(), why);
        }
        let origin = match outcome {
            ReadOutcome::Hit => Origin::Hit,
            ReadOutcome::Miss => Origin::Stored(fwd),
            ReadOutcome::Collapsed => Origin::Collapsed(fwd),
            _ => Origin::Forwarded(fwd),
        };
        let stored = match (own, entry) {
            (Some(Own::Error(error)), _) => return Err(error),
            (Some(Own::Answer(mut response, _)), _) => {
                origin.tell(response.headers_mut());
                return Ok(response);
            }
            (Some(Own::Variant(stored)), _) | (None, HttpEntry::Answer(stored)) => stored,
            (None, _) => {
                let request = self.state().request.take();
                match request {
                    // The stored entry is no response, or is not open to this request.
                    Some((request, call)) => {
                        let call = |request| self.call(call, request);
                        return forward(request, call, fwd).await;
                    }
                    None => unreachable!("a call leaves an answer or an error"),
                }
            }
        };
        Ok(self.answer(&stored, origin))
    }

    /// Calls the inner service in the scope of the request.
    async fn call(&self, call: F, request: Parts) -> Result<Response<B>, E> {
        match &self.scope {
            Some(scope) => scope.clone().scope(async { call(request).await }).await,
            None => call(request).await,
        }
    }

    fn answer(&self, stored: &Stored, origin: Origin) -> Response<B> {
        let now = self.rules.now(&self.key);
        let answer = answer(stored, origin, now, false, &self.headers);
        answer.map(|bytes| (self.body)(bytes.into()))
    }

    /// Finds the variant of an index that has been stale since `index`.
    async fn variant_on_error(
        &self,
        key: &Key,
        index: Option<Moment>,
    ) -> (HttpEntry, Option<Moment>) {
        if let Some((HttpEntry::Answer(stored), end)) = find(&self.rules, key, self.policy).await
            && let Some((stored, end)) = expired_by(&self.rules, key, (stored, end), index)
        {
            return (HttpEntry::Answer(stored), end);
        }
        (HttpEntry::Own(Unstored::Keeps), None)
    }

    /// Reads `key`, which is the request's own or that of a variant.
    async fn fetch(
        self: &Arc<Self>,
        key: &Key,
        varies: Option<&Varies>,
    ) -> (HttpEntry, ReadOutcome) {
        let rules = &self.rules;
        let pass = rules.hit_for_miss.contains(key);
        let cached = rules
            .cachify
            .cached(key)
            .ttl(rules.lifetime())
            .stale(rules.longest_stale())
            .policy(self.policy)
            // A request with `Authorization` must not take another request's response, nor let
            // others wait for its own.
            .alone(pass || self.policy.authorized);
        let (this, varies, variant) = (Arc::clone(self), varies.cloned(), key.clone());
        let compute = async move |leased| {
            Ok::<_, Infallible>(this.compute(variant, varies, pass, leased).await)
        };
        match cached.fetch_or_spawn(|| self.may_detach(), compute).await {
            Ok(found) => found,
            Err(never) => match never {},
        }
    }

    /// Calls the inner service, and makes an entry of its response if it can be shared.
    async fn compute(
        &self,
        key: Key,
        varies: Option<Varies>,
        pass: bool,
        leased: bool,
    ) -> HttpEntry {
        let rules = &self.rules;
        let (request, authorized) = (self.state().request.take(), self.policy.authorized);
        let Some((mut request, call)) = request else {
            unreachable!("an entry is computed once at most")
        };
        if !pass {
            for name in CONDITIONS {
                request.headers.remove(name);
            }
        }
        rules.ignored_cookies.remove(&mut request.headers);
        if varies.is_none() {
            // Variants seen before this tick are older than an index made from this response.
            self.state().seen = rules.cachify.inner.entries.flights.tick();
        }
        let asked = Instant::now();
        let response = match self.call(call, request).await {
            Ok(response) => response,
            Err(error) => {
                self.state().own = Some(Own::Error(error));
                return HttpEntry::Own(Unstored::Failed);
            }
        };
        let variant = varies.is_some();
        let captured = rules.capture(&self.key, response, asked, authorized, variant, self.body);
        let (stored, vary) = match captured.await {
            Ok(captured) => captured,
            Err((response, refusal)) => {
                let unstored = self.refused(&key, response.status(), refusal);
                self.state().own = Some(Own::Answer(response, refusal.why()));
                return HttpEntry::Own(unstored);
            }
        };
        if pass {
            rules.hit_for_miss.remove(&key);
        }
        let Some(varies) = varies else {
            if vary.is_empty() {
                return HttpEntry::Answer(stored);
            }
            let varies = self.index(vary.iter().map(HeaderName::as_str), &stored);
            return self.keep_variant(varies, stored, leased).await;
        };
        if vary.iter().all(|field| varies.covers(field)) {
            if leased {
                self.note(&varies, Some(&key));
                self.outlive(&varies, &stored);
            }
            return HttpEntry::Answer(stored);
        }
        // The responses vary by more fields than the index knows. A new index makes the old
        // variants unreachable. This response is not stored under it, since nothing says whether a
        // reset overtook it.
        let fields = varies.fields().chain(vary.iter().map(HeaderName::as_str));
        let varies = self.index(fields, &stored);
        self.state().own = Some(Own::Variant(stored));
        // A set that is not confirmed is retried as a reset.
        let _ = self
            .index_entry()
            .set(HttpEntry::Varies(varies.clone()))
            .await;
        self.state().seen = rules.cachify.inner.entries.flights.tick();
        self.note(&varies, None);
        HttpEntry::Own(Unstored::Keeps)
    }

    /// Records that a response was not stored. Returns its effect on a stale entry.
    fn refused(&self, key: &Key, status: StatusCode, refusal: Refusal) -> Unstored {
        let lasting = matches!(refusal, Refusal::Kind(_));
        // One user's response says nothing about other users' responses.
        let authorized = self.policy.authorized;
        if lasting && authorized {
            self.rules.guarded.add(&self.key);
        } else if lasting {
            self.rules.hit_for_miss.add(key);
        }
        match is_failure(status) {
            true => Unstored::Failed,
            false if lasting && !authorized => Unstored::Removes,
            false => Unstored::Keeps,
        }
    }

    /// Stores a variant before its index. A reset can't have missed the variant: without the index,
    /// no request finds it.
    async fn keep_variant(&self, varies: Varies, stored: Stored, leased: bool) -> HttpEntry {
        let key = varies.variant(&self.key, &self.headers);
        let entry = HttpEntry::Answer(stored.clone());
        self.state().own = Some(Own::Variant(stored));
        if !leased {
            // The variant is not stored, but waiters learn by which fields the responses vary.
            return HttpEntry::Varies(varies);
        }
        let cached = self.rules.cachify.cached(&key).policy(self.policy);
        match cached.put(entry).await {
            Ok(()) => {
                self.note(&varies, Some(&key));
                HttpEntry::Varies(varies)
            }
            // Storing the index would cost the same time again.
            Err(error) => {
                observe::not_stored(&key, &error);
                HttpEntry::Own(Unstored::Keeps)
            }
        }
    }
}

impl<B, E, F> Exchange<B, E, F> {
    fn state(&self) -> MutexGuard<'_, State<B, E, F>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns whether the inner service may be called in the background.
    fn may_detach(&self) -> bool {
        let mut state = self.state();
        if state.permit.is_none() {
            state.permit = self.rules.detach().ok();
        }
        state.permit.is_some()
    }

    /// Makes an index that outlives the variant `stored`.
    fn index<'a>(&self, fields: impl IntoIterator<Item = &'a str>, stored: &Stored) -> Varies {
        let mut varies = Varies::by(fields);
        varies.outlive(stored.facts, self.rules.now(&self.key));
        varies
    }

    fn index_entry(&self) -> Cached<HttpPolicy> {
        let cached = self.rules.cachify.cached(&self.key);
        cached.ttl(self.rules.lifetime()).policy(self.policy)
    }

    /// Extends the life of an index whose variant `stored` would outlive it.
    fn outlive(&self, varies: &Varies, stored: &Stored) {
        let mut varies = varies.clone();
        if !varies.outlive(stored.facts, self.rules.now(&self.key)) {
            return;
        }
        let (index, nonce) = (self.index_entry(), varies.nonce());
        let is_same = move |entry: &HttpEntry| match entry {
            HttpEntry::Varies(old) => old.nonce() == nonce,
            HttpEntry::Answer(_) | HttpEntry::Own(_) => false,
        };
        let background = &self.rules.cachify.inner.engine.background;
        background.spawn(async move {
            // If this fails, the next variant tries again.
            let _ = index.renew(HttpEntry::Varies(varies), is_same).await;
        });
    }

    /// Records a stored variant, and removes unreachable ones.
    fn note(&self, varies: &Varies, stored: Option<&Key>) {
        let cachify = &self.rules.cachify;
        let stored = stored.map(|key| cachify.own(key).into_owned());
        let (key, seen) = (cachify.own(&self.key), self.state().seen);
        let gone = self.rules.variants.note(&key, varies.nonce(), seen, stored);
        if gone.is_empty() {
            return;
        }
        let cachify = cachify.clone();
        self.rules
            .cachify
            .inner
            .engine
            .background
            .spawn(async move {
                for variant in gone {
                    let engine = &cachify.inner.engine;
                    // If this fails, the entry expires.
                    let _ = engine
                        .attempt(&variant, engine.backend.reset(&variant))
                        .await;
                }
            });
    }
}

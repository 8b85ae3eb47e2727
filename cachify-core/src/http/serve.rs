//! The path of one request through the cache.

use std::borrow::Cow;
use std::convert::Infallible;
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::header::{CACHE_STATUS, CONTENT_LENGTH};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode};
use http_body::Body;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;
use tracing::Instrument as _;

use super::answer::{CONDITIONS, answer};
use super::body::{BoxError, ReadBody};
use super::cache_status::{Fwd, Origin};
use super::cacheable::{Refusal, can_be_an_entry, initial_age, storable};
use super::plan::{Plan, Step};
use super::routed::with_host;
use super::rules::CacheRules;
use super::stored::{Facts, HttpEntry, Stored, Varies};
use super::variants::LIFE;
use crate::observe::{self, ReadOutcome, Why};
use crate::read::policy::sealed::Policy;
use crate::{Cachify, Key, Ttl};

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
    /// response is stored.
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
        let template = look.key.template();
        let head = request.method == Method::HEAD;
        let mut fwd = Fwd::UriMiss;
        if head || look.authorized || look.wish.only_stored || look.wish.is_choosy() {
            let now = || cachify.inner.engine.backend.now(&look.key);
            let stored = peek(cachify, &look.key, &seen_headers(&request)).await;
            match stored {
                Some(stored) if look.accepts(&stored, now) => {
                    observe::request(&look.key, ReadOutcome::Hit);
                    return Ok(hit(cachify, &look.key, &stored, &request, body));
                }
                _ if look.wish.only_stored => return Ok(nothing_stored(body)),
                Some(stored) if look.authorized && !stored.facts.open => {
                    self.guarded.add(&look.key);
                    let why = Why::Authorization;
                    observe::passed(template, why);
                    return forward(request, call, Fwd::Bypass(why)).await;
                }
                Some(_) => fwd = Fwd::Request,
                None => {}
            }
        }
        if look.wish.fresh || fwd == Fwd::Request {
            fwd = Fwd::Request;
            forget(cachify, &look.key, &seen_headers(&request)).await;
        }
        if head {
            return forward(request, call, fwd).await;
        }
        let exchange = Exchange {
            rules: Arc::clone(self),
            cachify: cachify.clone(),
            body,
            key: look.key,
            authorized: look.authorized,
            seen: cachify.inner.entries.flights.tick(),
            headers: seen_headers(&request).into_owned(),
            request: Some((request, call)),
            own: None,
            fwd,
        };
        let Some(permit) = self.may_outlive_client(&exchange.key) else {
            // Boxed, so that a hit does not carry the state of a miss.
            return Box::pin(exchange.run()).await;
        };
        let work = async move {
            let response = exchange.run().await;
            drop(permit);
            response
        };
        let work = work.in_current_span();
        // A task does not inherit the scope.
        let task = match Cachify::current() {
            Some(current) => tokio::spawn(current.scope(work)),
            None => tokio::spawn(work),
        };
        match task.await {
            Ok(response) => response,
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                // The runtime is shutting down and has cancelled the task.
                Err(_) => std::future::pending().await,
            },
        }
    }

    /// Takes a permit to run on without the client. Returns `None` if that is not enabled or the
    /// limit is reached.
    fn may_outlive_client(&self, key: &Key) -> Option<OwnedSemaphorePermit> {
        let Some(disconnected) = &self.disconnected else {
            return None;
        };
        let permit = Arc::clone(disconnected).try_acquire_owned();
        permit.inspect_err(|_| observe::ended_with_client(key)).ok()
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
            at: self.cachify.inner.engine.backend.now(key),
            ttl,
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

/// Returns the stored response, if there is one.
async fn peek(cachify: &Cachify, key: &Key, headers: &HeaderMap) -> Option<Stored> {
    match cachify.cached(key).get::<HttpEntry>().await.ok()?? {
        HttpEntry::Answer(stored) => Some(stored),
        HttpEntry::Varies(varies) => {
            let variant = cachify.cached(&varies.variant(key, headers));
            match variant.get::<HttpEntry>().await.ok()?? {
                HttpEntry::Answer(stored) => Some(stored),
                _ => None,
            }
        }
        HttpEntry::Own => None,
    }
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

/// A GET that could not be answered at once.
struct Exchange<B, E, F> {
    rules: Arc<CacheRules>,
    cachify: Cachify,
    body: Build<B>,
    key: Key,
    /// Set if it has `Authorization`, which the key does not name.
    authorized: bool,
    /// The tick of its last look at the variants.
    seen: u64,
    /// The request headers as they came.
    headers: HeaderMap,
    /// Present until the inner service is called.
    request: Option<(Parts, F)>,
    /// The inner service's response, unless it is the shared one.
    own: Option<Own<Response<B>, E>>,
    fwd: Fwd,
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
    async fn run(mut self) -> Result<Response<B>, E> {
        let key = self.key.clone();
        let (mut entry, mut outcome) = self.fetch(&key, None).await;
        if let (None, HttpEntry::Varies(varies)) = (&self.own, &entry) {
            let varies = varies.clone();
            let key = varies.variant(&key, &self.headers);
            let first = outcome;
            (entry, outcome) = self.fetch(&key, Some(&varies)).await;
            let stored = matches!(outcome, ReadOutcome::Miss).then_some(key);
            self.note(&varies, self.seen, stored);
            match first {
                // The response that this request waited for was stored as this variant.
                ReadOutcome::Collapsed if outcome == ReadOutcome::Hit => outcome = first,
                _ if self.fwd == Fwd::UriMiss => self.fwd = Fwd::VaryMiss,
                _ => {}
            }
        }
        let why = match &self.own {
            Some(Own::Answer(_, why)) => Some(*why),
            Some(Own::Error(_)) => Some(Why::Error),
            _ => (outcome == ReadOutcome::Bypass).then_some(Why::Alone),
        };
        if let Some(why) = why {
            self.fwd = Fwd::Bypass(why);
            observe::bypass(self.key.template(), why);
        }
        let origin = match outcome {
            ReadOutcome::Hit | ReadOutcome::Stale(_) | ReadOutcome::StaleOnError(_) => Origin::Hit,
            ReadOutcome::Miss => Origin::Stored(self.fwd),
            ReadOutcome::Collapsed => Origin::Collapsed(self.fwd),
            ReadOutcome::Unstored | ReadOutcome::Bypass | ReadOutcome::Error => {
                Origin::Forwarded(self.fwd)
            }
        };
        if self.own.is_none()
            && self.authorized
            && let HttpEntry::Answer(stored) = &entry
            && !stored.facts.open
        {
            self.rules.guarded.add(&self.key);
            let why = Why::Authorization;
            self.fwd = Fwd::Bypass(why);
            observe::bypass(self.key.template(), why);
            entry = HttpEntry::Own;
        }
        let stored = match (self.own, entry) {
            (Some(Own::Error(error)), _) => return Err(error),
            (Some(Own::Answer(mut response, _)), _) => {
                origin.tell(response.headers_mut());
                return Ok(response);
            }
            (Some(Own::Variant(stored)), _) | (None, HttpEntry::Answer(stored)) => stored,
            (None, _) => match self.request {
                // The stored entry is no response, or is not open to this request.
                Some((request, call)) => {
                    return forward(request, call, self.fwd).await;
                }
                None => unreachable!("a call leaves an answer or an error"),
            },
        };
        let now = self.cachify.inner.engine.backend.now(&self.key);
        let answer = answer(&stored, origin, now, false, &self.headers);
        Ok(answer.map(|bytes| (self.body)(bytes.into())))
    }

    /// Reads `key`, which is the request's own or that of a variant.
    async fn fetch(&mut self, key: &Key, varies: Option<&Varies>) -> (HttpEntry, ReadOutcome) {
        let pass = self.rules.hit_for_miss.contains(key);
        let cached = self
            .cachify
            .cached(key)
            .ttl(self.rules.lifetime())
            .policy(HttpPolicy)
            // A request with `Authorization` must not take another request's response, nor let
            // others wait for its own.
            .alone(pass || self.authorized);
        let compute =
            async |leased| Ok::<_, Infallible>(self.compute(key, varies, pass, leased).await);
        match cached.fetch(compute, None).await {
            Ok(found) => found,
            Err(never) => match never {},
        }
    }

    /// Calls the inner service, and makes an entry of its response if it can be shared.
    async fn compute(
        &mut self,
        key: &Key,
        varies: Option<&Varies>,
        pass: bool,
        leased: bool,
    ) -> HttpEntry {
        let Some((mut request, call)) = self.request.take() else {
            unreachable!("an entry is computed once at most")
        };
        if !pass {
            for name in CONDITIONS {
                request.headers.remove(name);
            }
        }
        self.rules.ignored_cookies.remove(&mut request.headers);
        if varies.is_none() {
            // Variants seen before this tick are older than an index made from this response.
            self.seen = self.cachify.inner.entries.flights.tick();
        }
        let asked = Instant::now();
        let response = match call(request).await {
            Ok(response) => response,
            Err(error) => {
                self.own = Some(Own::Error(error));
                return HttpEntry::Own;
            }
        };
        let captured = self.rules.capture(
            &self.key,
            response,
            asked,
            self.authorized,
            varies.is_some(),
            self.body,
        );
        let (stored, vary) = match captured.await {
            Ok(captured) => captured,
            Err((response, refusal)) => {
                if let Refusal::Kind(_) = refusal {
                    // One user's response says nothing about other users' responses.
                    if self.authorized {
                        self.rules.guarded.add(&self.key);
                    } else {
                        self.rules.hit_for_miss.add(key);
                    }
                }
                self.own = Some(Own::Answer(response, refusal.why()));
                return HttpEntry::Own;
            }
        };
        if pass {
            self.rules.hit_for_miss.remove(key);
        }
        let Some(varies) = varies else {
            if vary.is_empty() {
                return HttpEntry::Answer(stored);
            }
            let varies = Varies::by(vary.iter().map(HeaderName::as_str));
            return self.keep_variant(varies, stored, leased).await;
        };
        if vary.iter().all(|field| varies.covers(field)) {
            return HttpEntry::Answer(stored);
        }
        // The responses vary by more fields than the index knows. A new index makes the old
        // variants unreachable. This response is not stored under it, since nothing says whether a
        // reset overtook it.
        let varies = Varies::by(varies.fields().chain(vary.iter().map(HeaderName::as_str)));
        self.own = Some(Own::Variant(stored));
        let ttl = self.rules.lifetime();
        let index = self.cachify.cached(&self.key).ttl(ttl);
        // A set that is not confirmed is retried as a reset.
        let _ = index.set(HttpEntry::Varies(varies.clone())).await;
        self.note(&varies, self.cachify.inner.entries.flights.tick(), None);
        HttpEntry::Own
    }

    /// Stores a variant before its index. A reset can't have missed the variant: without the index,
    /// no request finds it.
    async fn keep_variant(&mut self, varies: Varies, stored: Stored, leased: bool) -> HttpEntry {
        let key = varies.variant(&self.key, &self.headers);
        let (entry, ttl) = (HttpEntry::Answer(stored.clone()), stored.facts.ttl);
        self.own = Some(Own::Variant(stored));
        if !leased {
            // The variant is not stored, but waiters learn by which fields the responses vary.
            return HttpEntry::Varies(varies);
        }
        let cached = self.cachify.cached(&key).policy(HttpPolicy);
        match cached.put(entry, ttl).await {
            Ok(()) => {
                self.note(&varies, self.seen, Some(key));
                HttpEntry::Varies(varies)
            }
            // Storing the index would cost the same time again.
            Err(error) => {
                observe::not_stored(&key, &error);
                HttpEntry::Own
            }
        }
    }
}

impl<B, E, F> Exchange<B, E, F> {
    /// Records a stored variant, and removes unreachable ones.
    fn note(&self, varies: &Varies, seen: u64, stored: Option<Key>) {
        let stored = stored.map(|key| self.cachify.own(&key).into_owned());
        let key = self.cachify.own(&self.key);
        let variants = &self.rules.variants;
        let gone = variants.note(&key, varies.nonce(), seen, stored);
        if gone.is_empty() {
            return;
        }
        let cachify = self.cachify.clone();
        self.cachify.inner.engine.background.spawn(async move {
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

/// The time to live of each kind of entry. The fixed one is for indexes of variants.
struct HttpPolicy;

impl Policy<HttpEntry> for HttpPolicy {
    fn ttl(&self, entry: &HttpEntry, ttl: Ttl) -> Option<Ttl> {
        match entry {
            HttpEntry::Answer(stored) => Some(stored.facts.ttl),
            HttpEntry::Varies(_) => Some(ttl),
            HttpEntry::Own => None,
        }
    }

    fn weight(&self, entry: &HttpEntry) -> Option<usize> {
        match entry {
            HttpEntry::Answer(stored) => Some(stored.size()),
            HttpEntry::Varies(_) | HttpEntry::Own => None,
        }
    }
}

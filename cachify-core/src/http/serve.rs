//! One request through the cache.

use std::borrow::Cow;
use std::convert::Infallible;
use std::future::Future;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::header::{CACHE_STATUS, CONTENT_LENGTH};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;
use tracing::Instrument as _;

use super::answer::{CONDITIONS, Fwd, Origin, answer};
use super::cacheable::{Refusal, can_be_an_entry, initial_age, storable};
use super::routed::with_host;
use super::stored::{Facts, HttpEntry, Stored, Varies};
use super::variants::LIFE;
use super::{CacheRules, Plan, Step};
use crate::observe::{self, ReadOutcome, Why};
use crate::read::policy::sealed::Policy;
use crate::{Cachify, Key, Ttl};

/// Handles the responses of a framework. Each adapter implements it.
pub trait Framework: 'static {
    /// The framework's response.
    type Response: Send + 'static;

    /// Its status and headers.
    fn head(response: &Self::Response) -> (StatusCode, &HeaderMap);

    /// Its headers, to be added to.
    fn headers_mut(response: &mut Self::Response) -> &mut HeaderMap;

    /// The length of its body, if that is known before it is read.
    fn body_length(response: &Self::Response) -> Option<u64>;

    /// Reads the body, which should have no more than `limit` bytes.
    ///
    /// # Errors
    ///
    /// The response to answer with if the body breaks off: one that breaks off as well.
    fn collect(
        response: Self::Response,
        limit: usize,
    ) -> impl Future<Output = Result<Response<Bytes>, Self::Response>> + Send;

    /// Makes a response with this body.
    fn build(response: Response<Bytes>) -> Self::Response;
}

impl CacheRules {
    /// Returns the answer to a request if it is at hand: then there is no need to call
    /// [`serve`](Self::serve), nor to get ready for it.
    pub fn hit<W: Framework>(
        &self,
        cachify: &Cachify,
        plan: &Plan,
        request: &Parts,
    ) -> Option<W::Response> {
        let Step::Look(look) = &plan.0 else {
            return None;
        };
        let key = &look.key;
        let mut entry = cachify.at_hand(key)?;
        if let HttpEntry::Varies(varies) = entry.downcast_ref()? {
            entry = cachify.at_hand(&varies.variant(key, &seen_headers(request)))?;
        }
        let HttpEntry::Answer(stored) = entry.downcast_ref()? else {
            return None;
        };
        if !look.accepts(stored, || cachify.inner.engine.backend.now()) {
            return None;
        }
        observe::request(key, ReadOutcome::Hit);
        Some(hit::<W>(cachify, stored, request))
    }

    /// Answers a request: from the cache, with the answer to another request that is under way, or
    /// by `call`.
    ///
    /// `call` is given the request's head, without its conditions and ranges where the answer is to
    /// be stored. An answer that cannot be stored is returned as `call` made it, but for one more
    /// line of `Cache-Status`.
    ///
    /// # Errors
    ///
    /// Only those of `call`.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future drops `call`, and a waiter takes over. After
    /// [`finish_after_disconnect`](Self::finish_after_disconnect), `call` continues and its answer
    /// is stored.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::convert::Infallible;
    /// use std::sync::Arc;
    ///
    /// use bytes::Bytes;
    /// use cachify_core::http::{CacheRules, Framework};
    /// use cachify_core::{Cachify, key};
    /// use http::{HeaderMap, Request, Response, StatusCode};
    ///
    /// /// A framework whose bodies are in memory.
    /// struct Plain;
    ///
    /// impl Framework for Plain {
    ///     type Response = Response<Bytes>;
    ///
    ///     fn head(response: &Self::Response) -> (StatusCode, &HeaderMap) {
    ///         (response.status(), response.headers())
    ///     }
    ///
    ///     fn headers_mut(response: &mut Self::Response) -> &mut HeaderMap {
    ///         response.headers_mut()
    ///     }
    ///
    ///     fn body_length(response: &Self::Response) -> Option<u64> {
    ///         u64::try_from(response.body().len()).ok()
    ///     }
    ///
    ///     async fn collect(
    ///         response: Self::Response,
    ///         _: usize,
    ///     ) -> Result<Response<Bytes>, Self::Response> {
    ///         Ok(response)
    ///     }
    ///
    ///     fn build(response: Response<Bytes>) -> Self::Response {
    ///         response
    ///     }
    /// }
    ///
    /// #[tokio::main]
    /// async fn main() -> Result<(), Box<dyn std::error::Error>> {
    ///     let cachify = Cachify::memory();
    ///     let rules = Arc::new(CacheRules::without_template());
    ///     for expected in ["cachify; fwd=uri-miss; stored", "cachify; hit"] {
    ///         let (request, ()) = Request::get("/users/7").body(())?.into_parts();
    ///         let plan = rules.plan_keyed(&request, || key!("user-7"));
    ///         let handler = async |_| Ok::<_, Infallible>(Response::new(Bytes::from("Ann")));
    ///         let served = rules.serve::<Plain, _, _, _>(&cachify, plan, request, handler);
    ///         let response = served.await?;
    ///         let status = response.headers()["cache-status"].to_str()?;
    ///         assert!(status.starts_with(expected), "{status}");
    ///     }
    ///     Ok(())
    /// }
    /// ```
    pub async fn serve<W, E, F, Fut>(
        self: &Arc<Self>,
        cachify: &Cachify,
        plan: Plan,
        request: Parts,
        call: F,
    ) -> Result<W::Response, E>
    where
        W: Framework,
        E: Send + 'static,
        F: FnOnce(Parts) -> Fut + Send + 'static,
        Fut: Future<Output = Result<W::Response, E>> + Send + 'static,
    {
        if let Some(response) = self.hit::<W>(cachify, &plan, &request) {
            return Ok(response);
        }
        let look = match plan.0 {
            Step::Look(look) => look,
            Step::Change(key) => return change::<W, _, _, _>(cachify, key, request, call).await,
            Step::Forward(fwd) => return forward::<W, _, _, _>(request, call, fwd).await,
        };
        let template = look.key.template();
        let head = request.method == Method::HEAD;
        let mut fwd = Fwd::UriMiss;
        if head || look.authorized || look.wish.only_stored || look.wish.is_choosy() {
            let now = || cachify.inner.engine.backend.now();
            let stored = peek(cachify, &look.key, &seen_headers(&request)).await;
            match stored {
                Some(stored) if look.accepts(&stored, now) => {
                    observe::request(&look.key, ReadOutcome::Hit);
                    return Ok(hit::<W>(cachify, &stored, &request));
                }
                _ if look.wish.only_stored => return Ok(nothing_stored::<W>()),
                Some(stored) if look.authorized && !stored.facts.open => {
                    self.guarded.add(&look.key);
                    let why = Why::Authorization;
                    observe::passed(template, why);
                    return forward::<W, _, _, _>(request, call, Fwd::Bypass(why)).await;
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
            return forward::<W, _, _, _>(request, call, fwd).await;
        }
        let exchange = Exchange::<W, E, F> {
            rules: Arc::clone(self),
            cachify: cachify.clone(),
            key: look.key,
            authorized: look.authorized,
            seen: cachify.inner.entries.flights.tick(),
            headers: seen_headers(&request).into_owned(),
            request: Some((request, call)),
            own: None,
            fwd,
            framework: PhantomData,
        };
        let Some(permit) = self.may_outlive_client(&exchange.key) else {
            // In a box, so that a hit does not carry the state of a miss around.
            return Box::pin(exchange.run()).await;
        };
        let work = async move {
            let response = exchange.run().await;
            drop(permit);
            response
        };
        let work = work.in_current_span();
        // A task inherits no scope.
        let task = match Cachify::current() {
            Some(current) => tokio::spawn(current.scope(work)),
            None => tokio::spawn(work),
        };
        match task.await {
            Ok(response) => response,
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                // The runtime is shutting down, and this task with it.
                Err(_) => std::future::pending().await,
            },
        }
    }

    /// Lets one more computation outlive its client, if that is enabled and the limit is not
    /// reached.
    fn may_outlive_client(&self, key: &Key) -> Option<OwnedSemaphorePermit> {
        let Some(disconnected) = &self.disconnected else {
            return None;
        };
        let permit = Arc::clone(disconnected).try_acquire_owned();
        permit.inspect_err(|_| observe::ended_with_client(key)).ok()
    }

    fn lifetime(&self, cachify: &Cachify) -> Ttl {
        self.ttl
            .unwrap_or(cachify.inner.engine.settings.default_ttl)
    }

    /// Reads an answer that may be stored, and the fields that it varies by other than those that
    /// the key tells apart.
    async fn capture<W: Framework>(
        &self,
        cachify: &Cachify,
        response: W::Response,
        asked: Instant,
        authorized: bool,
        variant: bool,
    ) -> Result<(Stored, Vec<HeaderName>), (W::Response, Refusal)> {
        let (status, headers) = W::head(&response);
        let mut storable = match storable(status, headers, &self.statuses, authorized) {
            Ok(storable) if storable.lifetime.is_some() || !self.only_explicit => storable,
            Ok(_) => return Err((response, Refusal::Kind(Why::NotExplicit))),
            Err(refusal) => return Err((response, refusal)),
        };
        let number = |name| headers.get(name)?.to_str().ok()?.parse::<u64>().ok();
        let told = number(CONTENT_LENGTH);
        let age = initial_age(headers, SystemTime::now(), asked.elapsed());
        let mut ttl = self.lifetime(cachify);
        storable.vary.retain(|field| !self.keyed.contains(field));
        if variant || !storable.vary.is_empty() {
            ttl = ttl.min(LIFE.into());
        }
        if let Some(lifetime) = storable.lifetime {
            ttl = ttl.min(lifetime.saturating_sub(Duration::from_secs(age)).into());
        }
        let length = W::body_length(&response).or(told);
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
        let response = match W::collect(response, self.limit).await {
            Ok(response) if Some(response.body().len() as u64) == length => response,
            Ok(response) => return Err((W::build(response), broken)),
            Err(response) => return Err((response, broken)),
        };
        let facts = Facts {
            age,
            open: storable.open,
            at: cachify.inner.engine.backend.now(),
            ttl,
        };
        let (head, body) = response.into_parts();
        let stored = Stored::new(head.status, head.headers, body, facts);
        Ok((stored, storable.vary))
    }
}

/// The request headers that responses can vary by.
fn seen_headers(request: &Parts) -> Cow<'_, HeaderMap> {
    with_host(request, &request.headers)
}

/// Runs the inner service, and resets the key unless it answers with an error. Resets also if the
/// client disconnects, since the data may have changed.
async fn change<W, E, F, Fut>(
    cachify: &Cachify,
    key: Key,
    request: Parts,
    call: F,
) -> Result<W::Response, E>
where
    W: Framework,
    F: FnOnce(Parts) -> Fut,
    Fut: Future<Output = Result<W::Response, E>>,
{
    let late = cachify.inner.entries.late_reset(&key);
    let answer = forward::<W, _, _, _>(request, call, Fwd::Method).await;
    let status = answer.as_ref().ok().map(|response| W::head(response).0);
    if status.is_some_and(|status| status.is_success() || status.is_redirection()) {
        let reset = cachify.reset(&key);
        if let Err(error) = reset.await {
            tracing::warn!(%error, "reset after an update is not confirmed yet");
        }
    }
    late.disarm();
    answer
}

/// Runs the inner service without sharing its answer.
async fn forward<W, E, F, Fut>(request: Parts, call: F, fwd: Fwd) -> Result<W::Response, E>
where
    W: Framework,
    F: FnOnce(Parts) -> Fut,
    Fut: Future<Output = Result<W::Response, E>>,
{
    let mut response = call(request).await?;
    Origin::Forwarded(fwd).tell(W::headers_mut(&mut response));
    Ok(response)
}

fn hit<W: Framework>(cachify: &Cachify, stored: &Stored, request: &Parts) -> W::Response {
    reply::<W>(
        cachify,
        stored,
        Origin::Hit,
        &request.headers,
        request.method == Method::HEAD,
    )
}

fn reply<W: Framework>(
    cachify: &Cachify,
    stored: &Stored,
    origin: Origin,
    headers: &HeaderMap,
    head: bool,
) -> W::Response {
    let now = cachify.inner.engine.backend.now();
    W::build(answer(stored, origin, now, head, headers))
}

/// The answer, if there is one.
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

/// Replaces the entry that a request would get. Other variants of the key stay.
async fn forget(cachify: &Cachify, key: &Key, headers: &HeaderMap) {
    let own = match cachify.cached(key).get::<HttpEntry>().await {
        Ok(Some(HttpEntry::Varies(varies))) => varies.variant(key, headers),
        _ => key.clone(),
    };
    // A reset that is not confirmed is repeated, and logged when it is.
    let _ = cachify.reset(&own).await;
}

/// Answers a request that wants a stored response where there is none (RFC 9111, 5.2.1.7).
fn nothing_stored<W: Framework>() -> W::Response {
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = StatusCode::GATEWAY_TIMEOUT;
    let status = HeaderValue::from_static("cachify; detail=only-if-cached");
    response.headers_mut().insert(CACHE_STATUS, status);
    W::build(response)
}

/// A GET that was not answered at once.
struct Exchange<W: Framework, E, F> {
    rules: Arc<CacheRules>,
    cachify: Cachify,
    key: Key,
    /// Whether it has `Authorization`, which the key does not name.
    authorized: bool,
    /// When, in ticks, it looked for variants or found none.
    seen: u64,
    /// As they came.
    headers: HeaderMap,
    /// Until the inner service is called.
    request: Option<(Parts, F)>,
    /// What the inner service returned, where it is not what is shared.
    own: Option<Own<W::Response, E>>,
    fwd: Fwd,
    framework: PhantomData<fn() -> W>,
}

enum Own<R, E> {
    /// An answer for this client alone.
    Answer(R, Why),
    /// An answer that was stored as one of several.
    Variant(Stored),
    Error(E),
}

impl<W, E, F, Fut> Exchange<W, E, F>
where
    W: Framework,
    E: Send + 'static,
    F: FnOnce(Parts) -> Fut + Send + 'static,
    Fut: Future<Output = Result<W::Response, E>> + Send + 'static,
{
    async fn run(mut self) -> Result<W::Response, E> {
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
                // Its answer is the one that this one waited for.
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
            ReadOutcome::Hit => Origin::Hit,
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
                origin.tell(W::headers_mut(&mut response));
                return Ok(response);
            }
            (Some(Own::Variant(stored)), _) | (None, HttpEntry::Answer(stored)) => stored,
            (None, _) => match self.request {
                // What is stored is no variant, or not open to this request.
                Some((request, call)) => {
                    return forward::<W, _, _, _>(request, call, self.fwd).await;
                }
                None => unreachable!("a call leaves an answer or an error"),
            },
        };
        Ok(reply::<W>(
            &self.cachify,
            &stored,
            origin,
            &self.headers,
            false,
        ))
    }

    /// Reads `key`: the request's own, or where the answers vary, that of one variant.
    async fn fetch(&mut self, key: &Key, varies: Option<&Varies>) -> (HttpEntry, ReadOutcome) {
        let pass = self.rules.hit_for_miss.contains(key);
        let cached = self
            .cachify
            .cached(key)
            .ttl(self.rules.lifetime(&self.cachify))
            .policy(HttpPolicy)
            // With `Authorization`, a request must not take another request's response, nor let
            // others wait for its own.
            .alone(pass || self.authorized);
        let compute =
            async |leased| Ok::<_, Infallible>(self.compute(key, varies, pass, leased).await);
        match cached.fetch(compute, None).await {
            Ok(found) => found,
            Err(never) => match never {},
        }
    }

    /// Calls the inner service and makes what can be shared of its answer.
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
            // Variants that others saw until now are older than those of an index that is made of
            // this response.
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
        let captured = self.rules.capture::<W>(
            &self.cachify,
            response,
            asked,
            self.authorized,
            varies.is_some(),
        );
        let (stored, vary) = match captured.await {
            Ok(captured) => captured,
            Err((response, refusal)) => {
                if let Refusal::Kind(_) = refusal {
                    // One user's response says nothing about those of others.
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
        // The answers vary by more than was known. New variants of the key take the place of those
        // that were told apart too little. This answer is not among them: nothing says whether a
        // reset overtook it.
        let varies = Varies::by(varies.fields().chain(vary.iter().map(HeaderName::as_str)));
        self.own = Some(Own::Variant(stored));
        let ttl = self.rules.lifetime(&self.cachify);
        let index = self.cachify.cached(&self.key).ttl(ttl);
        // One that is not confirmed is repeated as a reset.
        let _ = index.set(HttpEntry::Varies(varies.clone())).await;
        self.note(&varies, self.cachify.inner.entries.flights.tick(), None);
        HttpEntry::Own
    }

    /// Stores a variant whose index is still to be stored, if it is: a reset cannot have removed an
    /// entry that no request can find yet.
    async fn keep_variant(&mut self, varies: Varies, stored: Stored, leased: bool) -> HttpEntry {
        let key = varies.variant(&self.key, &self.headers);
        let (entry, ttl) = (HttpEntry::Answer(stored.clone()), stored.facts.ttl);
        self.own = Some(Own::Variant(stored));
        if !leased {
            // It is not going to be stored, but those who wait learn by what the answers vary.
            return HttpEntry::Varies(varies);
        }
        let cached = self.cachify.cached(&key).policy(HttpPolicy);
        match cached.put(entry, ttl).await {
            Ok(()) => {
                self.note(&varies, self.seen, Some(key));
                HttpEntry::Varies(varies)
            }
            // The index would cost the same time once more.
            Err(error) => {
                observe::not_stored(&key, &error);
                HttpEntry::Own
            }
        }
    }
}

impl<W: Framework, E, F> Exchange<W, E, F> {
    /// Records a stored variant, and removes those that are no longer reachable.
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
                // If this fails, the entry expires by itself.
                let _ = engine.attempt(engine.backend.reset(&variant)).await;
            }
        });
    }
}

/// Decides how long each kind of entry lives; the fixed time is for those that only lead to others.
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

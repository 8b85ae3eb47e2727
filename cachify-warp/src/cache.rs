//! Cached routes.

use std::future::{Future, ready};
use std::sync::Arc;

use bytes::Bytes;
use cachify_core::http::{CacheRules, Framework};
use cachify_core::{Cachify, Key};
use futures_util::future::Either;
use futures_util::stream;
use http_body::Body as _;
use http_body_util::{BodyExt as _, Limited};
use warp::host::Authority;
use warp::http::{HeaderMap, HeaderName, Method, Request, StatusCode};
use warp::reply::Response;
use warp::{Rejection, Reply};

use crate::handler::Handler;

/// Configures how the responses of a route are cached; taken by
/// [`FilterExt::cached`](crate::FilterExt::cached).
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use cachify_warp::{CacheOptions, Cachify};
///
/// let cachify = Cachify::memory();
/// let cache = CacheOptions::new(&cachify).ttl(Duration::from_mins(5)).finish_after_disconnect();
/// ```
#[must_use = "it does nothing until it is given to `cached`"]
#[derive(Debug, Clone)]
pub struct CacheOptions {
    cachify: Cachify,
    rules: Arc<CacheRules>,
}

impl CacheOptions {
    /// Caches in `cachify`, with its default time to live.
    pub fn new(cachify: &Cachify) -> Self {
        Self {
            cachify: cachify.clone(),
            rules: Arc::new(CacheRules::without_template()),
        }
    }

    /// Which headers of the request are in the key. Default: none.
    ///
    /// What it says is believed: requests with `Authorization` or `Cookie` pass through uncached
    /// unless the header is named here, and then one user gets what was made for another if the key
    /// does not tell them apart. Answers that vary by a header that is named here are not looked up
    /// a second time.
    ///
    /// # Examples
    ///
    /// ```
    /// use cachify_warp::{CacheOptions, Cachify, FilterExt, hashed, key};
    /// use warp::{Filter, http::header};
    ///
    /// async fn inbox(token: String) -> String {
    ///     format!("what {token} may see")
    /// }
    ///
    /// let cache = CacheOptions::new(&Cachify::memory()).keyed_by([header::AUTHORIZATION]);
    /// let inbox = warp::path!("inbox")
    ///     .and(warp::get())
    ///     .and(warp::header::<String>("authorization"))
    ///     .cached(
    ///         cache,
    ///         |(token,)| {
    ///             let user = hashed(token); // a key is a name in Redis
    ///             key!("inbox-{user}")
    ///         },
    ///         inbox,
    ///     );
    /// ```
    pub fn keyed_by(self, headers: impl IntoIterator<Item = HeaderName>) -> Self {
        self.with(|rules| rules.keyed_by(headers))
    }

    fn with(mut self, change: impl FnOnce(&mut CacheRules)) -> Self {
        change(Arc::make_mut(&mut self.rules));
        self
    }
}

cachify_core::__cachify_cache_options!(CacheOptions);

/// A handler whose responses are cached.
pub(crate) struct CachedHandler<K, H> {
    pub(crate) cache: CacheOptions,
    pub(crate) key: K,
    pub(crate) handler: H,
}

impl<K, H> CachedHandler<K, H> {
    pub(crate) fn serve<Args, Kind>(
        self: &Arc<Self>,
        args: Args,
        method: Method,
        host: Option<Authority>,
        headers: HeaderMap,
    ) -> impl Future<Output = Result<Response, Rejection>> + Send + use<Args, Kind, K, H>
    where
        Args: Send + 'static,
        Kind: 'static,
        K: Fn(&Args) -> Key + Send + Sync + 'static,
        H: Handler<Args, Kind>,
    {
        let (mut request, ()) = Request::new(()).into_parts();
        request.method = method;
        request.headers = headers;
        if let Some(host) = host {
            request.uri = host.into();
        }
        let CacheOptions { cachify, rules } = &self.cache;
        let plan = rules.plan_keyed(&request, || (self.key)(&args));
        if let Some(response) = rules.hit::<Warp>(cachify, &plan, &request) {
            return Either::Left(ready(Ok(response)));
        }
        let this = Arc::clone(self);
        // In a box, so that a hit does not carry the state of a miss around.
        Either::Right(Box::pin(async move {
            let CacheOptions { cachify, rules } = &this.cache;
            let inner = Arc::clone(&this);
            let call = move |_| {
                let cachify = inner.cache.cachify.clone();
                cachify.scope(async move { inner.handler.call(args).await })
            };
            rules
                .serve::<Warp, _, _, _>(cachify, plan, request, call)
                .await
        }))
    }
}

/// Handles warp's responses.
struct Warp;

impl Framework for Warp {
    type Response = Response;

    fn head(response: &Response) -> (StatusCode, &HeaderMap) {
        (response.status(), response.headers())
    }

    fn headers_mut(response: &mut Response) -> &mut HeaderMap {
        response.headers_mut()
    }

    fn body_length(response: &Response) -> Option<u64> {
        response.body().size_hint().exact()
    }

    async fn collect(
        response: Response,
        limit: usize,
    ) -> Result<warp::http::Response<Bytes>, Response> {
        let (parts, body) = response.into_parts();
        match Limited::new(body, limit).collect().await {
            Ok(read) => Ok(warp::http::Response::from_parts(parts, read.to_bytes())),
            Err(error) => {
                // It ends the way the other one did.
                let broken = stream::once(ready(Err::<Bytes, _>(error)));
                let mut broken = warp::reply::stream(broken).into_response();
                *broken.status_mut() = parts.status;
                *broken.headers_mut() = parts.headers;
                Err(broken)
            }
        }
    }

    fn build(response: warp::http::Response<Bytes>) -> Response {
        response.into_response()
    }
}

//! Cached routes.

use std::future::{Future, ready};
use std::sync::Arc;

use cachify_core::http::{CacheRules, ReadBody};
use cachify_core::{Cachify, Key};
use futures_util::future::Either;
use http_body_util::BodyExt as _;
use warp::http::HeaderName;
use warp::http::request::Parts;
use warp::reply::Response;
use warp::{Rejection, Reply};

use crate::handler::Handler;

/// Options of a cached route, for [`FilterExt::cached`](crate::FilterExt::cached).
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
#[must_use = "options do nothing until they are given to `cached`"]
#[derive(Debug, Clone)]
pub struct CacheOptions(pub(crate) Arc<CacheRules>);

impl CacheOptions {
    /// Creates options that cache in `cachify`, with its default time to live.
    pub fn new(cachify: &Cachify) -> Self {
        Self(Arc::new(CacheRules::without_template(cachify)))
    }

    /// Names the request headers that the key contains. Default: none.
    ///
    /// Requests with `Authorization` or `Cookie` pass through uncached unless the header is named
    /// here. Nothing checks that the key contains a named header: if it does not, one user gets the
    /// response made for another. A response with `Vary` on a named header needs no second lookup.
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
    ///             let user = hashed(token); // keys are readable in Redis
    ///             key!("inbox-{user}")
    ///         },
    ///         inbox,
    ///     );
    /// ```
    pub fn keyed_by(self, headers: impl IntoIterator<Item = HeaderName>) -> Self {
        self.with(|rules| rules.keyed_by(headers))
    }

    fn with(mut self, change: impl FnOnce(&mut CacheRules)) -> Self {
        change(Arc::make_mut(&mut self.0));
        self
    }
}

cachify_core::__cachify_cache_options!(CacheOptions);

/// A handler with the rules and the key of its cached responses.
pub(crate) struct CachedHandler<K, H>(pub(crate) Arc<CacheRules>, pub(crate) K, pub(crate) H);

impl<K, H> CachedHandler<K, H> {
    pub(crate) fn serve<Args, Kind>(
        self: &Arc<Self>,
        args: Args,
        request: Parts,
    ) -> impl Future<Output = Result<Response, Rejection>> + Send + use<Args, Kind, K, H>
    where
        Args: Send + 'static,
        Kind: 'static,
        K: Fn(&Args) -> Key + Send + Sync + 'static,
        H: Handler<Args, Kind>,
    {
        let Self(rules, key, _) = &**self;
        let body: fn(ReadBody) -> _ = |read| match read.into_bytes() {
            Ok(bytes) => bytes.into(),
            Err(read) => warp::reply::stream(read.into_data_stream())
                .into_response()
                .into_body(),
        };
        let plan = rules.plan_keyed(&request, || key(&args));
        if let Some(response) = rules.hit(&plan, &request, body) {
            return Either::Left(ready(Ok(response)));
        }
        let (this, rules) = (Arc::clone(self), Arc::clone(rules));
        let cachify = rules.cachify().clone();
        let call = move |_| cachify.scope(async move { this.2.call(args).await });
        // Boxed, so that the future of a hit does not have room for the state of a miss.
        Either::Right(Box::pin(async move {
            rules.serve(plan, request, body, call).await
        }))
    }
}

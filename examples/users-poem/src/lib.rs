//! The users API on poem.

mod answer;

use std::sync::Arc;
use std::time::Duration;

use cachify_poem::{CacheMiddleware, Cachify, ErrorKind, HangupAcceptor, key};
use poem::http::{StatusCode, header};
use poem::listener::TcpAcceptor;
use poem::web::Data;
use poem::{
    Endpoint, EndpointExt, IntoResponse, Request, Response, Result, Route, Server, get, handler,
};
use poem_openapi::param::Path;
use poem_openapi::payload::Json;
use poem_openapi::{OpenApi, OpenApiService};
use users::{Ending, Flags, Problem, Store, Updates, UserId};

use answer::{Created, Failure, NewUser, Updated, User, recover};

/// Any error.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The limit of a request's body, in bytes.
const LONGEST_BODY: usize = 2 << 20;

struct Api {
    cachify: Cachify,
    store: Store,
    updates: Updates,
    lock_wait: Duration,
}

#[OpenApi(prefix_path = "/users/")]
impl Api {
    /// Creates a user.
    #[oai(path = "/", method = "post")]
    async fn create_user(&self, Json(new): Json<NewUser>) -> Result<Created, Failure> {
        let user = self.store.create(&new.valid()?).await?;
        Ok(Created::User(Json(user.into())))
    }

    /// Reads a user.
    #[oai(path = "/:user_id", method = "get", transform = "cached")]
    async fn read_user(&self, user_id: Path<i64>) -> Result<Json<User>, Failure> {
        let user = self.store.find(user_id.0).await?;
        let user = user.ok_or_else(|| Problem::no_user(user_id.0))?;
        Ok(Json(user.into()))
    }

    /// Updates a user.
    #[oai(path = "/:user_id", method = "put", transform = "spelled")]
    async fn update_user(
        &self,
        Path(user_id): Path<i64>,
        Json(new): Json<NewUser>,
    ) -> Result<Updated, Failure> {
        let new = new.valid()?;
        let lock = self.cachify.lock(&key!("update-user-{user_id}"));
        let guard = match lock.wait(self.lock_wait).acquire().await {
            Ok(guard) => guard,
            Err(error) if error.is_contended() => return Ok(Updated::in_progress()),
            Err(error) => return Err(error.into()),
        };
        let (cachify, store) = (self.cachify.clone(), self.store.clone());
        // The task owns the guard.
        let update = self.updates.run(async move {
            let update = store.update(user_id, &new);
            // Resets no matter how the update ends, even by a panic.
            let key = key!("read_user-{user_id}");
            let user = guard.run(cachify.update(&key, update)).await;
            guard.finish().await;
            user
        });
        // The task, the lock and the database can fail.
        let user = update.await???;
        let user = user.ok_or_else(|| Problem::no_user(user_id))?;
        Ok(Updated::User(Json(user.into())))
    }
}

/// Caches an operation. poem-openapi calls this when the routes are built, and names the first path
/// parameter `param0`.
fn cached(operation: impl Endpoint + 'static) -> impl Endpoint {
    let Some(cachify) = Cachify::current() else {
        unreachable!("the routes are built in the scope of a handle");
    };
    let cached = CacheMiddleware::new(&cachify, "read_user-{param0}");
    spelled(operation.with(cached.ttl(Duration::from_mins(5))))
}

/// Refuses other spellings of an id, which would be other keys in the cache.
fn spelled(operation: impl Endpoint + 'static) -> impl Endpoint {
    operation.before(async |request: Request| {
        let id = request.raw_path_param("param0").unwrap_or_default();
        match id.parse::<UserId>() {
            Ok(_) => Ok(request),
            Err(invalid) => Err(Failure::from(Problem::from(invalid)).into()),
        }
    })
}

/// Reads the body before the operation runs, so that a long or slow body can still be refused.
async fn bounded(mut request: Request) -> Result<Request> {
    let body = request.take_body().into_bytes_limit(LONGEST_BODY);
    let body = tokio::time::timeout(users::BODY_TIME, body).await;
    let body = body.map_err(|_| Failure::from(Problem::slow_body()))??;
    request.set_body(body);
    Ok(request)
}

/// Adds the `Allow` field to a 405.
async fn allow(next: Arc<impl Endpoint>, request: Request) -> Result<Response> {
    let path = request.uri().path().to_owned();
    match next.call(request).await {
        Err(error) if error.status() == StatusCode::METHOD_NOT_ALLOWED => {
            let failure = recover(error).await;
            Ok(failure
                .with_header(header::ALLOW, users::allowed(&path))
                .into_response())
        }
        answered => answered.map(IntoResponse::into_response),
    }
}

/// Returns the routes. An update waits up to `lock_wait` for another update of the same user, and
/// is then answered 226.
pub fn app(
    cachify: &Cachify,
    store: &Store,
    updates: &Updates,
    lock_wait: Duration,
) -> impl Endpoint + use<> {
    let api = Api {
        cachify: cachify.clone(),
        store: store.clone(),
        updates: updates.clone(),
        lock_wait,
    };
    let api = OpenApiService::new(api, "Users", env!("CARGO_PKG_VERSION"))
        .description("The users API on poem, cached and locked by cachify.");
    let routes = Route::new()
        .at("/metrics", get(metrics))
        .at("/healthz", get(health))
        .at("/openapi.json", api.spec_endpoint())
        .nest("/docs", api.swagger_ui());
    cachify
        .sync_scope(|| routes.nest("/", api))
        .before(bounded)
        .data(store.clone())
        .data(cachify.clone())
        .around(allow)
        .catch_all_error(recover)
}

/// Runs the app until it is asked to end and the requests in flight have been answered.
///
/// Reads fail open, so the app also starts while Redis is away.
///
/// # Errors
///
/// Returns an error if the cache is unfit for use, the database cannot be opened, or the address is
/// taken.
pub async fn serve(flags: Flags, end: Ending) -> Result<(), BoxError> {
    users::render_metrics();
    let store = Store::open(flags.database.as_deref(), flags.delay).await?;
    let cachify = Cachify::builder()
        .url(&flags.cache)
        .prefix(flags.prefix_for(&store))
        .connect_lazy()?;
    match cachify.check().await {
        Err(error) if error.kind() == ErrorKind::Configuration => return Err(error.into()),
        Err(error) => tracing::warn!(%error, "starting without the cache"),
        Ok(()) => {}
    }
    let listener = users::listen(flags.listen).await?;
    users::announce(listener.local_addr()?)?;
    let acceptor = HangupAcceptor::new(TcpAcceptor::from_tokio(listener)?);
    let updates = Updates::default();
    let app = app(&cachify, &store, &updates, flags.lock_wait);
    let server =
        Server::new_with_acceptor(acceptor).run_with_graceful_shutdown(app, end.asked(), None);
    let served = end.drain(flags.grace, async {
        let served = server.await;
        updates.end().await;
        served
    });
    let served = served.await;
    // Even if the server failed, send the releases and resets that are still pending.
    let closed = cachify.close(Duration::from_secs(5)).await;
    store.close().await;
    served.transpose()?;
    Ok(closed?)
}

#[handler]
fn metrics() -> Response {
    users::render_metrics()
        .with_content_type("text/plain; version=0.0.4")
        .into_response()
}

/// Checks the database. Reads fail open: without its cache, the app is slow but healthy.
#[handler]
async fn health(
    Data(store): Data<&Store>,
    Data(cachify): Data<&Cachify>,
) -> Result<String, Failure> {
    store.check().await?;
    Ok(match cachify.check().await {
        Ok(()) => "ok".to_owned(),
        Err(error) => format!("ok, without the cache: {error}"),
    })
}

//! The page on tower, tonic and actix-web.
#![allow(clippy::unwrap_used, clippy::unused_async)]

use std::mem;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use cachify_core::{Cachify, Error, ErrorKind, cached, key};
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct User {
    id: u64,
}

#[derive(Debug)]
struct DbError;

#[derive(Clone, Default)]
struct Db(Arc<AtomicUsize>);

impl Db {
    async fn find(&self, id: u64) -> Result<User, DbError> {
        self.0.fetch_add(1, Ordering::SeqCst);
        Ok(User { id })
    }

    fn reads(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

// ANCHOR: tower
use std::task::{Context, Poll};

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tower::Service;

/// Asks the inner service for users that are not cached.
#[derive(Clone)]
struct CachedUsers<S> {
    cachify: Cachify,
    inner: S,
}

impl<S> Service<u64> for CachedUsers<S>
where
    S: Service<u64, Response = User> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Send + Sync,
{
    type Response = User;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<User, S::Error>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, id: u64) -> Self::Future {
        let entry = self.cachify.cached(&key!("user-{id}"));
        // A clone may not be ready, so this call takes the service that is ready.
        let clone = self.inner.clone();
        let mut ready = mem::replace(&mut self.inner, clone);
        async move { entry.get_or_try_compute(|| ready.call(id)).await }.boxed()
    }
}
// ANCHOR_END: tower

#[tokio::test]
async fn a_service_is_asked_once() {
    use tower::{ServiceExt as _, service_fn};

    let db = Db::default();
    let users = CachedUsers {
        cachify: Cachify::memory(),
        inner: service_fn({
            let db = db.clone();
            move |id| {
                let db = db.clone();
                async move { db.find(id).await }
            }
        }),
    };
    for _ in 0..2 {
        let user = users.clone().oneshot(7).await.unwrap();
        assert_eq!(user, User { id: 7 });
    }
    assert_eq!(db.reads(), 1);
}

/// Stands in for tonic, whose generated traits look like this.
mod rpc {
    pub(super) struct Request<T>(pub(super) T);

    #[derive(Debug)]
    pub(super) struct Response<T>(pub(super) T);

    #[derive(Debug, PartialEq)]
    pub(super) enum Status {
        Internal,
        Aborted,
        ResourceExhausted,
        Unavailable,
    }

    #[async_trait::async_trait]
    pub(super) trait Users {
        async fn get_user(&self, request: Request<u64>) -> Result<Response<u64>, Status>;
    }
}
use rpc::{Request, Response, Status, Users};

// ANCHOR: rpc
struct UsersService {
    cachify: Cachify,
    db: Db,
}

impl UsersService {
    #[cached(key = "user-{id}", with = self.cachify)]
    async fn find(&self, id: u64) -> Result<User, DbError> {
        self.db.find(id).await
    }
}

#[async_trait::async_trait] // in tonic: #[tonic::async_trait]
impl Users for UsersService {
    async fn get_user(&self, request: Request<u64>) -> Result<Response<u64>, Status> {
        let user = self.find(request.0).await;
        let user = user.map_err(|DbError| Status::Internal)?;
        Ok(Response(user.id))
    }
}
// ANCHOR_END: rpc

// ANCHOR: status
fn status(error: &Error) -> Status {
    match error.kind() {
        // A lock or `once`: the client may try again.
        ErrorKind::Held | ErrorKind::AlreadyRunning => Status::Aborted,
        ErrorKind::Full => Status::ResourceExhausted, // a pool
        ErrorKind::Unavailable | ErrorKind::Timeout | ErrorKind::Lost => Status::Unavailable,
        _ => Status::Internal,
    }
}
// ANCHOR_END: status

#[tokio::test]
async fn a_method_of_a_trait_calls_a_cached_one() {
    let service = UsersService {
        cachify: Cachify::memory(),
        db: Db::default(),
    };
    for _ in 0..2 {
        let user = service.get_user(Request(7)).await.unwrap();
        assert_eq!(user.0, 7);
    }
    assert_eq!(service.db.reads(), 1);
    service.find_reset(&7).await.unwrap();
    service.get_user(Request(7)).await.unwrap();
    assert_eq!(service.db.reads(), 2);

    let lock = service.cachify.lock(&key!("charge-7"));
    let _guard = lock.acquire().await.unwrap();
    let held = lock.acquire().await.unwrap_err();
    assert_eq!(status(&held), Status::Aborted);
    let pool = service.cachify.pool(&key!("vendor"), 1);
    let _permit = pool.acquire().await.unwrap();
    let full = pool.acquire().await.unwrap_err();
    assert_eq!(status(&full), Status::ResourceExhausted);
}

// ANCHOR: app
#[derive(Clone)]
struct App {
    cachify: Cachify,
    db: Db,
}

#[cached(key = "user-{id}", with = app.cachify)]
async fn read_user(app: &App, id: u64) -> Result<User, DbError> {
    app.db.find(id).await
}
// ANCHOR_END: app

/// actix-web has a runtime for each of its threads, and handlers that stay on their thread.
#[test]
fn runtimes_of_several_threads_share_a_handle() {
    let app = App {
        cachify: Cachify::memory(),
        db: Db::default(),
    };
    let workers = [(); 4].map(|()| {
        let app = app.clone();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            let local = tokio::task::LocalSet::new();
            local.block_on(&runtime.unwrap(), async move {
                let here = std::rc::Rc::new(7);
                read_user(&app, *here).await.unwrap()
            })
        })
    });
    for worker in workers {
        assert_eq!(worker.join().unwrap(), User { id: 7 });
    }
    assert_eq!(app.db.reads(), 1);
}

//! One multiplexed connection that is made when it is needed, once for all who need it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, Cmd, RedisError, ServerErrorKind, Value};
use tokio::runtime::Handle;
use tokio::time::timeout;

use super::error::{self, translate};
use super::script::Call;
use super::time::ServerTime;
use crate::{Error, ErrorKind};

/// Where the server is, and what all connections to it share.
pub(super) struct Server {
    pub(super) client: Client,
    /// The address without user and password.
    pub(super) place: String,
    /// How long an attempt to connect goes on: those who wait for it may give up sooner.
    pub(super) patience: Duration,
    pub(super) budget: Duration,
    pub(super) time: ServerTime,
}

/// A connection. When it breaks, the next caller makes another one.
#[derive(Clone)]
pub(super) struct Link(Arc<Shelf>);

struct Shelf {
    server: Arc<Server>,
    live: RwLock<Option<Live>>,
    /// The attempt to connect that is under way.
    attempt: Mutex<Option<Attempt>>,
    /// A connection that left somebody without an answer is being tested.
    testing: AtomicBool,
    last: AtomicU64,
}

type Attempt = Shared<BoxFuture<'static, Result<Live, Error>>>;

#[derive(Clone)]
struct Live {
    connection: MultiplexedConnection,
    id: u64,
}

impl Server {
    pub(super) fn translate(&self, error: &RedisError) -> Error {
        translate(error, &self.place)
    }
}

impl Link {
    pub(super) fn new(server: Arc<Server>) -> Self {
        Self(Arc::new(Shelf {
            server,
            live: RwLock::default(),
            attempt: Mutex::default(),
            testing: AtomicBool::new(false),
            last: AtomicU64::new(0),
        }))
    }

    /// Connects unless there is a connection.
    pub(super) async fn ready(&self) -> Result<(), Error> {
        if self.0.live().is_some() {
            return Ok(());
        }
        self.connection().await.map(drop)
    }

    /// Sends a command and waits for its answer, which may be an error of the server's.
    ///
    /// A connection that turns out to be broken is replaced once: whoever uses this must be able to run twice.
    pub(super) async fn ask(&self, cmd: &Cmd) -> Result<Result<Value, RedisError>, Error> {
        let (live, fresh) = self.connection().await?;
        let answer = self.exchange(&live, cmd).await;
        if fresh || !answer.as_ref().is_err_and(is_broken) {
            return Ok(answer);
        }
        let (live, _) = self.connection().await?;
        Ok(self.exchange(&live, cmd).await)
    }

    /// Sends a command and waits for its answer.
    pub(super) async fn send(&self, cmd: &Cmd) -> Result<Value, Error> {
        self.ask(cmd)
            .await?
            .map_err(|error| self.0.server.translate(&error))
    }

    /// Runs a script.
    pub(super) async fn run(&self, call: &Call) -> Result<Value, Error> {
        let (mut live, fresh) = self.connection().await?;
        let mut result = self.exchange(&live, &call.cmd).await;
        if call.repeatable && !fresh && result.as_ref().is_err_and(is_broken) {
            (live, _) = self.connection().await?;
            result = self.exchange(&live, &call.cmd).await;
        }
        if result
            .as_ref()
            .is_err_and(|error| error.kind() == redis::ErrorKind::Server(ServerErrorKind::NoScript))
        {
            result = match call.script.load_async(&mut live.connection).await {
                Ok(_) => self.exchange(&live, &call.cmd).await,
                Err(error) => Err(error),
            };
        }
        result.map_err(|error| self.0.server.translate(&error))
    }

    async fn exchange(&self, live: &Live, cmd: &Cmd) -> Result<Value, RedisError> {
        let unanswered = Unanswered { link: self, live };
        let mut connection = live.connection.clone();
        let result = connection
            .send_packed_command(cmd)
            .await
            .and_then(Value::extract_error);
        std::mem::forget(unanswered);
        if let Err(error) = &result
            && (is_broken(error)
                || error.kind() == redis::ErrorKind::Server(ServerErrorKind::ReadOnly))
        {
            self.0.discard(live.id);
        }
        result
    }

    /// The connection, and whether it was made just now.
    async fn connection(&self) -> Result<(Live, bool), Error> {
        if let Some(live) = self.0.live() {
            return Ok((live, false));
        }
        let attempt = {
            let mut attempt = self.0.attempt();
            // The last attempt may have ended between the two looks.
            if let Some(live) = self.0.live() {
                return Ok((live, false));
            }
            match &*attempt {
                Some(attempt) => attempt.clone(),
                None => {
                    let runtime = Handle::try_current().map_err(|_| {
                        Error::new(
                            ErrorKind::Configuration,
                            "Redis can only be used inside of a tokio runtime",
                        )
                    })?;
                    let new = connect(Arc::clone(&self.0)).boxed().shared();
                    *attempt = Some(new.clone());
                    // Goes on when all who wait for it give up, for those who come next.
                    runtime.spawn(new.clone());
                    new
                }
            }
        };
        attempt.await.map(|live| (live, true))
    }
}

impl Shelf {
    fn live(&self) -> Option<Live> {
        self.live
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Whoever comes next makes another connection. Those who wait for an answer on this one go on waiting.
    fn discard(&self, id: u64) {
        let mut live = self.live.write().unwrap_or_else(PoisonError::into_inner);
        if live.as_ref().is_some_and(|live| live.id == id) {
            *live = None;
        }
    }

    fn attempt(&self) -> MutexGuard<'_, Option<Attempt>> {
        self.attempt.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn connect(shelf: Arc<Shelf>) -> Result<Live, Error> {
    let server = &shelf.server;
    let result = match timeout(server.patience, open(server)).await {
        Ok(result) => result.map_err(|error| server.translate(&error)),
        Err(_) => Err(error::unreachable(
            &server.place,
            "it did not answer in time",
        )),
    };
    let result = result.map(|connection| Live {
        connection,
        id: shelf.last.fetch_add(1, Ordering::Relaxed),
    });
    // Both under one lock, so that nobody sees neither.
    let mut attempt = shelf.attempt();
    if let Ok(live) = &result {
        *shelf.live.write().unwrap_or_else(PoisonError::into_inner) = Some(live.clone());
    }
    *attempt = None;
    result
}

async fn open(server: &Server) -> Result<MultiplexedConnection, RedisError> {
    // Whoever calls limits the time.
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(None)
        .set_response_timeout(None);
    let mut connection = server
        .client
        .get_multiplexed_async_connection_with_config(&config)
        .await?;
    let sent = server.time.local();
    let time = connection.send_packed_command(&redis::cmd("TIME")).await?;
    let (seconds, micros): (u64, u64) = redis::from_redis_value(time)?;
    server.time.sample(sent, seconds * 1_000_000 + micros);
    Ok(connection)
}

/// Whether the connection is of no more use.
fn is_broken(error: &RedisError) -> bool {
    error.is_unrecoverable_error()
}

/// Dropped when somebody stops to wait for an answer. If that was for the connection's fault, the connection must go.
struct Unanswered<'a> {
    link: &'a Link,
    live: &'a Live,
}

impl Drop for Unanswered<'_> {
    fn drop(&mut self) {
        let shelf = &self.link.0;
        let Ok(runtime) = Handle::try_current() else {
            return;
        };
        if shelf.testing.swap(true, Ordering::AcqRel) {
            return;
        }
        let test = Test(Arc::clone(shelf));
        let mut live = self.live.clone();
        runtime.spawn(async move {
            let ping = redis::cmd("PING");
            let answer = live.connection.send_packed_command(&ping);
            if timeout(test.0.server.budget, answer).await.is_err() {
                test.0.discard(live.id);
            }
        });
    }
}

/// Says that a connection is being tested, until it is dropped.
struct Test(Arc<Shelf>);

impl Drop for Test {
    fn drop(&mut self) {
        self.0.testing.store(false, Ordering::Release);
    }
}

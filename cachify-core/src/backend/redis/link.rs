//! One multiplexed connection that is made on demand, once for all callers.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use futures_util::future::join5;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Cmd, ErrorKind as Kind, RedisError, Value};
use redis::{ServerErrorKind, cmd};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use super::address::Address;
use super::error::{code, garbled};
use super::greeting::greet;
use super::lives::Life;
use super::reach::{LATE, unreachable, wrong_scheme};
use super::script::Call;
use super::server::Server;
use crate::{Error, ErrorKind, observe, runtime};

/// The time before a server is asked again that refused a connection for its kind or for the
/// credentials. The circuit breaker is not enough, because some callers bypass it.
const REFUSED: Duration = Duration::from_millis(250);

/// A connection. When it breaks, the next caller opens another one.
#[derive(Clone)]
pub(super) struct Link(Arc<LinkState>);

struct LinkState {
    server: Arc<Server>,
    live: RwLock<Option<Live>>,
    attempts: Mutex<Attempts>,
    /// Set while a connection is tested that left a caller without an answer.
    testing: AtomicBool,
    last: AtomicU64,
}

#[derive(Default)]
struct Attempts {
    /// The attempt to connect that is under way.
    running: Option<Attempt>,
    /// The time and the error of the last attempt, if it was refused.
    refused: Option<(Instant, Error)>,
}

/// The receiver of an attempt's outcome.
type Attempt = watch::Receiver<Option<Result<Live, Error>>>;

#[derive(Clone)]
struct Live {
    connection: MultiplexedConnection,
    id: u64,
    /// The number of the server's life when the connection was made.
    epoch: u64,
    /// Set if the connection was made for this caller.
    fresh: bool,
    /// The runtime that the connection's task runs on.
    #[cfg(feature = "blocking")]
    runtime: Handle,
}

impl Link {
    pub(super) fn new(server: Arc<Server>) -> Self {
        Self(Arc::new(LinkState {
            server,
            live: RwLock::default(),
            attempts: Mutex::default(),
            testing: AtomicBool::new(false),
            last: AtomicU64::new(0),
        }))
    }

    /// Returns the address of the server, for messages.
    pub(super) fn place(&self) -> &str {
        &self.0.server.address.place
    }

    /// Connects unless there is a connection. Returns the connection's number, which is never zero
    /// and differs for every connection.
    pub(super) async fn ready(&self) -> Result<u64, Error> {
        Ok(self.connection().await?.id)
    }

    /// Sends a command and waits for its answer, which may be an error of the server.
    ///
    /// A broken connection is replaced once, so the request must be safe to run twice.
    pub(super) async fn ask(&self, cmd: &Cmd) -> Result<Result<Value, RedisError>, Error> {
        let mut live = self.connection().await?;
        let answer = self.exchange(&mut live, cmd).await;
        if live.fresh || !answer.as_ref().is_err_and(is_broken) {
            return Ok(answer);
        }
        let mut live = self.connection().await?;
        Ok(self.exchange(&mut live, cmd).await)
    }

    /// Runs a script, whose answer may be an error of the server.
    ///
    /// The flag is set if the connection broke and the call was sent again over another one. Then
    /// the script may run twice, and the copy that was sent first may even run last.
    pub(super) async fn call(
        &self,
        call: &Call,
    ) -> Result<(Result<Value, RedisError>, bool), Error> {
        let mut live = self.connection().await?;
        let mut result = self.send(&mut live, call, &call.cmd).await;
        let again = !live.fresh && result.as_ref().is_err_and(is_broken);
        if again {
            live = self.connection().await?;
            result = self.send(&mut live, call, &call.cmd).await;
        }
        if result
            .as_ref()
            .is_err_and(|error| error.kind() == Kind::Server(ServerErrorKind::NoScript))
        {
            result = self.send(&mut live, call, &call.with_source()).await;
        }
        Ok((result, again))
    }

    /// Like [`exchange`](Self::exchange), but if the connection breaks, records the token before any
    /// retry, here or by the caller: the lost request may still arrive.
    async fn send(&self, live: &mut Live, call: &Call, cmd: &Cmd) -> Result<Value, RedisError> {
        let result = self.exchange(live, cmd).await;
        if let Some(token) = &call.asks_for
            && result.as_ref().is_err_and(is_broken)
        {
            self.0.server.resent.add(token);
        }
        result
    }

    /// Runs a script. The flag is that of [`call`](Self::call).
    pub(super) async fn run_told(&self, call: &Call) -> Result<(Value, bool), Error> {
        let (result, again) = self.call(call).await?;
        match result {
            Ok(value) => Ok((value, again)),
            Err(error) => Err(self.0.server.translate(&error)),
        }
    }

    /// Runs a script.
    pub(super) async fn run(&self, call: &Call) -> Result<Value, Error> {
        Ok(self.run_told(call).await?.0)
    }

    /// Discards a connection, so the next caller opens another one.
    pub(super) fn discard(&self, id: u64) {
        self.0.discard(id);
    }

    async fn exchange(&self, live: &mut Live, cmd: &Cmd) -> Result<Value, RedisError> {
        let unanswered = Unanswered {
            link: self,
            id: live.id,
        };
        #[cfg(feature = "blocking")]
        runtime::blocked::awaits(&live.runtime);
        let result = live.connection.send_packed_command(cmd).await;
        std::mem::forget(unanswered);
        let result = result.and_then(Value::extract_error);
        if let Err(error) = &result {
            let is_replica = code(error) == "READONLY";
            if is_replica {
                self.0.server.lives.demoted(self.place());
            }
            if is_replica || is_broken(error) {
                self.discard(live.id);
            }
        }
        result
    }

    async fn connection(&self) -> Result<Live, Error> {
        loop {
            let (mut attempt, is_ours) = {
                if let Some(live) = self.0.live() {
                    return Ok(live);
                }
                let mut attempts = self.0.attempts();
                // The last attempt may have ended since the first check.
                if let Some(live) = self.0.live() {
                    return Ok(live);
                }
                if let Some((when, error)) = &attempts.refused
                    && when.elapsed() < REFUSED
                {
                    return Err(error.clone());
                }
                match &attempts.running {
                    // An attempt whose sender is gone ended with its runtime.
                    Some(attempt) if attempt.has_changed().is_ok() => (attempt.clone(), false),
                    _ => (attempts.running.insert(self.attempt()?).clone(), true),
                }
            };
            let outcome = match attempt.wait_for(Option::is_some).await {
                Ok(outcome) => outcome.clone(),
                Err(_) => None,
            };
            match outcome {
                // Meanwhile, another connection met another server.
                Some(Ok(live)) if live.epoch != self.0.server.lives.epoch() => {}
                Some(outcome) => return outcome,
                // The attempt ended with another runtime, so this caller connects on its own.
                None if !is_ours => {}
                None => {
                    let place = &self.0.server.address.place;
                    return Err(unreachable(
                        place,
                        "the runtime that was connecting has ended",
                    ));
                }
            }
        }
    }

    /// Connects in the background: if the caller gives up, later callers still get the connection.
    fn attempt(&self) -> Result<Attempt, Error> {
        let runtime = runtime::current()?;
        let (sender, attempt) = watch::channel(None);
        let state = Arc::clone(&self.0);
        runtime.spawn(async move {
            let outcome = state.connect().await;
            // Under the lock, so that every caller sees either the attempt or the connection.
            let mut attempts = state.attempts();
            attempts.running = None;
            attempts.refused = match &outcome {
                Ok(live) => {
                    state.put(Live {
                        fresh: false,
                        ..live.clone()
                    });
                    None
                }
                Err(error) if error.kind() == ErrorKind::Configuration => {
                    Some((Instant::now(), error.clone()))
                }
                Err(_) => None,
            };
            drop(attempts);
            let _ = sender.send(Some(outcome));
        });
        Ok(attempt)
    }
}

impl LinkState {
    /// Returns the connection, unless another connection has met another server since.
    fn live(&self) -> Option<Live> {
        let live = {
            let live = self.live.read().unwrap_or_else(PoisonError::into_inner);
            live.clone()?
        };
        if live.epoch == self.server.lives.epoch() {
            return Some(live);
        }
        self.discard(live.id);
        None
    }

    fn put(&self, new: Live) {
        let mut live = self.live.write().unwrap_or_else(PoisonError::into_inner);
        *live = Some(new);
    }

    /// Forgets the connection. Callers that wait for an answer on it keep waiting.
    fn discard(&self, id: u64) {
        let mut live = self.live.write().unwrap_or_else(PoisonError::into_inner);
        if live.as_ref().is_some_and(|live| live.id == id) {
            *live = None;
            drop(live);
            observe::connection(&self.server.address.place, false);
        }
    }

    fn attempts(&self) -> MutexGuard<'_, Attempts> {
        self.attempts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn connect(&self) -> Result<Live, Error> {
        let server = &self.server;
        let Address { client, place, .. } = &server.address;
        let error = match timeout(server.connect_timeout, open(server)).await {
            Ok(Ok((connection, epoch))) => {
                observe::connection(place, true);
                return Ok(Live {
                    connection,
                    epoch,
                    id: self.last.fetch_add(1, Ordering::Relaxed) + 1,
                    fresh: true,
                    #[cfg(feature = "blocking")]
                    runtime: runtime::current()?,
                });
            }
            Ok(Err(error)) => error,
            Err(_) => unreachable(place, LATE),
        };
        if error.kind() == ErrorKind::Configuration || server.lives.is_known() {
            return Err(error);
        }
        let address = client.get_connection_info().addr();
        let wrong = wrong_scheme(address, place, server.backend_timeout).await;
        Err(wrong.unwrap_or(error))
    }
}

/// Connects, and identifies the life of the server before anything else is asked.
async fn open(server: &Server) -> Result<(MultiplexedConnection, u64), Error> {
    // The caller limits the time.
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(None)
        .set_response_timeout(None);
    let address = &server.address;
    let translate = |error| server.translate(&error);
    let connection = address
        .client
        .get_multiplexed_async_connection_with_config(&config)
        .await
        .map_err(translate)?;
    let ask = async |cmd: &Cmd| {
        let answer = connection.clone().send_packed_command(cmd).await;
        answer.and_then(Value::extract_error)
    };
    let select = async {
        match address.database {
            Some(database) => ask(cmd("SELECT").arg(database)).await,
            None => Ok(Value::Okay),
        }
    };
    let sent = server.time.local();
    let (info, replication, time) = (
        cmd("INFO").arg("server").clone(),
        cmd("INFO").arg("replication").clone(),
        cmd("TIME"),
    );
    let (hello, select, time, info, replication) = join5(
        ask(&address.hello),
        select,
        ask(&time),
        ask(&info),
        ask(&replication),
    )
    .await;
    // `HELLO` is checked first: if it fails, the other commands may fail because of it.
    greet(server, hello)?;
    if let Err(error) = select {
        let message = match (code(&error), address.database) {
            ("ERR", Some(database)) => format!(
                "Redis at {} has no database {database}; use one below its `databases`",
                address.place
            ),
            _ => return Err(translate(error)),
        };
        return Err(Error::new(ErrorKind::Configuration, message).with_down(true));
    }
    let time = redis::from_redis_value(time.map_err(translate)?);
    let (seconds, micros): (u64, u64) = time.map_err(|_| garbled(&address.place))?;
    let now = seconds.saturating_mul(1_000_000).saturating_add(micros);
    server.time.sample(sent, now);
    let life = match (info, replication) {
        (Ok(info), Ok(replication)) => Life::parse(info, replication),
        // No operation needs `INFO`, so the user may lack the right.
        _ => None,
    };
    Ok((connection, server.lives.meet(&address.place, life)))
}

/// Returns whether the connection can no longer be used.
fn is_broken(error: &RedisError) -> bool {
    error.is_unrecoverable_error()
}

/// Dropped when a caller stops waiting for an answer. The connection is then tested, and discarded
/// if it does not answer.
struct Unanswered<'a> {
    link: &'a Link,
    id: u64,
}

impl Drop for Unanswered<'_> {
    fn drop(&mut self) {
        let state = &self.link.0;
        let (Ok(runtime), Some(mut live)) = (Handle::try_current(), state.live()) else {
            return;
        };
        if live.id != self.id || state.testing.swap(true, Ordering::AcqRel) {
            return;
        }
        let test = Test(Arc::clone(state));
        #[cfg(feature = "blocking")]
        let awaited = runtime::blocked::awaited();
        runtime.spawn(async move {
            #[cfg(feature = "blocking")]
            if let Some(awaited) = awaited
                && !runtime::blocked::runs(awaited).await
            {
                // The caller blocks the connection's task, so the connection is not to blame.
                return;
            }
            let ping = cmd("PING");
            let answer = live.connection.send_packed_command(&ping);
            if timeout(test.0.server.backend_timeout, answer)
                .await
                .is_err()
            {
                test.0.discard(live.id);
            }
        });
    }
}

/// Clears the flag of a running test when it is dropped.
struct Test(Arc<LinkState>);

impl Drop for Test {
    fn drop(&mut self) {
        self.0.testing.store(false, Ordering::Release);
    }
}

//! One connection that hears what others have to tell this process.

use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::{Either, select};
use redis::aio::{PubSubSink, PubSubStream};
use tokio::runtime::Handle;
use tokio::sync::{Notify, watch};
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep, timeout};

use super::Shared;
use super::reach::{LATE, unreachable};
use crate::{Error, ErrorKind};

/// How often the connection is tested: one that is dead without knowing tells nothing for so long.
const PING_EVERY: Duration = Duration::from_secs(1);
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// The subscription to this process's channel.
pub(super) struct Subscriber {
    state: watch::Sender<State>,
    task: Mutex<Option<AbortHandle>>,
    /// There is somebody who waits for the subscription: no pause.
    wanted: Arc<Notify>,
}

#[derive(Debug, Clone, Default)]
struct State {
    stands: bool,
    /// How many attempts ended.
    attempts: u64,
    error: Option<Error>,
}

impl Default for Subscriber {
    fn default() -> Self {
        Self {
            state: watch::Sender::new(State::default()),
            task: Mutex::default(),
            wanted: Arc::default(),
        }
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        if let Some(task) = self
            .task
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
        {
            task.abort();
        }
    }
}

impl Subscriber {
    pub(super) fn stands(&self) -> bool {
        self.state.borrow().stands
    }

    /// Starts to subscribe, unless that was done.
    pub(super) fn start(&self, shared: &Weak<Shared>) {
        let mut task = self.task.lock().unwrap_or_else(PoisonError::into_inner);
        // The task ends with its runtime, of which a program may have several.
        if task.as_ref().is_none_or(AbortHandle::is_finished)
            && let Ok(runtime) = Handle::try_current()
        {
            *task = Some(runtime.spawn(run(Weak::clone(shared))).abort_handle());
        }
        self.wanted.notify_one();
    }

    /// Waits until the subscription stands, or until the next attempt failed. Does not wait where the last one was refused.
    pub(super) async fn stand(&self, shared: &Weak<Shared>) -> Result<(), Error> {
        let mut state = self.state.subscribe();
        let State {
            stands,
            attempts: before,
            error,
        } = state.borrow_and_update().clone();
        if stands {
            return Ok(());
        }
        self.start(shared);
        if let Some(error) = error.filter(is_refusal) {
            return Err(error);
        }
        match state
            .wait_for(|state| state.stands || state.attempts > before)
            .await
        {
            Ok(state) => match &state.error {
                Some(error) if !state.stands => Err(error.clone()),
                _ => Ok(()),
            },
            // The sender is in `self`.
            Err(_) => Ok(()),
        }
    }

    fn attempted(&self, error: Option<Error>) {
        self.state.send_modify(|state| {
            state.stands = error.is_none();
            state.attempts += 1;
            state.error = error;
        });
    }

    fn fell(&self) {
        self.state.send_modify(|state| state.stands = false);
    }
}

/// Says that the subscription is gone, also when the task ends with its runtime.
struct Standing<'a>(&'a Weak<Shared>);

impl Drop for Standing<'_> {
    fn drop(&mut self) {
        if let Some(shared) = self.0.upgrade() {
            shared.subscriber.fell();
        }
    }
}

/// Whether the server does not permit the subscription: trying sooner does not help.
fn is_refusal(error: &Error) -> bool {
    error.kind() == ErrorKind::Configuration
}

async fn run(weak: Weak<Shared>) {
    let mut pause = FIRST_PAUSE;
    let mut warned = None;
    loop {
        let Some(shared) = weak.upgrade() else {
            return;
        };
        let wanted = Arc::clone(&shared.subscriber.wanted);
        let mut refused = false;
        match subscribe(&shared).await {
            Ok((sink, stream)) => {
                shared.subscriber.attempted(None);
                let standing = Standing(&weak);
                // What was said before is lost.
                shared.signals.wake_all();
                let budget = shared.server.budget;
                drop(shared);
                let since = Instant::now();
                let listening = std::pin::pin!(listen(&weak, stream));
                let testing = std::pin::pin!(test(sink, budget));
                select(listening, testing).await;
                drop(standing);
                tracing::debug!("the subscription to Redis broke; subscribing anew");
                if since.elapsed() > LONGEST_PAUSE {
                    pause = FIRST_PAUSE;
                    continue;
                }
            }
            Err(error) => {
                refused = is_refusal(&error);
                let reason = refused.then(|| error.to_string());
                if refused && reason != warned {
                    tracing::warn!(%error, "no subscription to Redis: waiting callers look again by themselves, which takes longer");
                    warned = reason;
                } else {
                    tracing::debug!(%error, "no subscription to Redis");
                }
                shared.subscriber.attempted(Some(error));
                drop(shared);
            }
        }
        let wanted = std::pin::pin!(async {
            // Even then, not at once.
            sleep(if refused { LONGEST_PAUSE } else { FIRST_PAUSE }).await;
            wanted.notified().await;
        });
        let paused = std::pin::pin!(sleep(pause));
        if let Either::Right(_) = select(wanted, paused).await {
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }
}

async fn subscribe(shared: &Shared) -> Result<(PubSubSink, PubSubStream), Error> {
    let server = &shared.server;
    let attempt = async {
        let (mut sink, stream) = server.address.listener.get_async_pubsub().await?.split();
        sink.subscribe(&shared.own_channel).await?;
        Ok::<_, redis::RedisError>((sink, stream))
    };
    match timeout(server.patience, attempt).await {
        Ok(result) => result.map_err(|error| server.translate(&error)),
        Err(_) => Err(unreachable(&server.address.place, LATE)),
    }
}

async fn listen(weak: &Weak<Shared>, mut stream: PubSubStream) {
    while let Some(message) = stream.next().await {
        let Some(shared) = weak.upgrade() else {
            return;
        };
        if let Ok(text) = std::str::from_utf8(message.get_payload_bytes()) {
            shared.heard(text);
        }
    }
}

/// Ends when the connection does not answer.
async fn test(mut sink: PubSubSink, budget: Duration) {
    loop {
        sleep(PING_EVERY).await;
        match timeout(budget.max(PING_EVERY), sink.ping::<redis::Value>()).await {
            Ok(Ok(_)) => {}
            _ => return,
        }
    }
}

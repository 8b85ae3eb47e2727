//! One connection that receives the messages to this process.

use std::sync::{Arc, PoisonError, Weak};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::{Either, join_all, select};
use redis::aio::{PubSubSink, PubSubStream};
use redis::cmd;
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::message::{Message, heartbeat};
use super::reach::{LATE, unreachable};
use super::script::{RESETS, Spot};
use super::shared::Shared;
use super::subscriber::{State, is_refusal};
use crate::key::Prefix;
use crate::observe::{self, Word};
use crate::{Error, Key};

/// The time between two tests of the connection, which find a connection that died silently.
const PING_EVERY: Duration = Duration::from_secs(1);
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Starts the task that subscribes, unless it runs.
pub(super) fn start(shared: &Shared) {
    let subscriber = &shared.subscriber;
    let mut task = subscriber
        .task
        .lock()
        .unwrap_or_else(PoisonError::into_inner);
    // The task ends with its runtime, and a program may have several runtimes.
    if task.as_ref().is_none_or(AbortHandle::is_finished)
        && let Ok(runtime) = Handle::try_current()
    {
        *task = Some(runtime.spawn(run(Weak::clone(&shared.weak))).abort_handle());
    }
    subscriber.wanted.notify_one();
}

/// Waits until the subscription stands, or until the next attempt fails. Does not wait if the last
/// attempt was refused.
pub(super) async fn stand(shared: &Shared, prefix: Option<&Prefix>) -> Result<(), Error> {
    let channel = shared.subscriber.channel(prefix);
    let mut state = channel.0.subscribe();
    let State {
        stands,
        attempts: before,
        error,
    } = state.borrow_and_update().clone();
    if stands {
        return Ok(());
    }
    start(shared);
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
        // This cannot happen, because `channel` has the sender.
        Err(_) => Ok(()),
    }
}

impl Shared {
    /// Returns the end of log lines about missing messages: the consequence for memory in front.
    fn memory(&self) -> &'static str {
        match self.follower {
            Some(_) => ", and the memory in front of Redis is bypassed",
            None => "",
        }
    }

    /// Acts on a message of one of the channels.
    ///
    /// Any user with the right to publish may have sent it. It can wake a waiter, which asks the
    /// server. It can release only a slot that the server has handed over and that was never
    /// collected. It can remove a copy in memory, after which the next read asks the server.
    fn heard(&self, channel: &str, text: &str) {
        if let (Some(prefix), Some(follower)) = (channel.strip_suffix(RESETS), &self.follower) {
            if Key::is_text(text) {
                observe::word(Word::Heard);
                if prefix == self.prefix {
                    follower.reset(text);
                }
                follower.reset(&Key::name_within(prefix, text));
            }
            return;
        }
        let Some(prefix) = self.prefix_of(channel) else {
            return;
        };
        match Message::parse(text, &self.node) {
            Some(Message::LeaseEnded(key)) => {
                if prefix == self.prefix {
                    self.signals.wake(key);
                }
                self.signals.wake(&Key::name_within(prefix, key));
            }
            Some(Message::Heartbeat(token)) => {
                if let Some(follower) = &self.follower {
                    follower.beat(token);
                }
            }
            Some(Message::Turn {
                deadline,
                token,
                kind,
                key,
            }) => {
                if !self.signals.wake(token) {
                    // The waiter is gone, so the next one need not wait for the end of the claim.
                    self.give_back_claim(kind, Spot { prefix, key }, token, deadline);
                }
            }
            None => tracing::debug!("a message that no cachify sends was ignored"),
        }
    }
}

/// Marks the subscriptions as gone on drop, even if the task ends with its runtime.
struct Standing<'a>(&'a Weak<Shared>);

impl Drop for Standing<'_> {
    fn drop(&mut self) {
        if let Some(shared) = self.0.upgrade() {
            for (_, channel) in shared.subscriber.channels(&shared.prefix) {
                channel.fell();
            }
            // Called last: a read that sees the new epoch must not see the old subscription.
            if let Some(follower) = &shared.follower {
                follower.lost();
            }
        }
    }
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
        // A process without other requests notices here that the server lost its data.
        let _ = timeout(shared.server.backend_timeout, shared.watch()).await;
        let epoch = shared.server.lives.epoch();
        // A new connection has no subscriptions to give up.
        shared.subscriber.unused();
        match connect(&shared).await {
            Ok((sink, stream)) => {
                let standing = Standing(&weak);
                let backend_timeout = shared.server.backend_timeout;
                drop(shared);
                let since = Instant::now();
                let listening = std::pin::pin!(listen(&weak, stream));
                let tending = std::pin::pin!(tend(&weak, sink, &wanted, backend_timeout, epoch));
                let beating = std::pin::pin!(beat(&weak));
                select(select(listening, tending), beating).await;
                drop(standing);
                tracing::debug!("the subscription to Redis broke; subscribing again");
                if since.elapsed() > LONGEST_PAUSE {
                    pause = FIRST_PAUSE;
                    continue;
                }
            }
            Err(error) => {
                refused = is_refusal(&error);
                let reason = refused.then(|| error.to_string());
                if refused && reason != warned {
                    let memory = shared.memory();
                    tracing::warn!(
                        %error,
                        "no subscription to Redis; waiting callers check again by themselves, \
                         which takes longer{memory}"
                    );
                    warned = reason;
                } else {
                    tracing::debug!(%error, "no subscription to Redis");
                }
                for (_, channel) in shared.subscriber.channels(&shared.prefix) {
                    channel.attempted(Some(error.clone()));
                }
                drop(shared);
            }
        }
        let wanted = std::pin::pin!(async {
            // Even if a caller waits, the next attempt is not at once.
            sleep(if refused { LONGEST_PAUSE } else { FIRST_PAUSE }).await;
            wanted.notified().await;
        });
        let paused = std::pin::pin!(sleep(pause));
        if let Either::Right(_) = select(wanted, paused).await {
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }
}

/// Connects, and subscribes to all channels that the server permits. Fails if it permits none.
async fn connect(shared: &Shared) -> Result<(PubSubSink, PubSubStream), Error> {
    let server = &shared.server;
    let attempt = server.address.listener.get_async_pubsub();
    let (sink, stream) = match timeout(server.connect_timeout, attempt).await {
        Ok(Ok(pubsub)) => pubsub.split(),
        Ok(Err(error)) => return Err(server.translate(&error)),
        Err(_) => return Err(unreachable(&server.address.place, LATE)),
    };
    subscribe(shared, &sink, true).await?;
    let channels = shared.subscriber.channels(&shared.prefix);
    let error = channels[0].1.0.borrow().error.clone();
    match error {
        Some(error) if !channels.iter().any(|(_, channel)| channel.stands()) => Err(error),
        _ => Ok((sink, stream)),
    }
}

/// Subscribes to the wanted channels that do not stand; if `again`, also to those that the server
/// refused before. Fails only if the connection does.
async fn subscribe(shared: &Shared, sink: &PubSubSink, again: bool) -> Result<(), Error> {
    let server = &shared.server;
    let mut channels = shared.subscriber.channels(&shared.prefix);
    channels.retain(|(_, channel)| !channel.stands() && (again || !channel.is_refused()));
    let attempts = channels.iter().map(async |(prefix, _)| {
        let mut sink = sink.clone();
        sink.subscribe(shared.channels(prefix)).await
    });
    let Ok(results) = timeout(server.connect_timeout, join_all(attempts)).await else {
        return Err(unreachable(&server.address.place, LATE));
    };
    let mut stands = false;
    for ((prefix, channel), result) in channels.iter().zip(results) {
        let Err(error) = result else {
            channel.attempted(None);
            stands = true;
            continue;
        };
        let broken = error.is_unrecoverable_error();
        let error = server.translate(&error);
        if !broken && !channel.is_refused() && **prefix != shared.prefix {
            let memory = shared.memory();
            tracing::warn!(
                %error,
                prefix = prefix.as_str(),
                "no subscription for a prefix; waiting callers check again by themselves, which \
                 takes longer{memory}"
            );
        }
        if broken {
            return Err(error);
        }
        channel.attempted(Some(error));
    }
    if stands {
        // Messages from before the subscription are lost.
        shared.signals.wake_all();
    }
    Ok(())
}

async fn listen(weak: &Weak<Shared>, mut stream: PubSubStream) {
    while let Some(message) = stream.next().await {
        let Some(shared) = weak.upgrade() else {
            return;
        };
        if let Ok(text) = std::str::from_utf8(message.get_payload_bytes()) {
            shared.heard(message.get_channel_name(), text);
        }
    }
}

/// Sends heartbeats to this process through the server, for a memory in front of it. A heartbeat
/// comes back behind all reset messages that were published before it. Ends with the backend.
async fn beat(weak: &Weak<Shared>) {
    let mut warned = false;
    loop {
        let Some(shared) = weak.upgrade() else {
            return;
        };
        let Some(follower) = shared.follower.clone() else {
            drop(shared);
            return std::future::pending().await;
        };
        follower.clear().await;
        let every = follower.heartbeat();
        // The channel of any prefix will do: all are on one connection.
        let channels = shared.subscriber.channels(&shared.prefix);
        let channel = channels.iter().find(|(_, channel)| channel.stands());
        if let Some((prefix, _)) = channel {
            let token = shared.node.token();
            let mut publish = cmd("PUBLISH");
            publish.arg(shared.channel(prefix)).arg(heartbeat(&token));
            follower.sending(&token);
            let answer = timeout(every, shared.control.ask(&publish)).await;
            if let Ok(Ok(Err(error))) = answer
                && !std::mem::replace(&mut warned, true)
            {
                let error = shared.server.translate(&error);
                tracing::warn!(%error, "no heartbeat through Redis, so memory is bypassed");
            }
        }
        drop(shared);
        sleep(every).await;
    }
}

/// Tests the connection, and follows the prefixes that come and go. Ends when the connection does
/// not answer, or leads to another server than the other connections.
async fn tend(
    weak: &Weak<Shared>,
    mut sink: PubSubSink,
    wanted: &Notify,
    backend_timeout: Duration,
    epoch: u64,
) {
    let mut next = Instant::now() + PING_EVERY;
    loop {
        let due = std::pin::pin!(sleep_until(next));
        let is_due = matches!(
            select(due, std::pin::pin!(wanted.notified())).await,
            Either::Left(_)
        );
        if is_due {
            match timeout(backend_timeout.max(PING_EVERY), sink.ping::<redis::Value>()).await {
                Ok(Ok(_)) => {}
                _ => return,
            }
            next = Instant::now() + PING_EVERY;
        }
        let Some(shared) = weak.upgrade() else {
            return;
        };
        if shared.server.lives.epoch() != epoch {
            // Messages now come from the new server.
            return;
        }
        if is_due {
            for prefix in shared.subscriber.unused() {
                let channels = shared.channels(&prefix);
                match timeout(shared.server.connect_timeout, sink.unsubscribe(channels)).await {
                    Ok(Ok(())) => {}
                    // Not permitted. A new connection would void all copies in memory, so it
                    // stays subscribed.
                    Ok(Err(error))
                        if shared.follower.is_some() && !error.is_unrecoverable_error() => {}
                    _ => return,
                }
            }
        }
        if subscribe(&shared, &sink, is_due).await.is_err() {
            return;
        }
    }
}

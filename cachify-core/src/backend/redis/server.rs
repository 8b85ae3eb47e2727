//! The server, as all connections to it see it.

use std::collections::HashMap;
use std::sync::atomic::AtomicBool;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::address::Address;
use super::limits::LONGEST_ANSWER;
use super::lives::Lives;
use super::rights::Rights;
use super::time::ServerTime;
use crate::backend::Token;

/// The address of the server, and the state that all connections to it share.
pub(super) struct Server {
    pub(super) address: Address,
    pub(super) rights: Rights,
    /// Keys with other prefixes than that of the rights are used, too.
    pub(super) prefixes: AtomicBool,
    /// How long an attempt to connect goes on: those who wait for it may give up sooner.
    pub(super) connect_timeout: Duration,
    pub(super) backend_timeout: Duration,
    pub(super) time: ServerTime,
    pub(super) resent: Resent,
    pub(super) lives: Lives,
}

/// The tokens that were asked for by a connection that broke: what it carried may still arrive,
/// until it is refused for its age.
#[derive(Default)]
pub(super) struct Resent(Mutex<HashMap<Token, Instant>>);

impl Resent {
    pub(super) fn add(&self, token: &Token) {
        let (mut tokens, now) = (self.tokens(), Instant::now());
        if tokens.len() == tokens.capacity() {
            tokens.retain(|_, until| *until > now);
        }
        tokens.insert(token.clone(), now + LONGEST_ANSWER);
    }

    /// Returns whether a first request for `token` may still come.
    pub(super) fn contains(&self, token: &Token) -> bool {
        let tokens = self.tokens();
        tokens
            .get(token)
            .is_some_and(|until| *until > Instant::now())
    }

    fn tokens(&self) -> MutexGuard<'_, HashMap<Token, Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

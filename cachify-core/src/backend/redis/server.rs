//! The state of a server that all connections to it share.

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
    /// Set once keys are used whose prefix is not that of the rights.
    pub(super) prefixes: AtomicBool,
    /// The time limit of an attempt to connect. Callers that wait for it may give up sooner.
    pub(super) connect_timeout: Duration,
    pub(super) backend_timeout: Duration,
    pub(super) time: ServerTime,
    pub(super) resent: Resent,
    pub(super) lives: Lives,
}

/// The tokens of requests on a connection that broke. Such a request may still arrive, until the
/// server refuses it for its age.
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

    /// Returns whether an earlier request for `token` may still arrive.
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

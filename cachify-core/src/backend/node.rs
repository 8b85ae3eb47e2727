//! Nodes, which send requests, and the tokens of their leases, holds and places.

use std::fmt;

use smol_str::SmolStr;

/// The name of one lease, hold or place in a queue. It is unique, and ends in `@` and the name of
/// the [`Node`] that it belongs to.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token(SmolStr);

impl Token {
    /// Returns a token that sorts before every other token.
    pub(crate) const fn first() -> Self {
        Self(SmolStr::new_static(""))
    }

    /// Returns the token as text: `UNIQUE@NODE`.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One handle in one process. Its name is part of the tokens of its holders and waiters, and tells
/// other processes where to send signals.
#[derive(Debug, Clone)]
pub struct Node(SmolStr);

impl Node {
    /// Creates a node whose name starts with `label`. The status of a lock shows this name as the
    /// owner. Only ASCII letters, digits and `_.:-` of the label are kept, at most 64 of them.
    pub fn new(label: &str) -> Self {
        let label: String = label
            .chars()
            .filter(|c| c.is_ascii_alphanumeric() || "_.:-".contains(*c))
            .take(64)
            .collect();
        Self(smol_str::format_smolstr!(
            "{label}.{:016x}",
            fastrand::u64(..)
        ))
    }

    /// Returns the node's name, unique among all processes.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Creates a unique token. No other call returns it, in any process, and it cannot be guessed,
    /// even from other tokens.
    pub fn token(&self) -> Token {
        use std::hash::{BuildHasher, RandomState};
        use std::sync::LazyLock;
        use std::sync::atomic::{AtomicU64, Ordering};
        static LAST: AtomicU64 = AtomicU64::new(0);
        // SipHash with a key of 128 random bits.
        static SECRET: LazyLock<RandomState> = LazyLock::new(RandomState::new);
        let number = LAST.fetch_add(1, Ordering::Relaxed);
        let secret = SECRET.hash_one(number);
        Token(smol_str::format_smolstr!(
            "{number:x}.{secret:016x}@{}",
            self.0
        ))
    }

    /// Returns whether `text` has the form of a token of this node.
    #[cfg(feature = "redis")]
    pub(crate) fn owns(&self, text: &str) -> bool {
        let is_hex = |text: &str| {
            (1..=16).contains(&text.len())
                && text
                    .bytes()
                    .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
        };
        text.split_once('@').is_some_and(|(unique, node)| {
            let parts = unique.split_once('.');
            node == self.0
                && parts.is_some_and(|(number, secret)| {
                    is_hex(number) && secret.len() == 16 && is_hex(secret)
                })
        })
    }
}

/// The number of the server that a key lives on, within one backend.
///
/// A backend of several servers numbers them from 0. Each server has a circuit breaker of its own.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Shard(pub u32);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn l1_a_token_does_not_follow_from_the_one_before() {
        let node = Node::new("shop");
        let secret = |token: Token| {
            let secret = token.as_str().split(['.', '@']).nth(1);
            secret.and_then(|secret| u64::from_str_radix(secret, 16).ok())
        };
        let secrets: Vec<_> = (0..1000).filter_map(|_| secret(node.token())).collect();
        let steps = secrets.windows(2).map(|pair| pair[1].wrapping_sub(pair[0]));
        let steps: std::collections::HashSet<_> = steps.collect();
        assert_eq!(steps.len(), 999);
    }
}

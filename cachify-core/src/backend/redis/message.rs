//! The messages that processes send to each other, and to themselves.

use crate::Key;
use crate::backend::{Node, SlotKind, Token};

/// A message to this node. On the wire it is `C KEY`, `H TOKEN`, or `DEADLINE TOKEN L KEY`, with
/// `P` for a pool.
#[derive(Debug, PartialEq)]
pub(super) enum Message<'a> {
    /// The lease of this key ended.
    LeaseEnded(&'a str),
    /// A heartbeat of this node came back.
    Heartbeat(&'a str),
    /// A waiter of this node has a claim until `deadline`. If `deadline` is 0, the message asks
    /// whether the waiter still waits.
    Turn {
        deadline: u64,
        token: &'a str,
        kind: SlotKind,
        key: &'a str,
    },
}

impl<'a> Message<'a> {
    /// Reads a message to `node`. Returns `None` if no cachify process can have sent it.
    pub(super) fn parse(text: &'a str, node: &Node) -> Option<Self> {
        let (first, rest) = text.split_once(' ')?;
        if first == "C" {
            return Key::is_text(rest).then_some(Self::LeaseEnded(rest));
        }
        if first == "H" {
            return node.owns(rest).then_some(Self::Heartbeat(rest));
        }
        let (token, rest) = rest.split_once(' ')?;
        let (kind, key) = rest.split_once(' ')?;
        let kind = match kind {
            "L" => SlotKind::Lock,
            "P" => SlotKind::Pool,
            _ => return None,
        };
        let deadline = micros(first)?;
        (node.owns(token) && Key::is_text(key)).then_some(Self::Turn {
            deadline,
            token,
            kind,
            key,
        })
    }
}

/// Parses a number of microseconds as Redis writes it: only digits, and few enough for a double.
fn micros(text: &str) -> Option<u64> {
    let digits = text.len() <= 16 && text.bytes().all(|byte| byte.is_ascii_digit());
    let canonical = text == "0" || !text.starts_with('0');
    (digits && canonical).then(|| text.parse().ok())?
}

/// Returns the message that the lease of `key` ended.
pub(super) fn lease_ended(key: &str) -> String {
    format!("C {key}")
}

/// Returns the message of a heartbeat. No other process can forge it before it was sent.
pub(super) fn heartbeat(token: &Token) -> String {
    format!("H {}", token.as_str())
}

/// Returns the second half of the message to a waiter.
pub(super) fn slot_text(kind: SlotKind, key: &str) -> String {
    let letter = match kind {
        SlotKind::Lock => 'L',
        SlotKind::Pool => 'P',
    };
    format!("{letter} {key}")
}

/// See [`testing::fuzzing`](crate::testing::fuzzing).
#[cfg(feature = "testing")]
pub(crate) fn fuzz_message(bytes: &[u8]) {
    let node = Node::new("fuzz");
    // Most messages name a token of their reader.
    let text = String::from_utf8_lossy(bytes).replace("TOKEN", node.token().as_str());
    if let Some(Message::LeaseEnded(key) | Message::Turn { key, .. }) = Message::parse(&text, &node)
    {
        assert!(Key::is_text(key), "{key:?}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_process_of_ours_says_is_understood() {
        let node = Node::new("shop");
        let mine = node.token();
        let token = mine.as_str();
        let turn = |kind, key| Message::Turn {
            deadline: 1_800_000_000_000_000,
            token,
            kind,
            key,
        };
        let deadline = "1800000000000000";
        let lock = format!("{deadline} {token} L a b");
        assert_eq!(
            Message::parse(&lock, &node),
            Some(turn(SlotKind::Lock, "a b"))
        );
        let pool = format!("{deadline} {token} P x");
        assert_eq!(
            Message::parse(&pool, &node),
            Some(turn(SlotKind::Pool, "x"))
        );
        let ended = Message::LeaseEnded("read-7");
        assert_eq!(Message::parse("C read-7", &node), Some(ended));

        let beat = Message::Heartbeat(token);
        assert_eq!(Message::parse(&heartbeat(&mine), &node), Some(beat));

        let other = Node::new("shop").token();
        let (unique, name) = token.split_once('@').unwrap_or_default();
        let (number, secret) = unique.split_once('.').unwrap_or_default();
        let long = "x".repeat(513);
        for message in [
            String::new(),
            "C".to_owned(),
            "C ".to_owned(),
            "c read-7".to_owned(),
            "C a{b".to_owned(),
            "C a}b".to_owned(),
            "C a\nb".to_owned(),
            format!("C {long}"),
            "H".to_owned(),
            "H ".to_owned(),
            format!("H {token} "),
            format!("H {}", other.as_str()),
            format!("H {number}@{name}"),
            format!("again {token} L x"),
            format!("claim {token} L x"),
            format!("+1 {token} L x"),
            format!("-1 {token} L x"),
            format!("1e3 {token} L x"),
            format!("0x10 {token} L x"),
            format!("00 {token} L x"),
            format!("inf {token} L x"),
            format!("nan {token} L x"),
            format!("1.5 {token} L x"),
            format!("18000000000000000 {token} L x"),
            format!(" {token} L x"),
            format!("{deadline}  {token} L x"),
            format!("{deadline} {token} L"),
            format!("{deadline} {token} L "),
            format!("{deadline} {token} l x"),
            format!("{deadline} {token} LP x"),
            format!("{deadline} {token} L a{{b"),
            format!("{deadline} {token} L a\0b"),
            format!("{deadline} {token} L {long}"),
            format!("{deadline} {} L x", other.as_str()),
            format!("{deadline} @{name} L x"),
            format!("{deadline} {number}@{name} L x"),
            format!("{deadline} {number}.@{name} L x"),
            format!("{deadline} .{secret}@{name} L x"),
            format!("{deadline} {number}.{}@{name} L x", &secret[1..]),
            format!("{deadline} {number}.{secret}.1@{name} L x"),
            format!("{deadline} {number}.{secret}@{name}@{name} L x"),
            format!("{deadline} {number}.{}@{name} L x", "G".repeat(16)),
            format!("{deadline} {number}.{secret} L x"),
        ] {
            assert_eq!(Message::parse(&message, &node), None, "{message:?}");
        }
    }
}

//! Checks in debug builds whether the first value of each type reads back unchanged.

use std::any::{TypeId, type_name};
use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Encoding, Node, decode, encode, is_human};
use crate::clock::Moment;
use crate::{Key, Ttl, observe};

/// The largest encoded value that is worth the time.
const LIMIT: usize = 256 * 1024;

/// Warns if `value` is the first of its type and would read back differently. Does nothing in
/// release builds.
///
/// Needs no backend, so a program that still runs on memory gets the warning too.
pub(crate) fn check_first<T>(key: &Key, encoding: Encoding, value: &T)
where
    T: Serialize + DeserializeOwned + 'static,
{
    if cfg!(debug_assertions)
        && is_first::<T>()
        && let Some(fault) = fault(encoding, value)
    {
        observe::does_not_read_back(key, type_name::<T>(), fault);
    }
}

fn is_first<T: 'static>() -> bool {
    static SEEN: Mutex<BTreeSet<TypeId>> = Mutex::new(BTreeSet::new());
    SEEN.lock()
        .unwrap_or_else(PoisonError::into_inner)
        .insert(TypeId::of::<T>())
}

/// Returns how `value` would change when it is stored and read, or nothing if that is not known.
fn fault<T>(encoding: Encoding, value: &T) -> Option<&'static str>
where
    T: Serialize + DeserializeOwned,
{
    // A value that is refused is reported where it was to be stored.
    let bytes = encode(encoding, value, Ttl::NEVER, Moment::from_micros(0)).ok()?;
    if bytes.len() > LIMIT {
        return None;
    }
    let Some(read) = decode::<T>(&bytes) else {
        return Some("cannot be decoded");
    };
    let tree = |value: &T| {
        let mut tree = Node::of(value, is_human(encoding)).ok()?;
        tree.sort();
        Some(tree)
    };
    let before = tree(value)?;
    // A type may say something new each time, such as the time.
    let steady = tree(value)? == before;
    (steady && tree(&read)? != before).then_some("decodes to another value")
}

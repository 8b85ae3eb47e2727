//! A check in debug builds that the first value of each type reads back unchanged.

use std::any::{TypeId, type_name};
use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Encoding, Node, decode, encode, is_human};
use crate::clock::Moment;
use crate::{Key, Ttl, observe};

/// The largest encoded value that is checked, in bytes.
const LIMIT: usize = 256 * 1024;

/// Warns if `value` is the first of its type and would read back differently. Does nothing in
/// release builds.
///
/// It needs no backend, so it also warns a program that still runs on memory.
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

/// Returns the change to `value` when it is stored and read, or `None` if there is none or it is
/// unknown.
fn fault<T>(encoding: Encoding, value: &T) -> Option<&'static str>
where
    T: Serialize + DeserializeOwned,
{
    // A value that cannot be encoded is reported when it is stored.
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
    // A type may serialize differently each time, such as one that includes the time.
    let steady = tree(value)? == before;
    (steady && tree(&read)? != before).then_some("decodes to another value")
}

//! Values that can be cached, and their way to the backend and back.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::weight;
use crate::backend::{Found, Life, Stored, Typed};
use crate::codec;

/// A value that can be cached. The requirements are the same on every backend, so moving from
/// memory to Redis takes only another URL.
///
/// Implemented for all types that meet the requirements. Each hit clones the value, so put large
/// data into an [`Arc`](std::sync::Arc).
///
/// Over Redis, `serde` encodes the value, and it reads back equal, including `Some(None)`, `NaN`
/// and map keys that are not text. A value that cannot be encoded, or is nested over 128 levels
/// deep, is computed by every call and not stored; the log names its template once.
///
/// # Types that drop fields
///
/// Cachify cannot see what the `Serialize` of a type leaves out. With `#[serde(skip)]`, or with
/// `#[serde(skip_serializing, default)]`, a field is present on a hit in memory and empty on a hit
/// over Redis. Cache types without such fields, and test each type with
/// `testing::assert_round_trips` (feature `testing`).
///
/// In debug builds, the first value of each type is encoded, decoded and encoded again, on every
/// backend. If the results differ, a warning names the type and the template. This finds fields
/// that are written but not read, and ambiguous untagged enums, but no skipped fields.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be cached",
    note = "a cached value is `Clone + Serialize + DeserializeOwned + Send + Sync + 'static`; \
            derive `Clone`, `serde::Serialize` and `serde::Deserialize`",
    note = "of a `Result`, only the `Ok` is cached: use `get_or_try_compute`, which never stores \
            an error"
)]
pub trait Cacheable: Clone + Serialize + DeserializeOwned + Send + Sync + 'static {}

#[diagnostic::do_not_recommend]
impl<T: Clone + Serialize + DeserializeOwned + Send + Sync + 'static> Cacheable for T {}

/// Returns the number of bytes that a value takes in memory: the `known` number, or an estimate.
pub(super) fn weigh<T: Cacheable>(known: Option<usize>, value: &Typed) -> usize {
    known
        .or_else(|| value.downcast_ref::<T>().map(weight::estimate))
        .unwrap_or(0)
}

/// Returns the value of an entry, or `None` if it cannot be read.
pub(super) fn decode<T: Cacheable>(found: &Found) -> Option<T> {
    match &found.value {
        Stored::Typed(value) => value.downcast_ref::<T>().cloned(),
        Stored::Bytes(bytes) => codec::decode(bytes),
    }
}

/// Returns whether the entry was [expired](crate::backend::Backend::expire), whatever its times say:
/// they come from another process's view of the server's clock.
pub(super) fn is_expired(found: &Found) -> bool {
    match &found.value {
        Stored::Typed(_) => false,
        Stored::Bytes(bytes) => codec::is_expired(bytes),
    }
}

/// Returns the times of an entry that could be read.
pub(super) fn life(found: &Found) -> Option<Life> {
    match &found.value {
        Stored::Typed(_) => found.life,
        Stored::Bytes(bytes) => codec::life(bytes),
    }
}

//! Values that can be cached, and their way to the backend and back.

use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::weight;
use crate::backend::{Found, Life, Stored, Typed};
use crate::clock::Moment;
use crate::codec::{self, Times};
use crate::{Encoding, Error, Key};

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

/// A value as the read path sees it: one that can be cached, or one that is stored in the form of
/// others.
pub(crate) trait Value: Clone + Send + Sync + 'static {
    /// Returns the value that is kept as it is, if it is one of these.
    fn from_typed(value: &Typed) -> Option<Self>;

    /// Returns the encoded value, if it is one of these.
    fn from_bytes(bytes: &[u8]) -> Option<Self>;

    /// Returns the value as it is kept.
    fn into_typed(self) -> Typed;

    /// Encodes the value that [`into_typed`](Self::into_typed) returned.
    fn encode(
        value: &Typed,
        encoding: Encoding,
        times: Times,
        now: Moment,
    ) -> Result<Vec<u8>, Error>;

    /// Estimates how many bytes the value that [`into_typed`](Self::into_typed) returned takes in
    /// memory.
    fn weigh(value: &Typed) -> usize;

    /// See [`codec::check_first`].
    fn check_first(&self, key: &Key, encoding: Encoding);
}

impl<T: Cacheable> Value for T {
    fn from_typed(value: &Typed) -> Option<Self> {
        value.downcast_ref::<T>().cloned()
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        codec::decode(bytes)
    }

    fn into_typed(self) -> Typed {
        Arc::new(self)
    }

    fn encode(
        value: &Typed,
        encoding: Encoding,
        times: Times,
        now: Moment,
    ) -> Result<Vec<u8>, Error> {
        match value.downcast_ref::<T>() {
            Some(value) => codec::encode(encoding, value, times, now),
            None => unreachable!("made of a T by the caller"),
        }
    }

    fn weigh(value: &Typed) -> usize {
        value.downcast_ref::<T>().map_or(0, weight::estimate)
    }

    fn check_first(&self, key: &Key, encoding: Encoding) {
        codec::check_first(key, encoding, self);
    }
}

/// Returns the value of an entry, or `None` if it cannot be read.
pub(super) fn decode<T: Value>(found: &Found) -> Option<T> {
    match &found.value {
        Stored::Typed(value) => T::from_typed(value),
        Stored::Bytes(bytes) => T::from_bytes(bytes),
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

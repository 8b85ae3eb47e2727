//! Test support: conformance suites for backends and adapters, and a backend that fails on demand.
//!
//! [`conformance!`](crate::conformance) generates a test of each promise, for any
//! [`Backend`](crate::backend::Backend):
//!
//! ```
//! use cachify_core::clock::Clock;
//! use cachify_core::testing::Stage;
//! use cachify_core::{Cachify, backend::memory::Memory};
//! use std::sync::Arc;
//!
//! fn stage() -> Stage {
//!     let clock = Clock::test();
//!     let memory = Arc::new(Memory::builder().clock(clock.clone()).build());
//!     Stage::new(move || {
//!         Cachify::builder().backend(memory.clone()).clock(clock.clone()).connect_lazy()
//!     })
//! }
//!
//! cachify_core::conformance!(tokio::test(start_paused = true), stage());
//! # fn main() {}
//! ```
//!
//! [`adapter_conformance!`](crate::adapter_conformance) does the same for the adapter of a web
//! framework.

use std::any::type_name;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::backend::SlotKind;
use crate::backend::memory::Memory;
use crate::clock::Moment;
use crate::{Cachify, Encoding, Error, Key, KeyTemplate, Ttl, codec};

#[cfg(feature = "http")]
pub mod adapter;
pub mod conformance;
mod faulty;
#[cfg(feature = "redis")]
mod fleet;
#[doc(hidden)]
pub mod fuzzing;

pub use faulty::{Fault, Faulty, Gate, Op};

/// The backend of a test, shared by handles that act as separate processes.
#[derive(Clone)]
pub struct Stage {
    make: Arc<dyn Fn() -> Result<Cachify, Error> + Send + Sync>,
    unique: String,
    last: Arc<AtomicUsize>,
}

impl Stage {
    /// Creates a stage. `make` creates a new handle of the shared backend, as another process
    /// would.
    pub fn new(make: impl Fn() -> Result<Cachify, Error> + Send + Sync + 'static) -> Self {
        Self {
            make: Arc::new(make),
            unique: format!("{:08x}", fastrand::u32(..)),
            last: Arc::default(),
        }
    }

    /// Creates a stage over one memory backend.
    pub fn memory() -> Self {
        let memory = Arc::new(Memory::builder().build());
        Self::new(move || Cachify::builder().backend(memory.clone()).connect_lazy())
    }

    /// Creates a stage over the Redis at `url`, under a random prefix.
    #[cfg(feature = "redis")]
    pub fn redis(url: impl Into<String>) -> Self {
        let (url, prefix) = (url.into(), format!("stage-{:016x}", fastrand::u64(..)));
        Self::new(move || {
            let builder = Cachify::builder().redis(url.as_str());
            builder.prefix(prefix.as_str()).connect_lazy()
        })
    }

    /// Creates a stage over the Redis at `url` with memory in front of it, under a random prefix.
    ///
    /// A reset or set returns once all handles of the stage have heard of it, so the conformance
    /// suite's resets are as strict between processes as without a tier.
    #[cfg(feature = "redis")]
    pub fn tiered(url: &str) -> Self {
        let fleet = fleet::Fleet::new(url);
        Self::new(move || fleet.join())
    }

    /// Creates a handle, which acts as another process.
    ///
    /// # Panics
    ///
    /// If the handle cannot be created.
    pub fn handle(&self) -> Cachify {
        match (self.make)() {
            Ok(cachify) => cachify,
            Err(error) => panic!("no handle: {error}"),
        }
    }

    /// Creates a handle whose backend fails on demand.
    pub fn faulty(&self) -> (Cachify, Arc<Faulty>) {
        Faulty::wrap(&self.handle())
    }

    /// Returns a key that no other test uses.
    pub fn key(&self, name: &str) -> Key {
        let text = format!(
            "{name}-{}-{}",
            self.unique,
            self.last.fetch_add(1, Ordering::Relaxed)
        );
        match KeyTemplate::parse(&text) {
            Ok(template) => template.render(&[]),
            Err(error) => panic!("{error}"),
        }
    }
}

impl fmt::Debug for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stage").finish_non_exhaustive()
    }
}

/// Asserts that `value` is equal after a round trip through Redis, in every [`Encoding`].
///
/// The memory backend keeps a value as it is, but over Redis its type's `Serialize` and
/// `Deserialize` decide. Test each type that you cache with values whose fields all differ from
/// their defaults.
///
/// # Panics
///
/// If the value cannot be encoded, cannot be decoded, or differs after the round trip. The message
/// shows both values.
///
/// # Examples
///
/// ```
/// use cachify_core::testing::assert_round_trips;
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Debug, PartialEq, Serialize, Deserialize)]
/// struct User {
///     id: i64,
///     nickname: Option<Option<String>>,
/// }
///
/// assert_round_trips(&User { id: 7, nickname: Some(None) });
/// ```
///
/// This type fails, because a value read from Redis would lack the password hash:
///
/// ```should_panic
/// # use cachify_core::testing::assert_round_trips;
/// # use serde::{Deserialize, Serialize};
/// #[derive(Debug, PartialEq, Serialize, Deserialize)]
/// struct User {
///     id: i64,
///     #[serde(skip_serializing, default)]
///     password_hash: String,
/// }
///
/// assert_round_trips(&User { id: 7, password_hash: "$argon2id$..".into() });
/// ```
#[track_caller]
pub fn assert_round_trips<T>(value: &T)
where
    T: Serialize + DeserializeOwned + PartialEq + fmt::Debug,
{
    let name = type_name::<T>();
    let encodings: &[Encoding] = &[
        Encoding::MessagePack,
        #[cfg(feature = "json")]
        Encoding::Json,
    ];
    for &encoding in encodings {
        let bytes = match codec::encode(encoding, value, Ttl::NEVER, Moment::from_micros(0)) {
            Ok(bytes) => bytes,
            Err(error) => {
                panic!("`{name}` cannot be encoded as {encoding:?}: {error}\nvalue: {value:?}")
            }
        };
        let Some(read) = codec::decode::<T>(&bytes) else {
            panic!("`{name}` cannot be decoded from {encoding:?}\nvalue: {value:?}");
        };
        assert!(
            read == *value,
            "`{name}` does not round-trip through {encoding:?}; see its serde attributes\n \
             stored: {value:?}\n   read: {read:?}"
        );
    }
}

/// Returns the number of callers that wait for the lock or pool of `key`.
pub(crate) async fn waiting(cachify: &Cachify, kind: SlotKind, key: &Key) -> usize {
    match cachify.request(kind, key, 1).inspect().await {
        Ok(inspection) => inspection.waiters,
        Err(error) => panic!("{error}"),
    }
}

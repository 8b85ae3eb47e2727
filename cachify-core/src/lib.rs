#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

#[allow(
    unused_extern_crates,
    reason = "what the macros expand to names the crate"
)]
extern crate self as cachify_core;

#[doc(hidden)]
pub mod __private;

pub mod backend;
#[cfg(feature = "blocking")]
pub mod blocking;
mod cached;
mod cachify;
pub mod clock;
mod codec;
mod error;
mod flight;
mod global;
mod hold;
#[cfg(feature = "http")]
pub mod http;
mod key;
mod lease;
mod lock;
#[cfg(feature = "macros")]
mod macros;
mod observe;
mod once;
mod pool;
mod renewal;
mod resilience;
#[cfg(feature = "testing")]
pub mod testing;
mod ttl;
mod waiting;
mod weight;

#[cfg(feature = "tls")]
pub use backend::redis::Pem;
pub use cached::{
    CacheIf, Cacheable, Cached, ErrorPolicy, Fixed, Policy, ShareErrors, TtlWith, Weigh,
};
pub use cachify::{Cachify, CachifyBuilder};
pub use codec::Encoding;
pub use error::{Error, ErrorKind};
pub use global::init;
pub use key::{CacheKey, Key, KeyPart, KeyTemplate, Keys, MissingPlaceholder};
pub use lock::{Guard, Lock, LockHolder, LockStatus};
pub use once::Once;
pub use pool::{Permit, Pool, PoolStatus};
pub use ttl::{IntoTime, Ttl};

#[cfg(feature = "macros")]
pub use macros::{CacheKey, cached, key, locked, once, pooled};

#![doc = include_str!("../README.md")]
#![doc(test(attr(deny(warnings), allow(dead_code, unused_variables))))]
#![cfg_attr(docsrs, feature(doc_cfg))]

#[allow(
    unused_extern_crates,
    reason = "the code that the macros generate names the crate"
)]
extern crate self as cachify_core;

#[doc(hidden)]
pub mod __private;

pub mod backend;
#[cfg(feature = "blocking")]
pub mod blocking;
mod cachify;
pub mod clock;
mod codec;
mod engine;
mod error;
mod global;
#[cfg(feature = "http")]
pub mod http;
mod key;
#[cfg(feature = "macros")]
mod macros;
mod observe;
mod read;
mod runtime;
mod slot;
#[cfg(feature = "testing")]
pub mod testing;
mod ttl;

#[cfg(feature = "tls")]
pub use backend::redis::Pem;
pub use cachify::{Cachify, CachifyBuilder};
pub use codec::Encoding;
pub use error::{Error, ErrorKind};
pub use global::init;
pub use key::{CacheKey, Key, KeyPart, KeyTemplate, Keys, MissingPlaceholder};
pub use read::{
    CacheErr, CacheIf, Cacheable, Cached, ErrorPolicy, Fixed, HardLimit, NoneTtl, Policy,
    ShareErrors, TtlWith, Weigh,
};
pub use slot::{Guard, Lock, LockHolder, LockStatus, Once, Permit, Pool, PoolStatus};
pub use ttl::{IntoTime, Ttl};

#[cfg(feature = "macros")]
pub use macros::{CacheKey, cached, key, locked, once, pooled};

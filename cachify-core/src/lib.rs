//! Caching, locking, run-once and pools for async Rust, over memory or Redis.

extern crate self as cachify_core;

pub mod backend;
pub mod clock;
mod error;
mod key;
mod ttl;

#[doc(hidden)]
pub mod __private;

pub use error::{Error, ErrorKind};
pub use key::{CacheKey, Key, KeyPart, KeyTemplate, MissingPlaceholder};
pub use ttl::Ttl;

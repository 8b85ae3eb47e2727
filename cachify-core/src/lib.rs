//! Caching, locking, run-once and pools for async Rust, over memory or Redis.

extern crate self as cachify_core;

pub mod backend;
pub mod clock;
mod error;
mod key;
mod ttl;

pub use error::{Error, ErrorKind};
pub use key::Key;
pub use ttl::Ttl;

//! Cached reads: from a key to its value, found or computed.

mod access;
mod background;
mod cached;
mod computing;
pub(crate) mod entries;
mod flight;
mod lease;
mod path;
mod pauses;
pub(crate) mod policy;
pub(crate) mod resets;
mod stale;
mod value;
mod weight;
mod write;

pub use cached::Cached;
pub use policy::{CacheIf, ErrorPolicy, Fixed, Policy, ShareErrors, TtlWith, Weigh};
pub use value::Cacheable;

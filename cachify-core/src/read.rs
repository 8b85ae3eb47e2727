//! Cached reads: from a key to its value, found or computed.

pub(crate) mod cached;
mod computing;
pub(crate) mod flight;
pub(crate) mod lease;
mod path;
pub(crate) mod policy;
mod weight;

pub use cached::{Cacheable, Cached};
pub use policy::{CacheIf, ErrorPolicy, Fixed, Policy, ShareErrors, TtlWith, Weigh};

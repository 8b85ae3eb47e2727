//! Cached reads: from a key to its value, found or computed.

mod access;
mod background;
mod cached;
mod computing;
pub(crate) mod entries;
mod errors;
mod flight;
mod lease;
mod limit;
mod path;
mod pauses;
pub(crate) mod policy;
pub(crate) mod resets;
mod stale;
mod value;
mod weight;
mod write;

pub use cached::Cached;
pub use errors::CacheErr;
pub use policy::{
    CacheIf, ErrorPolicy, Fixed, HardLimit, NoneTtl, Policy, ShareErrors, TtlWith, Weigh,
};
pub use value::Cacheable;

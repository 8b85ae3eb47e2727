//! Entries, locks and pools in this process's memory.
//!
//! Values are stored without encoding. A hit costs one lookup and one clone.

mod alarm;
mod builder;
#[cfg(feature = "redis")]
mod copies;
mod entry;
mod expiry;
mod handle;
mod lease;
mod slots;
mod store;
mod sweep;

pub use builder::MemoryBuilder;
pub use handle::Memory;

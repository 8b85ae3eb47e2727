//! Entries, locks and pools in this process's memory.
//!
//! Values stay as they are: nothing is encoded, and a hit costs one look-up and one clone.

mod alarm;
mod builder;
mod entry;
mod expiry;
mod handle;
mod lease;
mod slots;
mod store;
mod sweep;

pub use builder::MemoryBuilder;
pub use handle::Memory;

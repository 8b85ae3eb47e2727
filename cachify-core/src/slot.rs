//! Locks, run-once and pools: keys with one or several holders.

pub(crate) mod hold;
mod lock;
mod once;
mod pool;
pub(crate) mod request;
pub(crate) mod waiting;

pub use lock::{Guard, Lock, LockHolder, LockStatus};
pub use once::Once;
pub use pool::{Permit, Pool, PoolStatus};
